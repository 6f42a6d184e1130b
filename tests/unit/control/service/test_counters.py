"""Counters of the server's parts."""

from __future__ import annotations

from control.service.counters import Counters


def test_ok__parts_are_read_when_asked_and_sorted() -> None:
    counters, noise = Counters(), {"tunnel_opened": 1}
    counters.add("noise", lambda: noise)
    counters.add("derp", lambda: {"b": 2, "a": 1})
    noise["tunnel_opened"] = 5
    assert counters.snapshot() == {"derp": {"a": 1, "b": 2}, "noise": {"tunnel_opened": 5}}
    assert list(counters.snapshot()["derp"]) == ["a", "b"]
