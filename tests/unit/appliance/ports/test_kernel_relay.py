"""The twin keeps what a plugin may rely on."""

import pytest

from appliance.ports.kernel_relay import KernelRelayError, MemoryKernelRelay, PairTraffic, RelayPair
from appliance.types.addresses import AddrPort

A, B, B6 = AddrPort("192.0.2.1", 1), AddrPort("192.0.2.2", 2), AddrPort("2001:db8::2", 2)


def test_ok__exactly_what_is_kept_and_of_one_ip_version():
    twin = MemoryKernelRelay(41642)
    twin.keep({1: RelayPair(A, B), 2: RelayPair(A, B6)})
    assert twin.serving == 1
    twin.forget(1)
    assert twin.serving == 0
    twin.keep({3: RelayPair(A, B)})
    twin.close()
    assert (twin.serving, twin.closed) == (0, True)


def test_ok__traffic_is_told_once():
    twin = MemoryKernelRelay(traffic={1: PairTraffic(packets=3)})
    assert twin.keep({}) == {1: PairTraffic(packets=3)}
    assert twin.keep({}) == {}


def test_fail__a_kernel_that_gave_up():
    twin = MemoryKernelRelay(refuse_with=KernelRelayError("gone"))
    with pytest.raises(KernelRelayError, match="gone"):
        twin.keep({})
