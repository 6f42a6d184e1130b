"""Decides which plugins run here and in which order. Pure: manifests and facts in, verdict out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from appliance.api.values import API_VERSION, Placement
from appliance.pluginhost.errors import PluginRefused
from appliance.pluginhost.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Site:
    """What the process and the host offer. `own` are plugins that ship with Waypost: they may use proto packages."""

    hooks: frozenset[str]
    proto: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    board: str = ""
    kernel_features: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    placements: frozenset[Placement] = frozenset({Placement.INLINE})
    foreign_inline: bool = True
    """Whether plugins that do not ship with Waypost may run inside this process, beside the node's key."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Names that run, in start order, and the errors of those that do not."""

    order: tuple[str, ...] = ()
    refused: tuple[PluginRefused, ...] = field(default=())


def admit(manifests: Iterable[Manifest], site: Site) -> Admission:
    """Check enabled plugins against the site and against each other.

    Of two that want one thing both are refused, each error naming both: which of them was meant is the owner's choice.
    """
    refused: dict[str, PluginRefused] = {}
    fit: dict[str, Manifest] = {}
    for manifest in sorted(manifests, key=lambda m: m.name):
        reason = _unfit(manifest, site)
        if reason is None:
            fit[manifest.name] = manifest
        else:
            refused[manifest.name] = reason
    refused.update(_conflicts(fit))
    admitted = {name: manifest for name, manifest in fit.items() if name not in refused}
    try:
        order = _order(admitted)
    except CycleError as error:
        cycle: list[str] = error.args[1]
        text = f"starts in a circle: {' after '.join(cycle)}"
        refused.update({name: PluginRefused(name, text, mend="disable one of them") for name in cycle})
        order = _order({name: manifest for name, manifest in admitted.items() if name not in refused})
    return Admission(order, tuple(refused.values()))


def _unfit(manifest: Manifest, site: Site) -> PluginRefused | None:
    name = manifest.name
    if manifest.api_version != API_VERSION:
        mend = "update the plugin" if manifest.api_version < API_VERSION else "update Waypost"
        text = f"is made for plugin API {manifest.api_version}, this is {API_VERSION}"
        return PluginRefused(name, text, mend=mend)
    if manifest.placement not in site.placements:
        return PluginRefused(
            name,
            f"wants to run in waypost-apps (placement '{manifest.placement}'), which this version does not have",
            mend="disable the plugin, or use a release of it with placement 'inline'",
        )
    if manifest.placement is Placement.INLINE and name not in site.own and not site.foreign_inline:
        mend = 'write placement = "apps" in its manifest.toml'
        return PluginRefused(name, "wants to run inside waypostd, which only Waypost's own plugins may", mend=mend)
    if manifest.proto and name not in site.own:
        return PluginRefused(name, "uses protocol packages, which are not part of the public API")
    for what, wanted, offered in (
        ("hook", manifest.hooks, site.hooks),
        ("protocol package", manifest.proto, site.proto),
        ("kernel feature", manifest.kernel_features, site.kernel_features),
        ("capability", manifest.capabilities, site.capabilities),
    ):
        missing = _missing(wanted, offered)
        if missing:
            return PluginRefused(name, f"needs the {what} {missing}, which is not available here")
    if manifest.boards and site.board not in manifest.boards:
        return PluginRefused(name, f"is made for other boards ({', '.join(manifest.boards)})")
    return None


def _missing(wanted: Collection[str], offered: Collection[str]) -> str:
    return ", ".join(sorted(set(wanted) - set(offered)))


def _conflicts(fit: dict[str, Manifest]) -> dict[str, PluginRefused]:
    refused: dict[str, PluginRefused] = {}
    names = list(fit)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            thing = _shared(fit[first], fit[second])
            if thing:
                for name, other in ((first, second), (second, first)):
                    refused.setdefault(
                        name, PluginRefused(name, f"and plugin {other} {thing}", mend="disable one of the two")
                    )
    return refused


def _shared(first: Manifest, second: Manifest) -> str:
    claims = sorted(set(first.claims) & set(second.claims))
    if claims:
        return f"both want {', '.join(claims)}"
    if second.name in first.conflicts or first.name in second.conflicts:
        return "cannot run side by side"
    return ""


def _order(manifests: dict[str, Manifest]) -> tuple[str, ...]:
    """Start order: `after` first, then by name. Raises CycleError."""
    sorter = TopologicalSorter({name: set(m.after) & set(manifests) for name, m in sorted(manifests.items())})
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order.extend(ready)
        sorter.done(*ready)
    return tuple(order)
