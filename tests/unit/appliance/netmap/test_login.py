"""The login machine: key choice (7.3) and the order in which an answer is judged (7.2)."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.netmap.login import (
    KeyExpired,
    LoginMachine,
    NodeKeys,
    Refused,
    RegisterAgain,
    Registered,
    RetryLater,
    VisitUrl,
)
from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control import messages as wire
from appliance.types.errors import DecodeError
from appliance.types.keys import NodePrivateKey, NodePublicKey

HOSTINFO = wire.Hostinfo(hostname="gw")
ZERO = str(NodePublicKey.zero())
CLOCK = VirtualClock()


def pair(number: int, old: NodePublicKey | None = None) -> NodeKeys:
    private = NodePrivateKey(clamp(bytes([number]) * 32))
    return NodeKeys(private, public_key(private), old)


def machine(keys: NodeKeys | None = None) -> LoginMachine:
    made = iter(range(1, 100))
    return LoginMachine(keys, lambda: pair(next(made)), clock=CLOCK, randomness=SeededRandomness(1))


def answer(**fields: object) -> bytes:
    return wire.encode(wire.RegisterResponse(machine_authorized=True, **fields))  # type: ignore[arg-type]  # by name


def test_ok__first_start() -> None:
    login = machine()
    login.start("key")
    request = login.request(HOSTINFO)
    assert request.node_key == str(pair(1).public)
    assert request.old_node_key == ZERO
    assert login.keys is None, "a trial until accepted"
    assert isinstance(login.receive_response(200, answer()), Registered)
    assert login.keys == pair(1)


def test_ok__restart_sends_stored_keys() -> None:
    stored = pair(50, pair(49).public)
    login = machine(stored)
    request = login.request(HOSTINFO)
    assert (request.node_key, request.old_node_key) == (str(stored.public), str(pair(49).public))
    assert request.auth is None


def test_ok__renewal_keeps_the_old_key_until_accepted() -> None:
    login = machine(pair(50))
    login.start(new_key=True)
    request = login.request(HOSTINFO)
    assert request.old_node_key == str(pair(50).public)
    assert isinstance(login.receive_response(200, answer(auth_url="https://c/1")), VisitUrl)
    assert login.keys == pair(50)
    assert login.request(HOSTINFO).node_key == request.node_key
    assert login.request(HOSTINFO).followup == "https://c/1"
    login.receive_response(200, answer())
    assert login.keys is not None
    assert str(login.keys.public) == request.node_key
    assert login.keys.old == pair(50).public
    assert login.request(HOSTINFO).followup == ""


def test_ok__logout_request() -> None:
    login = machine(pair(50))
    request = login.logout_request(HOSTINFO)
    assert request is not None
    assert request.expiry == wire.LOGOUT_EXPIRY
    assert request.node_key == str(pair(50).public)
    login.forget()
    assert login.logout_request(HOSTINFO) is None


def test_ok__auth_key_is_sent_again_at_restart_and_logout() -> None:
    login = machine()
    login.start("key")
    login.receive_response(200, answer()) if login.request(HOSTINFO) else None
    assert login.request(HOSTINFO).auth == wire.Auth(auth_key="key")
    logout = login.logout_request(HOSTINFO)
    assert logout is not None
    assert logout.auth == wire.Auth(auth_key="key")


def test_fail__expired_key_is_replaced_once() -> None:
    login = machine(pair(50))
    login.start("key")
    login.request(HOSTINFO)
    assert login.receive_response(200, answer(node_key_expired=True)) == RegisterAgain()
    request = login.request(HOSTINFO)
    assert request.node_key == str(pair(1).public)
    assert request.old_node_key == str(pair(50).public)
    assert isinstance(login.receive_response(200, answer(node_key_expired=True)), Refused)


def test_fail__expired_key_without_credentials() -> None:
    login = machine(pair(50))
    assert login.receive_response(200, answer(node_key_expired=True)) == KeyExpired()
    assert login.needs_person
    login.start("key")
    assert not login.needs_person


def test_ok__same_url_again_is_told() -> None:
    login = machine()
    login.start()
    login.request(HOSTINFO)
    assert login.receive_response(200, answer(auth_url="https://c/1")) == VisitUrl("https://c/1")
    assert login.receive_response(200, answer(auth_url="https://c/1")) == VisitUrl("https://c/1", repeated=True)


@pytest.mark.parametrize(
    "url", ["javascript:x", "https://", "https://c/\x1b[2J", "https://c/" + "x" * 3000, "ftp://c/"]
)
def test_fail__login_page_that_is_no_url(url: str) -> None:
    login = machine()
    login.start()
    login.request(HOSTINFO)
    assert isinstance(login.receive_response(200, answer(auth_url=url)), Refused)
    assert login.auth_url == ""


def test_ok__words_of_the_server_hold_no_control_characters() -> None:
    outcome = machine().receive_response(200, answer(error="no\x1b[31m way\n" + "x" * 900))
    assert isinstance(outcome, Refused)
    assert outcome.text.isprintable()
    assert len(outcome.text) <= 500


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"error": "no", "node_key_expired": True, "auth_url": "https://c/1"}, Refused("no")),
        ({"node_key_signature": b"s", "auth_url": "https://c/1"}, RegisterAgain()),
        ({"node_key_expired": True, "auth_url": "https://c/1"}, RegisterAgain()),
    ],
)
def test_ok__order_of_judgement(fields: dict[str, object], outcome: object) -> None:
    login = machine()
    login.start("key")
    login.request(HOSTINFO)
    assert login.receive_response(200, answer(**fields)) == outcome


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("7", 7, 7),
        (format_datetime(CLOCK.wall_now() + timedelta(seconds=90), usegmt=True), 90, 90),
        ("3601", 5, 10),
        ("0", 5, 10),
        ("-5", 5, 10),
        ("soon", 5, 10),
        ("", 5, 10),
        (format_datetime(CLOCK.wall_now() - timedelta(seconds=90), usegmt=True), 5, 10),
    ],
)
def test_ok__retry_after(text: str, low: float, high: float) -> None:
    outcome = machine().receive_response(429, b"", text)
    assert isinstance(outcome, RetryLater)
    assert low <= outcome.after_s <= high


@pytest.mark.parametrize(("status", "fatal"), [(400, True), (401, True), (500, False), (503, False), (302, False)])
def test_fail__other_status(status: int, fatal: bool) -> None:
    assert machine().receive_response(status, b"why\n") == Refused("why", status, fatal)
    assert machine().receive_response(status, b"") == Refused(f"HTTP {status}", status, fatal)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"Error": 5}', b"\xff"])
def test_fail__unreadable(body: bytes) -> None:
    with pytest.raises(DecodeError):
        machine().receive_response(200, body)
