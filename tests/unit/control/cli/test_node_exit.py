"""`nodes exit` against a real admin socket."""

from __future__ import annotations

from appliance.proto.http1.head import encode_response

from .conftest import Shell


class Gateway:
    """Takes every setting."""

    def now(self) -> float:
        return 0.0

    async def ask(self, node, request, answers, limit_s):
        return [encode_response(200, b"{}", "application/json")]


async def test_ok__seen_and_switched(shell: Shell):
    shell.service.requests.connect(Gateway())
    await shell.run("users", "create", "ann")
    for number, info in ((1, {}), (2, {"routable_ips": ["0.0.0.0/0", "::/0"]})):
        key = (await shell.json("preauthkeys", "create", "--user", "ann"))["key"]
        await shell.join(number, key, **info)
    _, error = await shell.run("nodes", "exit", "gw1", "gw2", code=1)
    assert "routes approve gw2 exit" in error
    await shell.run("routes", "approve", "gw2", "exit")
    text, _ = await shell.run("nodes", "exit", "gw1", "gw2", "--site", "--gateway-direct", "--confirm-within", "2m")
    assert "gw1 leaves by gw2 now, on trial: it goes back in 120 s." in text
    assert "nodes confirm gw1" in text
    assert "gw1 leaves directly" in (await shell.run("nodes", "exit", "gw1"))[0]
    assert "it is an exit itself" in (await shell.run("nodes", "exit", "gw2"))[0]
    assert (await shell.json("nodes", "exit", "gw2"))["offered"] is True
    assert (await shell.json("nodes", "exit", "gw1", "auto", "--region", "fra"))["use"] == "auto"
    assert (await shell.json("nodes", "exit", "gw1", "auto", "--any-region"))["use"] == "auto"
    assert {entry["action"] for entry in await shell.json("audit")} >= {"node.exit"}
