import pytest

from appliance.engine.kernel.traffic import user_bytes


@pytest.mark.parametrize("delta", [0, 32, 148, 92, 180, 124, 296, 184])
def test_ok__handshakes_and_keepalives_are_nobodys_traffic(delta: int) -> None:
    assert user_bytes(delta) == 0


@pytest.mark.parametrize("delta", [240, 272])
def test_ok__initiation_and_response_together_are_a_handshake_when_one_was_completed(delta: int) -> None:
    assert user_bytes(delta, handshake=True) == 0
    assert user_bytes(delta) == delta


@pytest.mark.parametrize(("delta", "data"), [(64, 64), (128 + 148, 128), (14400 + 92, 14400), (1312, 1312)])
def test_ok__data_counts(delta: int, data: int) -> None:
    assert user_bytes(delta) == data
