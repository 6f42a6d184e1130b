"""Keys: text forms, kinds kept apart, secrets never shown (control-protocol spec section 1)."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.types.errors import DecodeError
from appliance.types.keys import (
    DiscoPublicKey,
    MachinePublicKey,
    NodePrivateKey,
    NodePublicKey,
)

RAW = bytes(range(32))
HEX = RAW.hex()


@pytest.mark.parametrize(
    ("kind", "prefix"), [(NodePublicKey, "nodekey:"), (MachinePublicKey, "mkey:"), (DiscoPublicKey, "discokey:")]
)
def test_ok__public_key_round_trip(kind: type[NodePublicKey], prefix: str) -> None:
    assert str(kind(RAW)) == prefix + HEX
    assert kind.parse(prefix + HEX.upper()) == kind(RAW)
    assert hash(kind.parse(prefix + HEX)) == hash(kind(RAW))


def test_ok__kinds_are_never_equal() -> None:
    assert NodePublicKey(RAW) != DiscoPublicKey(RAW)
    assert len({NodePublicKey(RAW), DiscoPublicKey(RAW)}) == 2


def test_ok__order_is_bytewise() -> None:
    assert sorted([NodePublicKey(b"\x02" * 32), NodePublicKey(b"\x01" * 32)])[0] == NodePublicKey(b"\x01" * 32)


def test_ok__zero_and_short_forms() -> None:
    assert NodePublicKey.zero().is_zero
    assert not NodePublicKey(RAW).is_zero
    assert NodePublicKey(RAW).short == HEX[:8]


@given(st.text(max_size=90))
def test_fail__any_other_text(text: str) -> None:
    if text.startswith("nodekey:") and len(text) == 72:
        return
    with pytest.raises(DecodeError):
        NodePublicKey.parse(text)


@pytest.mark.parametrize("text", ["nodekey:" + HEX + "00", "nodekey:" + HEX[:-2], "nodekey:" + "g" * 64, "mkey:" + HEX])
def test_fail__wrong_length_digits_or_prefix(text: str) -> None:
    with pytest.raises(DecodeError):
        NodePublicKey.parse(text)


def test_fail__wrong_size() -> None:
    with pytest.raises(DecodeError):
        NodePublicKey(b"short")
    with pytest.raises(DecodeError):
        NodePrivateKey(RAW + RAW)


def test_fail__keys_do_not_change() -> None:
    with pytest.raises(AttributeError):
        NodePublicKey(RAW).raw = b""
    with pytest.raises(AttributeError):
        NodePrivateKey(RAW)._raw = b""


def test_ok__secrets_are_never_shown() -> None:
    secret = NodePrivateKey(RAW)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", repr([secret]), str({"key": secret})]
    assert not [text for text in shown if HEX[:8] in text]
    assert secret.reveal() == RAW
    assert NodePrivateKey.parse(secret.reveal_text()) == secret


def test_fail__the_error_of_a_secret_does_not_repeat_it() -> None:
    with pytest.raises(DecodeError) as error:
        NodePrivateKey.parse("privkey:" + HEX + "0")
    assert HEX[:8] not in str(error.value)


def test_fail__secrets_are_not_pickled_by_accident() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(NodePrivateKey(RAW))
    assert pickle.loads(pickle.dumps(NodePublicKey(RAW))) == NodePublicKey(RAW)
