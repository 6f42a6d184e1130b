from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime

from appliance.api import (
    GatewayStatus,
    HealthItem,
    HealthState,
    Panel,
    PanelRow,
    PathCandidate,
    PathReasons,
    PeerPath,
    PeerState,
    PluginPanel,
    RouteState,
)
from appliance.types.errors import Severity
from appliance.types.events import BackendState, PathKind
from plugins.status_page.live import changed_sections
from plugins.status_page.render import SECTIONS, Renderer, Shown, summary
from plugins.status_page.texts import PATHS, SEVERITIES, STATES

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY = GatewayStatus("0.1.0", BackendState.STOPPED)
EVIL = "<script>alert(1)</script>"


def frame(status: GatewayStatus, *panels: PluginPanel, max_peers: int = 200) -> dict[str, str]:
    return dict(Renderer().frame(Shown(status, panels, NOW, max_peers)))


def test_ok__a_gateway_before_its_login_has_a_page() -> None:
    found = frame(EMPTY)
    assert set(found) == set(SECTIONS)
    assert "Stopped" in found["banner"]
    assert "No peers" in found["peers"]
    page = Renderer().page(found, "site-a", NOW)
    assert "<title>site-a · Waypost</title>" in page
    assert "Sign out" in page


def test_ok__the_tunnel_s_engine_and_why() -> None:
    status = replace(EMPTY, interface="waypost0", engine="kernel", engine_reason="the kernel has WireGuard", port=41641)
    node = frame(status)["node"]
    assert "waypost0 · kernel · UDP 41641" in node
    assert "the kernel has WireGuard" in node


def test_ok__every_word_is_in_the_catalogue() -> None:
    assert set(STATES) == set(BackendState)
    assert set(PATHS) == set(PathKind)
    assert set(SEVERITIES) == set(Severity)


def test_fail__no_value_becomes_markup() -> None:
    panel = Panel(EVIL, (HealthItem("x", EVIL),), (PanelRow(EVIL, EVIL, EVIL),))
    status = replace(
        EMPTY,
        version=EVIL,
        auth_url="javascript:alert(1)",
        waiting_for=EVIL,
        peers=(PeerState(EVIL, EVIL, (EVIL,), os=EVIL, routes=(EVIL,)),),
        routes=(RouteState(EVIL, EVIL, False, EVIL),),
        health=(HealthState(EVIL, Severity.HIGH, EVIL, EVIL, NOW),),
    )
    page = Renderer().page(frame(status, PluginPanel("evil", panel)), EVIL, NOW)
    assert EVIL not in page
    assert "javascript:" not in page
    assert "<script>" not in page


def test_ok__no_inline_script_style_or_foreign_asset() -> None:
    renderer = Renderer()
    for page in (renderer.page(frame(EMPTY), "a", NOW), renderer.sign_in("no"), renderer.refusal("a", "b")):
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", page)
        assert not re.findall(r'(?:src|href)="(?!/|#)', page)


def test_ok__active_peers_come_first_and_the_rest_is_counted() -> None:
    names = ("idle", "away", "busy")
    peers = tuple(PeerState(name, f"{name}.x", online=name != "away", active=name == "busy") for name in names)
    section = frame(replace(EMPTY, peers=peers), max_peers=2)["peers"]
    assert section.index("busy") < section.index("idle")
    assert "away.x" not in section
    assert "1 more" in section
    assert summary(peers) == ("3 in all", "2 online")


def test_ok__only_what_changed_is_sent() -> None:
    old = frame(EMPTY)
    new = frame(replace(EMPTY, peers=(PeerState("n1", "a.x"),)))
    assert set(changed_sections(old, new)) == {"peers"}
    assert changed_sections(new, new) == {}
    assert set(changed_sections({}, new)) == set(SECTIONS)


def test_ok__a_large_mesh_does_not_hold_the_loop() -> None:
    peers = tuple(PeerState(f"n{n}", f"node-{n}.x", ("100.64.0.1", "fd7a::1"), rx_bytes=n) for n in range(10_000))
    status = replace(EMPTY, peers=peers)
    frame(EMPTY)
    took = []
    for _ in range(5):
        started = time.process_time()
        frame(status)
        took.append(time.process_time() - started)
    assert min(took) < 0.25


def test_ok__peer_row_says_why_its_path_is_what_it_is() -> None:
    candidates = (
        PathCandidate("192.0.2.1:1", in_use=True, latency_s=0.012, why="in use"),
        PathCandidate("<b>:1", why="no answer"),
    )
    path = PeerPath(PathKind.DIRECT, "192.0.2.1:1", latency_s=0.012)
    reasons = PathReasons("the only one of 2 known addresses that answers", 0.0, candidates)
    html = frame(replace(EMPTY, peers=(PeerState("n1", "a.x", path=path, active=True, reasons=reasons),)))["peers"]
    assert "the only one of 2 known addresses that answers" in html
    assert "no answer" in html
    assert "&lt;b&gt;:1" in html
