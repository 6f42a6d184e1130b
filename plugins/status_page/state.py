"""What the plugin knows of itself, as one value that the panel and the metrics are made from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PageState:
    """`urls`: where the page can be opened; `watchers`: open pages; the rest counts since start."""

    urls: tuple[str, ...] = field(default=())
    sessions: int = 0
    watchers: int = 0
    wrong_codes: int = 0
    refused_requests: int = 0
    malformed_requests: int = 0
    turned_away: int = 0
