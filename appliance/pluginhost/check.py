"""Checks a plugin before it is let near a gateway: `python -m appliance.pluginhost.check NAME|FOLDER`.

Everything that the core would refuse or be hurt by: manifest, configuration class, class and hooks, and the contract of
every hook on a fake host. Runs the plugin's code, so it has a process of its own. Exit codes: 0 fine, 1 not.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import msgspec

from appliance.api.offered import OfferedRoutes
from appliance.api.testing import HOOK_CONTRACTS, FakeHost, round_trip
from appliance.api.testing.contracts import check_forms
from appliance.api.values import (
    AttachedPrefix,
    HostFacts,
    NetmapChange,
    NodeInfo,
    OfferedRoute,
    Placement,
    RelayRequest,
)
from appliance.pluginhost.admission import Site, admit
from appliance.pluginhost.discovery import GROUP, Candidate, discover
from appliance.pluginhost.errors import PluginError
from appliance.pluginhost.hooks import HOOK_NAMES, Hooks
from appliance.pluginhost.host import OWN_PACKAGE
from appliance.pluginhost.imports import import_class, import_object, make_plugin
from appliance.pluginhost.settings import parse_settings
from appliance.pluginhost.stall import Stalled, StallGuard
from appliance.types.errors import ApplianceError, ConfigError

STALL_S = 5.0
PROJECT_FILE = "pyproject.toml"
SELF = NodeInfo("n1", "gateway.net.example", ("100.64.0.1", "fd7a:115c:a1e0::1"))
PEER = NodeInfo("n2", "peer.net.example", ("100.64.0.2",), ("192.168.20.0/24",), True)
ARGUMENTS: dict[str, dict[str, Any]] = {
    "appliance_netmap_changed": {"change": NetmapChange(True, SELF, (PEER,))},
    "appliance_accept_routes": {
        "offered": OfferedRoutes((OfferedRoute("192.168.20.0/24", "n2"), OfferedRoute("0.0.0.0/0", "n2"))),
        "attached": (AttachedPrefix("192.168.10.0/24", "eth0", "192.168.10.1"),),
    },
    "appliance_relay_request": {"request": RelayRequest("n2", ("discokey:" + "51" * 32, "discokey:" + "52" * 32))},
    "appliance_check_health": {"facts": HostFacts(True, True, True)},
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `problem` "" means that it is fine."""

    what: str
    problem: str = ""
    mend: str = ""


class TargetError(ApplianceError):
    """There is nothing to check."""

    code = "no-plugin"


def check(target: str) -> dict[str, list[Finding]]:
    """Findings by plugin. Raises `TargetError`."""
    found = discover(points_of(target))
    findings = {error.plugin: [Finding("manifest", error.text, error.mend)] for error in found.refused}
    for candidate in found.candidates:
        findings[candidate.name] = list(check_candidate(candidate))
    return findings


def points_of(target: str) -> list[EntryPoint]:
    """Entry points of an installed plugin, or of a folder, whose packages are made importable. Raises `TargetError`."""
    folder = Path(target)
    if not folder.is_dir():
        points = [point for point in entry_points(group=GROUP) if point.name == target]
        if points:
            return points
        raise TargetError(f"{target} is neither an installed plugin nor a folder", mend="see: waypost plugins list")
    project = next((each for each in (folder, *folder.resolve().parents) if (each / PROJECT_FILE).is_file()), None)
    if project is None:
        raise TargetError(f"there is no {PROJECT_FILE} in or above {target}", mend="give it one with an entry point")
    points = list(_declared(project))
    here = [point for point in points if _lies_in(project, point, folder)]
    if not here:
        mend = f'add it under [project.entry-points."{GROUP}"]'
        raise TargetError(f"{project / PROJECT_FILE} declares no plugin in {target}", mend=mend)
    sys.path[:0] = [str(project / "src"), str(project)]
    return here


def _declared(project: Path) -> Iterator[EntryPoint]:
    try:
        table = tomllib.loads((project / PROJECT_FILE).read_text())
        declared = table["project"]["entry-points"][GROUP]
        yield from (EntryPoint(name, str(value), GROUP) for name, value in declared.items())
    except KeyError:
        return
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TargetError(f"{project / PROJECT_FILE} cannot be read: {error}") from None


def _lies_in(project: Path, point: EntryPoint, folder: Path) -> bool:
    parts = point.module.split(".")[:-1]
    places = [root.joinpath(*parts).resolve() for root in (project, project / "src")]
    wanted = folder.resolve()
    return any(place == wanted or wanted in place.parents for place in places)


