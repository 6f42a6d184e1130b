"""The HTTP server of the local API. Paths are `/v1/<name>`; GET reads, POST and PATCH change."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import structlog
from aiohttp import web

from appliance.localapi.access import Handler, RefusedError, header_problem, may_write, peer_uid
from appliance.localapi.backend import LocalBackend
from appliance.localapi.doctor_routes import DoctorBackend, doctor_routes
from appliance.localapi.firewall_routes import FirewallBackend, firewall_routes
from appliance.localapi.loop_delay import measure
from appliance.localapi.mesh_routes import MeshBackend, mesh_routes
from appliance.localapi.plugin_routes import PluginsBackend, plugin_routes
from appliance.localapi.schema import (
    API,
    TRACE_HEADER,
    ErrorReply,
    EventLine,
    PingRequest,
    PrefsPatch,
    ProfileChoice,
    UpRequest,
)
from appliance.types.errors import ApplianceError, ConfigError, ControlError, PrivilegeError

log = structlog.get_logger("localapi")
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
T = TypeVar("T")

MAX_BODY_BYTES = 64 * 1024
WATCH_PAUSE_S = 0.25
"""Least time between two lines of a status stream."""
WATCH_SILENCE_S = 2.0
"""Most time between two lines: counters move without an event."""
_TRACE = re.compile(r"[0-9a-f]{16}")


class BadRequestError(ApplianceError):
    """A request does not follow the schema."""

    code = "bad-request"


def _http_status(error: ApplianceError) -> int:
    if isinstance(error, RefusedError):
        return 403
    if isinstance(error, BadRequestError | ConfigError):
        return 400
    return 503 if isinstance(error, ControlError | PrivilegeError) else 409


def _json(value: Any, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")


def _error(error: ApplianceError, status: int) -> web.Response:
    return _json(ErrorReply(code=error.code, text=error.text, mend=error.mend), status)


async def _body(request: web.Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except RecursionError:
        raise BadRequestError("the request is not as the schema says: nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = str(error) if "auth" not in str(error) else "a field has the wrong type"
        raise BadRequestError(f"the request is not as the schema says: {reason}") from None


class LocalApiServer:
    """Serves one socket. Streams end when the server stops."""

    def __init__(
        self,
        backend: LocalBackend,
        path: str,
        plugins: PluginsBackend | None = None,
        firewall: FirewallBackend | None = None,
        mesh: MeshBackend | None = None,
        doctor: DoctorBackend | None = None,
    ) -> None:
        self._backend = backend
        self._plugins = plugins
        self._firewall = firewall
        self._mesh = mesh
        self._doctor = doctor
        self._path = path
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Listen. Raises `PrivilegeError` when the socket cannot be made, `ConfigError` when it is served already."""
        refuse_if_served(self._path)
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        app.add_routes(self._routes())
        if self._plugins is not None:
            app.add_routes(plugin_routes(self._plugins, _json))
        if self._firewall is not None:
            app.add_routes(firewall_routes(self._firewall, _json))
        if self._mesh is not None:
            app.add_routes(mesh_routes(self._mesh, _json))
        if self._doctor is not None:
            app.add_routes(doctor_routes(self._doctor, _json))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.UnixSite(self._runner, self._path).start()
            os.chmod(self._path, 0o666)  # noqa: S103, PTH101  # everyone may read; writing is decided per caller
        except OSError as error:
            await self._runner.cleanup()
            mend = "create its folder with rights for waypostd, or give another --socket"
            text = f"cannot listen on {self._path}: {error.strerror or error}"
            raise PrivilegeError(text, mend=mend, code="localapi-socket") from error

    async def stop(self) -> None:
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            with suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108  # a socket of ours, removed at the end

    def _routes(self) -> list[web.RouteDef]:
        read = {
            "status": self._status,
            "version": self._version,
            "health": self._health,
            "prefs": self._prefs,
            "profiles": self._profiles,
            "netmap": self._netmap,
            "counters": self._counters,
            "metrics": self._metrics,
            "loop": self._loop_delay,
            "watch": self._watch,
            "events": self._events,
        }
        write = {
            "up": self._up,
            "down": self._down,
            "logout": self._logout,
            "confirm": self._confirm,
            "profiles/switch": self._switch_profile,
            "profiles/delete": self._delete_profile,
            "ping": self._ping,
            "netcheck": self._netcheck,
        }
        return [
            *(web.get(f"{API}/{name}", handler) for name, handler in read.items()),
            *(web.post(f"{API}/{name}", handler) for name, handler in write.items()),
            web.patch(f"{API}/prefs", self._set_prefs),
        ]

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        problem = header_problem(request.headers)
        if problem:
            return _error(RefusedError(problem), 403)
        trace = request.headers.get(TRACE_HEADER, "")
        with structlog.contextvars.bound_contextvars(**({"trace": trace} if _TRACE.fullmatch(trace) else {})):
            try:
                self._check_rights(request)
                return await handler(request)
            except ApplianceError as error:
                return _error(error, _http_status(error))
            except web.HTTPException as error:
                return _error(ApplianceError(error.reason, code="http"), error.status)

    def _check_rights(self, request: web.Request) -> None:
        probing = request.path in (f"{API}/ping", f"{API}/netcheck")
        if request.method == "GET" or probing or may_write(peer_uid(request), self._backend.operator_uid()):
            return
        mend = "use sudo, or let root run: waypost set --operator=YOUR-USER"
        raise RefusedError("changing the gateway needs root or its operator", mend=mend)

    # --- reading

    async def _status(self, request: web.Request) -> web.Response:
        return _json(self._backend.status(peers=request.query.get("peers", "1") != "0"))

    async def _version(self, _request: web.Request) -> web.Response:
        return _json(self._backend.version())

    async def _health(self, _request: web.Request) -> web.Response:
        return _json(self._backend.status(peers=False).health)

    async def _prefs(self, _request: web.Request) -> web.Response:
        return _json(self._backend.prefs())

    async def _profiles(self, _request: web.Request) -> web.Response:
        return _json(self._backend.profiles())

    async def _netmap(self, _request: web.Request) -> web.Response:
        return _json(self._backend.netmap())

    async def _counters(self, _request: web.Request) -> web.Response:
        return _json(dict(sorted(self._backend.counters().items())))

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._backend.metrics().encode(), headers={"Content-Type": METRICS_TYPE})

    async def _loop_delay(self, request: web.Request) -> web.Response:
        """Worst delay of this process's event loop over `?seconds=`."""
        try:
            seconds = float(request.query.get("seconds", "1"))
        except ValueError:
            raise BadRequestError("seconds is not a number") from None
        return _json(await measure(seconds))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """Status lines: one now, one after each change, one every two seconds at least."""
        changed = asyncio.Event()
        end = self._backend.subscribe(lambda _event: changed.set())
        peers = request.query.get("peers", "1") != "0"
        try:
            return await self._stream(request, lambda: [self._backend.status(peers=peers)], changed)
        finally:
            end()

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Event lines: those of the ring, then each new one; with `follow=0` the ring alone."""
        waiting: list[EventLine] = list(self._backend.recent_events())
        if request.query.get("follow", "1") == "0":
            body = b"".join(msgspec.json.encode(line) + b"\n" for line in waiting)
            return web.Response(body=body, content_type="application/x-ndjson")
        changed = asyncio.Event()

        def note(event: EventLine) -> None:
            waiting.append(event)
            del waiting[:-1000]  # a reader that does not read loses the oldest
            changed.set()

        def take() -> list[EventLine]:
            taken = waiting[:]
            waiting.clear()
            return taken

        end = self._backend.subscribe(note)
        try:
            return await self._stream(request, take, changed)
        finally:
            end()

    async def _stream(
        self, request: web.Request, lines: Callable[[], list[Any]], changed: asyncio.Event
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        with suppress(ConnectionError):  # the reader went away
            while not self._stopping.is_set():
                changed.clear()
                for line in lines():
                    await response.write(msgspec.json.encode(line) + b"\n")
                await self._pause(WATCH_PAUSE_S)
                await self._pause(WATCH_SILENCE_S, changed)
        return response

    async def _pause(self, seconds: float, event: asyncio.Event | None = None) -> None:
        waits = [asyncio.ensure_future(item.wait()) for item in (self._stopping, event) if item is not None]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # --- changing

    async def _up(self, request: web.Request) -> web.Response:
        return _json(await self._backend.up(await _body(request, UpRequest)))

    async def _down(self, _request: web.Request) -> web.Response:
        await self._backend.down()
        return _json({})

    async def _logout(self, _request: web.Request) -> web.Response:
        await self._backend.logout()
        return _json({})

    async def _switch_profile(self, request: web.Request) -> web.Response:
        await self._backend.switch_profile((await _body(request, ProfileChoice)).name)
        return _json({})

    async def _delete_profile(self, request: web.Request) -> web.Response:
        await self._backend.delete_profile((await _body(request, ProfileChoice)).name)
        return _json({})

    async def _set_prefs(self, request: web.Request) -> web.Response:
        return _json(await self._backend.set_prefs(await _body(request, PrefsPatch)))

    async def _confirm(self, _request: web.Request) -> web.Response:
        return _json(await self._backend.confirm())

    async def _ping(self, request: web.Request) -> web.Response:
        return _json(await self._backend.ping(await _body(request, PingRequest)))

    async def _netcheck(self, _request: web.Request) -> web.Response:
        return _json(await self._backend.netcheck())


def refuse_if_served(path: str) -> None:
    """Raise `ConfigError` when a living process listens on the socket; a dead one's left-over is fine."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return
    mend = "stop the other waypostd, or give this one its own --socket and --state-dir"
    raise ConfigError(f"another waypostd is running: it serves {path}", mend=mend, code="already-running")
