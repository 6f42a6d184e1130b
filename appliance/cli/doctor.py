"""`doctor`: what is wrong around this gateway, each with its mend."""

from __future__ import annotations

import click

from appliance.cli.session import Session, json_option
from appliance.types.findings import FAILED, OK, Finding

TIMEOUT_S = 60.0


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Show what is well, too.")
@json_option
@click.pass_obj
def doctor(session: Session, show_all: bool, as_json: bool) -> int:
    """Look at the network around this gateway: control, relay, UDP, NAT, MTU, forwarding, filters, overlaps, approvals,
    key, clock, disk. Exit code 1: something is wrong.
    """
    findings = session.client.get("doctor", tuple[Finding, ...], TIMEOUT_S)
    failed = any(each.state == FAILED for each in findings)
    if as_json:
        rows = [{"check": each.check, "state": each.state, "text": each.text, "mend": each.mend} for each in findings]
        session.print_json({"ok": not failed, "findings": rows})
        return int(failed)
    for each in findings:
        if show_all or each.mend:
            click.echo(f"{each.state:<8} {each.check:<12} {each.text}")
            if each.mend:
                click.echo(f"{'':<8} {'':<12} → {each.mend}")
    well = sum(each.state == OK for each in findings)
    click.echo(f"{well} of {len(findings)} looks found nothing to mend")
    return int(failed)
