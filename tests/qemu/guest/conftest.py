"""Two hosts with a kernel engine each, and the lab of whole gateways; only where the kernel has WireGuard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab, Namespace
from tests.qemu.guest.gateways import ask_directly
from tests.qemu.guest.world import World, two_hosts


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Namespace]]:
    with Lab(tmp_path_factory.mktemp("hosts")) as lab:
        yield two_hosts(lab)


@pytest.fixture
async def world(hosts: Sequence[Namespace]) -> AsyncIterator[World]:
    made = World(hosts)
    yield made
    await made.close()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    ask_directly(monkeypatch)
    with Lab(tmp_path / "logs") as built:
        yield built
    for log in sorted((tmp_path / "logs").glob("*waypostd*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