def check_candidate(candidate: Candidate) -> Iterator[Finding]:
    """What holds and what does not, one after the other; stops where nothing further can be tried."""
    name = candidate.name
    own = frozenset({name} if candidate.target.startswith(OWN_PACKAGE) else ())
    manifest = candidate.manifest
    site = Site(
        HOOK_NAMES,
        frozenset(manifest.proto),
        own,
        manifest.boards[0] if manifest.boards else "",
        frozenset(manifest.kernel_features),
        frozenset(manifest.capabilities),
        frozenset(Placement),
    )
    refused = admit([manifest], site).refused
    yield _finding("manifest", refused[0] if refused else None)
    config, finding = _try_config(candidate)
    yield finding
    plugin, finding = _try_class(candidate)
    yield finding
    if plugin is None or config is None:
        return
    for hook in manifest.hooks:
        for arguments in _arguments(hook, candidate, config):
            yield _try_hook(plugin, hook, arguments, name, config)


def _try_config(candidate: Candidate) -> tuple[Any, Finding]:
    what = f"configuration {candidate.manifest.config}"
    try:
        config_class = import_class(candidate.name, candidate.manifest.config)
        if not is_dataclass(config_class) or not config_class.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # typeshed hides it
            return None, Finding(what, "is not a frozen dataclass", "write @dataclass(frozen=True)")
        config = parse_settings(candidate.name, config_class, {})
        round_trip(replace(config), config_class)
        reserved = {each.name for each in fields(config_class)} & {"enabled", "config_version"}
        if reserved:
            return None, Finding(what, f"has a field {min(reserved)}, which is the core's", "rename it")
        return config, Finding(what)
    except ConfigError as error:
        return None, Finding(what, f"has no complete defaults: {error.text}", error.mend or "give each field a default")
    except PluginError as error:
        return None, _finding(what, error)
    except (AssertionError, msgspec.MsgspecError, TypeError) as error:
        return None, Finding(what, f"has values that are not plain: {error}", "use text, numbers, lists and tables")


def _try_class(candidate: Candidate) -> tuple[object | None, Finding]:
    what = f"class {candidate.target}"
    try:
        plugin = make_plugin(candidate.name, import_object(candidate.name, candidate.target))
        Hooks(_Silent()).register(candidate.name, plugin, FakeHost(candidate.name), candidate.manifest.hooks)
        return plugin, Finding(what)
    except PluginError as error:
        return None, _finding(what, error)


class _Silent:
    """A sink of faults for a facade of which nothing is called."""

    def failed(self, plugin: str, where: str, error: BaseException) -> None:
        raise error

    def succeeded(self, plugin: str, where: str) -> None:
        """Nothing to note."""


def _arguments(hook: str, candidate: Candidate, config: Any) -> list[dict[str, Any]]:
    if hook == "appliance_configure":
        return [{"config": config}]
    if hook == "appliance_run_command":
        return [{"command": command} for command in candidate.manifest.commands]
    return [ARGUMENTS.get(hook, {})]


def _try_hook(plugin: object, hook: str, arguments: dict[str, Any], name: str, config: Any) -> Finding:
    what = f"{hook} {arguments['command']}" if "command" in arguments else hook
    contract: Callable[..., Any] = HOOK_CONTRACTS[hook]
    try:
        result = StallGuard(STALL_S).call(contract, plugin, FakeHost(name), **arguments)
        if hook == "appliance_status_panel":
            check_forms(result, config)
    except Stalled:
        return Finding(what, f"did not return within {STALL_S:g} s", "hand long work to a service")
    except (Exception, SystemExit) as error:  # foreign code may raise anything
        text = str(error).splitlines()[0] if str(error) else "no reason given"
        problem = text if isinstance(error, AssertionError) else f"{type(error).__name__}: {text}"
        return Finding(what, problem, f"see its contract: docs/plugins/hooks.md#{hook}")
    return Finding(what)


def _finding(what: str, error: PluginError | None) -> Finding:
    if error is None:
        return Finding(what)
    return Finding(what, error.text.removeprefix(f"plugin {error.plugin}: "), error.mend)


def main() -> int:
    parser = argparse.ArgumentParser(prog="waypost plugins check", description="Check a plugin.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("target")
    options = parser.parse_args()
    try:
        findings = check(options.target)
    except TargetError as error:
        sys.stderr.write(f"waypost: {error.text}" + (f" → {error.mend}" if error.mend else "") + "\n")
        return 1
    bad = any(each.problem for found in findings.values() for each in found)
    sys.stdout.write(_as_json(findings, not bad) if options.json else "".join(_lines(findings)))
    return 1 if bad else 0


def _as_json(findings: dict[str, list[Finding]], ok: bool) -> str:
    return msgspec.json.format(msgspec.json.encode({"ok": ok, "plugins": findings}), indent=2).decode() + "\n"


def _lines(findings: dict[str, list[Finding]]) -> Iterator[str]:
    for name, found in findings.items():
        for each in found:
            mend = f" → {each.mend}" if each.mend else ""
            yield f"{name}: {each.what}: " + (f"WRONG: {each.problem}{mend}\n" if each.problem else "ok\n")


if __name__ == "__main__":
    sys.exit(main())
