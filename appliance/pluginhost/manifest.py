"""`manifest.toml` of a plugin: read and checked before any of the plugin's code is imported.

Not the decision whether the plugin may run here: that is `appliance.pluginhost.admission`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from appliance.api.values import Placement, Right
from appliance.pluginhost.errors import ManifestError
from appliance.pluginhost.migrations import Migration, problem_of

MANIFEST_FILE = "manifest.toml"
MAX_MANIFEST_BYTES = 64 * 1024
MIN_MEMORY_MIB = 32
MAX_MEMORY_MIB = 1024

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_COMMAND = re.compile(r"[a-z][a-z0-9-]{0,39}")
_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Table `[plugin]`.

    `config` names the configuration class ("module:Class"); `proto` the `appliance.proto` packages; `kernel_features`,
    `capabilities` and `boards` what the host must have (`boards` empty: any); `after` plugins that go first where
    present; `conflicts` plugins that cannot run beside it; `claims` things of which only one plugin may be in charge;
    `rights` what it asks of the handle beyond its own affairs; `commands` one line of help per command's name;
    `memory_mib` the memory that the plugin's process may use (placement `apps`); `config_version` that of its
    settings, and `migrations` the steps that lead there.
    """

    name: str
    purpose: str
    owner: str
    api_version: int
    placement: Placement
    hooks: tuple[str, ...]
    config: str
    enabled: bool = True
    proto: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()
    kernel_features: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    rights: tuple[Right, ...] = ()
    commands: dict[str, str] = field(default_factory=dict)
    memory_mib: int = 128
    config_version: int = 1
    migrations: tuple[Migration, ...] = ()


class _File(msgspec.Struct, forbid_unknown_fields=True):
    plugin: dict[str, Any]
    quality: dict[str, str]


def parse_manifest(text: str, expected_name: str) -> Manifest:
    """Parse a manifest. `expected_name` is the entry point's name. Raises `ManifestError` naming the key."""
    try:
        file = msgspec.convert(tomllib.loads(text), _File)
        unknown = set(file.plugin) - set(Manifest.__dataclass_fields__)
        if unknown:
            raise ManifestError(expected_name, f"{MANIFEST_FILE} has an unknown key 'plugin.{min(unknown)}'")
        manifest = msgspec.convert(file.plugin, Manifest)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(expected_name, f"{MANIFEST_FILE} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ManifestError(expected_name, f"{MANIFEST_FILE}: {error}") from None
    _check(manifest, expected_name)
    _check_quality(file.quality, expected_name)
    return manifest


def _check(manifest: Manifest, expected_name: str) -> None:
    if not _NAME.fullmatch(manifest.name):
        raise ManifestError(expected_name, f"'plugin.name' {manifest.name!r} is not a lower-case identifier")
    if manifest.name != expected_name:
        raise ManifestError(expected_name, f"'plugin.name' is {manifest.name!r}, but its entry point has another name")
    if not manifest.purpose.strip() or "\n" in manifest.purpose:
        raise ManifestError(expected_name, "'plugin.purpose' must be one line")
    if not _OBJECT.fullmatch(manifest.config):
        raise ManifestError(expected_name, "'plugin.config' must have the form 'module:Class'")
    if len(set(manifest.hooks)) != len(manifest.hooks):
        raise ManifestError(expected_name, "'plugin.hooks' names a hook twice")
    problem = problem_of(manifest.migrations, manifest.config_version)
    if problem:
        raise ManifestError(expected_name, problem)
    if not MIN_MEMORY_MIB <= manifest.memory_mib <= MAX_MEMORY_MIB:
        limits = f"{MIN_MEMORY_MIB} and {MAX_MEMORY_MIB}"
        raise ManifestError(expected_name, f"'plugin.memory_mib' must be between {limits}")
    for command, text in manifest.commands.items():
        if not _COMMAND.fullmatch(command) or not text.strip() or "\n" in text:
            raise ManifestError(expected_name, f"'plugin.commands.{command}' must be a word with one line of help")
    if bool(manifest.commands) != ("appliance_run_command" in manifest.hooks):
        raise ManifestError(expected_name, "'plugin.commands' and the hook appliance_run_command need each other")


def _check_quality(quality: dict[str, str], name: str) -> None:
    for item, state in quality.items():
        if state != "done" and not state.startswith("exempt: "):
            raise ManifestError(name, f"'quality.{item}' must be 'done' or 'exempt: <reason>'")
