"""The relay's program in the kernel, on real packets; the relay is no router (ip_forward stays 0).

end-a (10.88.1.2, fd88:1::2) - relay (10.88.1.1, 10.88.2.1, ...) - end-b (10.88.2.2, fd88:2::2)

Senders compute checksums themselves, so that end-b's kernel checks what the relay made of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from appliance.proto.geneve import PROTOCOL_DISCO, PROTOCOL_WIREGUARD, GeneveHeader, encode_header
from tests.lab.mesh import command
from tests.lab.processes import PATIENCE, Process, wait_until
from tests.lab.relay_host import PORT

if TYPE_CHECKING:
    from tests.lab.namespaces import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(90 * PATIENCE)]

ROOT = Path(__file__).resolve().parents[2]
A4, A6, OTHER_A = "10.88.1.2:1001", "[fd88:1::2]:1001", "10.88.1.3:1001"
B4, B4_TOO, B6 = "10.88.2.2:1002", "10.88.2.2:1003", "[fd88:2::2]:1002"
RELAY_A4, RELAY_B4, RELAY_A6 = f"10.88.1.1:{PORT}", f"10.88.2.1:{PORT}", f"[fd88:1::1]:{PORT}"
RELAY_B6 = f"[fd88:2::1]:{PORT}"
ONE, TWO, SIX, HALF, CROSS = range(1, 6)
"""VNIs of the sessions below, in order."""
SESSIONS = [[A4, B4], [A4, B4_TOO], [A6, B6], [A4, ""], [A4, B6]]


def data(vni: int, payload: bytes = b"payload of an odd size ", protocol: int = PROTOCOL_WIREGUARD) -> bytes:
    return encode_header(GeneveHeader(protocol, vni)) + payload


class World:
    def __init__(self, lab: Lab, bytes_per_s: int = 0) -> None:
        self.a, self.relay, self.b = (lab.namespace(name) for name in ("end-a", "relay", "end-b"))
        for number, end in ((1, self.a), (2, self.b)):
            lab.cable(self.relay, f"r{number}", end, "eth0")
            for host, interface, last in ((self.relay, f"r{number}", 1), (end, "eth0", 2)):
                host.ip(f"addr add 10.88.{number}.{last}/24 dev {interface}")
                host.ip(f"addr add fd88:{number}::{last}/64 dev {interface} nodad")
        self.a.ip("addr add 10.88.1.3/24 dev eth0")
        self.settings = {"sessions": SESSIONS, "bytes_per_s": bytes_per_s}
        self.process = self.start("first")
        self.received = self.b.start("receive", *self.end("receive", [B4, B4_TOO, B6]), env=self.env)
        self.received.wait_for_output("ready")

    env = {"PYTHONPATH": str(ROOT)}  # noqa: RUF012  # never changed

    def end(self, *arguments: Any) -> list[str]:
        return [sys.executable, "-u", "-m", "tests.lab.relay_end", arguments[0], json.dumps(arguments[1])]

    def start(self, name: str) -> Process:
        words = (sys.executable, "-u", "-m", "tests.lab.relay_host", json.dumps(self.settings))
        process = self.relay.start(name, *words, env=self.env)
        process.wait_for_output("{")
        if "refused" in process.output():
            pytest.skip(f"this kernel takes no program from here: {process.output().strip()}")
        return process

    @property
    def told(self) -> dict[str, Any]:
        """What the relay saw when it looked last."""
        return json.loads(self.process.output().splitlines()[-1])

    def send(self, *packets: dict[str, Any]) -> None:
        sent = command(self.a, "env", f"PYTHONPATH={ROOT}", *self.end("send", packets))
        assert sent.code == 0, sent.stderr

    def arrived(self) -> list[list[str]]:
        return [json.loads(line) for line in self.received.output().splitlines()[1:]]

    def wait_for(self, field: str, least: int) -> None:
        wait_until(lambda: self.told[field] >= least, 15, f"{least} of {field}: {self.told}")

    def filters(self, interface: str) -> str:
        return self.relay.run("tc", "filter", "show", "dev", interface, "ingress")


def packet(payload: bytes, source: str = A4, to: str = RELAY_A4, **more: Any) -> dict[str, Any]:
    return {"from": source, "to": to, "payload": payload.hex(), **more}


def refused(world: World) -> int:
    """Datagrams that came to the relay's host and found no socket."""
    lines = [line.split() for line in world.relay.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:")]
    return int(dict(zip(*lines, strict=True))["NoPorts"])


def test_ok__bound_sessions_and_nothing_else_by_the_kernel_until_it_ends(lab: Lab) -> None:
    world = World(lab)
    assert world.told["serving"] == 3, "half bound ones and those of two IP versions are the socket's"
    assert "waypost_relay" in world.filters("r1")

    many = data(TWO) * 5
    world.send(
        packet(data(ONE), count=50),
        packet(data(ONE, b"disco", PROTOCOL_DISCO)),
        packet(data(SIX), A6, RELAY_A6, count=20),
        packet(many, segment=len(data(TWO))),
    )
    world.wait_for("kernel", 76)
    assert (world.told["kernel"], world.told["socket"]) == (76, 0)
    assert world.told["kernel_bytes"] == 75 * len(data(ONE)) + len(data(ONE, b"disco"))
    wait_until(lambda: len(world.arrived()) == 76, 10, "everything at end-b")
    assert world.arrived().count([B4, RELAY_B4, data(ONE).hex()]) == 50, "from the relay's own address"
    assert world.arrived().count([B6, RELAY_B6, data(SIX).hex()]) == 20
    assert world.arrived().count([B4_TOO, RELAY_B4, data(TWO).hex()]) == 5

    mixed = data(ONE) + data(TWO) + data(ONE)
    control = encode_header(GeneveHeader(PROTOCOL_DISCO, ONE, control=True)) + bytes(152)
    world.send(
        packet(data(ONE), OTHER_A),  # another address, the same port
        packet(data(ONE), A4.replace("1001", "1009")),  # another port
        packet(data(77)),
        packet(data(HALF)),
        packet(data(ONE), A6, RELAY_A6),  # the address of another session
        packet(control),
        packet(b"\0\0\x7a\x13" + data(ONE)[4:]),
        packet(data(ONE)[:7] + b"\1" + data(ONE)[8:]),
        packet(b"x"),
        packet(mixed, segment=len(data(ONE))),
        packet(data(CROSS)),
        packet(data(ONE), corrupt=True),
    )
    world.wait_for("socket", 4)
    world.wait_for("kernel", 77)
    wait_until(lambda: len(world.arrived()) == 80, 10, "the mixed ones, parted, and the one to the other IP version")
    told = world.told
    assert (told["kernel"], told["socket"]) == (77, 4), "the corrupt one was not mended, only sent on"
    assert told["counters"]["unbound"] == 4
    assert told["counters"]["unknown_vni"] == 1
    assert world.arrived()[76:].count([B4_TOO, RELAY_B4, data(TWO).hex()]) == 1
    assert world.arrived()[76:].count([B4, RELAY_B4, data(ONE).hex()]) == 2
    assert told["seen"][0][0] > 0, "the session lives by what the kernel forwards"
    assert told["seen"][0][1] == 0, "the other side sent nothing"

    world.process.kill()
    assert "waypost_relay" in world.filters("r1"), "a filter outlives its process"
    before = len(world.arrived())
    world.process = world.start("second")
    assert world.told["kernel"] == 0
    world.send(packet(data(ONE)))
    world.wait_for("kernel", 1)
    wait_until(lambda: len(world.arrived()) == before + 1, 10, "one packet by the second run, and once only")
    world.process.stop()
    words = (sys.executable, "-m", "tests.lab.relay_host", "contract", A4, B4, B6)
    kept = command(world.relay, "env", f"PYTHONPATH={ROOT}", *words)
    assert kept.code == 0, kept.stderr
    assert [world.filters(name) for name in ("r1", "r2", "lo")] == ["", "", ""]
    assert "clsact" not in world.relay.run("tc", "qdisc", "show")


def test_ok__a_dead_relay_forwards_nothing_and_a_pair_keeps_to_its_rate(lab: Lab) -> None:
    world = World(lab, bytes_per_s=125_000)
    world.send(packet(data(ONE, bytes(992)), count=1000))
    wait_until(lambda: world.told["counters"].get("over_rate"), 15, "packets above the rate")
    wait_until(lambda: world.told["kernel"] + world.told["counters"]["over_rate"] == 1000, 15, "all to be counted")
    assert 125 <= world.told["kernel"] < 900
    world.process.kill()

    before = refused(world)

    def goes_up() -> bool:
        world.send(packet(data(TWO)), packet(data(TWO)))
        return refused(world) > before

    wait_until(goes_up, 20, "the lease to be over")
