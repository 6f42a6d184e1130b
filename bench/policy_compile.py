"""The policy at 1,000 rules and 10,000 nodes: reading it, compiling it over the mesh, and one node's change.

Nodes are 100 groups of 100, a fifth of them tagged, 100 routers; rules are grants between groups, tags, users and
networks with SSH rules, postures and one rule toward autogroup:self. A change moves one node to another tag or address,
and `answer` asks for one node's filter and peers, as a server does when a map is due. CPU time,
so that a shared machine counts less; each grant has two ports, so the table holds 2,000 rules in normal form.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from random import Random

from appliance.types.ids import NodeId, UserId
from bench.report import line
from control.policy.compiled import CompiledPolicy
from control.policy.document import parse_policy
from control.policy.meshfile import MeshNode, MeshUser

RULES = 1000
NODES = 10_000
GROUPS = 100
CHANGES = 300
ROUNDS = 3


def policy_text() -> str:
    """The document."""
    chance = Random(7)
    groups = {f"group:g{number}": [f"u{number}@"] for number in range(GROUPS)}
    names = [*groups, *(f"tag:t{number}" for number in range(GROUPS))]
    networks = [f"10.{number}.0.0/16" for number in range(GROUPS)]
    rules: list[dict[str, object]] = [
        {
            "src": chance.sample(names, 2),
            "dst": [chance.choice(names), chance.choice([*names, *networks])],
            "ip": [f"tcp:{chance.randrange(1, 60000)}", "udp:53"],
            **({"srcPosture": ["posture:linux"]} if number % 20 == 0 else {}),
        }
        for number in range(RULES - 1)
    ]
    rules.append({"src": ["autogroup:member"], "dst": ["autogroup:self"], "ip": ["*"]})
    ssh = [
        {"action": "accept", "src": [f"group:g{number}"], "dst": [f"tag:t{number}"], "users": ["root"]}
        for number in range(50)
    ]
    return json.dumps(
        {
            "groups": groups,
            "tagOwners": {f"tag:t{number}": [] for number in range(GROUPS)},
            "postures": {"posture:linux": ["node:os == 'linux'"]},
            "grants": rules,
            "ssh": ssh,
        }
    )


def node(number: int, tag: int | None = None) -> MeshNode:
    """One of the mesh; `tag` gives it another tag than its own."""
    group = number % GROUPS
    tagged = tag is not None or number % 5 == 0
    routes = (ip_network(f"10.{group}.{number // GROUPS % 256}.0/24"),) if number % 100 == 5 else ()
    return MeshNode(
        id=NodeId(number + 1),
        name=f"n{number}",
        ipv4=IPv4Address("100.64.0.0") + number + 1,
        ipv6=IPv6Address("fd7a:115c:a1e0::") + number + 1,
        user_id=None if tagged else UserId(group + 1),
        tags=(f"tag:t{group if tag is None else tag}",) if tagged else (),
        advertised_routes=routes,
        approved_routes=routes,
        attributes={"node:os": "linux" if number % 2 else "macos"},
    )


def timed(work: Callable[[], object]) -> float:
    """Milliseconds, the best of some rounds."""
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        found.append((time.process_time() - started) * 1e3)
    return min(found)


def run(directory: Path) -> Iterator[str]:
    text = policy_text()
    policy = parse_policy(text)
    users = [MeshUser(UserId(number + 1), f"u{number}") for number in range(GROUPS)]
    nodes = [node(number) for number in range(NODES)]
    size = {"rules": RULES, "nodes": NODES}
    yield line("policy_compile", timed(lambda: parse_policy(text)), "ms", variant="read", **size)
    yield line("policy_compile", timed(lambda: CompiledPolicy(policy, users, nodes)), "ms", variant="full", **size)
    compiled = CompiledPolicy(policy, users, nodes)
    delays: list[float] = []
    for number in range(CHANGES):
        changed = node(number * 31 % NODES, tag=number % GROUPS)
        started = time.process_time()
        compiled.put_node(changed)
        delays.append((time.process_time() - started) * 1e3)
    delays.sort()
    for variant, value in (("change_p50", delays[CHANGES // 2]), ("change_p99", delays[-CHANGES // 100])):
        yield line("policy_compile", value, "ms", variant=variant, changes=CHANGES, **size)
    started = time.process_time()
    asked = nodes[::20]
    for entry in asked:
        compiled.filter_rules(entry.id)
        compiled.visible_peers(entry.id)
    spent = (time.process_time() - started) * 1e3 / len(asked)
    yield line("policy_compile", spent, "ms", variant="answer", asked=len(asked), **size)
