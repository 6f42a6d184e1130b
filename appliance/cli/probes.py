"""`ping` and `netcheck`."""

from __future__ import annotations

import time

import click
import msgspec

from appliance.cli.session import Session, json_option
from appliance.localapi.schema import NetcheckReport, Path, PathCandidate, PingReply, PingRequest, RegionLatency
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
@click.option("--explain", is_flag=True, help="Ping once, then show every address of the peer and why this path.")
@json_option
@click.pass_obj
def ping(
    session: Session,
    target: str,
    count: int,
    timeout_s: float,
    until_direct: bool,
    kind: str,
    explain: bool,
    as_json: bool,
) -> None:
    """Ping TARGET (name or address of a peer) and say which path answers. Exit code 1 when none did."""
    if explain:
        _explain(session, PingRequest(target=target, timeout_s=timeout_s, kind=kind, explain=True), as_json)
        return
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


def _explain(session: Session, request: PingRequest, as_json: bool) -> None:
    reply = session.client.post("ping", request, PingReply, request.timeout_s + 10)
    if as_json:
        session.print_json(reply)
    else:
        for line in explanation(reply):
            click.echo(line)
    if reply.error:
        raise click.exceptions.Exit(1)


def explanation(reply: PingReply) -> list[str]:
    """The answer, the path of traffic now with its reason, and a line for each address."""
    lines = [_line(reply)]
    reasons = reply.reasons
    if reasons is None:
        return [*lines, "nothing is known of its paths"]
    if reply.current is not None and reply.current.kind != PathKind.NONE:
        lines.append(f"traffic goes {path_words(reply.current)}: {reasons.why}")
    else:
        lines.append(reasons.why)
    if reasons.relay_latency_s:
        lines.append(f"through DERP it takes {reasons.relay_latency_s * 1000:.1f} ms")
    if reasons.survives_s is not None:
        lines.append(_survives_words(reasons.survives_s))
    width = max((len(candidate.endpoint) for candidate in reasons.candidates), default=0)
    return lines + [_candidate_line(candidate, width) for candidate in reasons.candidates]


def _candidate_line(candidate: PathCandidate, width: int) -> str:
    mark = "*" if candidate.in_use else " "
    latency = f"{candidate.latency_s * 1000:.1f} ms" if candidate.latency_s else "-"
    loss = f", {candidate.loss:.0%} lost" if candidate.loss else ""
    loss += "" if candidate.mtu is None else f", MTU {candidate.mtu or 'under 1280'}"
    known = f" (from {', '.join(candidate.sources)})" if candidate.sources else ""
    return f"{mark} {candidate.endpoint:<{width}}  {latency:>9}{loss}  {candidate.why}{known}"


def _survives_words(seconds: float) -> str:
    return f"idle, the path survives {seconds:.0f} s of silence" if seconds else "idle, the path dies within 10 s"


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
    click.echo("\nReport:")
    for label, value in _rows(report):
        click.echo(f"\t* {label}: {value}".rstrip())
    for region in report.regions:
        click.echo(f"\t\t- {region.code + ':':<8}{_latency(region)} ({region.name})")


def _rows(report: NetcheckReport) -> list[tuple[str, str]]:
    """In the shape and the words of the field's tools, which people search for."""
    home = next((region for region in report.regions if region.region_id == report.preferred_region), None)
    nearest = (home.name or home.code) if home is not None else "unknown (no response to latency probes)"
    return [
        *([("Time", report.finished_at.isoformat())] if report.finished_at is not None else []),
        ("UDP", _true_false(report.udp)),
        ("IPv4", f"yes, {report.global_v4}" if report.global_v4 else "yes" if report.ipv4 else "(no addr found)"),
        ("IPv6", _ipv6(report)),
        ("MappingVariesByDestIP", _true_false(report.mapping_varies)),
        ("HairPinning", _true_false(report.hairpinning)),
        ("PortMapping", _port_mapping(report)),
        ("CaptivePortal", _true_false(report.captive_portal)),
        ("Nearest DERP", nearest),
        ("DERP latency", ""),
    ]


def _latency(region: RegionLatency) -> str:
    parts = [] if region.latency_s is None else [f"{region.latency_s * 1000:.1f}ms".ljust(8)]
    if region.v4_latency_s is not None and region.v6_latency_s is not None:
        parts.append(f"v4 {region.v4_latency_s * 1000:.1f}ms, v6 {region.v6_latency_s * 1000:.1f}ms")
    return " ".join(parts) if parts else " " * 8


def _ipv6(report: NetcheckReport) -> str:
    if report.ipv6:
        return f"yes, {report.global_v6}" if report.global_v6 else "yes"
    return "no, but OS has support" if report.os_has_ipv6 else "no, unavailable in OS"


def _port_mapping(report: NetcheckReport) -> str:
    """The protocols, then the address that was got by one of them, or why none was."""
    notes = [note for note in (report.port_mapped, report.port_mapping_error) if note]
    if not report.port_mapping and not notes:
        return ""
    return (report.port_mapping or "none found") + (f" ({', '.join(notes)})" if notes else "")


def _true_false(value: bool | None) -> str:
    """Empty when not known."""
    return {True: "true", False: "false", None: ""}[value]
