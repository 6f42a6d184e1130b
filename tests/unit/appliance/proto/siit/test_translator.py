"""Both ways, by packets built and checked elsewhere (RFC 7915)."""

from __future__ import annotations

import json
import struct
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from appliance.proto.siit import Drop, Translator
from appliance.types.packets import TunPacket
from tests.contract.packets import ip_packet, tcp, udp
from tests.unit.appliance.proto.siit.world import (
    HOST,
    PEER,
    VIA_HOST,
    assert_sound,
    ends,
    icmp,
    one,
    payload,
    protocol,
    translator,
    with_flags,
)

FORBIDDEN = ["127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.1", "255.255.255.255", "100.64.0.1", "198.18.0.9"]


VECTORS = json.loads((Path(__file__).parents[4] / "vectors/siit/pairs.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: each["name"])
def test_ok__vectors(vector: dict[str, Any]) -> None:
    made = translator()
    asked(made)
    out = made.translate([TunPacket(bytes.fromhex(vector["in"]))], 0.0)
    assert [bytes(each.data).hex() for each in out] == vector["out"]


def asked(made: Translator) -> str:
    """Let the peer ask the host; the pool's address that stands for it."""
    return ends(one(made.translate([TunPacket(udp(PEER, VIA_HOST, b"hello"))], 0.0)))[0]


@pytest.mark.parametrize("build", [udp, tcp])
@pytest.mark.parametrize("data", [b"", b"a", b"hello" * 100])
def test_ok__there_and_back(build, data: bytes) -> None:
    made = translator()
    there = one(made.translate([TunPacket(build(PEER, VIA_HOST, data))], 0.0))
    assert_sound(there)
    stand_in, host = ends(there)
    assert host == HOST
    assert payload(there)[-len(data) :] == data or not data
    back = one(made.translate([TunPacket(build(HOST, stand_in, data))], 1.0))
    assert_sound(back)
    assert ends(back) == (VIA_HOST, PEER)
    assert back == build(VIA_HOST, PEER, data)
    assert (made.counters.to_v4, made.counters.to_v6) == (1, 1)


def test_ok__one_address_for_one_peer_and_site() -> None:
    made = translator()
    first = asked(made)
    assert asked(made) == first
    other = one(made.translate([TunPacket(udp("fd7a:115c:a1e0::10", VIA_HOST, b""))], 0.0))
    assert ends(other)[0] != first
    site_8 = one(made.translate([TunPacket(udp(PEER, "fd7a:115c:a1e0:b1a:0:8:c0a8:105", b""))], 0.0))
    assert ends(site_8) != (first, HOST)
    back = one(made.translate([TunPacket(udp(HOST, ends(site_8)[0], b""))], 0.0))
    assert ends(back) == ("fd7a:115c:a1e0:b1a:0:8:c0a8:105", PEER)


def test_ok__traffic_class_hops_and_don_t_fragment() -> None:
    made = translator(1420)
    packet = bytearray(udp(PEER, VIA_HOST, bytes(1300)))
    packet[:4], packet[7] = struct.pack(">I", 6 << 28 | 0xB8 << 20 | 0x12345), 7
    long = one(made.translate([TunPacket(bytes(packet))], 0.0))
    assert (long[1], long[8]) == (0xB8, 7)
    assert long[6] & 0x40, "longer than what fits through any IPv6 link: may not be cut"
    short = one(made.translate([TunPacket(udp(PEER, VIA_HOST, bytes(100)))], 0.0))
    assert not short[6] & 0x40
    assert long[4:6] != short[4:6]


@pytest.mark.parametrize(("there", "back"), [((128, 8), (0, 129))])
def test_ok__echo(there: tuple[int, int], back: tuple[int, int]) -> None:
    made = translator()
    request = one(made.translate([TunPacket(icmp(PEER, VIA_HOST, there[0], 0, b"\0\1\0\2ping"))], 0.0))
    assert_sound(request)
    assert (protocol(request), payload(request)[0], payload(request)[4:]) == (1, there[1], b"\0\1\0\2ping")
    reply = one(made.translate([TunPacket(icmp(HOST, ends(request)[0], back[0], 0, b"\0\1\0\2ping"))], 0.0))
    assert reply == icmp(VIA_HOST, PEER, back[1], 0, b"\0\1\0\2ping")


def test_ok__other_protocols_pass_as_they_are() -> None:
    made = translator()
    there = one(made.translate([TunPacket(ip_packet(PEER, VIA_HOST, 50, b"esp payload"))], 0.0))
    assert (protocol(there), payload(there)) == (50, b"esp payload")


def test_ok__extension_headers_are_passed_over() -> None:
    made = translator()
    inner = udp(PEER, VIA_HOST, b"data")[40:]
    options = bytes((60, 0, 1, 4, 0, 0, 0, 0)) + bytes((43, 0, 1, 4, 0, 0, 0, 0)) + bytes((17, 0, 0, 0, 0, 0, 0, 0))
    there = one(made.translate([TunPacket(ip_packet(PEER, VIA_HOST, 0, options + inner))], 0.0))
    assert_sound(there)
    assert payload(there)[8:] == b"data"
    routed = bytearray(options)
    routed[16 + 3] = 1
    assert made.translate([TunPacket(ip_packet(PEER, VIA_HOST, 0, bytes(routed) + inner))], 0.0) == []
    assert made.counters.dropped[Drop.MALFORMED] == 1


# --- fragments and sizes


def test_ok__fragments_of_v6_become_fragments_of_v4() -> None:
    made = translator()
    whole = udp(PEER, VIA_HOST, bytes(range(200)))[40:]
    parts = [(0, True, whole[:104]), (104, False, whole[104:])]
    out = []
    for offset, more, part in parts:
        head = struct.pack(">BBHI", 17, 0, offset | more, 0xABCD1234)
        out += made.translate([TunPacket(ip_packet(PEER, VIA_HOST, 44, head + part))], 0.0)
    first, second = (bytes(each.data) for each in out)
    assert struct.unpack(">HH", first[4:8]) == (0x1234, 0x2000)
    assert struct.unpack(">HH", second[4:8]) == (0x1234, 104 // 8)
    joined = ip_packet(ends(first)[0], HOST, 17, payload(first) + payload(second))
    assert_sound(joined)


def test_ok__fragments_of_v4_become_fragments_of_v6() -> None:
    made = translator()
    stand_in = asked(made)
    whole = udp(HOST, stand_in, bytes(range(200)))[20:]
    first = with_flags(ip_packet(HOST, stand_in, 17, whole[:104], 9), 0x2000)
    second = with_flags(ip_packet(HOST, stand_in, 17, whole[104:], 9), 104 // 8)
    out = [bytes(each.data) for each in made.translate([TunPacket(first), TunPacket(second)], 0.0)]
    assert [struct.unpack(">BBHI", each[40:48]) for each in out] == [(17, 0, 1, 9), (17, 0, 104, 9)]
    assert_sound(ip_packet(VIA_HOST, PEER, 17, out[0][48:] + out[1][48:]))


def test_ok__too_long_without_df_is_cut() -> None:
    made = translator()
    packet = with_flags(udp(HOST, asked(made), bytes(2000)), 0)
    out = [bytes(each.data) for each in made.translate([TunPacket(packet)], 0.0)]
    assert [len(each) <= 1280 for each in out] == [True, True]
    assert [struct.unpack(">H", each[42:44])[0] for each in out] == [1, 1232]
    assert_sound(ip_packet(VIA_HOST, PEER, 17, b"".join(each[48:] for each in out)))


def test_ok__too_long_with_df_is_told() -> None:
    made = translator()
    stand_in = asked(made)
    packet = udp(HOST, stand_in, bytes(2000))
    error = one(made.translate([TunPacket(packet)], 0.0))
    assert_sound(error)
    assert ends(error) == (stand_in, HOST)
    assert payload(error)[:2] == b"\3\4"
    assert struct.unpack(">I", payload(error)[4:8])[0] == 1260
    assert payload(error)[8:] == packet[: len(payload(error)) - 8]
    assert len(error) == 576
    assert made.counters.dropped[Drop.TOO_BIG] == 1


def test_ok__errors_are_few() -> None:
    made = translator()
    packet = udp(HOST, asked(made), bytes(2000))
    assert len(made.translate([TunPacket(packet)] * 500, 5.0)) == 100
    assert len(made.translate([TunPacket(packet)] * 500, 5.5)) == 50


# --- super-packets


def pseudo(packet: bytes) -> int:
    """What a card that is to fill the checksum finds in the field."""
    from tests.contract.packets import reference_sum  # of this helper alone

    return reference_sum(packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]) + reference_sum(
        struct.pack(">II", len(payload(packet)), protocol(packet))
    )


def super_packet(source: str, destination: str, size: int, kind: int) -> TunPacket:
    packet = bytearray(tcp(source, destination, bytes(size)))
    start = len(packet) - size - 20
    packet[start + 16 : start + 18] = struct.pack(">H", pseudo(bytes(packet)) % 65535)
    return TunPacket(bytes(packet), kind, 1200, start + 20, start, 16, True)


@pytest.mark.parametrize("ecn", [0, 0x80])
def test_ok__super_packets_stay_whole(ecn: int) -> None:
    made = translator()
    (there,) = made.translate([super_packet(PEER, VIA_HOST, 50_000, 4 | ecn)], 0.0)
    assert there[1:] == (1 | ecn, 1200, 40, 20, 16, True)
    data = bytes(there.data)
    assert struct.unpack(">H", data[36:38])[0] % 65535 == pseudo(data) % 65535
    stand_in = ends(data)[0]
    (back,) = made.translate([super_packet(HOST, stand_in, 50_000, 1 | ecn)], 0.0)
    assert back[1:] == (4 | ecn, 1200, 60, 40, 16, True)
    data = bytes(back.data)
    assert struct.unpack(">H", data[56:58])[0] % 65535 == pseudo(data) % 65535


def test_ok__parts_that_are_too_long_are_made_smaller_or_told() -> None:
    made = translator()
    long = super_packet(HOST, asked(made), 50_000, 1)._replace(gso_size=1460)
    (error,) = made.translate([long], 0.0)
    assert payload(bytes(error.data))[:2] == b"\3\4"
    (smaller,) = made.translate([long._replace(data=with_flags(bytes(long.data), 0))], 0.0)
    assert smaller.gso_size == 1280 - 40 - 20


# --- checksums


def test_ok__udp_without_a_checksum_gets_one() -> None:
    made = translator()
    packet = udp(HOST, asked(made), b"data")
    bare = packet[:26] + b"\0\0" + packet[28:]
    back = one(made.translate([TunPacket(bare)], 0.0))
    assert_sound(back)
    piece = with_flags(bare, 0x2000)
    assert made.translate([TunPacket(piece)], 0.0) == []
    assert made.counters.dropped[Drop.NO_CHECKSUM] == 1
    zero = udp(PEER, VIA_HOST, b"data")
    assert made.translate([TunPacket(zero[:46] + b"\0\0" + zero[48:])], 0.0) == []


def test_ok__a_checksum_left_to_the_card_is_filled_where_the_packet_is_cut() -> None:
    made = translator()
    packet = bytearray(with_flags(udp(HOST, asked(made), bytes(2000)), 0))
    packet[26:28] = struct.pack(">H", pseudo(bytes(packet)) % 65535)
    out = made.translate([TunPacket(bytes(packet), csum_start=20, csum_offset=6, needs_checksum=True)], 0.0)
    assert not any(each.needs_checksum for each in out)
    assert_sound(ip_packet(VIA_HOST, PEER, 17, b"".join(bytes(each.data)[48:] for each in out)))


# --- errors


def test_ok__an_error_from_the_site_reaches_the_peer() -> None:
    made = translator()
    sent = one(made.translate([TunPacket(udp(PEER, VIA_HOST, b"question"))], 0.0))
    stand_in = ends(sent)[0]
    error = one(made.translate([TunPacket(icmp(HOST, stand_in, 3, 3, bytes(4) + sent[:28]))], 0.0))
    assert_sound(error)
    assert ends(error) == (VIA_HOST, PEER)
    assert payload(error)[:2] == b"\1\4", "port unreachable"
    quoted = payload(error)[8:]
    assert quoted[:48] == udp(PEER, VIA_HOST, b"question")[:48]


def test_ok__a_router_beyond_the_site_speaks_as_the_host() -> None:
    made = translator()
    sent = one(made.translate([TunPacket(udp(PEER, VIA_HOST, b"question"))], 0.0))
    error = one(made.translate([TunPacket(icmp("10.9.9.9", ends(sent)[0], 11, 0, bytes(4) + sent))], 0.0))
    assert ends(error) == (VIA_HOST, PEER)
    assert payload(error)[:2] == b"\3\0"


def test_ok__an_error_from_the_mesh_reaches_the_host() -> None:
    made = translator()
    stand_in = asked(made)
    answer = one(made.translate([TunPacket(tcp(HOST, stand_in, bytes(1000)))], 0.0))
    told = icmp("fd7a:115c:a1e0::77", VIA_HOST, 2, 0, struct.pack(">I", 1280) + answer[:1000])
    error = one(made.translate([TunPacket(told)], 0.0))
    assert_sound(error)
    assert ends(error) == (stand_in, HOST)
    assert payload(error)[:2] == b"\3\4"
    assert struct.unpack(">I", payload(error)[4:8])[0] == 1260
    quoted, expected = payload(error)[8:], tcp(HOST, stand_in, bytes(1000))
    assert quoted[12:200] == expected[12:200], "addresses and all of TCP, its checksum too"


def test_ok__an_error_about_an_echo() -> None:
    made = translator()
    sent = one(made.translate([TunPacket(icmp(PEER, VIA_HOST, 128, 0, b"\0\1\0\2ping"))], 0.0))
    error = one(made.translate([TunPacket(icmp(HOST, ends(sent)[0], 3, 1, bytes(4) + sent))], 0.0))
    assert payload(error)[8:] == icmp(PEER, VIA_HOST, 128, 0, b"\0\1\0\2ping")


def test_fail__errors_about_errors_and_about_strangers() -> None:
    made = translator()
    stand_in = asked(made)
    nested = icmp(stand_in, HOST, 3, 1, bytes(4) + udp(HOST, stand_in, b""))
    assert made.translate([TunPacket(icmp(HOST, stand_in, 3, 1, bytes(4) + nested))], 0.0) == []
    strange = udp("198.18.9.9", HOST, b"")
    assert made.translate([TunPacket(icmp(HOST, stand_in, 3, 1, bytes(4) + strange))], 0.0) == []
    assert made.translate([TunPacket(icmp(PEER, VIA_HOST, 1, 0, bytes(4) + udp(VIA_HOST, "fd00::1", b"")))], 0.0) == []
    assert made.counters.dropped[Drop.UNBOUND] == 2


@pytest.mark.parametrize(("kind", "code"), [(4, 0), (5, 0), (13, 0), (3, 14), (12, 1)])
def test_fail__icmp_that_has_no_counterpart(kind: int, code: int) -> None:
    made = translator()
    stand_in = asked(made)
    packet = icmp(HOST, stand_in, kind, code, bytes(4) + udp(stand_in, HOST, b""))
    assert made.translate([TunPacket(packet)], 0.0) == []
    assert made.counters.dropped[Drop.UNTRANSLATABLE] == 1


# --- what must not pass


@pytest.mark.parametrize("address", FORBIDDEN)
def test_fail__forbidden_hosts(address: str) -> None:
    made = translator()
    a, b, c, d = (int(part) for part in address.split("."))
    packet = udp(PEER, f"fd7a:115c:a1e0:b1a:0:7:{a << 8 | b:x}:{c << 8 | d:x}", b"")
    error = one(made.translate([TunPacket(packet)], 0.0))
    assert payload(error)[:2] == b"\1\1", "prohibited"
    assert_sound(error)
    assert made.counters.dropped[Drop.FORBIDDEN] == 1


@pytest.mark.parametrize("source", ["fe80::1", "ff02::1", "::", "::1"])
def test_fail__senders_that_are_none(source: str) -> None:
    made = translator()
    assert made.translate([TunPacket(udp(source, VIA_HOST, b""))], 0.0) == []
    assert made.counters.dropped[Drop.FORBIDDEN] == 1


def test_fail__not_served_and_unbound() -> None:
    made = translator()
    assert made.translate([TunPacket(udp(PEER, "ff02::2", b"")), TunPacket(udp(HOST, "198.18.0.7", b""))], 0.0) == []
    assert made.counters.dropped[Drop.NOT_SERVED] == made.counters.dropped[Drop.UNBOUND] == 1


def test_fail__pool_used_up() -> None:
    made = translator(pool=IPv4Network("198.18.0.0/28"))
    packets = [TunPacket(udp(f"fd7a:115c:a1e0::{number:x}", VIA_HOST, b"")) for number in range(1, 40)]
    assert len(made.translate(packets, 0.0)) == made.bindings.capacity
    assert made.counters.dropped[Drop.POOL_FULL] == 39 - made.bindings.capacity
    assert len(made.translate(packets[:1], 9999.0)) == 1


def test_fail__wrong_icmp_checksum_foreign_icmp_and_fragments_of_icmp() -> None:
    made = translator()
    stand_in = asked(made)
    packet = bytearray(icmp(PEER, VIA_HOST, 128, 0, b"\0\1\0\2ping"))
    packet[-1] ^= 1
    foreign = [ip_packet(PEER, VIA_HOST, 1, b"\x08\0\0\0\0\0\0\0"), ip_packet(HOST, stand_in, 58, bytes(8))]
    piece = with_flags(icmp(HOST, stand_in, 0, 0, bytes(8)), 0x2000)
    assert made.translate([TunPacket(each) for each in (bytes(packet), *foreign, piece)], 0.0) == []
    assert made.counters.dropped[Drop.UNTRANSLATABLE] == 2
    assert made.counters.dropped[Drop.MALFORMED] == made.counters.dropped[Drop.FRAGMENTED_ICMP] == 1


def test_fail__source_routes() -> None:
    made = translator()
    stand_in = asked(made)
    body = udp(HOST, stand_in, b"")[20:]
    options = bytes((131, 7, 4, 10, 0, 0, 1, 0))
    head = struct.pack(">BBHHHBBH", 0x47, 0, 28 + len(body), 1, 0, 64, 17, 0)
    packet = head + udp(HOST, stand_in, b"")[12:20] + options + body
    assert made.translate([TunPacket(packet)], 0.0) == []
    passed = packet[:20] + bytes((131, 7, 8, 10, 0, 0, 1, 0)) + body
    assert ends(one(made.translate([TunPacket(passed)], 0.0))) == (VIA_HOST, PEER)
