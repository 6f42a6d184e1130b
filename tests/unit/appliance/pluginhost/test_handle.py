"""The handle gives what the manifest asked for, and nothing else."""

from __future__ import annotations

import pytest

from appliance.api.values import ListenPlace, ListenScope, Right
from appliance.pluginhost.errors import PluginError
from appliance.pluginhost.handle import InlineHandle

PLACE = ListenPlace(ListenScope.LOCAL, 0)


async def test_ok__rights_open_the_methods(backend) -> None:
    handle = InlineHandle("page", backend, dict, tuple(Right))
    assert (await handle.status()).version == "0"
    assert await handle.panels() == ()
    await handle.act("subnet_router", "Use")
    await handle.confirm()
    assert backend.acts == [("subnet_router", "Use"), ("", "confirm")]
    (await handle.listen(PLACE)).close()
    backend.feed.note("path")
    assert (await handle.wait_change(0)).kinds == ("path",)
    async for change in handle.changes():
        assert change.number == 1
        break


@pytest.mark.parametrize("method", ["listen", "status", "panels", "wait_change", "act", "confirm"])
async def test_fail__method_without_its_right(backend, method: str) -> None:
    handle = InlineHandle("page", backend, dict)
    arguments = {"listen": (PLACE,), "wait_change": (-1,), "act": ("a", "b")}.get(method, ())
    with pytest.raises(PluginError, match="lacks the right") as caught:
        await getattr(handle, method)(*arguments)
    assert "rights" in caught.value.mend
