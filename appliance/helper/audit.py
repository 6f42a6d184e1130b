"""The audit trail: one JSON line per call on standard output, which systemd writes to the journal.

Requests hold no secrets, so a line tells the verb with its arguments, who asked, and what came of it.
"""

from __future__ import annotations

from typing import Any, Protocol, TextIO

import msgspec
import structlog


class Audit(Protocol):
    """A structlog logger, as far as the helper needs one."""

    def info(self, event: str, **values: Any) -> Any: ...

    def warning(self, event: str, **values: Any) -> Any: ...


def audit_log(stream: TextIO) -> Audit:
    """A logger of its own, whatever the process has configured otherwise."""
    logger: Audit = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=lambda value, **_: msgspec.json.encode(value).decode()),
        ],
        wrapper_class=structlog.BoundLogger,
        context_class=dict,
    )
    return logger
