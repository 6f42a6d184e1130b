"""The running part: listens where the node has addresses, makes frames while somebody watches."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from appliance.api import GatewayStatus, HealthItem, HostHandle, ListenPlace, ListenScope, LogLevel
from appliance.pages.sign_in import SignIn
from appliance.types.errors import ApplianceError
from plugins.status_page.config import StatusPageConfig
from plugins.status_page.connections import Doorkeeper
from plugins.status_page.live import LiveFrame
from plugins.status_page.render import Renderer, Shown
from plugins.status_page.rules import known_hosts
from plugins.status_page.server import PageServer
from plugins.status_page.settings_pages import SettingsPages

FRAME_PAUSE_S = 0.5
"""Least time between two frames."""
FRAME_SILENCE_S = 2.0
"""Most time between two frames that somebody watches: counters move without an event."""
FIRST_RETRY_S = 0.5
LAST_RETRY_S = 10.0
PATIENCE = 3
"""Failures to listen in a row that are not worth a word: overlay addresses come a moment after the netmap."""
LISTEN_CODE = "page-not-listening"
LOOPBACK = ("127.0.0.1", "::1")


class PageService:
    """`now` is the clock of codes and sessions, the same that issues them."""

    name = "page"

    def __init__(self, host: HostHandle, config: StatusPageConfig, sign_in: SignIn, now: Callable[[], float]) -> None:
        self._host = host
        self._config = config
        self._live = LiveFrame()
        self._renderer = Renderer()
        self._look_again = asyncio.Event()
        self.server = PageServer(
            sign_in,
            self._renderer,
            self._live,
            SettingsPages(self._renderer, host.panels, host.setting_fields, host.change_settings),
            look=self._look,
            act=host.act,
            confirm=host.confirm,
            now=now,
            random=secrets.token_bytes,
        )
        self.listeners: dict[ListenPlace, socket.socket] = {}
        self.ready = asyncio.Event()
        """Set once everything that can be listened on is."""

    @property
    def watchers(self) -> int:
        return self._live.watchers

    def configure(self, config: StatusPageConfig) -> None:
        """Take new settings over; listeners move at once."""
        self._config = config
        self._look_again.set()

    async def run(self) -> None:
        door = await self.server.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_listening(door))
                tasks.create_task(self._notice_addresses())
                tasks.create_task(self._keep_frames())
        finally:
            for listener in self.listeners.values():
                door.close(listener)
            self.listeners.clear()
            self.ready.clear()
            await self.server.stop()

    # --- listeners

    async def _keep_listening(self, door: Doorkeeper) -> NoReturn:
        """Follow the node's addresses and the settings; what could not be had is tried again."""
        failures = 0
        while True:
            self._look_again.clear()
            status = await self._host.status(peers=False)
            problems = await self._listen_at(door, self._places(status))
            failures = failures + 1 if problems else 0
            if not problems or failures > PATIENCE:
                await self._report(problems)
            self.ready.set()
            pause_s = min(FIRST_RETRY_S * 2.0 ** min(failures - 1, 10), LAST_RETRY_S) if failures else None
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._look_again.wait()

    async def _notice_addresses(self) -> None:
        async for change in self._host.changes():
            if not change.kinds or {"state", "netmap"} & set(change.kinds):
                self._look_again.set()

    def _places(self, status: GatewayStatus) -> tuple[ListenPlace, ...]:
        own = status.self_node
        self.server.hosts = known_hosts(own.addresses, (own.name, *self._config.hosts))
        port = self._config.port
        local = [ListenPlace(ListenScope.LOCAL, port, address) for address in LOOPBACK if self._config.loopback]
        overlay = [ListenPlace(ListenScope.TAILNET, port, a) for a in own.addresses if self._config.overlay]
        return (*local, *overlay)

    async def _listen_at(self, door: Doorkeeper, places: tuple[ListenPlace, ...]) -> list[str]:
        """Open what is new, close what is gone; why some could not be opened."""
        for place in set(self.listeners) - set(places):
            door.close(self.listeners.pop(place))
        problems = []
        for place in places:
            if place not in self.listeners:
                try:
                    listener = await self._host.listen(place)
                except ApplianceError as error:
                    if place.address != LOOPBACK[1]:  # a host without IPv6 is well
                        problems.append(error.text)
                    continue
                self.listeners[place] = listener
                await door.open(listener)
        return problems

    async def _report(self, problems: list[str]) -> None:
        if not problems:
            await self._host.clear_health(LISTEN_CODE)
            return
        mend = "give the page another port: plugins.status_page.port in waypost.toml"
        await self._host.set_health(HealthItem(LISTEN_CODE, f"the status page is not served: {problems[0]}", mend))
        await self._host.log(LogLevel.WARNING, "cannot_listen", {"problems": list(problems)})

    # --- frames

    async def _keep_frames(self) -> NoReturn:
        """One frame for all watchers after each change and every two seconds; none while nobody watches."""
        number = -1
        while True:
            await self._live.watched()
            self._live.publish(self._renderer.frame(await self._look()))
            await asyncio.sleep(FRAME_PAUSE_S)
            try:
                async with asyncio.timeout(FRAME_SILENCE_S):
                    change = await self._host.wait_change(number)
                number = change.number
            except TimeoutError:
                continue

    async def _look(self) -> Shown:
        status, panels = await self._host.status(), await self._host.panels()
        return Shown(status, panels, await self._host.wall_now(), self._config.max_peers)
