"""Status as text for a terminal: a pure function from the status message to something that rich prints."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from appliance.localapi.schema import Health, Path, PeerStatus, Route, Status
from appliance.types.errors import Severity
from appliance.types.events import BackendState, PathKind
from appliance.types.via import route_text

EXPIRES_SOON = timedelta(days=7)
_STATE_STYLE = {BackendState.RUNNING: "green", BackendState.STARTING: "yellow"}
_SEVERITY_STYLE = {Severity.HIGH: "bold red", Severity.MEDIUM: "yellow", Severity.LOW: "dim"}


def render(status: Status, now: datetime | None = None) -> RenderableType:
    """The whole page. `now` is UTC."""
    now = now or datetime.now(UTC)
    parts: list[RenderableType] = [_head(status, now)]
    if status.peers:
        parts += [Text(), _peers(status.peers, now)]
    elif status.state == BackendState.RUNNING:
        parts += [Text(), Text("no peers yet", style="dim")]
    if status.routes:
        parts += [Text(), _routes(status)]
    parts += [Text(), *_health(status.health)]
    return Group(*parts)


def _head(status: Status, now: datetime) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for label, value in _head_rows(status, now):
        grid.add_row(label, value)
    return grid


def _head_rows(status: Status, now: datetime) -> Iterator[tuple[str, Text]]:
    node = status.self_node
    state = Text(str(status.state), style=_STATE_STYLE.get(status.state, "bold red"))
    if status.waiting_for:
        state.append(f"  {status.waiting_for}", style="default")
    yield "state", state
    if status.login_error is not None:
        yield "login", Text(f"{status.login_error.text} → {status.login_error.mend}", style="red")
    if status.unconfirmed_s is not None:
        yield "settings", Text(f"on trial, go back in {status.unconfirmed_s:.0f} s → waypost confirm", style="yellow")
    if status.auth_url:
        yield "log in at", Text(status.auth_url, style="bold")
    yield "this node", Text("  ".join([node.name or node.hostname, *node.addresses]), style="bold")
    if node.key_expiry is not None:
        yield "login", _expiry(node.key_expiry, now)
    yield "control", _control(status)
    yield "DERP", _derp(status)
    if status.interface:
        form = f", {status.engine_form}" if status.engine_form else ""
        place = ", rootless" if status.rootless else ""
        why = f" ({status.engine_reason})" if status.engine_reason else ""
        engine = f"{status.engine} engine{form}{place}{why}"
        yield "tunnel", Text(f"{status.interface}, {engine}, UDP port {status.port or 'any'}")
    if node.advertised_routes:
        yield "serves", _served(node.advertised_routes, node.approved_routes)


def _expiry(key_expiry: datetime, now: datetime) -> Text:
    """In local time; coloured from a week before on."""
    left = key_expiry - now
    shown = key_expiry.astimezone().strftime("%Y-%m-%d %H:%M")
    if left <= timedelta():
        return Text(f"expired {shown} → waypost login", style="bold red")
    return Text(f"expires in {age_text(left)}, {shown}", style="yellow" if left <= EXPIRES_SOON else "default")


def _control(status: Status) -> Text:
    control = status.control
    if not control.url:
        return Text("none set", style="yellow")
    text = Text(control.url)
    if control.connected:
        return text.append("  connected", style="green")
    return text.append("  " + (control.error or "not connected"), style="yellow")


def _derp(status: Status) -> Text:
    derp = status.derp
    if not derp.region_id:
        return Text("none chosen yet", style="yellow")
    text = Text(derp.name or derp.region)
    return (
        text.append("  connected", style="green") if derp.connected else text.append("  not connected", style="yellow")
    )


def _served(advertised: tuple[str, ...], approved: tuple[str, ...]) -> Text:
    text = Text()
    for prefix in advertised:
        text.append(("  " if text else "") + route_text(prefix))
        if prefix not in approved:
            text.append(" (waits for approval)", style="yellow")
    return text


def _peers(peers: tuple[PeerStatus, ...], now: datetime) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("peer", "address", "state", "path", "latency", "rx", "tx", "routes"):
        table.add_column(column, justify="right" if column in ("latency", "rx", "tx") else "left", overflow="fold")
    for peer in sorted(peers, key=lambda item: (item.online is False, item.name)):
        latency = f"{peer.path.latency_s * 1000:.1f} ms" if peer.path.latency_s else ""
        table.add_row(
            peer.name.partition(".")[0],
            peer.addresses[0] if peer.addresses else "",
            _presence(peer, now),
            path_text(peer.path),
            latency,
            byte_text(peer.rx_bytes),
            byte_text(peer.tx_bytes),
            " ".join(map(route_text, peer.routes)),
        )
    return table


def _presence(peer: PeerStatus, now: datetime) -> Text:
    if peer.expired:
        return Text("key expired", style="red")
    if peer.online:
        return Text("active" if peer.active else "online", style="green")
    if peer.online is None:
        return Text("active" if peer.active else "unknown", style="green" if peer.active else "dim")
    seen = f" {age_text(now - peer.last_seen)}" if peer.last_seen else ""
    return Text(f"offline{seen}", style="dim")


def path_text(path: Path) -> str:
    """`direct 203.0.113.5:41641`, `DERP fra`, or a dash."""
    if path.kind == PathKind.DIRECT:
        return f"direct {path.endpoint}" + ("" if path.mtu is None else f", MTU {path.mtu or 'under 1280'}")
    if path.kind == PathKind.PEER_RELAY:
        return f"peer relay {path.endpoint}"
    return f"DERP {path.region or '?'}" if path.kind == PathKind.DERP else "-"


def byte_text(count: int) -> str:
    """Bytes with a binary unit, three digits at most before the point."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1000:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def age_text(age: timedelta) -> str:
    """`3 min`, `2 h`, `5 d`."""
    seconds = max(0, int(age.total_seconds()))
    for limit, unit, size in ((60, "s", 1), (3600, "min", 60), (86400, "h", 3600)):
        if seconds < limit:
            return f"{seconds // size} {unit}"
    return f"{seconds // 86400} d"


def _routes(status: Status) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("route", "through", "state"):
        table.add_column(column, overflow="fold")
    for route in status.routes:
        table.add_row(route.prefix, route.peer.partition(".")[0], _route_state(route))
    return table


def _route_state(route: Route) -> Text:
    if not route.installed:
        return Text(route.reason or "not used", style="yellow")
    return Text("installed, after this host's own" if route.own_first else "installed", style="green")


def _health(items: tuple[Health, ...]) -> Iterator[RenderableType]:
    if not items:
        yield Text("healthy", style="green")
    for item in items:
        yield Text(f"{item.severity}: {item.text}", style=_SEVERITY_STYLE[item.severity])
        if item.mend:
            yield Text(f"  → {item.mend}")
