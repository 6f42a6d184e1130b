"""Preferences and configuration together: patches applied, and the plugins' effective tables."""

from __future__ import annotations

import pwd
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from appliance.config.schema import hostname_problem
from appliance.drivers.streams import ca_file_problem
from appliance.localapi.schema import PrefsPatch, PrefsView
from appliance.state.profiles import Prefs
from appliance.types.errors import ConfigError

Tables = dict[str, dict[str, Any]]


def patched(prefs: Prefs, patch: PrefsPatch) -> Prefs:
    """The preferences after a patch. Raises `ConfigError` for a value that cannot be."""
    changes = {
        name: getattr(patch, name)
        for name in ("hostname", "advertise_tags", "shields_up", "operator", "ca_file")
        if getattr(patch, name) is not UNSET
    }
    problem = hostname_problem(changes.get("hostname", ""))
    if problem:
        raise ConfigError(f"hostname {problem}", mend="give another --hostname")
    for tag in changes.get("advertise_tags", ()):
        if not tag.startswith("tag:") or len(tag) == len("tag:"):
            raise ConfigError(f"{tag!r} is not a tag", mend="write it as tag:name")
    if changes.get("ca_file") and not str(changes["ca_file"]).startswith("/"):
        raise ConfigError(f"CA file {changes['ca_file']!r} is no absolute path", mend="write it from / on")
    if patch.plugins is not UNSET:
        changes["plugins"] = _merged(prefs.plugins, patch.plugins)
    return msgspec.structs.replace(prefs, **changes)


def checked(prefs: Prefs) -> Prefs:
    """The preferences, if this machine has what they name. Raises `ConfigError`."""
    if prefs.operator and uid_of(prefs.operator) is None:
        raise ConfigError(f"there is no user {prefs.operator!r}", mend="give the name of a user of this machine")
    problem = ca_file_problem(prefs.ca_file) if prefs.ca_file else ""
    if problem:
        raise ConfigError(f"CA file {prefs.ca_file}: {problem}", mend="give a PEM file that waypostd may read")
    return prefs


def uid_of(user: str) -> int | None:
    """The number of a user of this machine; None for "" and for one that does not exist."""
    if not user:
        return None
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _merged(old: Mapping[str, Mapping[str, Any]], patch: Mapping[str, Mapping[str, Any]]) -> Tables:
    """Settings of null are dropped, and so are tables that become empty."""
    merged: Tables = {name: dict(table) for name, table in old.items()}
    for name, table in patch.items():
        into = merged.setdefault(name, {})
        into.update(table)
        for key in [key for key, value in into.items() if value is None]:
            del into[key]
    return {name: table for name, table in merged.items() if table}


def effective_tables(configured: Mapping[str, Mapping[str, Any]], prefs: Prefs) -> Tables:
    """Each plugin's table of the file with the preferences laid over it."""
    tables: Tables = {name: dict(table) for name, table in configured.items()}
    for name, table in prefs.plugins.items():
        tables.setdefault(name, {}).update(table)
    return tables


def wanted(prefs: Prefs, url: str) -> Prefs:
    """Preferences of a gateway that is to run with the login at `url`."""
    return msgspec.structs.replace(prefs, want_running=True, logged_out=False, control_url=url)


def view_of(prefs: Prefs, control_url: str, plugins: Tables) -> PrefsView:
    """`control_url` is the one in force, which the configuration may have named; `plugins` without their secrets."""
    return PrefsView(
        want_running=prefs.want_running,
        logged_out=prefs.logged_out,
        control_url=control_url,
        hostname=prefs.hostname,
        advertise_tags=prefs.advertise_tags,
        shields_up=prefs.shields_up,
        operator=prefs.operator,
        ca_file=prefs.ca_file,
        plugins=plugins,
    )
