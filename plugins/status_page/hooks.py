"""Hook implementations of `status_page`: they keep the parts and delegate to pure modules."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

from appliance.api import CommandReply, HostHandle, ListenScope, Metric, Panel, Service, hookimpl
from appliance.pages.sign_in import CODE_LIFE_S, CODE_RANDOM_BYTES, SignIn
from plugins.status_page.config import StatusPageConfig
from plugins.status_page.metrics import metrics
from plugins.status_page.panel import panel
from plugins.status_page.rules import page_url
from plugins.status_page.service import PageService
from plugins.status_page.state import PageState


def boot_time() -> float:
    """Seconds since boot, suspend included: a code ages while the gateway sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class StatusPage:
    """`now` (monotonic seconds) dates codes and sessions: hooks cannot ask the host for the time."""

    def __init__(self, now: Callable[[], float] = boot_time) -> None:
        self._now = now
        self._config = StatusPageConfig()
        self._sign_in = SignIn(self._config.session_hours * 3600.0, "waypost page")
        self._service: PageService | None = None

    @hookimpl
    def appliance_configure(self, config: StatusPageConfig) -> None:
        self._config = config
        self._sign_in.session_life_s = config.session_hours * 3600.0
        if self._service is not None:
            self._service.configure(config)

    @hookimpl
    def appliance_start(self, host: HostHandle) -> Sequence[Service]:
        self._service = PageService(host, self._config, self._sign_in, self._now)
        return (self._service,)

    @hookimpl
    def appliance_run_command(self, command: str) -> CommandReply:
        """`code`: the one command."""
        urls = self._urls()
        if not urls:
            mend = "see: waypost health"
            return CommandReply(f"{command}: the status page is not served anywhere; {mend}", ok=False)
        code = self._sign_in.issue(secrets.token_bytes(CODE_RANDOM_BYTES), self._now())
        minutes = int(CODE_LIFE_S // 60)
        places = "\n".join(f"  {url}#code={code}" for url in urls)
        return CommandReply(f"Open one of\n{places}\nCode: {code} (works once, within {minutes} minutes)")

    @hookimpl
    def appliance_status_panel(self) -> Panel:
        return panel(self._state())

    @hookimpl
    def appliance_metrics(self) -> Sequence[Metric]:
        return metrics(self._state())

    def _urls(self) -> tuple[str, ...]:
        """Where the page is served now; addresses of the mesh first, which every own device reaches."""
        listening = self._service.listeners if self._service is not None else {}
        order = sorted(listening, key=lambda place: place.scope is ListenScope.LOCAL)
        return tuple(page_url(place.address, listening[place].getsockname()[1]) for place in order)

    def _state(self) -> PageState:
        service = self._service
        return PageState(
            urls=self._urls(),
            sessions=self._sign_in.sessions(self._now()),
            watchers=service.watchers if service is not None else 0,
            wrong_codes=self._sign_in.refused,
            refused_requests=service.server.refused if service is not None else 0,
            malformed_requests=service.server.malformed.count if service is not None else 0,
            turned_away=service.server.door.turned_away if service is not None and service.server.door else 0,
        )
