"""Pure: values in, HTML out. The page is a set of sections, so that a live update carries only those that changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from appliance.api import GatewayStatus, PanelForm, PeerState, PluginPanel, SettingProblem
from appliance.pages.assets import templates
from plugins.status_page import words
from plugins.status_page.forms import FORGET, FORM, PLUGIN, RESET, SEEN, Input, fingerprint, forms_of
from plugins.status_page.texts import COUNTED, PATHS, PLUGIN_MARKS, SEVERITIES, STATES, TEXTS

FOLDER = Path(__file__).parent
SECTIONS = ("banner", "health", "node", "links", "peers", "routes", "panels")
Frame = Mapping[str, str]
"""HTML by section."""
MAX_ROUTES = 200
FILTERS = (
    "size",
    "latency",
    "ago",
    "iso",
    "utc",
    "path_where",
    "first_label",
    "rest_of_name",
    "sentence",
    "setting_label",
)
"""Functions of `words` that the templates use."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What one frame shows, and when it was so (UTC). `max_peers` bounds the work for one frame."""

    status: GatewayStatus
    panels: tuple[PluginPanel, ...]
    at: datetime
    max_peers: int = 200


class Renderer:
    """Templates are compiled once, at first use."""

    def __init__(self) -> None:
        self._templates = templates(FOLDER, "")
        marks = {"states": STATES, "paths": PATHS, "severities": SEVERITIES, "plugin_marks": PLUGIN_MARKS}
        names = {"plugin": PLUGIN, "form": FORM, "seen": SEEN, "reset": RESET, "forget": FORGET}
        self._templates.globals.update(t=TEXTS, names=names, forms_of=forms_of, **marks)
        for name in FILTERS:
            self._templates.filters[name] = getattr(words, name)

    def frame(self, shown: Shown) -> Frame:
        values = self._values(shown)
        return {name: self._render(f"section_{name}.html", **values) for name in SECTIONS}

    def page(self, frame: Frame, title: str, at: datetime) -> str:
        return self._render("page.html", frame=frame, title=title, at=at)

    def sign_in(self, problem: str = "") -> str:
        return self._render("sign_in.html", problem=problem)

    def settings(
        self, shown: PluginPanel, form: PanelForm, inputs: tuple[Input, ...], problems: tuple[SettingProblem, ...]
    ) -> str:
        known = {problem for each in inputs for problem in each.problems}
        rest = tuple(each for each in problems if each not in known)
        seen = fingerprint(each.field for each in inputs)
        values = {"inputs": inputs, "problems": problems, "rest": rest, "seen": seen}
        return self._render("settings.html", plugin=shown.plugin, title=shown.panel.title, form=form, **values)

    def refusal(self, text: str, mend: str) -> str:
        return self._render("refusal.html", text=text, mend=mend)

    def _render(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(**values)

    def _values(self, shown: Shown) -> dict[str, Any]:
        status = shown.status
        peers = sorted(status.peers, key=_rank)
        return {
            "status": status,
            "panels": shown.panels,
            "now": shown.at,
            "peers": peers[: shown.max_peers],
            "more_peers": max(0, len(peers) - shown.max_peers),
            "summary": summary(status.peers),
            "routes": status.routes[:MAX_ROUTES],
            "title": node_title(status),
        }


def summary(peers: tuple[PeerState, ...]) -> tuple[str, ...]:
    """The peers in numbers: how many, how many online, how many on each kind of path."""
    if not peers:
        return ()
    kinds = Counter(peer.path.kind for peer in peers)
    online = sum(peer.online is True for peer in peers)
    paths = [f"{kinds[kind]} {word}" for kind, word in COUNTED.items() if kinds[kind]]
    return (f"{len(peers)} in all", f"{online} online", *paths)


def node_title(status: GatewayStatus) -> str:
    """What the gateway is called, before and after its login."""
    own = status.self_node
    return words.first_label(own.name) or own.hostname or str(TEXTS["product"])


def _rank(peer: PeerState) -> tuple[bool, bool, str]:
    """Those with traffic first, then those online, each by name."""
    return (not peer.active, peer.online is not True, peer.name)
