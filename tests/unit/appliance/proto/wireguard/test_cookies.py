from collections.abc import Callable

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.ports.randomness import SeededRandomness
from appliance.proto.wireguard.cookies import CookieChecker, CookieJar
from appliance.proto.wireguard.settings import Settings
from appliance.proto.wireguard.source import GeneveSource, RelaySource, cookie_bytes, limiter_key
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.keys import NodePrivateKey, NodePublicKey

SOURCE = AddrPort("192.0.2.1", 1000)
PUBLIC = public_key(NodePrivateKey(clamp(bytes(range(32)))))


@pytest.fixture
def sides() -> tuple[CookieChecker, CookieJar]:
    return CookieChecker(PUBLIC, Settings(), SeededRandomness(1)), CookieJar(PUBLIC, Settings())


def test_ok__cookie_makes_mac2(sides: tuple[CookieChecker, CookieJar]) -> None:
    checker, jar = sides
    first = jar.add_macs(bytes(148), 0.0)
    assert not checker.mac2_ok(first, SOURCE, 0.0)
    jar.receive_reply(checker.create_reply(first, 1, SOURCE, 0.0), 0.0)
    second = jar.add_macs(bytes(148), 1.0)
    assert checker.mac1_ok(second)
    assert checker.mac2_ok(second, SOURCE, 1.0)
    assert not checker.mac2_ok(second, AddrPort("192.0.2.1", 1001), 1.0)
    assert not checker.mac2_ok(second, SOURCE, 120.0)
    assert jar.add_macs(bytes(148), 120.0)[-16:] == bytes(16)


def test_fail__reply_to_another_message(sides: tuple[CookieChecker, CookieJar]) -> None:
    checker, jar = sides
    other = jar.add_macs(b"\x01" * 148, 0.0)
    jar.add_macs(bytes(148), 0.0)
    with pytest.raises(DecodeError):
        jar.receive_reply(checker.create_reply(other, 1, SOURCE, 0.0), 0.0)


def test_fail__reply_twice(sides: tuple[CookieChecker, CookieJar]) -> None:
    checker, jar = sides
    reply = checker.create_reply(jar.add_macs(bytes(148), 0.0), 1, SOURCE, 0.0)
    jar.receive_reply(reply, 0.0)
    with pytest.raises(DecodeError):
        jar.receive_reply(reply, 0.0)


@pytest.mark.parametrize("form", [cookie_bytes, limiter_key])
def test_ok__sources_are_told_apart(form: Callable[..., bytes]) -> None:
    addr = AddrPort("2001:db8::1", 5)
    relayed = [RelaySource(NodePublicKey(bytes((n,)) * 32)) for n in (1, 2)]
    sources = [SOURCE, addr, GeneveSource(addr, 1), GeneveSource(addr, 2), *relayed]
    assert len({form(source) for source in sources}) == len(sources)


def test_ok__limiter_takes_a_v6_network_as_one_host() -> None:
    assert limiter_key(AddrPort("2001:db8::1", 5)) == limiter_key(AddrPort("2001:db8::ffff", 6))
    assert limiter_key(AddrPort("192.0.2.1", 5)) != limiter_key(AddrPort("192.0.2.2", 5))
