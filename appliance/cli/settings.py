"""Options shared by `waypost up` and `waypost set`, and the patch of preferences that they make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import UNSET

from appliance.localapi.schema import PrefsPatch
from appliance.types.addresses import parse_prefix
from appliance.types.errors import DecodeError
from appliance.types.via import parse_via_route

F = TypeVar("F", bound=Callable[..., Any])
SUBNET_ROUTER = "subnet_router"


def setting_options(command: F) -> F:
    """Add the options; absent ones change nothing."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = [
    click.option("--hostname", help="Name of this node in the mesh; '' for the machine's own."),
    click.option("--advertise-routes", metavar="CIDR,...", help="Subnets that this gateway serves; '' for none."),
    click.option("--accept-routes/--no-accept-routes", default=None, help="Use the subnets that peers serve."),
    click.option("--snat/--no-snat", default=None, help="Hide mesh addresses behind this gateway toward its subnets."),
    click.option("--advertise-tags", metavar="TAG,...", help="Tags to ask for, as tag:name; '' for none."),
    click.option("--shields-up/--no-shields-up", default=None, help="Refuse every connection from the mesh."),
    click.option("--operator", metavar="USER", help="User who may change the gateway without root; '' for none."),
    click.option(
        "--plugin",
        "plugin_settings",
        multiple=True,
        metavar="NAME.KEY=VALUE",
        help="A plugin's setting; null resets it.",
    ),
]


def patch_from(values: dict[str, Any]) -> PrefsPatch:
    """The patch that the options ask for. Raises `click.BadParameter`."""
    plugins: dict[str, dict[str, Any]] = {}
    for text in values.get("plugin_settings") or ():
        name, key, value = _plugin_setting(text)
        plugins.setdefault(name, {})[key] = value
    router: dict[str, Any] = {}
    if values.get("advertise_routes") is not None:
        router["advertise_routes"] = [_prefix(part) for part in _parts(values["advertise_routes"])]
    for name in ("accept_routes", "snat"):
        if values.get(name) is not None:
            router[name] = values[name]
    if router:
        plugins.setdefault(SUBNET_ROUTER, {}).update(router)
    tags = values.get("advertise_tags")
    return PrefsPatch(
        hostname=_or_unset(values.get("hostname")),
        advertise_tags=UNSET if tags is None else tuple(_tag(part) for part in _parts(tags)),
        shields_up=_or_unset(values.get("shields_up")),
        operator=_or_unset(values.get("operator")),
        ca_file=_absolute(values.get("ca_file")),
        plugins=plugins or UNSET,
    )


def is_empty(patch: PrefsPatch) -> bool:
    return all(getattr(patch, name) is UNSET for name in patch.__struct_fields__)


def _or_unset(value: Any) -> Any:
    return UNSET if value is None else value


def _absolute(path: str | None) -> Any:
    """The daemon has another working folder."""
    if path is None:
        return UNSET
    return str(Path(path).absolute()) if path else ""


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _prefix(text: str) -> str:
    if (via := parse_via_route(text)) is not None:
        return str(via)
    try:
        return str(parse_prefix(text))
    except DecodeError:
        raise click.BadParameter(
            f"{text!r} is not a subnet such as 192.168.10.0/24 (its host bits must be zero) or 192.168.10.0/24-via-7"
        ) from None


def _tag(text: str) -> str:
    if not text.startswith("tag:") or len(text) == len("tag:"):
        raise click.BadParameter(f"{text!r} is not a tag such as tag:gateway")
    return text


def _plugin_setting(text: str) -> tuple[str, str, Any]:
    path, sep, raw = text.partition("=")
    name, dot, key = path.partition(".")
    if not (sep and dot and name and key):
        raise click.BadParameter(f"{text!r} is not NAME.KEY=VALUE")
    try:
        return name, key, json.loads(raw)
    except ValueError:
        return name, key, raw
