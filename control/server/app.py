"""The wiring of `waypost-control serve`: service, front listener, map streams, relay and STUN in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from appliance.ports.clock import Clock, SystemClock
from appliance.ports.randomness import Randomness, SystemRandomness
from appliance.types.addresses import AddrPort
from appliance.types.errors import ConfigError
from appliance.types.netmap import DerpMap
from control.derp.server import limit_tls_buffers
from control.noise.upgrade import NoiseUpgrade
from control.server.acme import AcmeTls
from control.server.derp_maps import DerpMaps
from control.server.embedded_derp import EmbeddedDerp, own_address, relay_host, relay_text
from control.server.endpoints import add_plain_routes, add_token_routes
from control.server.front import Front
from control.server.housekeeping import Housekeeping, refresh_certificates, renew_derp_map, tick
from control.server.login_page import add_check_page, add_login_page
from control.server.machine import MachineApi
from control.server.metrics import MetricsPage, metrics_routes, read_token
from control.server.node_calls import NodeCalls
from control.server.node_requests import NodeRequests
from control.server.routes import Routes
from control.server.sessions import SessionHub
from control.server.status_page import add_status_page
from control.server.supervision import Supervision
from control.server.tasks import RequestTasks
from control.server.tls_fallback import open_tls_fallback
from control.service.actor import SYSTEM
from control.service.service import ControlService, open_service
from control.service.settings import ServiceSettings
from control.state.identity import load_identity
from control.tls.identity import ServerTls

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from control.server.peeking import PeekingListener
    from control.server.settings import ServerSettings
    from control.tls.alpn_challenge import AlpnAnswers

log = structlog.get_logger("control.server")

Companion = Callable[[ControlService], AbstractAsyncContextManager[object]]
"""Something that lives as long as the server, such as the admin socket."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """What is up. `port` is the front listener's bound port."""

    service: ControlService
    hub: SessionHub
    front: Front
    port: int
    derp_map: DerpMap


async def serve(
    settings: ServerSettings,
    *,
    stop: asyncio.Event,
    reload: asyncio.Event | None = None,
    ready: Callable[[RunningServer], None] | None = None,
    companions: Sequence[Companion] = (),
) -> None:
    """Run until `stop` is set; `ready` is called once everything listens. Raises `ApplianceError` with its mend.

    `reload`, set and cleared again: take up replaced certificates and DERP maps now. Tells systemd of readiness and
    feeds its watchdog from the event loop.
    """
    supervision = Supervision()
    try:
        async with running(settings, companions=companions, beat=supervision.beat, reload=reload) as server:
            supervision.ready()
            if ready is not None:
                ready(server)
            await stop.wait()
            supervision.stopping()
    finally:
        supervision.close()


@asynccontextmanager
async def running(
    settings: ServerSettings,
    *,
    companions: Sequence[Companion] = (),
    beat: Callable[[], None] | None = None,
    reload: asyncio.Event | None = None,
    clock: Clock | None = None,
    randomness: Randomness | None = None,
) -> AsyncIterator[RunningServer]:
    """The whole server inside one block. Raises `ApplianceError` when something cannot be opened."""
    clock, randomness = clock or SystemClock(), randomness or SystemRandomness()
    identity = load_identity(settings.data_dir, randomness, settings.noise_key)
    acme = AcmeTls(settings, settings.acme, clock, randomness) if settings.acme is not None else None
    front_tls = acme.tls if acme is not None else _front_tls(settings, clock, randomness)
    async with AsyncExitStack() as stack:
        routes = Routes()
        host = _derp_host(settings)
        derp = None
        if host is not None:
            derp = EmbeddedDerp(settings, host, identity.derp, clock, randomness, front_tls)
            stack.push_async_callback(derp.stop)
            await derp.start(routes)
        derp_maps = DerpMaps(
            settings.data_dir,
            settings.derp_map_urls,
            settings.derp_map_files,
            derp.derp_map if derp is not None else DerpMap,
        )
        derp_map = await derp_maps.load()
        service = await _open_service(settings, public_url(settings, host), derp_map, clock, randomness)
        stack.push_async_callback(service.close)
        if derp is not None:
            derp.serve(service)
            derp.count_in(service.counters)
        tasks = await stack.enter_async_context(RequestTasks())
        tasks.spawn(service.run())
        hub = SessionHub(service, clock, randomness, settings.map_settings)
        stack.callback(hub.close)
        requests = NodeRequests(hub.push, clock, randomness)
        service.requests.connect(requests)
        calls = NodeCalls(service.dns_names, service.id_tokens, service.reports, service.attributes)
        noise = NoiseUpgrade(
            identity.noise, MachineApi(service, hub, requests, calls, service.ssh_checks), tasks.spawn, randomness
        )
        stack.push_async_callback(noise.close)
        add_plain_routes(routes, noise, service)
        add_token_routes(routes, service.id_tokens)
        add_login_page(routes, service.logins)
        add_check_page(routes, service.ssh_checks)
        add_status_page(routes, service, _public_name(settings, host))
        routes.raw["/ts2021"] = noise.take
        front = Front(routes, tasks.spawn)
        stack.callback(front.close)
        service.counters.add("front", lambda: front.counters)
        service.counters.add("noise", lambda: noise.counters)
        service.counters.add("map", lambda: hub.counters)
        service.counters.add("reports", lambda: service.reports.counters)
        context = front_tls.context if front_tls is not None else None
        answers = acme.answers if acme is not None else None
        port = await _listen(stack, tasks, front, settings, context, answers)
        name = _public_name(settings, host)
        fallback = await open_tls_fallback(stack, front, settings, name, clock, randomness)
        for companion in companions:
            await stack.enter_async_context(companion(service))
        reload = reload or asyncio.Event()
        house = Housekeeping(service, hub, noise, derp, front_tls or fallback, derp_maps, clock, beat, reload)
        if acme is not None:
            stack.callback(acme.close)
            house.renewer = await acme.start(
                public_url(settings, host), tasks.spawn, lambda: refresh_certificates(house)
            )
            service.counters.add("acme", lambda: acme.counters)
        await _listen_metrics(stack, tasks, settings, MetricsPage(service, hub, front_tls, house.renewer))
        tasks.spawn(tick(house))
        if derp_maps.needs_refresh:
            tasks.spawn(renew_derp_map(derp_maps, service, settings.derp_map_refresh_s))
        log.info(
            "serving", address=str(AddrPort(settings.listen.ip, port)), tls=front_tls is not None, relay=host or "none"
        )
        yield RunningServer(service, hub, front, port, derp_map)


