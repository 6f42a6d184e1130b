"""`debug firewall`: why a packet passes or not."""

from __future__ import annotations

from urllib.parse import urlencode

import click
import msgspec

from appliance.cli.session import Session, json_option
from appliance.localapi.firewall_schema import FirewallVerdict


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.argument("protocol", metavar="PROTO", default="tcp")
@click.argument("port", type=click.IntRange(0, 65535), default=0)
@json_option
@click.pass_obj
def firewall(session: Session, source: str, destination: str, protocol: str, port: int, as_json: bool) -> None:
    """Say what the packet filter does with a new flow from the mesh: from SRC to DST, PROTO and PORT.

    SRC and DST are addresses, or names of peers or of this gateway; PROTO is tcp (default), udp, icmp, sctp or a
    number. Nothing is sent. Exit code 1 when the flow would be dropped.
    """
    query = {"source": source, "destination": destination, "protocol": protocol, "port": port}
    raw = session.client.raw(f"firewall?{urlencode(query)}")
    verdict = msgspec.json.decode(raw, type=FirewallVerdict)
    if as_json:
        session.print_json(raw)
    else:
        click.echo(f"{verdict.packet}: {'passes' if verdict.accepted else 'is dropped'}; {verdict.reason}")
    if not verdict.accepted:
        raise click.exceptions.Exit(1)
