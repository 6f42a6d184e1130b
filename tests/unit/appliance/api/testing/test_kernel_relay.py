"""The contract of `KernelRelay`: the twin keeps it, breaches are seen. Linux: tests/lab/test_kernel_relay.py."""

import pytest

from appliance.api.testing import check_kernel_relay
from appliance.ports.kernel_relay import MemoryKernelRelay
from appliance.types.addresses import AddrPort

PEERS = AddrPort("192.0.2.1", 1), AddrPort("192.0.2.2", 2), AddrPort("2001:db8::2", 3)


def test_ok__the_twin():
    check_kernel_relay(MemoryKernelRelay(), *PEERS)


class Forgetful(MemoryKernelRelay):
    def forget(self, vni):
        self.forgotten.append(vni)


class Greedy(MemoryKernelRelay):
    def keep(self, pairs):
        self.pairs |= pairs
        return {}


@pytest.mark.parametrize(("broken", "said"), [(Forgetful, "was to forget"), (Greedy, "one IP version")])
def test_fail__others_are_told_why(broken, said):
    with pytest.raises(AssertionError, match=said):
        check_kernel_relay(broken(), *PEERS)
