"""Both placements, as far as they differ without a tunnel."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config.schema import Config, DaemonSection, PathsSection
from appliance.daemon.placement import NetworkWatch, check_placement, make_placement
from appliance.drivers.rootless.network import NetworkLostError
from appliance.drivers.sockets import open_socket
from appliance.types.errors import ConfigError, PrivilegeError


def config(tmp_path: Path, *, rootless: bool) -> Config:
    daemon = DaemonSection(state_dir=str(tmp_path), socket=str(tmp_path / "socket"), rootless=rootless)
    return replace(Config(), daemon=daemon)


async def test_ok__on_the_host(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        placement = make_placement(config(tmp_path, rootless=False), stack)
        assert not placement.rootless
        assert placement.sockets is open_socket
        assert placement.network is None
        assert "lo" in {link.name for link in await placement.host.links()}


async def test_ok__rootless_has_another_network_and_watches_it(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        try:
            placement = make_placement(config(tmp_path, rootless=True), stack)
        except PrivilegeError as error:
            pytest.skip(error.text)
        assert placement.rootless
        network = placement.network
        assert network is not None
        inner, outer = (Path(f"/proc/{pid}/ns/net").readlink() for pid in (network.pid, "self"))
        assert inner != outer
        watch = NetworkWatch(network)
        network.close()
        with pytest.raises((NetworkLostError, ProcessLookupError)):
            await watch.run()


def test_fail__on_the_host_privileges_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: frozenset[object] = frozenset()
    monkeypatch.setattr("appliance.drivers.privileges.effective_capabilities", lambda _status: held)
    with pytest.raises(PrivilegeError) as caught:
        check_placement(config(tmp_path, rootless=False))
    assert "--rootless" in caught.value.mend
    check_placement(config(tmp_path, rootless=True))


def test_fail__an_ordinary_user_does_not_steer_uplinks(tmp_path: Path) -> None:
    wanted = replace(config(tmp_path, rootless=True), paths=PathsSection(uplinks=("eth0", "wwan0")))
    with pytest.raises(ConfigError, match=r"paths\.uplinks"):
        check_placement(wanted)


def test_ok__the_loss_is_told_as_itself() -> None:
    watch = NetworkWatch(None)
    with pytest.raises(NetworkLostError, match="gone"), watch.telling():
        raise ExceptionGroup("tasks", [NetworkLostError("gone")])
    with pytest.raises(ExceptionGroup), watch.telling():
        raise ExceptionGroup("tasks", [ValueError("a bug")])