async def _listen(
    stack: AsyncExitStack,
    tasks: RequestTasks,
    front: Front,
    settings: ServerSettings,
    context: ssl.SSLContext | None,
    answers: AlpnAnswers | None,
) -> int:
    """The port. `answers` are those to an authority that looks at the listener itself."""
    place = settings.listen
    listener: asyncio.Server | PeekingListener
    if context is not None:
        limit_tls_buffers()
    if context is not None and answers is not None:
        listener = front.listen_peeking(place.ip, place.port, context, answers)
        tasks.spawn(listener.serve())
    else:
        listener = await front.listen(place.ip, place.port, context)
    stack.callback(listener.close)
    return int(listener.sockets[0].getsockname()[1])


async def _listen_metrics(
    stack: AsyncExitStack, tasks: RequestTasks, settings: ServerSettings, page: MetricsPage
) -> None:
    if settings.metrics_listen is None:
        return
    token = read_token(settings.metrics_token_file) if settings.metrics_token_file is not None else ""
    front = Front(metrics_routes(page, token), tasks.spawn)
    stack.callback(front.close)
    listener = await front.listen(settings.metrics_listen.ip, settings.metrics_listen.port)
    stack.callback(listener.close)


def _front_tls(settings: ServerSettings, clock: Clock, randomness: Randomness) -> ServerTls | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerTls.from_files(settings.tls_certificate, settings.tls_key, clock, randomness)


def _derp_host(settings: ServerSettings) -> str | None:
    """Where nodes find the relay; None = there is none."""
    if settings.derp_host is None:
        return None
    host = relay_text(settings)
    if host is None:
        log.warning("no relay: this host has no address that others could reach", mend="give one with --derp-host")
    return host


def public_url(settings: ServerSettings, host: str | None) -> str:
    """Where people's browsers find this server. `host` is the relay's, if there is one."""
    if settings.url:
        return settings.url.rstrip("/")
    scheme = "https" if settings.has_tls else "http"
    name = _public_name(settings, host)
    shown = f"[{name}]" if ":" in name else name
    port = settings.listen.port
    return f"{scheme}://{shown}" if port == {"http": 80, "https": 443}[scheme] else f"{scheme}://{shown}:{port}"


def _public_name(settings: ServerSettings, host: str | None) -> str:
    if settings.url:
        return urlsplit(settings.url).hostname or settings.listen.ip
    if settings.acme is not None:
        return settings.acme.names[0]
    return (relay_host(host)[0] if host else None) or own_address() or settings.listen.ip


async def _open_service(
    settings: ServerSettings, url: str, derp_map: DerpMap, clock: Clock, randomness: Randomness
) -> ControlService:
    wanted = ServiceSettings(
        random_addresses=settings.random_addresses,
        domain=settings.domain,
        derp_map=derp_map,
        url=url,
        key_expiry=settings.key_expiry,
        set_dns_command=settings.set_dns_command,
        token_audiences=settings.token_audiences,
        country_file=settings.country_file,
    )
    service = await open_service(
        settings.data_dir, wanted, clock=clock, randomness=randomness, database_text=settings.database
    )
    try:
        if settings.policy_file is not None:
            await _load_policy(service, settings.policy_file)
    except BaseException:
        await service.close()
        raise
    return service


async def _load_policy(service: ControlService, file: Path) -> None:
    """Put the file's policy in force unless it already is."""
    text = read_policy(file)
    if text != service.policies.get(SYSTEM).text:
        _, warnings = await service.policies.set(SYSTEM, text)
        for warning in warnings:
            log.warning("policy", problem=str(warning))


def read_policy(file: Path) -> str:
    """The text of a policy file. Raises `ConfigError`."""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        mend = "check the path given with --policy"
        raise ConfigError(f"cannot read the policy file {file}: {reason}", mend=mend) from error
