"""`waypost-control policy compile|test|diff|explain|mesh`: questions that need no server when a mesh file is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from control.cli.options import json_option, show_json, socket_option
from control.cli.policy import FILE, policy, read_file, show_problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from control.cli.client import AdminClient
    from control.policy.meshfile import Mesh
    from control.policy.model import Policy

T = TypeVar("T")
_mesh_option = click.option(
    "--mesh", "mesh_file", type=FILE, help="File that describes the mesh; without it the server is asked for its own."
)
_policy_option = click.option(
    "--policy", "policy_file", type=FILE, help="File with the policy; without it the one in force."
)


def _parsed(file: str, parse: Callable[[bytes], T], text: bytes | None = None) -> T:
    """The file's content; mistakes are printed with their places and end the command."""
    from control.policy.problems import PolicyError
    from control.service.present import problem_json

    try:
        return parse(read_file(file) if text is None else text)
    except PolicyError as error:
        show_problems(file, [problem_json(problem) for problem in error.problems])
        raise click.exceptions.Exit(1) from None


def _policy(file: str) -> Policy:
    from control.policy.document import parse_policy

    return _parsed(file, parse_policy)


def _policy_or_live(file: str | None, client: AdminClient) -> tuple[Policy, list[str]]:
    """The policy and its lines."""
    from control.policy.document import parse_policy

    name = file or "policy in force"
    text = read_file(file) if file else client.call("GET", "policy")["text"].encode()
    return _parsed(name, parse_policy, text), text.decode("utf-8", "replace").splitlines()


def _mesh(file: str | None, client: AdminClient) -> Mesh:
    import json

    from control.policy.meshfile import parse_mesh

    if file is not None:
        return _parsed(file, parse_mesh)
    live = client.call("GET", "policy", "mesh")
    return parse_mesh(json.dumps(live))


@policy.command()
@json_option
@socket_option
def mesh(client: AdminClient, as_json: bool) -> None:
    """Print the server's mesh in the form that --mesh reads."""
    show_json(client.call("GET", "policy", "mesh"))


@policy.command("compile")
@click.argument("file", type=FILE)
@_mesh_option
@click.option("--node", "names", multiple=True, help="Only this node; may be repeated.")
@socket_option
@json_option
def compile_policy(
    file: str, mesh_file: str | None, names: tuple[str, ...], client: AdminClient, as_json: bool
) -> None:
    """What the policy in FILE makes each node know: filter, peers, capabilities, SSH policy, attributes."""
    from control.service.offline import compile_mesh, node_outputs

    found_mesh = _mesh(mesh_file, client)
    outputs = node_outputs(compile_mesh(_policy(file), found_mesh), found_mesh)
    outputs = [one for one in outputs if not names or one["Name"] in names]
    if as_json:
        show_json({"nodes": outputs})
        return
    for output in outputs:
        _show_node(output)


def _show_node(output: dict[str, Any]) -> None:
    click.echo(f"{output['Name']} (node {output['ID']})")
    for rule in output["PacketFilter"]:
        what = ", ".join(_target(one) for one in rule.get("DstPorts", ()))
        caps = ", ".join(name for grant in rule.get("CapGrant", ()) for name in grant["CapMap"])
        click.echo(f"  from {', '.join(rule['SrcIPs']) or 'nobody'}: {what or caps}")
    for peer in output["Peers"]:
        click.echo(f"  sees {peer['Name']}: {', '.join(peer['AllowedIPs'])}")
    for rule in output["SSHPolicy"].get("rules", ()):
        sources = ", ".join(one["nodeIP"] for one in rule["principals"])
        click.echo(f"  SSH from {sources} as {', '.join(name for name, local in rule['sshUsers'].items() if local)}")
    for name in output["CapMap"]:
        click.echo(f"  has {name}")


def _target(entry: dict[str, Any]) -> str:
    first, last = entry["Ports"]["First"], entry["Ports"]["Last"]
    ports = "*" if (first, last) == (0, 65535) else str(first) if first == last else f"{first}-{last}"
    return f"{entry['IP']}:{ports}"


@policy.command("test")
@click.argument("file", type=FILE)
@_mesh_option
@socket_option
@json_option
def run_tests(file: str, mesh_file: str | None, client: AdminClient, as_json: bool) -> None:
    """Run the tests and sshTests that the policy in FILE holds."""
    from control.service.offline import failed_tests
    from control.service.present import problem_json

    wanted = _policy(file)
    failures = [problem_json(one) for one in failed_tests(wanted, _mesh(mesh_file, client))]
    count = len(wanted.tests) + len(wanted.ssh_tests)
    if as_json:
        show_json({"ok": not failures, "tests": count, "problems": failures})
    elif failures:
        show_problems(file, failures)
    else:
        click.echo(f"{file}: {count} tests pass")
    if failures:
        raise click.exceptions.Exit(1)


@policy.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@_mesh_option
@socket_option
@json_option
def diff(old: str, new: str, mesh_file: str | None, client: AdminClient, as_json: bool) -> None:
    """Who gains and who loses what when the policy in OLD becomes the one in NEW."""
    from control.service.offline import differences

    found = differences(_policy(old), _policy(new), _mesh(mesh_file, client))
    if as_json:
        show_json({"changes": found})
        return
    for one in found:
        sources, targets = ", ".join(one["sources"]), ", ".join(one["targets"])
        click.echo(f"{'+' if one['change'] == 'gains' else '-'} {sources} -> {targets}: {one['what']}")
    if not found:
        click.echo("nobody gains or loses anything")


@policy.command("explain")
@click.argument("source")
@click.argument("target")
@click.argument("port", type=click.IntRange(1, 65535))
@click.option("--proto", default="", help="tcp, udp, sctp or a number; default: any of them.")
@_policy_option
@_mesh_option
@socket_option
@json_option
def explain_reach(
    source: str,
    target: str,
    port: int,
    proto: str,
    policy_file: str | None,
    mesh_file: str | None,
    client: AdminClient,
    as_json: bool,
) -> None:
    """Why SOURCE reaches PORT of TARGET, or what is missing. Both name a node, an address, a user or a tag."""
    from control.service.offline import explanation

    wanted, lines = _policy_or_live(policy_file, client)
    found = explanation(wanted, _mesh(mesh_file, client), source=source, target=target, port=port, protocol=proto)
    if as_json:
        show_json(found)
    else:
        _show_explanation(found, lines)
    if not found["allowed"]:
        raise click.exceptions.Exit(1)


def explained(client: AdminClient, source: str, target: str, port: int, proto: str) -> dict[str, Any]:
    """The same about the policy in force."""
    from control.service.offline import explanation

    wanted, _ = _policy_or_live(None, client)
    return explanation(wanted, _mesh(None, client), source=source, target=target, port=port, protocol=proto)


def _show_explanation(found: dict[str, Any], lines: list[str]) -> None:
    click.echo("allowed" if found["allowed"] else "refused")
    if found["everybody"]:
        click.echo("  the policy has no rules: everybody reaches everything")
    for rule in found["rules"]:
        click.echo(f"  line {rule['line']}, column {rule['column']}: {_line(lines, rule['line'])}")
    if found["via"]:
        click.echo(f"  through {', '.join(found['via'])}")
    for miss in found["missing"]:
        click.echo(f"  line {miss['line']}, column {miss['column']} does not: {miss['lacks']}")
    if found["line"]:
        click.echo(f"  this line in {found['section']} would let it:\n  {found['line']}")


def _line(lines: list[str], number: int) -> str:
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""
