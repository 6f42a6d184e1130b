"""Tables of iptables-legacy, built by the kernel's headers word by word, as nft's JSON would have them."""

from __future__ import annotations

import struct
from itertools import accumulate

import pytest

from appliance.drivers.legacy_tables import FORMS, parse_table
from appliance.router.foreign import find_drops, opening_document
from appliance.router.model import RouterModel
from appliance.types.errors import DecodeError

ACCEPT, DROP, RETURN = -2, -1, -5
NONE = 0xFFFFFFFF


def interface(name: str) -> tuple[bytes, bytes]:
    """Value and mask; a name ends with its zero byte unless it stands for all that begin so."""
    value = name.removesuffix("+").encode() if name.endswith("+") else name.encode() + b"\0" if name else b""
    return value.ljust(16, b"\0"), (b"\xff" * len(value)).ljust(16, b"\0")


def entry(
    verdict: int = ACCEPT,
    came: str = "",
    goes: str = "",
    *,
    version: int = 4,
    target: str = "",
    text: str = "",
    protocol: int = 0,
    goto: bool = False,
    inverted: int = 0,
    match: str = "",
    address: bytes = b"",
) -> bytes:
    form = FORMS[version]
    (first, first_mask), (second, second_mask) = interface(came), interface(goes)
    head = address.ljust(form.interfaces, b"\0") + first + second + first_mask + second_mask
    head += struct.pack("=H", protocol) + (b"" if version == 4 else b"\0")
    head = (head + bytes((form.goto if goto else 0, inverted))).ljust(form.offsets - 4, b"\0") + bytes(4)
    matches = struct.pack("=H29sx", 40, match.encode()) + bytes(8) if match else b""
    data = text.encode().ljust(32, b"\0") if target == "ERROR" else struct.pack("=ixxxx", verdict)
    end = struct.pack("=H29sx", 32 + len(data), target.encode()) + data
    at = form.matches + len(matches)
    offsets = struct.pack("=HHI", at, at + len(end), 0)
    return (head + offsets).ljust(form.matches, b"\0") + matches + end


def table(*chains: list[bytes], version: int = 4) -> list[dict]:
    """input, forward and output, the last entry of each its policy; then those of users, each begun by its name."""
    entries = [each for chain in chains for each in chain]
    starts = [0, *accumulate(map(len, entries))]
    firsts = list(accumulate(map(len, chains[:2]), initial=0))
    hooks = [starts[first] for first in firsts]
    policies = [starts[first + len(chain) - 1] for first, chain in zip(firsts, chains[:3], strict=True)]
    info = (NONE, *hooks, NONE), (NONE, *policies, NONE)
    return parse_table(version, info, b"".join([*entries, entry(target="ERROR", text="ERROR", version=version)]))


def drops(objects: list[dict]) -> list[str]:
    return [str(drop) for drop in find_drops(objects, "waypost0")]


def forward(*rules: bytes, policy: int = DROP) -> list[str]:
    return drops(table([entry()], [*rules, entry(policy)], [entry()]))


FORWARD = ["iptables-legacy table filter chain FORWARD (forward)"]
BOTH = (entry(ACCEPT, "waypost0"), entry(ACCEPT, "", "waypost0"))


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ((), FORWARD),
        (BOTH, []),
        (BOTH[:1], FORWARD),
        ((entry(ACCEPT, "way+"), entry(ACCEPT, "", "eth0", inverted=2)), []),
        ((entry(ACCEPT, "waypost0", inverted=1), BOTH[1]), FORWARD),
        ((entry(ACCEPT, match="comment"),), []),
        ((entry(ACCEPT, match="conntrack"),), FORWARD),
        ((entry(ACCEPT, protocol=6),), FORWARD),
        ((entry(ACCEPT, address=bytes(8) + b"\xff" * 4),), FORWARD),
        ((entry(target="REJECT"), *BOTH), FORWARD),
        ((entry(target="LOG"), *BOTH), []),
    ],
)
def test_ok__what_drops_the_tunnel(rules: tuple[bytes, ...], found: list[str]) -> None:
    assert forward(*rules) == found


def test_ok__policies_of_all_hooks() -> None:
    assert forward(policy=ACCEPT) == []
    found = drops(table([entry(DROP)], [entry(ACCEPT)], [entry(DROP)]))
    assert found == ["iptables-legacy table filter chain INPUT (input)"]


@pytest.mark.parametrize("goto", [False, True])
def test_ok__jumps_to_chains_of_users(goto: bool) -> None:
    """FORWARD jumps to `tunnel`, which accepts; it stands after input, forward and output."""
    size = len(entry())
    at = 4 * size + len(entry(target="ERROR", text="tunnel"))
    named = [entry(target="ERROR", text="tunnel"), entry(ACCEPT), entry(RETURN)]
    objects = table([entry()], [entry(at, goto=goto), entry(DROP)], [entry()], named)
    assert drops(objects) == []
    rules = [item["rule"] for item in objects if "rule" in item]
    assert [(rule["chain"], rule["expr"]) for rule in rules] == [
        ("FORWARD", [{"goto" if goto else "jump": {"target": "tunnel"}}]),
        ("tunnel", [{"accept": None}]),
        ("tunnel", [{"return": None}]),
    ]


def test_ok__ipv6() -> None:
    def six(*arguments: object, **more: object) -> bytes:
        return entry(*arguments, version=6, **more)  # type: ignore[arg-type]  # handed on

    closed = table([six()], [six(ACCEPT, "waypost0"), six(DROP)], [six()], version=6)
    assert drops(closed) == ["ip6tables-legacy table filter chain FORWARD (forward)"]
    both = [six(ACCEPT, "waypost0"), six(ACCEPT, "", "waypost0")]
    assert drops(table([six()], [*both, six(DROP)], [six()], version=6)) == []


def test_ok__nothing_is_opened_there() -> None:
    assert opening_document(table([entry(DROP)], [entry(DROP)], [entry()]), RouterModel()) == ""


def test_fail__damaged() -> None:
    whole = entry()
    info = (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)
    for cut in range(1, len(whole)):
        with pytest.raises(DecodeError):
            parse_table(4, info, whole[:cut])
    for at in (88, 90):
        for value in (0, 1, 0xFFFF):
            with pytest.raises(DecodeError):
                parse_table(4, info, whole[:at] + value.to_bytes(2, "little") + whole[at + 2 :])
    broken = entry(match="comment")
    with pytest.raises(DecodeError):
        parse_table(4, info, broken[:112] + b"\x07\0" + broken[114:])
