"""`waypost-control import`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from control.cli.archive import place_options
from control.cli.options import json_option, show_json

if TYPE_CHECKING:
    from control.server.settings import ServerSettings
    from control.service.headscale import HeadscaleTables
    from control.service.imports import ImportReport


@click.group("import")
def import_group() -> None:
    """Take over the mesh of another server."""


@import_group.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--noise-key", help="Headscale's noise_private.key: by it its clients know their server.")
@click.option("--domain", help="DNS suffix of all nodes, Headscale's base_domain.  [default: as serve]")
@place_options
@json_option
def headscale(
    file: Path,
    noise_key: str | None,
    domain: str | None,
    config: Path | None,
    data_dir: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Take users, nodes, routes, pre-auth keys and policy from FILE, the SQLite database of a stopped Headscale.

    Its clients come back without a new login if this server answers under the same URL with the same --noise-key.
    """
    from control.cli.config_file import load_config
    from control.service.headscale import read_headscale

    flags = {"data_dir": data_dir, "database": database, "domain": domain, "noise_key": noise_key}
    tables = read_headscale(file)
    report = asyncio.run(_take(load_config(flags, config).server, tables))
    if as_json:
        show_json({"taken": report.taken, "not_taken": report.not_taken, "changed": report.changed})
        return
    click.echo("taken: " + (", ".join(f"{count} {kind}" for kind, count in report.taken.items()) or "nothing"))
    for title, entries in (("changed", report.changed), ("not taken", report.not_taken)):
        for what, why in entries:
            click.echo(f"{title}: {what}: {why}")
    if noise_key is None:
        click.echo("without --noise-key the clients refuse this server; serve takes it too")


async def _take(server: ServerSettings, tables: HeadscaleTables) -> ImportReport:
    from control.service.service import import_headscale

    return await import_headscale(server.data_dir, server.database, server.domain, server.noise_key, tables)
