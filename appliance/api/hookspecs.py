"""The hooks, in the order of a plugin's life. A plugin implements those that its manifest lists.

For all of them: the call is synchronous, in the event loop's thread, never per packet. Arguments are immutable
snapshots. `host` comes first and is the plugin's own `HostHandle`; a hook may keep it and cannot await it. An
implementation may leave out arguments that it does not need. Arguments are added over time, never removed.

A plugin of placement `apps` is called in its own process: the core goes on with its last answer and takes the new one
over when it comes. A call that takes longer than 5 s ends the process, which is started again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pluggy

from appliance.api.host import HostHandle, Service
from appliance.api.offered import OfferedRoutes
from appliance.api.values import (
    AttachedPrefix,
    CommandReply,
    FirewallPart,
    HealthItem,
    HostFacts,
    HostinfoPart,
    Metric,
    NetmapChange,
    Panel,
    RelayOffer,
    RelayRequest,
    RouteSelection,
)

PROJECT = "waypost"
HOOK_PREFIX = "appliance_"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# ====================================================================================================================
# Configure
# ====================================================================================================================


@hookspec
def appliance_configure(host: HostHandle, config: Any) -> None:
    """Take the settings over.

    Fires: once after load, before every other hook, and again whenever the plugin's settings change.
    Arguments: `config` is a validated instance of the manifest's configuration class, immutable.
    Return: nothing. A change of what the plugin contributes needs no request: the core asks anew after this hook.
    Order: plugins that the manifest names in `after` come first.
    Raise: the plugin is degraded and keeps its old settings, the core continues.
    Budget: 10 ms.
    Added: 1.
    """


# ====================================================================================================================
# Start
# ====================================================================================================================


@hookspec
def appliance_start(host: HostHandle) -> Sequence[Service] | None:
    """Make the plugin's services.

    Fires: once, after `appliance_configure` of all plugins, with the engine up and before the first netmap.
    Arguments: only the handle.
    Return: services, which the core runs and supervises, or None. Results of all plugins are run side by side.
    Order: plugins that the manifest names in `after` come first.
    Raise: the plugin is degraded, none of its services run, the core continues.
    Budget: 10 ms.
    Added: 1.
    """


# ====================================================================================================================
# Netmap
# ====================================================================================================================


@hookspec
def appliance_netmap_changed(host: HostHandle, change: NetmapChange) -> None:
    """Follow the netmap.

    Fires: after each netmap update that changed something, before routes and firewall are asked for; the first one of
    a connection is full, and so is the one that a plugin gets when it is enabled later.
    Arguments: `change` is as large as the update, not as the mesh; immutable.
    Return: nothing.
    Order: plugins that the manifest names in `after` come first.
    Raise: the plugin is degraded and misses this change, the core continues; its next change is a full one.
    Budget: 10 ms; 100 ms for a full change.
    Added: 1.
    """


@hookspec
def appliance_contribute_hostinfo(host: HostHandle) -> HostinfoPart | None:
    """Add to what this node tells control about itself.

    Fires: before the first map request and after each refresh of kind `hostinfo`.
    Arguments: only the handle.
    Return: a part, or None. Parts are merged; two plugins that set one service port or one flag differently are in
    conflict: the first keeps it, both are named in a health item.
    Order: plugins that the manifest names in `after` come first.
    Raise: the plugin is degraded, its last good part stays in use, the core continues.
    Budget: 10 ms.
    Added: 1.
    """


# ====================================================================================================================
# Routes and firewall
# ====================================================================================================================


@hookspec
def appliance_contribute_routes(host: HostHandle) -> Sequence[str] | None:
    """Name the prefixes that this node offers to route (advertised routes).

    Fires: before the first map request and after each refresh of kind `hostinfo`.
    Arguments: only the handle.
    Return: prefixes in normal text form, or None. All are joined; a prefix named by two plugins is in conflict: the
    first keeps it, both are named in a health item.
    Order: plugins that the manifest names in `after` come first.
    Raise: the plugin is degraded, its last good list stays in use, the core continues.
    Budget: 10 ms.
    Added: 1.
    """


@hookspec
def appliance_accept_routes(
    host: HostHandle, offered: OfferedRoutes, attached: tuple[AttachedPrefix, ...]
) -> RouteSelection | None:
    """Choose which of the peers' routes are installed.

    Fires: when peers' routes or the host's own prefixes changed, and after each refresh of kind `router`.
    Arguments: `offered` are all routes that peers serve now, default routes included, and tells what differs from the
    former ones (`difference`); `attached` are the prefixes of the host's own interfaces; both immutable.
    Return: a verdict on those routes that are this plugin's business, or None. Verdicts are joined; a prefix judged by
    two plugins is in conflict: the first verdict counts, both are named in a health item. What nobody accepts is not
    installed.
    Order: plugins that the manifest names in `after` come first.
    Raise: the plugin is degraded, its last good verdict stays in use, the core continues.
    Budget: 50 ms.
    Added: 1.
    """


@hookspec
def appliance_contribute_firewall(host: HostHandle) -> FirewallPart | None:
    """State wishes toward firewall and NAT.

    Fires: before routes are installed first, and after each refresh of kind `router`.
    Arguments: only the handle.
    Return: a part, or None. Forwarded prefixes are joined; two plugins with opposite `snat` are in conflict: the first
    keeps it, both are named in a health item.
    Order: plugins that the manifest names in `after` come first.
    Raise: the plugin is degraded, its last good part stays in use, the core continues.
    Budget: 10 ms.
    Added: 1.
    """


# ====================================================================================================================
# Peers
# ====================================================================================================================


@hookspec
def appliance_relay_request(host: HostHandle, request: RelayRequest) -> RelayOffer | None:
    """Give two clients a place to meet on this node (peer relay).

    Fires: when a peer asks for it whom the policy grants `tailscale.com/cap/relay` toward this node.
    Arguments: `request` is immutable; its first disco key that is not the asking peer's is anybody's.
    Return: an offer, or None for none. The first offer counts. Only plugins inside `waypostd` are asked, because the
    answer is wanted at once.
    Order: plugins that the manifest names in `after` come first.
    Raise: the plugin is degraded, the peer gets no answer, the core continues.
    Budget: 10 ms.
    Added: 1.
    """


# ====================================================================================================================
# Status
# ====================================================================================================================


@hookspec
def appliance_check_health(host: HostHandle, facts: HostFacts) -> Sequence[HealthItem] | None:
    """Report what is wrong.

    Fires: after each netmap change, after each refresh of kind `status`, and at least once a minute.
    Arguments: `facts` is what the core knows of the host, immutable.
    Return: all items that hold now, or None for none; items of the last call that are missing now are cleared.
    Order: none.
    Raise: the plugin is degraded, its items stay as they are, the core continues.
    Budget: 10 ms.
    Added: 1.
    """


@hookspec
def appliance_status_panel(host: HostHandle) -> Panel | None:
    """Describe the plugin's state for people.

    Fires: when somebody looks at the status page or asks for verbose status, at most once a second.
    Arguments: only the handle.
    Return: a panel, or None for no panel. Panels are shown side by side in load order. Its forms name settings of the
        configuration class, which the core turns into inputs; without any the page offers one with all settings.
    Order: none.
    Raise: the plugin is degraded, its panel says so, the core continues.
    Budget: 10 ms.
    Added: 1.
    """


@hookspec
def appliance_metrics(host: HostHandle) -> Sequence[Metric] | None:
    """Give the plugin's metrics.

    Fires: at each scrape.
    Arguments: only the handle.
    Return: samples, or None. All are joined; a name and label set given by two plugins is in conflict: the first
    counts.
    Order: none.
    Raise: the plugin is degraded, its samples are missing, the core continues.
    Budget: 10 ms.
    Added: 1.
    """


@hookspec
def appliance_run_command(host: HostHandle, command: str, arguments: tuple[str, ...]) -> CommandReply | None:
    """Run one of the commands that the manifest lists, for a person at a terminal.

    Fires: at `waypost plugins run <plugin> <command> …`, by root or the gateway's operator.
    Arguments: `command` is one of the manifest's; `arguments` are as typed.
    Return: what to print; None counts as a failure. Only the plugin that is named is asked.
    Order: none.
    Raise: the command fails with the error's text, the plugin is degraded, the core continues.
    Budget: 50 ms; work that takes longer is handed to a service.
    Added: 1.
    """


# ====================================================================================================================
# Stop
# ====================================================================================================================


@hookspec
def appliance_stop(host: HostHandle) -> None:
    """Let go of what the plugin holds.

    Fires: once, after the plugin's services have ended, at shutdown or when the plugin is disabled.
    Arguments: only the handle.
    Return: nothing.
    Order: the reverse of start.
    Raise: it is logged, the core continues.
    Budget: 10 ms.
    Added: 1.
    """
