import pytest

from appliance.proto.wireguard.replay import ReplayWindow


def test_ok__in_order_and_late() -> None:
    window = ReplayWindow(64)
    assert window.mark(0)
    assert window.mark(10)
    assert window.mark(5)
    assert not window.mark(5)
    assert not window.may_accept(10)
    assert window.may_accept(9)


def test_fail__older_than_the_window() -> None:
    window = ReplayWindow(64)
    assert window.mark(100)
    assert not window.may_accept(100 - 56)
    assert not window.mark(44)
    assert window.mark(45)


def test_ok__a_leap_forgets_everything_below() -> None:
    window = ReplayWindow(64)
    for counter in range(64):
        assert window.mark(counter)
    assert window.mark(10_000)
    assert window.mark(9_999)
    assert not window.mark(10_000)


@pytest.mark.parametrize("bits", [0, 63, 100])
def test_fail__size(bits: int) -> None:
    with pytest.raises(ValueError):
        ReplayWindow(bits)
