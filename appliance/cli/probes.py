"""`ping` and `netcheck`."""

from __future__ import annotations

import time

import click
import msgspec

from appliance.cli.session import Session, json_option
from appliance.localapi.schema import NetcheckReport, Path, PingReply, PingRequest
from appliance.types.events import PathKind


@click.command()
@click.argument("target")
@click.option("-c", "--count", default=10, show_default=True, type=click.IntRange(1), help="Pings at most.")
@click.option("--timeout", "timeout_s", default=5.0, show_default=True, help="Seconds to wait for each answer.")
@click.option("--until-direct/--no-until-direct", default=True, show_default=True, help="Stop at a direct path.")
@click.option("--tsmp", "kind", flag_value="TSMP", help="Ask the peer's daemon through the tunnel.")
@click.option("--icmp", "kind", flag_value="ICMP", help="Ask the peer's host, as the ping command does.")
@click.option("--peerapi", "kind", flag_value="peerapi", help="Ask the peer's HTTP server in the tunnel.")
@click.option("--disco", "kind", flag_value="disco", default=True, help="Ask along the paths themselves (default).")
@json_option
@click.pass_obj
def ping(
    session: Session, target: str, count: int, timeout_s: float, until_direct: bool, kind: str, as_json: bool
) -> None:
    """Ping TARGET (name or address of a peer) and say which path answers. Exit code 1 when none did."""
    answered = direct = False
    for number in range(count):
        if number:
            time.sleep(1.0)  # noqa: TID251  # a person's terminal, one ping a second
        request = PingRequest(target=target, timeout_s=timeout_s, kind=kind)
        reply = session.client.post("ping", request, PingReply, timeout_s + 10)
        answered = answered or not reply.error
        direct = reply.path.kind == PathKind.DIRECT
        click.echo(msgspec.json.encode(reply).decode() if as_json else _line(reply))
        if direct and until_direct:
            return
    if until_direct and answered and not as_json:
        via = "a peer relay" if reply.path.kind == PathKind.PEER_RELAY else "DERP"
        click.echo(f"no direct path yet; packets go through {via}", err=True)
    if not answered:
        raise click.exceptions.Exit(1)


def _line(reply: PingReply) -> str:
    if reply.error:
        return f"no answer: {reply.error}"
    via = path_words(reply.path)
    peerapi = f", peer API on port {reply.peerapi_port}" if reply.peerapi_port else ""
    return f"pong from {reply.name} ({reply.address}) via {via} in {reply.path.latency_s * 1000:.1f} ms{peerapi}"


def path_words(path: Path) -> str:
    """`direct 203.0.113.5:41641` or `DERP fra`; `the tunnel` while it is not known which."""
    if path.kind == PathKind.NONE:
        return "the tunnel"
    if path.kind == PathKind.DERP:
        return f"DERP {path.region}"
    return f"{'direct' if path.kind == PathKind.DIRECT else 'peer relay'} {path.endpoint}"


@click.command()
@json_option
@click.pass_obj
def netcheck(session: Session, as_json: bool) -> None:
    """Measure the network: UDP, IPv4 and IPv6, the kind of NAT, DERP regions and their latency."""
    from appliance.cli.progress import Progress  # only where something takes long

    with Progress(session) as progress:
        progress.show("measuring DERP regions")
        report = session.client.post("netcheck", {}, NetcheckReport)
    if as_json:
        session.print_json(report)
        return
    for label, value in _rows(report):
        click.echo(f"{label + ':':<28} {value}")
    for region in sorted(report.regions, key=lambda item: item.latency_s):
        home = "  (home)" if region.region_id == report.preferred_region else ""
        click.echo(f"  {region.code + ':':<26} {region.latency_s * 1000:.1f} ms  {region.name}{home}")


def _rows(report: NetcheckReport) -> list[tuple[str, str]]:
    return [
        ("UDP", _yes_no(report.udp)),
        ("IPv4", _with_address(report.ipv4, report.global_v4)),
        ("IPv6", _with_address(report.ipv6, report.global_v6)),
        ("mapping varies by target", _yes_no(report.mapping_varies)),
        ("port mapping", report.port_mapping or "none found"),
        ("DERP regions", "" if report.regions else "none answered"),
    ]


def _yes_no(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[value]


def _with_address(value: bool | None, address: str) -> str:
    return _yes_no(value) + (f", {address}" if address else "")
