"""Settings from control, through a real control server: on trial, kept, taken back, refused."""

from __future__ import annotations

import json

import pytest

from appliance.daemon.remote_settings import RemoteSettingsDesk
from appliance.proto.control.trial import CONFIRM_PATH, SETTINGS_PATH
from appliance.types.errors import ApplianceError
from control.service.actor import SYSTEM

pytestmark = pytest.mark.timeout(30)
"""A whole gateway, more than once."""


@pytest.fixture
async def ask(process, url, key, server):
    await process.up(url, key)
    (node,) = server.service.nodes.list(SYSTEM)

    async def asked(method, path, **settings):
        body = json.dumps(settings).encode()
        answer = await server.service.requests.c2n(SYSTEM, node.given_name, path, method=method, body=body)
        return answer.status, answer.body

    return asked


async def test_ok__change_is_on_trial_until_control_confirms(process, ask):
    status, body = await ask(
        "PATCH", SETTINGS_PATH, shields_up=True, plugins={"subnet_router": {"accept_routes": True}}
    )
    assert status == 200, body
    view = process.gateway.prefs()
    assert view.shields_up
    assert view.plugins["subnet_router"] == {"accept_routes": True}
    assert 0 < process.gateway.status().unconfirmed_s <= 60
    assert (await ask("POST", CONFIRM_PATH))[0] == 200
    assert process.gateway.status().unconfirmed_s is None
    assert process.gateway.prefs().shields_up


async def test_fail__wrong_settings_leave_nothing_on_trial(process, ask):
    status, body = await ask("PATCH", SETTINGS_PATH, plugins={"subnet_router": {"advertise": ["nonsense"]}})
    assert status == 409
    assert b"subnet_router" in (body if isinstance(body, bytes) else body.encode())
    assert process.gateway.status().unconfirmed_s is None
    assert (await ask("POST", CONFIRM_PATH))[0] == 409


async def test_fail__a_gateway_that_takes_none(process):
    desk = RemoteSettingsDesk(process.gateway, allowed=False)
    with pytest.raises(ApplianceError, match="takes no settings") as caught:
        await desk.confirm()
    assert "remote_settings" in caught.value.mend
