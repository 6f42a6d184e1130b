"""`whois` and `nc`: who has an address in the mesh, and a connection there from this terminal."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import sys
from urllib.parse import quote

import click
import msgspec

from appliance.cli.session import Session, json_option
from appliance.localapi.mesh_schema import DialRequest, WhoisReply

_READ_BYTES = 1 << 16


@click.command()
@click.argument("address")
@json_option
@click.pass_obj
def whois(session: Session, address: str, as_json: bool) -> None:
    """Say whose ADDRESS (or ADDRESS:PORT) in the mesh that is."""
    raw = session.client.raw(f"whois?address={quote(address)}")
    if as_json:
        session.print_json(raw)
        return
    peer = msgspec.json.decode(raw, type=WhoisReply)
    owner = f"{peer.user} ({peer.display_name})" if peer.display_name else peer.user
    rows = [
        ("node", peer.name),
        ("addresses", " ".join(peer.addresses)),
        ("user", owner),
        ("tags", " ".join(peer.tags)),
    ]
    rows += [("may", name) for name in sorted(peer.capabilities)]
    for label, value in rows:
        if value:
            click.echo(f"{label + ':':<12} {value}")


@click.command()
@click.argument("host")
@click.argument("port", type=click.IntRange(1, 65535))
@click.option("--timeout", "timeout_s", default=30.0, show_default=True, help="Seconds to wait for the connection.")
@click.pass_obj
def nc(session: Session, host: str, port: int, timeout_s: float) -> None:
    """Connect standard input and output to PORT of HOST (name or address of a peer).

    \b
    ssh -o ProxyCommand='waypost nc %h %p' peer
    """
    from appliance.localapi.handout_client import take_socket  # only where a socket is taken

    request = DialRequest(host=host, port=port, timeout_s=timeout_s)
    with asyncio.run(take_socket(session.socket, request)) as stream:
        stream.setblocking(True)
        _pump(stream)


def _pump(stream: socket.socket) -> None:
    """Both ways until the other side ends; the end of our input is passed on."""
    waiting = [sys.stdin.fileno(), stream.fileno()]
    while stream.fileno() in waiting:
        ready, _, _ = select.select(waiting, [], [])
        if stream.fileno() in ready:
            data = stream.recv(_READ_BYTES)
            if not data:
                return
            _write(sys.stdout.fileno(), data)
        if sys.stdin.fileno() in ready:
            data = os.read(sys.stdin.fileno(), _READ_BYTES)
            if data:
                stream.sendall(data)
            else:
                waiting.remove(sys.stdin.fileno())
                stream.shutdown(socket.SHUT_WR)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
