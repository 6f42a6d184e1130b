from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance.types.ids import RegionId
from appliance.types.netmap import DerpNode, DerpRegion
from control.web import render
from control.web.overview import Overview, Trouble

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"


def node(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "stable_id": name,
        "name": name,
        "addresses": ["100.64.0.1"],
        "online": False,
        "expired": False,
        "last_seen": NOW - timedelta(hours=3),
        "tags": [],
        "user": "alice",
        "approved_routes": [],
        "os": "linux",
        "version": "1.0",
        **fields,
    }


def shown(*nodes: dict[str, Any], troubles: tuple[Trouble, ...] = (), total: int = 0) -> Overview:
    relay = DerpNode("900a", RegionId(900), "relay.example", derp_port=8443, stun_port=3478)
    return Overview(
        url="https://control.example",
        domain="mesh.internal",
        nodes=nodes,
        total=total or len(nodes),
        online=0,
        users=1,
        regions=(DerpRegion(RegionId(900), "home", "Home", (relay,)),),
        troubles=troubles,
        counters={"front": {"request timeout": 12345}},
        at=NOW,
    )


def test_ok__everything_is_on_the_page() -> None:
    page = render.page(shown(node("a", approved_routes=["192.168.1.0/24"]), node("b", online=True), total=9))
    for text in ("seen 3 hours ago", "192.168.1.0/24", "Online", "7 more", "relay.example", "12,345", "alice"):
        assert text in page
    assert set(render.sections(shown())) == set(render.SECTIONS)


def test_ok__an_empty_server_says_what_to_do() -> None:
    assert "preauthkeys create" in render.sections(shown())["nodes"]


def test_fail__no_value_becomes_markup() -> None:
    evil = node(EVIL, user=EVIL, os=EVIL, tags=[EVIL], approved_routes=[EVIL])
    page = render.page(shown(evil, troubles=(Trouble("bad", EVIL, EVIL),))) + render.sign_in(EVIL)
    assert EVIL not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", page)
    assert not re.findall(r'(?:src|href)="(?!/|#)', page)


def test_ok__ago() -> None:
    assert render.ago(NOW - timedelta(days=1, hours=2), NOW) == "1 day ago"
    assert render.ago(NOW, NOW) == "moments ago"
