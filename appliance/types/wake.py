"""What became of a wish to wake a host of a LAN."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WakeReport:
    """`sent`: interfaces that the magic packet left by; `errors`: why it did not leave by others."""

    sent: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
