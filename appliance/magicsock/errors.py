"""What can go wrong when a person asks path finding for something."""

from __future__ import annotations

from appliance.types.errors import ApplianceError


class UnknownPeerError(ApplianceError):
    """The node is not in the netmap, or it cannot be spoken with."""

    code = "unknown_peer"


class PingTimeoutError(ApplianceError):
    """No answer by any path."""

    code = "ping_timeout"
