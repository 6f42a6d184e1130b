"""What a stand-alone relay runs beside its listeners: admission, the mesh, published names, metrics, reloading."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.drivers.resolver import SystemResolver
from appliance.drivers.streams import SocketDialer
from appliance.types.addresses import parse_addr_port
from appliance.types.errors import ApplianceError, ConfigError, DecodeError, UnderlayError
from appliance.types.keys import DerpMeshKey
from control.derp import bootstrap, metrics_page
from control.derp.admission import ListAdmission, NodeAdmission, all_of
from control.derp.bootstrap import BootstrapDns
from control.derp.mesh import MeshLink, parse_mesh_peer
from control.derp.port80 import port80_pages
from control.derp.verify import UrlAdmission

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from appliance.ports.randomness import Randomness
    from appliance.types.keys import DerpPrivateKey
    from control.derp.listener import Page
    from control.derp.server import Admit, DerpServer
    from control.derp.settings import DerpSettings

_log = logging.getLogger(__name__)


def load_mesh_key(file: str) -> DerpMeshKey | None:
    """64 hex digits; None where no file is set. Raises `ConfigError`."""
    if not file:
        return None
    try:
        return DerpMeshKey.parse(Path(file).read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"mesh_key_file: cannot read {file}: {error}", mend="check the path and its owner") from error
    except DecodeError:
        mend = "make one with: openssl rand -hex 32"
        raise ConfigError(f"mesh_key_file: {file} holds no mesh key", mend=mend) from None


class Admissions:
    """Who may use the relay, as the settings say. `close` at the end."""

    def __init__(self, settings: DerpSettings) -> None:
        self._list = ListAdmission(Path(settings.allow_file)) if settings.allow_file else None
        self._asked: list[UrlAdmission | NodeAdmission] = []
        if settings.verify_url:
            self._asked.append(UrlAdmission(settings.verify_url, fail_open=settings.verify_fail_open))
        if settings.verify_socket:
            self._asked.append(NodeAdmission(settings.verify_socket))

    def load(self) -> None:
        """(Re)read the list. Raises `ConfigError`."""
        if self._list is not None:
            self._list.load()

    def decide(self) -> Admit | None:
        """The list first: it costs nothing."""
        own = [self._list.admit] if self._list is not None else []
        return all_of([*own, *(each.admit for each in self._asked)])

    async def close(self) -> None:
        for each in self._asked:
            await each.close()


class Operation:
    """`start` after the listeners; the stack undoes it."""

    def __init__(self, settings: DerpSettings, server: DerpServer, admissions: Admissions) -> None:
        self.settings = settings
        self._server = server
        self._admissions = admissions

    async def start(self, private: DerpPrivateKey, randomness: Randomness, stack: AsyncExitStack) -> None:
        """Raises `ApplianceError`."""
        group = await stack.enter_async_context(_Background())
        self._start_mesh(private, group)
        if self.settings.bootstrap_names:
            names = BootstrapDns(self.settings.bootstrap_names, SystemResolver(), randomness)
            self._server.pages[bootstrap.PATH] = names.page
            group.add(names.run())
        if self.settings.metrics:
            where = parse_addr_port(self.settings.metrics)
            pages = {metrics_page.PATH: metrics_page.metrics_page(self._server.metrics)}
            await self._listen(where.ip, where.port, pages, "metrics")
        if self.settings.http_port:
            pages = dict(port80_pages(self.settings.port))
            await self._listen(self.settings.host, self.settings.http_port, pages, "http-port")

    def _start_mesh(self, private: DerpPrivateKey, group: _Background) -> None:
        key = load_mesh_key(self.settings.mesh_key_file)
        if key is None:
            return
        dialer = SocketDialer(mark=0)
        for text in self.settings.mesh_peers:
            peer = parse_mesh_peer(text)
            link = MeshLink(peer, self._server, dialer, private, key, ca_file=self.settings.mesh_ca_file)
            group.add(link.run())

    async def _listen(self, host: str, port: int, pages: Mapping[str, Page], flag: str) -> None:
        """A further port with these pages only."""
        try:
            await self._server.listen(host, port, pages=pages)
        except OSError as error:
            text = f"cannot listen on TCP port {port}: {error.strerror or error}"
            raise UnderlayError(
                text, mend=f"stop what uses it, or choose another with --{flag}", code="listen"
            ) from error

    def reload(self, read: Callable[[], DerpSettings]) -> None:
        """Take rates and the list of node keys over, for living clients too; everything else needs a start."""
        try:
            settings = read()
            self._admissions.load()
        except ApplianceError as error:
            _log.warning("settings are left as they were: %s", error.line())
            return
        self.settings = settings
        self._server.set_limits(settings.limits())
        _log.warning("rates and node keys were read anew")


class _Background:
    """Tasks that end with the block; one that fails is logged, the relay goes on."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> _Background:
        return self

    def add(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a part of the relay failed", exc_info=task.exception())

    async def __aexit__(self, *_error: object) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
