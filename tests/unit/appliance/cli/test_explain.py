"""What `waypost ping --explain` prints."""

from appliance.cli.probes import explanation
from appliance.localapi.schema import Path, PathCandidate, PathReasons, PingReply
from appliance.types.events import PathKind

PATH = Path(kind=PathKind.DIRECT, endpoint="192.0.2.1:41641", latency_s=0.02)


def test_ok__every_address_has_a_line():
    reasons = PathReasons(
        why="the best of 2 addresses that answer",
        relay_latency_s=0.05,
        candidates=(
            PathCandidate(endpoint="192.0.2.1:41641", in_use=True, latency_s=0.02, why="in use", sources=("netmap",)),
            PathCandidate(endpoint="10.0.0.1:1", latency_s=0.03, loss=0.1, why="10.0 ms slower"),
            PathCandidate(endpoint="10.0.0.2:1", why="no answer"),
        ),
    )
    lines = explanation(PingReply(name="b", address="100.64.0.2", path=PATH, reasons=reasons, current=PATH))
    assert lines == [
        "pong from b (100.64.0.2) via direct 192.0.2.1:41641 in 20.0 ms",
        "traffic goes direct 192.0.2.1:41641: the best of 2 addresses that answer",
        "through DERP it takes 50.0 ms",
        "* 192.0.2.1:41641    20.0 ms  in use (from netmap)",
        "  10.0.0.1:1         30.0 ms, 10% lost  10.0 ms slower",
        "  10.0.0.2:1               -  no answer",
    ]


def test_ok__idle_and_unknown_peers():
    reasons = PathReasons(why="idle; the next packet goes by DERP at once")
    idle = PingReply(name="b", error="silence", reasons=reasons, current=Path())
    assert explanation(idle) == ["no answer: silence", "idle; the next packet goes by DERP at once"]
    assert explanation(PingReply(name="b", error="silence"))[1] == "nothing is known of its paths"
