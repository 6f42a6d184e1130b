"""Debian's dnsmasq as a process that touches nothing of the machine."""

from __future__ import annotations

from pathlib import Path


def alone(config: str | Path = "/dev/null") -> tuple[str, ...]:
    """Options: in the foreground, no settings but `config`, and no pid file, for which two would race."""
    return "--keep-in-foreground", "--pid-file=", f"--conf-file={config}"
