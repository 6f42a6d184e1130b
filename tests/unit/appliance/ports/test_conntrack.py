"""The twin of the flow table."""

import pytest

from appliance.ports.conntrack import ConntrackError, Flow, MemoryConntrack

OURS, OTHER = Flow(4, 6, 1, 2, 1000, 80), Flow(4, 6, 3, 2, 1000, 80)


async def test_ok__finds_by_mark_and_removes():
    twin = MemoryConntrack()
    twin.flows = {OURS: 0x40001, OTHER: 0x80000}
    assert await twin.find(0x40000, 0xFF0000, lambda _flow: True) == [OURS]
    assert await twin.find(0x40000, 0xFF0000, lambda flow: flow.source == 3) == []
    await twin.remove([OURS, OURS])
    assert list(twin.flows) == [OTHER]


async def test_fail__refuses():
    twin = MemoryConntrack()
    twin.refuse = "no flow table"
    with pytest.raises(ConntrackError, match="no flow table"):
        await twin.find(0, 0, lambda _flow: True)
    with pytest.raises(ConntrackError, match="no flow table"):
        await twin.remove([OURS])
