"""`waypost-control doctor`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from control.cli.options import json_option, show_table


@click.command()
@click.option("--config", "file", type=click.Path(dir_okay=False, path_type=Path), help="TOML file, else as serve.")
@json_option
def doctor(file: Path | None, as_json: bool) -> int:
    """Look for what is wrong: settings, port, TLS, reachability, relay, STUN, database, disk, clock.

    Run it as root or the server's user, beside the living server. Exit code 1: something is wrong.
    """
    from control.cli.config_file import load_config
    from control.server.doctor import examine

    findings = asyncio.run(examine(load_config({}, file).server))
    failed = any(finding.state == "failed" for finding in findings)
    told = [{"check": one.check, "state": one.state, "text": one.text, "mend": one.mend} for one in findings]
    rows = [(one.check, one.state, one.text + (f" → {one.mend}" if one.mend else "")) for one in findings]
    value = {"ok": not failed, "findings": told}
    show_table(as_json, value, ("check", "state", "finding"), rows, "nothing was checked")
    return 1 if failed else 0
