"""Settings of all of them: none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NoConfig:
    """Nothing to set."""
