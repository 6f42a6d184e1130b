"""Which hosts behind this one use the exit and which leave directly, in nftables' words. Pure; of the guard's table.

A host leaves directly only when it is known to be none of those that the exit is for: whatever the rules do not know
goes by the exit, or nowhere. Where hosts are named in one IP version alone, all hosts' packets of the other one use the
exit, for nobody can tell whose they are. Each packet is judged anew, so that a connection which began directly ends
when its host is given to the exit.

| chain | hook, priority | does |
|---|---|---|
| split | prerouting, -144 | judges what hosts send to places outside; after `asked`, which gives old marks back |
| direct | - | marks a packet, and its flow for the sake of the answers, for the host's own routes |
| kept | - | takes such a mark away |
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.ports.firewall import HASHED, NftChain, NftSet
from appliance.router.model import MARK_BYPASS, MARK_MASK, Split
from appliance.router.ranges import address_elements
from appliance.types.senders import Senders

_KEEP = 0xFFFFFFFF & ~MARK_MASK
HAS_BYPASS = f"& {MARK_MASK:#010x} == {MARK_BYPASS:#010x}"
SET_BYPASS = f"& {_KEEP:#010x} | {MARK_BYPASS:#010x}"
"""What follows `meta mark` or `ct mark` to look for the bypass mark, and `meta mark set meta mark` to give it."""
_WORD = {4: "ip", 6: "ip6"}


def split_chains(interface: str, split: Split) -> Iterator[NftChain]:
    """Needs the sets `near` and `inside` of the guard."""
    spared = [f"{word} daddr @{name}{version} return" for name in ("near", "inside") for version, word in _WORD.items()]
    others = list(_from("other", split.not_hosts, "direct"))
    if split.hosts:
        others += _from("host", split.hosts, "kept")
        others += [f"meta nfproto ipv{version} goto direct" for version in sorted(split.hosts.versions)]
    rules = (
        f'iifname {{ "lo", "{interface}" }} return',
        "ct direction reply return",
        "fib daddr type local return",
        *spared,
        *others,
        "goto kept",
    )
    yield NftChain("split", rules, "type filter hook prerouting priority -144; policy accept;")
    yield NftChain("direct", (f"meta mark set meta mark {SET_BYPASS}", f"ct mark set ct mark {SET_BYPASS}"))
    yield NftChain("kept", (f"meta mark {HAS_BYPASS} meta mark set meta mark & {_KEEP:#010x}",))


def split_sets(split: Split) -> Iterator[NftSet]:
    for name, senders in (("host", split.hosts), ("other", split.not_hosts)):
        for version in _WORD:
            yield NftSet(f"{name}{version}", f"ipv{version}_addr", address_elements(version, senders.prefixes))
        yield NftSet(f"{name}_ether", "ether_addr", dict.fromkeys(senders.hardware, ""), HASHED)


def _from(name: str, senders: Senders, chain: str) -> Iterator[str]:
    """Rules that send the packets of these senders to a chain."""
    for version, word in _WORD.items():
        if any(prefix.version == version for prefix in senders.prefixes):
            yield f"{word} saddr @{name}{version} goto {chain}"
    if senders.hardware:
        yield f"ether saddr @{name}_ether goto {chain}"
    if senders.interfaces:
        names = ", ".join(f'"{each}"' for each in senders.interfaces)
        yield f"iifname {{ {names} }} goto {chain}"
