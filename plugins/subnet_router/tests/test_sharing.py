from __future__ import annotations

import pytest

from appliance.api.testing import FakeHost
from appliance.types.errors import ApplianceError
from plugins.subnet_router.sharing import CODE, HOLD_S, MEND, RENEW_S, AddressShare

V4, V6 = ("192.168.10.254", "eth1"), ("fd00:10::fe", "eth1")


async def test_ok__renewed_while_wanted(fake_host: FakeHost) -> None:
    share, began = AddressShare(fake_host), fake_host.time.now()
    await share.follow(frozenset((V4,)))
    await fake_host.time.pass_time(1.0)
    await share.follow(frozenset((V4, V6)))
    assert fake_host.held == {V4: began + HOLD_S, V6: began + HOLD_S + 1.0}
    await fake_host.time.pass_time(RENEW_S - 1.0)
    await share.follow(frozenset((V4, V6)))
    assert fake_host.held == {V4: began + HOLD_S + RENEW_S, V6: began + HOLD_S + 1.0}
    await share.follow(frozenset((V6,)))
    assert set(fake_host.held) == {V6}


async def test_fail__one_that_cannot_be_held_is_said_until_it_is(
    fake_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = fake_host.hold_address

    async def refuses(address: str, interface: str, seconds: int) -> None:
        if address == V6[0]:
            raise ApplianceError("no IPv6 there")
        await hold(address, interface, seconds)

    share = AddressShare(fake_host)
    monkeypatch.setattr(fake_host, "hold_address", refuses)
    await share.follow(frozenset((V6,)))
    await fake_host.time.pass_time(1.0)
    await share.follow(frozenset((V4, V6)))
    assert set(fake_host.held) == {V4}, "the other one is"
    assert fake_host.health[CODE].text == "no IPv6 there", "the good one does not hide it"
    assert fake_host.health[CODE].mend == MEND
    await share.follow(frozenset((V4,)))
    assert CODE not in fake_host.health
    await share.follow(frozenset((V4, V6)))
    assert CODE in fake_host.health
    monkeypatch.setattr(fake_host, "hold_address", hold)
    await fake_host.time.pass_time(RENEW_S)
    await share.follow(frozenset((V4, V6)))
    assert CODE not in fake_host.health
