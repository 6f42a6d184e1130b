"""Local APIs on twins: for commands, served by a thread; or with a mesh that is the loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from appliance.localapi.backend import MemoryBackend
from appliance.localapi.handout import HandoutServer
from appliance.localapi.mesh_routes import MemoryMesh
from appliance.localapi.mesh_schema import WhoisReply, handout_socket
from appliance.localapi.schema import PrefsView, SelfStatus, Status
from appliance.localapi.server import LocalApiServer
from appliance.types.events import BackendState

PEER = WhoisReply(
    stable_id="n2",
    name="peer.net.example",
    addresses=("127.0.0.1",),
    user="ada@example.net",
    display_name="Ada",
    capabilities={"example.net/cap/admin": (True,)},
)
VIEW = PrefsView(
    want_running=True,
    logged_out=False,
    control_url="",
    hostname="",
    advertise_tags=(),
    shields_up=False,
    operator="",
    plugins={},
)


def twin_backend() -> MemoryBackend:
    """A gateway that runs."""
    return MemoryBackend(Status(version="1", state=BackendState.RUNNING), VIEW)


@contextmanager
def in_thread(server: LocalApiServer) -> Iterator[None]:
    """Serve beside a command that blocks."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(server.stop())
        loop.close()


@asynccontextmanager
async def serving(path: Path, mesh: MemoryMesh) -> AsyncIterator[str]:
    """A local API at that path, with sockets to hand out."""
    status = Status(version="1", state=BackendState.RUNNING, self_node=SelfStatus(addresses=("127.0.0.1", "::1")))
    server = LocalApiServer(MemoryBackend(status, VIEW), str(path), mesh=mesh)
    handout = HandoutServer(mesh, handout_socket(str(path)), lambda: None)
    handout.start()
    await server.start()
    running = asyncio.ensure_future(handout.run())
    try:
        yield str(path)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        handout.close()
        await server.stop()
