"""Each call is decided, done on the twin of the machine, and leaves one audit line."""

import io
import json
import logging

import pytest

from appliance.helper.audit import audit_log
from appliance.helper.machine import MemoryMachine
from appliance.helper.resolver import HEADER, render_resolver
from appliance.helper.verbs import Caller, Desk
from appliance.proto.helper.messages import (
    LoadRelay,
    Reboot,
    Reply,
    SetHostname,
    SetResolver,
    SetSysctl,
    encode_message,
)

DAEMON = Caller(pid=10, uid=990, gid=990)
STRANGER = Caller(pid=11, uid=1000, gid=1000)


@pytest.fixture
def machine():
    return MemoryMachine()


@pytest.fixture
def lines():
    return io.StringIO()


@pytest.fixture
def desk(machine, lines):
    return Desk(machine, audit_log(lines), frozenset({0, 990}))


def audit(lines):
    return [json.loads(line) for line in lines.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("request_", "call"),
    [
        (SetSysctl(key="net/ipv4/ip_forward", value="1"), ("sysctl", "net/ipv4/ip_forward", "1")),
        (SetHostname(name="site-1"), ("hostname", "site-1")),
        (SetResolver(nameservers=("10.0.0.1",)), ("resolver", HEADER + "nameserver 10.0.0.1\n")),
        (SetResolver(), ("resolver", "")),
        (LoadRelay(port=41642, mark=0x80000), ("relay", "41642", "524288")),
        (Reboot(), ("reboot",)),
    ],
)
def test_ok__done_and_written_down(desk, machine, lines, request_, call):
    assert desk.answer(DAEMON, encode_message(request_)) == Reply()
    assert machine.calls == [call]
    passed = desk.take_descriptors()
    assert (passed is not None) == isinstance(request_, LoadRelay)
    if passed is not None:
        passed.close()
    assert desk.take_descriptors() is None
    (line,) = audit(lines)
    assert line["outcome"] == "done"
    assert line["verb"] == json.loads(encode_message(request_))["verb"]
    assert (line["pid"], line["uid"], line["level"]) == (10, 990, "info")
    assert line["timestamp"].endswith("Z")


def test_ok__audit_does_not_depend_on_the_process_wide_set_up(desk, lines):
    logging.disable(logging.CRITICAL)
    try:
        desk.answer(DAEMON, encode_message(Reboot()))
    finally:
        logging.disable(logging.NOTSET)
    assert len(audit(lines)) == 1


def test_fail__setting_off_the_list(desk, machine, lines):
    reply = desk.answer(DAEMON, encode_message(SetSysctl(key="net/ipv4/conf/all/rp_filter", value="0")))
    assert reply.code == "refused"
    assert machine.calls == []
    (line,) = audit(lines)
    assert (line["outcome"], line["key"], line["level"]) == ("refused", "net/ipv4/conf/all/rp_filter", "warning")


@pytest.mark.parametrize("data", [b"\x00", b'{"verb":"run"}', b"x" * 5000])
def test_fail__not_a_request(desk, machine, lines, data):
    assert desk.answer(DAEMON, data).code == "decode"
    assert machine.calls == []
    (line,) = audit(lines)
    assert (line["outcome"], line["bytes"]) == ("refused", len(data))


def test_fail__the_machine_refuses(desk, machine, lines):
    machine.refuse_with = FileNotFoundError(2, "No such file or directory")
    reply = desk.answer(DAEMON, encode_message(SetSysctl(key="net/ipv4/ip_forward", value="1")))
    assert reply.code == "failed"
    assert "No such file" in reply.text
    (line,) = audit(lines)
    assert line["outcome"] == "failed"


def test_fail__stranger(desk, lines):
    assert [desk.may_call(caller) for caller in (DAEMON, Caller(1, 0, 0), STRANGER)] == [True, True, False]
    assert desk.turn_away(STRANGER).code == "refused"
    (line,) = audit(lines)
    assert (line["outcome"], line["uid"]) == ("refused", 1000)


def test_ok__resolver_file():
    request = SetResolver(nameservers=("100.100.100.100", "FD00::0053"), search=("mesh.example", "lan"))
    assert render_resolver(request) == (
        HEADER + "nameserver 100.100.100.100\nnameserver fd00::53\nsearch mesh.example lan\n"
    )
