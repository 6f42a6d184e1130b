"""Two hosts with a kernel engine each; only where the kernel has WireGuard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from tests.lab.namespaces import Lab, Namespace
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
