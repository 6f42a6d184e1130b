"""`ip`."""

from __future__ import annotations

import click

from appliance.cli.session import Session, json_option
from appliance.localapi.schema import Status
from appliance.types.errors import ApplianceError


@click.command()
@click.argument("peer", required=False)
@click.option("-4", "only_v4", is_flag=True, help="IPv4 only.")
@click.option("-6", "only_v6", is_flag=True, help="IPv6 only.")
@json_option
@click.pass_obj
def ip(session: Session, peer: str | None, only_v4: bool, only_v6: bool, as_json: bool) -> None:
    """Print the mesh addresses of this node, or of PEER (name or address)."""
    status = session.client.get(f"status?peers={int(peer is not None)}", Status)
    found = status.self_node.addresses if peer is None else _addresses_of(status, peer)
    wanted = [text for text in found if not (only_v4 and ":" in text) and not (only_v6 and ":" not in text)]
    if not wanted and not as_json:
        raise ApplianceError("this node has no such address yet", mend="run: waypost up", code="no-address")
    if as_json:
        session.print_json(wanted)
    else:
        click.echo("\n".join(wanted))


def _addresses_of(status: Status, wanted: str) -> tuple[str, ...]:
    low = wanted.rstrip(".").lower()
    known = [(node.name, node.addresses) for node in status.peers]
    for fqdn, addresses in [(status.self_node.name, status.self_node.addresses), *known]:
        name = fqdn.rstrip(".").lower()
        if low in (name, name.partition(".")[0]) or wanted in addresses:
            return addresses
    raise ApplianceError(f"no peer is named {wanted}", mend="waypost status lists them", code="no-such-peer")
