"""DNS labels of nodes (policy-and-management spec section 3, Names); pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LABEL = 63
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def is_label(text: str) -> bool:
    """Whether it is a lower-case DNS label."""
    return _LABEL.fullmatch(text) is not None


def label_from(hostname: str) -> str:
    """The label that a hostname suggests: its first part, A-label form, other characters as `-`; never empty."""
    first = hostname.strip().partition(".")[0].lower()
    if not first.isascii():
        try:
            first = first.encode("idna").decode("ascii")
        except UnicodeError:
            first = first.encode("ascii", "replace").decode("ascii")
    label = re.sub(r"[^a-z0-9-]+", "-", first)[:MAX_LABEL].strip("-")
    return label or "node"


def unique_label(wanted: str, taken: Callable[[str], bool]) -> str:
    """`wanted`, or with the first free of -1, -2, …"""
    if not taken(wanted):
        return wanted
    number = 1
    while True:
        suffix = f"-{number}"
        candidate = wanted[: MAX_LABEL - len(suffix)].rstrip("-") + suffix
        if not taken(candidate):
            return candidate
        number += 1
