"""`waypost-control nodes ping` and `nodes c2n`."""

from __future__ import annotations

import sys
from typing import Any

import click

from control.cli.client import AdminClient
from control.cli.options import json_option, show_json, socket_option, split_list


@click.command()
@click.argument("name")
@click.option("--to", "peer", default="", metavar="PEER", help="Let the node ping PEER instead.")
@click.option("--type", "kinds", multiple=True, help="Kinds of ping to PEER: disco, TSMP, ICMP, peerapi.")
@json_option
@socket_option
def ping(client: AdminClient, name: str, peer: str, kinds: tuple[str, ...], as_json: bool) -> None:
    """Ask the node NAME whether it answers. Exit code 1 when it, or its PEER, does not."""
    answer = client.call("POST", "nodes", name, "ping", body={"to": peer, "kinds": split_list(kinds) or ["disco"]})
    if as_json:
        show_json(answer)
    elif not peer:
        click.echo(f"{name} answers in {answer['latency_s'] * 1000:.1f} ms")
    else:
        for item in answer["answers"]:
            click.echo(f"{name} to {peer}, {_line(item)}")
    if any(item["error"] for item in answer.get("answers", ())):
        raise click.exceptions.Exit(1)


def _line(item: dict[str, Any]) -> str:
    if item["error"]:
        return f"{item['kind']}: {item['error']}"
    via = item["endpoint"] or (f"DERP {item['relay']}" if item["relay"] else "the tunnel")
    port = f", peer API on port {item['peerapi_port']}" if item["peerapi_port"] else ""
    return f"{item['kind']}: pong via {via} in {item['latency_s'] * 1000:.1f} ms{port}"


@click.command()
@click.argument("name")
@click.argument("path")
@click.option("-X", "--method", default="GET", show_default=True, help="HTTP method.")
@click.option("-d", "--data", default="", help="Body; - reads it from standard input.")
@click.option("--timeout", "timeout_s", default=30.0, show_default=True, help="Seconds that the node may take.")
@json_option
@socket_option
def c2n(client: AdminClient, name: str, path: str, method: str, data: str, timeout_s: float, as_json: bool) -> None:
    """Send the node NAME a control-to-node request for PATH, such as /echo or /debug/health; print its answer.

    Exit code 1 when the node refuses.
    """
    body = sys.stdin.read() if data == "-" else data
    question = {"path": path, "method": method, "body": body, "timeout_s": timeout_s}
    answer = client.call("POST", "nodes", name, "c2n", body=question)
    refused = answer["status"] >= 400
    if as_json:
        show_json(answer)
    else:
        text = answer["body"].removesuffix("\n")
        click.echo(f"HTTP {answer['status']}: {text}" if refused else text, err=refused)
    if refused:
        raise click.exceptions.Exit(1)
