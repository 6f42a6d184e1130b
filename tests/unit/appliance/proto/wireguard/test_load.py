from appliance.proto.wireguard.load import Load, LoadMeter, SourceLimiter
from appliance.proto.wireguard.settings import Settings


def test_ok__load_is_remembered_for_a_second() -> None:
    meter = LoadMeter(Settings())
    states = [meter.note(0.0) for _ in range(129)]
    assert states[:128] == [Load.NORMAL] * 128
    assert states[128] is Load.UNDER_LOAD
    assert meter.note(0.9) is Load.UNDER_LOAD
    assert meter.note(1.1) is Load.NORMAL


def test_fail__a_full_queue_refuses() -> None:
    meter = LoadMeter(Settings(handshake_queue=16))
    assert [meter.note(0.0) for _ in range(17)][-1] is Load.FULL


def test_ok__burst_then_rate() -> None:
    limiter = SourceLimiter(Settings())
    assert [limiter.allow(b"x", 0.0) for _ in range(6)] == [True] * 5 + [False]
    assert not limiter.allow(b"x", 0.04)
    assert limiter.allow(b"x", 0.06)
    assert limiter.allow(b"y", 0.06)


def test_fail__a_full_table_refuses_new_sources_until_old_ones_rest() -> None:
    limiter = SourceLimiter(Settings(source_table=2))
    assert limiter.allow(b"a", 0.0)
    assert limiter.allow(b"b", 0.0)
    assert not limiter.allow(b"c", 0.1)
    assert limiter.allow(b"c", 0.3)
