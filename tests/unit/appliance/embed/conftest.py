"""A gateway on twins to attach to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.localapi.mesh_routes import MemoryMesh
from tests.unit.appliance.local_gateway import PEER, serving


@pytest.fixture
def mesh() -> MemoryMesh:
    return MemoryMesh({"127.0.0.1": PEER})


@pytest.fixture
async def localapi(mesh: MemoryMesh, tmp_path: Path) -> AsyncIterator[str]:
    async with serving(tmp_path / "waypostd.sock", mesh) as path:
        yield path
