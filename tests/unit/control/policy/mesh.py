"""A small mesh for tests of the policy: the vectors of policy-and-management spec 2.9 run on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_network

from control.policy.compiled import CompiledPolicy
from control.policy.document import parse_policy


@dataclass(frozen=True)
class Person:
    id: int
    name: str
    email: str = ""
    role: str = "member"


@dataclass(frozen=True)
class Box:
    id: int
    user_id: int | None = None
    tags: tuple = ()
    subnet_routes: tuple = ()
    exit_routes: tuple = ()
    services: tuple = ()
    attributes: dict = field(default_factory=dict, hash=False)

    @property
    def ipv4(self):
        return IPv4Address(f"100.64.0.{self.id}")

    @property
    def ipv6(self):
        return IPv6Address(f"fd7a:115c:a1e0::{self.id}")


LAN = ip_network("10.0.0.0/24")
ALL4 = ip_network("0.0.0.0/0")
PEOPLE = [Person(1, "a", "a@example.com"), Person(2, "b", "b@example.org", "admin")]
MESH = [Box(1, 1), Box(2, 1), Box(3, 2), Box(9, None, ("tag:r",), (LAN,))]
TAGS = '"tagOwners": {"tag:r": [], "tag:s": []}'


def compiled(sections: str, nodes=MESH, **more) -> CompiledPolicy:
    """The sections with `TAGS` as a policy over `nodes`."""
    return CompiledPolicy(parse_policy(f"{{{TAGS}, {sections}}}"), PEOPLE, nodes, **more)
