"""Finds installed plugins through the entry-point group, without importing any of their code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from appliance.pluginhost.errors import ManifestError
from appliance.pluginhost.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, parse_manifest

GROUP = "waypost.plugins"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An installed plugin: its manifest, and where its class is ("module:Class")."""

    manifest: Manifest
    target: str

    @property
    def name(self) -> str:
        return self.manifest.name


@dataclass(frozen=True, slots=True)
class Discovery:
    """What is installed: usable candidates by name order, and why others are not usable."""

    candidates: tuple[Candidate, ...]
    refused: tuple[ManifestError, ...]


def discover(points: Iterable[EntryPoint] | None = None) -> Discovery:
    """Read the manifests of all installed plugins. `points` None: those of the running installation."""
    candidates: dict[str, Candidate] = {}
    refused: list[ManifestError] = []
    for point in sorted(entry_points(group=GROUP) if points is None else points, key=lambda p: (p.name, p.value)):
        try:
            candidate = Candidate(read_manifest(point), point.value)
            known = candidates.get(candidate.name)
            if known is not None and known.target != candidate.target:
                raise ManifestError(
                    candidate.name, f"is installed twice, as {known.target} and {candidate.target}", mend="remove one"
                )
            candidates[candidate.name] = candidate
        except ManifestError as error:
            refused.append(error)
    return Discovery(tuple(candidates.values()), tuple(refused))


def read_manifest(point: EntryPoint) -> Manifest:
    """The manifest beside the entry point's module. Raises `ManifestError`."""
    for folder in package_folders(point.module.rpartition(".")[0]):
        file = folder / MANIFEST_FILE
        try:
            data = file.read_bytes()[: MAX_MANIFEST_BYTES + 1]
            if len(data) > MAX_MANIFEST_BYTES:
                raise ManifestError(point.name, f"{file} is longer than {MAX_MANIFEST_BYTES} bytes")
            return parse_manifest(data.decode(), point.name)
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(point.name, f"{file} cannot be read: {error}") from None
    raise ManifestError(point.name, f"has no {MANIFEST_FILE} beside {point.module}", mend="reinstall the plugin")


def package_folders(package: str) -> list[Path]:
    """Folders of a package. Only its top-level name is looked up, so that nothing is imported."""
    top, *rest = package.split(".")
    try:
        spec = find_spec(top) if top else None
    except (ImportError, ValueError):
        spec = None
    locations = spec.submodule_search_locations if spec is not None else None
    return [Path(location, *rest) for location in locations or ()]
