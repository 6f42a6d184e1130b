"""What `waypost ping --explain` prints."""

from appliance.cli.probes import explanation
from appliance.cli.status_view import path_text
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


def test_ok__what_was_measured_of_a_path():
    in_use = PathCandidate(endpoint="192.0.2.1:1", in_use=True, latency_s=0.02, mtu=1400, why="in use")
    narrow = PathCandidate(endpoint="192.0.2.2:1", mtu=0, why="no answer")
    reasons = PathReasons(why="its address answers", survives_s=30.0, candidates=(in_use, narrow))
    lines = explanation(PingReply(name="b", path=PATH, reasons=reasons, current=PATH))
    assert lines[2:] == [
        "idle, the path survives 30 s of silence",
        "* 192.0.2.1:1    20.0 ms, MTU 1400  in use",
        "  192.0.2.2:1          -, MTU under 1280  no answer",
    ]
    dies = explanation(PingReply(name="b", path=PATH, reasons=PathReasons(survives_s=0.0), current=PATH))
    assert dies[2] == "idle, the path dies within 10 s"


def test_ok__size_of_packets_in_the_table_of_peers():
    wide = Path(kind=PathKind.DIRECT, endpoint="192.0.2.1:1", mtu=1500)
    assert path_text(wide) == "direct 192.0.2.1:1, MTU 1500"
    assert path_text(PATH) == "direct 192.0.2.1:41641"
