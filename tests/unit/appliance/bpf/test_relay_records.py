"""What daemon and program write for each other, byte by byte."""

import struct

import pytest

from appliance.bpf import relay_records as layout
from appliance.bpf.relay_records import PAIR_SIZE, LegRecord, PairRecord, pack_pair, parse_counts
from appliance.types.addresses import AddrPort

FIRST = LegRecord(AddrPort("192.0.2.1", 1001), AddrPort("198.51.100.9", 41642), 3, 1500, 7, 8, 9)
SECOND = LegRecord(AddrPort("2001:db8::2", 1002), AddrPort("2001:db8::9", 41642), 4, 1280)


def field(record, leg, offset, form):
    return struct.unpack_from(form, record, leg * layout.LEG_SIZE + offset)[0]


def test_ok__fields_are_where_the_table_says():
    record = pack_pair(PairRecord((FIRST, SECOND)))
    assert len(record) == PAIR_SIZE == 176
    assert field(record, 0, layout.PEER, "16s") == bytes(12) + bytes((192, 0, 2, 1))
    assert field(record, 0, layout.LOCAL, "16s")[12:] == bytes((198, 51, 100, 9))
    assert field(record, 1, layout.PEER, "16s") == SECOND.peer.address.packed
    assert (field(record, 0, layout.PEER_PORT, ">H"), field(record, 1, layout.LOCAL_PORT, ">H")) == (1001, 41642)
    assert (field(record, 0, layout.INTERFACE, "=I"), field(record, 1, layout.MTU, "=I")) == (3, 1280)
    assert (field(record, 0, layout.VERSION, "=I"), field(record, 1, layout.VERSION, "=I")) == (4, 6)


def test_ok__counts_come_back():
    counts = parse_counts(pack_pair(PairRecord((FIRST, SECOND), dropped=5)))
    assert (counts.seen_ns, counts.packets, counts.bytes, counts.dropped) == ((7, 0), (8, 0), (9, 0), 5)


@pytest.mark.parametrize(
    ("bytes_per_s", "burst_bytes"), [(125_000, 131_072), (12_500_000, 3_125_000), (125_000_000_000, 31_250_000_000)]
)
def test_ok__a_rate_is_time_a_byte_and_a_quarter_of_a_second_at_once(bytes_per_s, burst_bytes):
    record = pack_pair(PairRecord((FIRST, SECOND), bytes_per_s))
    per_byte, burst = struct.unpack_from("=QQ", record, layout.PER_BYTE)
    second = bytes_per_s * per_byte >> layout.SCALE_BITS
    assert second == pytest.approx(1e9, rel=0.01)
    assert burst == pytest.approx(burst_bytes / bytes_per_s * 1e9, rel=0.01)


def test_ok__no_rate_is_no_time():
    assert struct.unpack_from("=QQ", pack_pair(PairRecord((FIRST, SECOND))), layout.PER_BYTE) == (0, 0)
