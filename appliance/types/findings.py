"""What a doctor says about one thing."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
STATES = (OK, WARNING, FAILED, SKIPPED)


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was looked at; `state` is one of `STATES`; `mend` says what to do where it is not well."""

    check: str
    state: str
    text: str
    mend: str = ""
