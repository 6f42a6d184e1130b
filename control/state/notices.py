"""LISTEN/NOTIFY: how several control processes on one PostgreSQL hear of each other."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # it ships without types
import structlog

from control.state.engines import COMMAND_S, CONNECT_S, DRIVER_ERRORS, driver_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

MAX_WAITING = 4096
RETRY_S = 0.5
MAX_RETRY_S = 3.0
FAREWELL_S = 1.0

_log = structlog.get_logger(__name__)


class Notices:
    """One listening connection, made again whenever it breaks. Notices are lost while it is away."""

    def __init__(self, url: URL, channel: str, heard: Callable[[str], None], changed: Callable[[bool], None]) -> None:
        """`heard` takes each notice, one's own too; `changed` is told when the connection is up (True) or lost."""
        self._address = driver_address(url)
        self._channel = channel
        self._heard = heard
        self._changed = changed
        self._waiting: list[str] = []
        self._wake = asyncio.Event()
        self.is_up = False

    def post(self, notice: str) -> None:
        """Send soon; dropped while the connection is away."""
        if self.is_up and len(self._waiting) < MAX_WAITING:
            self._waiting.append(notice)
            self._wake.set()

    async def run(self, farewell: str) -> None:
        """Until cancelled; then `farewell` is sent."""
        wait_s = RETRY_S
        while True:
            try:
                connection = await asyncpg.connect(self._address, timeout=CONNECT_S, command_timeout=COMMAND_S)
            except (*DRIVER_ERRORS, asyncpg.InterfaceError) as error:
                _log.warning("the database does not answer, nodes are served on", error=str(error) or repr(error))
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, MAX_RETRY_S)
                continue
            wait_s = RETRY_S
            await self._serve(connection, farewell)
            await asyncio.sleep(RETRY_S)

    async def _serve(self, connection: Any, farewell: str) -> None:
        """One connection's life."""
        connection.add_termination_listener(lambda _: self._wake.set())
        try:
            await connection.add_listener(self._channel, lambda _c, _pid, _name, payload: self._heard(payload))
            self._waiting.clear()
            self.is_up = True
            self._changed(True)
            while not connection.is_closed():
                await self._wake.wait()
                self._wake.clear()
                await self._send(connection)
        except DRIVER_ERRORS as error:
            _log.warning("lost the database, nodes are served on", error=str(error) or repr(error))
        except asyncio.CancelledError:
            with contextlib.suppress(*DRIVER_ERRORS):
                async with asyncio.timeout(FAREWELL_S):
                    self._waiting.append(farewell)
                    await self._send(connection)
            raise
        finally:
            if self.is_up:
                self.is_up = False
                self._changed(False)
            connection.terminate()

    async def _send(self, connection: Any) -> None:
        if connection.is_closed() or not self._waiting:
            return
        notices, self._waiting = self._waiting, []
        await connection.execute("SELECT pg_notify($1, told) FROM unnest($2::text[]) AS told", self._channel, notices)
