"""Who may have the kernel relay, and what is said of the rest."""

import pytest

from appliance.daemon import kernel_relays as module
from appliance.daemon.kernel_relays import kernel_relays, remove_left_relay
from appliance.ports.kernel_relay import KernelRelayError

pytestmark = pytest.mark.timeout(30)
"""A whole gateway, more than once."""


async def test_fail__a_rootless_gateway():
    with pytest.raises(KernelRelayError, match="rootless"):
        await kernel_relays(None)(41642)


def test_fail__what_cannot_be_removed_stops_no_gateway(monkeypatch):
    def refuse():
        raise KernelRelayError("a relay's program stays at a device: Operation not permitted")

    monkeypatch.setattr(module, "remove_left_programs", refuse)
    remove_left_relay()
