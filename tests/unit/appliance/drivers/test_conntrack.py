"""Flows as ctnetlink says them; the kernel's own answers are tried in the lab."""

import struct

import pytest

from appliance.drivers.conntrack import encode_tuple, parse_flow
from appliance.ports.conntrack import Flow

FLOWS = [
    Flow(4, 6, 0x64400002, 0xC0A80A05, 39834, 8000),
    Flow(4, 17, 0x64400002, 0xC0A80A05, 1, 53),
    Flow(4, 1, 0x64400002, 0xC0A80A05, 11464, 0, 8, 3),
    Flow(4, 99, 0x64400002, 0xC0A80A05),
    Flow(6, 6, 2**128 - 2, 7 << 100, 39834, 8000),
    Flow(6, 58, 2**128 - 2, 7 << 100, 5, 0, 128),
    Flow(6, 50, 2**128 - 2, 7 << 100),
]
# TCP 127.0.0.1:39834 to port 8000, out of a dump of Linux 6.18
DUMPED = bytes.fromhex(
    "340001801400018008000100 7f000001 08000200 7f000001 1c000280 05000100 06000000 060002009b9a0000 060003001f400000"
)


def listed(flow: Flow, before: bytes = b"") -> memoryview:
    body = encode_tuple(flow)
    return memoryview(before + struct.pack("=HH", 4 + len(body), 0x8001) + body + struct.pack("=HHI", 8, 8, 0x400))


@pytest.mark.parametrize("flow", FLOWS)
def test_ok__a_flow_comes_back(flow):
    assert parse_flow(flow.version, listed(flow)) == flow


@pytest.mark.parametrize("flow", FLOWS[:2])
def test_ok__another_order_of_attributes_says_the_same(flow):
    assert parse_flow(4, listed(flow, struct.pack("=HHI", 8, 12, 77))) == flow


def test_ok__as_the_kernel_writes_it():
    flow = Flow(4, 6, 0x7F000001, 0x7F000001, 39834, 8000)
    assert parse_flow(4, memoryview(DUMPED)) == flow
    assert encode_tuple(flow) == DUMPED[4:]


@pytest.mark.parametrize("length", [0, 3, 4, 8, 20, 40, 46])
def test_fail__what_is_cut_off_is_no_flow_of_ours(length):
    found = parse_flow(4, memoryview(DUMPED)[:length])
    assert found is None or found.destination_port == 0
