"""`/metrics` for Prometheus: gauges of the mesh and every counter that the parts keep, made when asked for."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from appliance.types.errors import ConfigError
from control.server.routes import PlainRequest, PlainResponse, Routes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client.core import Metric

    from control.server.sessions import SessionHub
    from control.service.service import ControlService
    from control.tls.identity import ServerTls
    from control.tls.renewal import Renewer

PATH = "/metrics"
MIN_TOKEN = 16
_LABELLED = re.compile(r"(\w+)\{(.*)\}")
_VALUE = re.compile(r'"([^"]*)"')


class MetricsPage(Collector):
    """What Prometheus reads of one process."""

    def __init__(
        self, service: ControlService, hub: SessionHub, tls: ServerTls | None, renewer: Renewer | None = None
    ) -> None:
        self._service = service
        self._hub = hub
        self._tls = tls
        self._renewer = renewer
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def text(self) -> bytes:
        return bytes(generate_latest(self._registry))

    def collect(self) -> Iterator[Metric]:
        """All families; called by the registry."""
        view = self._service.view()
        yield InfoMetricFamily("waypost_control", "The tailnet that is served.", {"domain": view.domain})
        yield _gauge("nodes", "Registered nodes.", len(view.nodes))
        yield _gauge("nodes_online", "Nodes with a map stream, on any process.", view.online_count)
        yield _gauge("users", "Users.", len(view.users))
        yield _gauge("map_streams", "Open map streams of this process.", len(self._hub))
        yield _gauge("map_streams_waiting", "Map streams with news that take nothing now.", self._hub.waiting)
        yield _gauge("revision", "Changes shown since the start.", view.revision)
        yield _gauge("policy_version", "Version of the policy in force.", self._service.policy_version)
        if self._tls is not None:
            until = self._tls.not_after.timestamp()
            yield _gauge("certificate_not_after_seconds", "End of the front certificate, Unix time.", until)
        if self._renewer is not None:
            failures = self._renewer.status.failures
            yield _gauge("certificate_failed_orders", "Orders of a certificate that failed in a row.", failures)
        yield self._events()

    def _events(self) -> CounterMetricFamily:
        family = CounterMetricFamily(
            "waypost_control_events", "What the parts count.", labels=("part", "event", "detail")
        )
        for part, found in self._service.counters.snapshot().items():
            for name, value in found.items():
                labelled = _LABELLED.fullmatch(name)
                event, detail = (labelled[1], ",".join(_VALUE.findall(labelled[2]))) if labelled else (name, "")
                family.add_metric((part, event, detail), value)
        return family


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"waypost_control_{name}", text, value)


def read_token(file: Path) -> str:
    """The token that Prometheus must present. Raises `ConfigError`."""
    try:
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise ConfigError(f"metrics.token_file: cannot read {file}: {reason}", mend="check path and owner") from error
    if len(token) < MIN_TOKEN:
        mend = f"write at least {MIN_TOKEN} letters, as from: openssl rand -hex 16"
        raise ConfigError(f"metrics.token_file: the token in {file} is too short", mend=mend)
    return token


def metrics_routes(page: MetricsPage, token: str) -> Routes:
    """The one route of the metrics listener; `token` "" = everybody who reaches it may read."""
    wanted = f"Bearer {token}".encode()

    async def metrics(request: PlainRequest) -> PlainResponse:
        given = (request.head.header("authorization") or "").encode()
        if token and not hmac.compare_digest(given, wanted):
            return PlainResponse(401, b"present the token\n", headers=(("WWW-Authenticate", "Bearer"),))
        return PlainResponse(200, page.text(), CONTENT_TYPE_LATEST)

    return Routes(plain={("GET", PATH): metrics})
