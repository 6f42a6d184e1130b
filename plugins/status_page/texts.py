"""The catalogue: every word of the page that is not a value. Templates know them by key."""

from __future__ import annotations

from types import MappingProxyType

from appliance.types.errors import Severity
from appliance.types.events import BackendState, PathKind

TEXTS = MappingProxyType(
    {
        "product": "Waypost",
        "skip": "Skip to content",
        "sign_out": "Sign out",
        "as_of": "As of",
        "reload": "Reload",
        "live": "Live",
        "lost": "Connection lost, trying again",
        "health": "Health",
        "healthy": "Everything works.",
        "since": "since",
        "mend": "Mend:",
        "node": "This gateway",
        "name": "Name",
        "addresses": "Addresses",
        "owner": "Owner",
        "tags": "Tags",
        "key_expiry": "Key expires",
        "key_forever": "never",
        "endpoints": "Endpoints",
        "tunnel": "Tunnel",
        "version": "Version",
        "advertised": "Advertised subnets",
        "approved": "approved",
        "not_approved": "waits for approval",
        "none": "none",
        "unknown": "unknown",
        "waiting_for": "Waiting for",
        "log_in": "Log in",
        "control": "Control server",
        "connected": "Connected",
        "not_connected": "Not connected",
        "domain": "Domain",
        "url": "Address",
        "state": "State",
        "derp": "Home DERP",
        "region": "Region",
        "no_derp": "No home DERP yet",
        "peers": "Peers",
        "no_peers": "No peers. Other nodes appear here once they join and the policy lets them meet this gateway.",
        "filter": "Find a peer",
        "no_match": "No peer has that in its name or address.",
        "peer": "Peer",
        "path": "Path",
        "addresses_tried": "Why this path",
        "latency": "Latency",
        "traffic": "Traffic",
        "received": "received",
        "sent": "sent",
        "subnets": "Subnets",
        "online": "Online",
        "offline": "Offline",
        "expired": "Key expired",
        "seen": "seen",
        "routes": "Routes of peers",
        "no_routes": "No peer offers a subnet.",
        "prefix": "Prefix",
        "via": "Through",
        "use": "Use",
        "installed": "In use",
        "not_installed": "Not used",
        "plugins": "Plugins",
        "do_it": "Apply now",
        "act_note": "This changes the gateway at once. It goes back after a minute unless you keep it.",
        "on_trial": "The last change of settings is on trial and goes back by itself.",
        "keep": "Keep it",
        "settings": "Settings",
        "back": "Back to the gateway",
        "save": "Save",
        "save_note": "Saving changes the gateway at once. It goes back after a minute unless you keep it.",
        "switch": "Turn plugins on or off",
        "turn_on": "Turn on",
        "turn_off": "Turn off",
        "reset": "Back to waypost.toml",
        "reset_note": "Drops what was set here or by the command line: the file's values hold, else the defaults.",
        "not_saved": "Nothing was changed:",
        "forget": "Forget the present one",
        "secret_set": "One is set and not shown; leave this empty to keep it.",
        "secret_unset": "None is set.",
        "sign_in": "Sign in",
        "sign_in_lead": "This page shows the state of a gateway. Get a one-time code on the gateway:",
        "code": "One-time code",
        "code_hint": "Eight letters and digits. A code is valid for ten minutes and works once.",
        "refused": "Refused",
        "more_peers": "more: waypost status shows all",
    }
)
STATES = MappingProxyType(
    {
        BackendState.STOPPED: ("Stopped", "off"),
        BackendState.NEEDS_LOGIN: ("Needs login", "warn"),
        BackendState.NEEDS_APPROVAL: ("Needs approval", "warn"),
        BackendState.STARTING: ("Starting", "warn"),
        BackendState.RUNNING: ("Running", "good"),
    }
)
"""Words and mark of each state."""
PATHS = MappingProxyType(
    {
        PathKind.DIRECT: ("Direct", "good"),
        PathKind.PEER_RELAY: ("Peer relay", "info"),
        PathKind.DERP: ("DERP", "warn"),
        PathKind.NONE: ("No path", "off"),
    }
)
COUNTED = MappingProxyType({PathKind.DIRECT: "direct", PathKind.PEER_RELAY: "by peer relay", PathKind.DERP: "by DERP"})
"""Words behind the number of peers on each kind of path."""
SEVERITIES = MappingProxyType(
    {Severity.LOW: ("Note", "info"), Severity.MEDIUM: ("Warning", "warn"), Severity.HIGH: ("Problem", "bad")}
)
PLUGIN_MARKS = MappingProxyType({"running": "good", "degraded": "warn", "stalled": "bad", "refused": "bad"})
"""Marks of plugin states; of any other, "off"."""
