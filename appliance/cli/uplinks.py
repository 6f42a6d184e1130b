"""`uplinks`: the ways to the Internet that this gateway chooses between."""

from __future__ import annotations

import click

from appliance.cli.session import Session, json_option
from appliance.localapi.schema import Status, UplinkStatus


@click.command()
@json_option
@click.pass_obj
def uplinks(session: Session, as_json: bool) -> None:
    """Show each uplink of the configuration, how well it works and which one carries the mesh."""
    found = session.client.get("status?peers=0", Status).uplinks
    if as_json:
        session.print_json(found)
        return
    if not found:
        click.echo("The host's own default route is used; name two interfaces in [paths] uplinks to choose here.")
    for uplink in found:
        click.echo(uplink_line(uplink))


def uplink_line(uplink: UplinkStatus) -> str:
    """One line of the table."""
    latency = f"{uplink.latency_s * 1000:.1f} ms" if uplink.latency_s is not None else "-"
    mark = "* " if uplink.in_use else "  "
    quality = f"{latency:>10}  {uplink.loss:>4.0%} lost"
    down, up = (_rate(now, peak) for now, peak in _rates(uplink))
    return f"{mark}{uplink.interface:<16}{uplink.state:<8}{quality}  down {down}  up {up}{_carries(uplink)}"


def _carries(uplink: UplinkStatus) -> str:
    """What was measured of it."""
    rates = ((uplink.carries_rx_bytes_s, "down"), (uplink.carries_tx_bytes_s, "up"))
    known = [f"{rate * 8 / 1e6:.1f} Mbit/s {way}" for rate, way in rates if rate is not None]
    if not known:
        return "  metered" if uplink.metered else ""
    return f"  carries {', '.join(known)}"


def _rates(uplink: UplinkStatus) -> tuple[tuple[float, float], tuple[float, float]]:
    return (uplink.rx_bytes_s, uplink.rx_peak_bytes_s), (uplink.tx_bytes_s, uplink.tx_peak_bytes_s)


def _rate(now: float, peak: float) -> str:
    """Mbit/s at present and at most."""
    return f"{now * 8 / 1e6:.1f} Mbit/s (most {peak * 8 / 1e6:.1f})"
