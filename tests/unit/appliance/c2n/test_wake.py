"""Control has hosts of the site woken."""

from __future__ import annotations

import json

import pytest

from appliance.c2n.table import C2nTable
from appliance.c2n.wake import add_wake
from appliance.types.errors import ApplianceError, ConfigError
from appliance.types.wake import WakeReport
from tests.unit.appliance.c2n.test_routes import ask


def table(*errors: ApplianceError) -> C2nTable:
    made, waiting = C2nTable(), list(errors)

    def wake(mac: str, interface: str) -> WakeReport:
        if waiting:
            raise waiting.pop()
        return WakeReport(("lan0",), (f"lan1: {mac}",))

    add_wake(made, wake)
    return made


async def test_ok__several_at_once() -> None:
    status, body = await ask("POST", "/wol?mac=a&mac=b", table=table())
    assert (status, json.loads(body)) == (200, {"SentTo": ["lan0"], "Errors": ["lan1: a", "lan1: b"]})


@pytest.mark.parametrize(
    ("target", "error", "status"),
    [
        ("/wol", None, 400),
        ("/wol?" + "mac=a&" * 20, None, 400),
        ("/wol?mac=x", ConfigError("'x' is no hardware address"), 400),
        ("/wol?mac=a", ApplianceError("too many", code="wake-rate"), 429),
    ],
)
async def test_fail__refused(target: str, error: ApplianceError | None, status: int) -> None:
    assert (await ask("POST", target, table=table(*([error] if error else []))))[0] == status
    assert (await ask("GET", "/wol?mac=a", table=table()))[0] == 405
