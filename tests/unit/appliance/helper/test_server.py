"""The server on a real socket, with the client that the daemon uses; the machine is the twin."""

import io
import json
import os
import socket
import stat
import threading

import pytest

from appliance.drivers.helper import HelperClient, HelperError
from appliance.helper import server as server_module
from appliance.helper.audit import audit_log
from appliance.helper.listener import made_socket
from appliance.helper.machine import MemoryMachine
from appliance.helper.server import HelperServer
from appliance.helper.verbs import Desk
from appliance.proto.helper.messages import MAX_MESSAGE_BYTES, Reboot, encode_message, parse_reply


class Running:
    """A server in a thread."""

    def __init__(self, path, uids, idle_s=None):
        self.path = str(path)
        self.machine = MemoryMachine()
        self.lines = io.StringIO()
        self.listener = made_socket(path, os.getegid())
        self.server = HelperServer(
            self.listener, Desk(self.machine, audit_log(self.lines), frozenset(uids)), idle_s=idle_s
        )
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    def close(self):
        self.server.stop()
        self.thread.join()
        self.listener.close()

    def outcomes(self):
        return [json.loads(line)["outcome"] for line in self.lines.getvalue().splitlines()]

    def exchange(self, data):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(5)
            connection.connect(self.path)
            connection.send(data)
            return connection.recv(MAX_MESSAGE_BYTES)


@pytest.fixture
def start(tmp_path):
    running = []

    def make(uids=None, **options):
        running.append(Running(tmp_path / "helper.sock", uids if uids is not None else {os.geteuid()}, **options))
        return running[-1]

    yield make
    for each in running:
        each.close()


async def test_ok__every_verb_through_the_client(start):
    running = start()
    client = HelperClient(running.path)
    await client.set_sysctl("net/ipv4/ip_forward", "1")
    await client.set_hostname("site-1")
    await client.set_resolver(["10.0.0.1"], ["lan"])
    await client.reboot()
    assert [call[0] for call in running.machine.calls] == ["sysctl", "hostname", "resolver", "reboot"]
    assert running.outcomes() == ["done"] * 4


async def test_ok__a_program_comes_as_descriptors_of_the_caller_s_own(start):
    running = start()
    passed = await HelperClient(running.path).load_relay(41642, 0x80000)
    assert running.machine.calls == [("relay", "41642", "524288")]
    assert all(stat.S_ISCHR(os.fstat(each).st_mode) for each in (passed.program, passed.pairs, passed.lease))
    assert not os.get_inheritable(passed.program)
    passed.close()


async def test_fail__a_kernel_that_refuses_is_told_and_nothing_is_passed(start):
    running = start()
    running.machine.refuse_with = OSError(1, "Operation not permitted")
    with pytest.raises(HelperError, match=r"load-relay failed.*not permitted") as caught:
        await HelperClient(running.path).load_relay(41642, 0)
    assert caught.value.code == "failed"


async def test_fail__refusal_reaches_the_caller_with_its_mend(start):
    running = start()
    with pytest.raises(HelperError, match="does not set") as caught:
        await HelperClient(running.path).set_sysctl("net/ipv4/conf/all/rp_filter", "0")
    assert caught.value.code == "refused"
    assert caught.value.mend
    assert running.machine.calls == []


async def test_fail__another_user_is_turned_away(start):
    running = start(uids={os.geteuid() + 1})
    with pytest.raises(HelperError, match="may not call"):
        await HelperClient(running.path).reboot()
    assert (running.machine.calls, running.outcomes()) == ([], ["refused"])


async def test_fail__nobody_there(tmp_path):
    with pytest.raises(HelperError) as caught:
        await HelperClient(str(tmp_path / "none")).reboot()
    assert caught.value.code == "helper-away"
    assert "waypost-helper.socket" in caught.value.mend


def test_fail__garbage_and_too_much(start):
    running = start()
    for data in (b"\xff\x00", b" " * (MAX_MESSAGE_BYTES + 1), b"{" * 20000):
        assert parse_reply(running.exchange(data)).code == "decode"
    assert parse_reply(running.exchange(encode_message(Reboot()))).code == ""
    assert running.outcomes() == ["refused"] * 3 + ["done"]


def test_ok__silent_and_hasty_callers_hold_nobody_up(start, monkeypatch):
    monkeypatch.setattr(server_module, "CALLER_TIMEOUT_S", 0.05)
    running = start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(running.path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as hasty:
            hasty.connect(running.path)
            hasty.send(encode_message(Reboot()))
        assert parse_reply(running.exchange(encode_message(Reboot()))).code == ""
    assert running.machine.calls == [("reboot",)] * 2


def test_ok__ends_when_idle(start):
    running = start(idle_s=0.01)
    running.thread.join(5)
    assert not running.thread.is_alive()


def test_ok__one_request_per_connection(start):
    running = start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(5)
        connection.connect(running.path)
        connection.send(encode_message(Reboot()))
        assert parse_reply(connection.recv(MAX_MESSAGE_BYTES)).code == ""
        assert connection.recv(MAX_MESSAGE_BYTES) == b""
