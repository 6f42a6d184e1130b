"""A third gateway relays for two that reach each other in no direct way: real packets, real NATs, real transfers.

LAN A - gateway-a - NAT ---- internet ---- NAT - gateway-b - LAN B
                                |
                      relay (203.0.113.30), control + DERP (203.0.113.1)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.mesh import PROGRAMS, Gateway, command
from tests.lab.processes import wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page
from tests.lab.test_garbage import attack
from tests.lab.test_outages import MEGABYTES, Transfer
from tests.lab.topology import NatKind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.namespaces import Lab

RELAY_IP, RELAY_PORT = "203.0.113.30", 41642
EVERYBODY = {"action": "accept", "src": ["*"], "dst": ["*:*"]}
GRANT = {"src": ["demo@"], "dst": ["relay@"], "app": {"tailscale.com/cap/relay": []}}
MIN_RATE = 50_000
"""Hostile packets a second that the sender must reach on a busy machine; what it reached is printed."""

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


@dataclass
class Relayed:
    sites: TwoSites
    relay: Gateway

    def grant(self, *grants: dict[str, Any]) -> None:
        policy = self.sites.directory / "policy.hujson"
        policy.write_text(json.dumps({"acls": [EVERYBODY], "grants": list(grants)}))
        result = self.sites.control.run("policy", "set", str(policy))
        assert result.code == 0, result.stderr

    def status(self) -> Any:
        return self.relay.json("relay", "status")

    def open_sessions(self) -> list[int]:
        return [each["vni"] for each in self.status()["sessions"] if each["state"] == "open"]

    def wait_for(self, kind: str, timeout_s: float = 60) -> None:
        for gateway, peer in ((self.sites.a, "gateway-b"), (self.sites.b, "gateway-a")):
            gateway.wait_for_path(peer, kind, timeout_s)

    def deafen(self, deaf: bool) -> None:
        """Drop everything on its way to the relay; at the relay itself the kernel forwards before nftables looks."""
        for where in (self.sites.site_a, self.sites.site_b):
            where.router.nft("add table inet deaf; delete table inet deaf")
            if deaf:
                where.router.nft(f"""table inet deaf {{
                    chain forward {{
                        type filter hook forward priority -10; policy accept;
                        ip daddr {RELAY_IP} udp dport {RELAY_PORT} drop
                    }}
                }}""")

    def filters(self) -> str:
        """Programs at the relay's one device."""
        return self.relay.host.run("tc", "filter", "show", "dev", "eth0", "ingress")

    def wait_for_kernel(self) -> None:
        """Until the relay's kernel carried a part of a transfer, and the daemon saw no packet of it meanwhile."""
        first: tuple[int, int] | None = None

        def carried() -> bool:
            nonlocal first
            status = self.status()
            assert status["kernel"]["on"], status["kernel"]["reason"]
            now = status["kernel"]["bytes"], status["forwarded_packets"] - status["kernel"]["packets"]
            if first is None or now[1] != first[1]:
                first = now
            return now[0] >= first[0] + 20_000

        wait_until(carried, 30, "the kernel to carry the pair's packets, all of them")

    def flood(self, seconds: float, during: Any = lambda: None) -> None:
        """Random, cut and mutated packets from a public host; what both sides had stays as it was."""
        before = self.open_sessions()
        attacker = self.sites.internet.server("attacker", 66)
        sent = attack(attacker, "relay", f"{RELAY_IP}:{RELAY_PORT}", seconds, during)
        rate = sent["messages"] / sent["seconds"]
        print(f"{rate:.0f} hostile packets/s for {sent['seconds']:.1f} s")
        assert rate >= MIN_RATE
        assert self.open_sessions() == before
        assert sum(n for name, n in self.status()["counters"].items() if name not in ("bound", "allocated")) > 0


def relayed(lab: Lab, directory: Path, kind: NatKind, megabytes: int = MEGABYTES) -> Relayed:
    sites = two_sites(lab, directory, kind, kind, megabytes)
    relay = Gateway(sites.internet.server("relay", 30), directory / "relay")
    relay.start()
    relay.up(sites.control.pre_auth_key("relay"), "--hostname", "relay")
    relay.must("plugins", "enable", "peer_relay")
    made = Relayed(sites, relay)
    sites.join()
    wait_for_page(sites)
    return made


def test_ok__symmetric_nats_meet_at_a_granted_relay_under_a_transfer(lab: Lab, tmp_path: Path) -> None:
    made = relayed(lab, tmp_path, NatKind.SYMMETRIC)
    sites = made.sites
    made.wait_for("derp")
    assert made.status()["sessions"] == [], "without a grant nobody uses it"
    transfer = Transfer.start(sites.site_a.host, f"{sites.url}/large.bin", 12)
    transfer.progress("by DERP")
    made.grant(GRANT)
    made.wait_for("peer-relay")
    assert sites.a.json("ping", "gateway-b", "-c", "1", "--no-until-direct")["path"]["kind"] == "peer-relay"
    if transfer.process.running:
        transfer.progress("by the relay")
        made.wait_for_kernel()
    made.flood(2.0)
    transfer.finish(sites.large_hash)
    made.wait_for("peer-relay")
    made.grant()
    wait_until(lambda: made.status()["sessions"] == [], 20, "the sessions to end with the grant")
    made.wait_for("derp")
    assert sites.page_comes()


@pytest.mark.long
def test_ok__fallback_return_flood_and_upgrade_to_direct_under_one_transfer(lab: Lab, tmp_path: Path) -> None:
    made = relayed(lab, tmp_path, NatKind.EASY)
    sites = made.sites
    walls = ((sites.site_a, 20), (sites.site_b, 10))
    for where, other in walls:
        where.router.nft(f"""table inet wall {{
            chain forward {{
                type filter hook forward priority -10; policy accept;
                ip daddr 203.0.113.{other} meta l4proto udp drop
            }}
        }}""")
    made.grant(GRANT)
    made.wait_for("peer-relay")
    transfer = Transfer.start(sites.site_a.host, f"{sites.url}/large.bin", 80)
    transfer.progress("by the relay")
    made.relay.must("plugins", "config", "peer_relay", "kernel=false")
    wait_until(lambda: not made.status()["kernel"]["on"], 15, "the kernel to let go")
    assert "switched off" in made.status()["kernel"]["reason"]
    transfer.progress("by the daemon")
    made.relay.must("plugins", "config", "peer_relay", "kernel=true")
    wait_until(lambda: made.status()["kernel"]["on"], 15, "the kernel to take over again")
    made.wait_for_kernel()
    made.deafen(True)
    made.wait_for("derp")
    transfer.progress("by DERP")
    made.deafen(False)
    made.wait_for("peer-relay")
    transfer.progress("by the relay again")
    made.flood(10.0)
    made.wait_for("peer-relay")
    transfer.progress("after the flood")
    for where, _ in walls:
        where.router.nft("delete table inet wall")
    made.wait_for("direct", 90)
    transfer.finish(sites.large_hash, 120)

    # The session lasts on; what a killed daemon leaves at the device goes with the clean-up that systemd runs.
    assert "waypost_relay" in made.filters()
    made.relay.kill()
    assert "waypost_relay" in made.filters()
    place = ("--state-dir", str(made.relay.directory / "state"), "--socket", str(made.relay.socket))
    cleaned = command(made.relay.host, str(PROGRAMS / "waypostd"), *place, "--clean-up")
    assert cleaned.code == 0, cleaned.stderr
    assert made.filters() == ""
