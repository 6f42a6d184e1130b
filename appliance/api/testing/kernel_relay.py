"""What a plugin may rely on of `KernelRelay`, as a function to call with any: the twin in memory, or Linux's own."""

from __future__ import annotations

from appliance.ports.kernel_relay import KernelRelay, RelayPair
from appliance.types.addresses import AddrPort


def check_kernel_relay(kernel: KernelRelay, first: AddrPort, second: AddrPort, other_version: AddrPort) -> None:
    """With a fresh one, and peers that this host has routes to; `other_version` is of the other IP version."""
    assert kernel.serving == 0, "serves before it was told to"
    wanted = {1: RelayPair(first, second), 2: RelayPair(second, first, 125_000), 3: RelayPair(first, other_version)}
    assert kernel.keep(wanted) == {}, "told of traffic that there was not"
    assert kernel.serving == 2, "serves exactly the pairs of one IP version"
    kernel.forget(1)
    assert kernel.serving == 1, "serves a pair that it was to forget"
    kernel.forget(1)
    kernel.forget(77)
    kernel.keep(wanted)
    assert kernel.serving == 2, "a pair that was forgotten is not served again when it is kept"
    kernel.keep({2: wanted[2]})
    assert kernel.serving == 1, "serves a pair that it was not told to keep"
    kernel.keep({2: wanted[1]})
    assert kernel.serving == 1, "a pair whose addresses changed is one pair still"
    assert not any(told.packets for told in kernel.keep({}).values())
    assert kernel.serving == 0, "serves when there is nothing to keep"
    kernel.close()
    assert kernel.serving == 0, "serves after it was closed"
