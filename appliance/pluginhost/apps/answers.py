"""What a plugin in its own process said last, hook by hook. Pure bookkeeping: asking is the process's.

The core asks synchronously and is given the last answer; the question travels meanwhile, and when its answer differs,
the core is told to ask again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.api.values import RefreshKind
from appliance.pluginhost.errors import PluginError

REFRESHES: Mapping[str, RefreshKind] = {
    "appliance_contribute_hostinfo": RefreshKind.HOSTINFO,
    "appliance_contribute_routes": RefreshKind.HOSTINFO,
    "appliance_accept_routes": RefreshKind.ROUTER,
    "appliance_contribute_firewall": RefreshKind.ROUTER,
    "appliance_check_health": RefreshKind.STATUS,
}
"""What the core looks at anew when an answer of that hook differs."""
ASKED = frozenset({*REFRESHES, "appliance_metrics"})
"""Hooks that are asked whenever the core wants their answer."""


class Answers:
    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._errors: dict[str, PluginError] = {}
        self._flying: set[str] = set()
        self._next: dict[str, dict[str, Any]] = {}

    def last(self, hook: str) -> Any:
        """None before the first answer. Raises the error of the last call."""
        error = self._errors.get(hook)
        if error is not None:
            raise error
        return self._values.get(hook)

    def may_ask(self, hook: str, arguments: dict[str, Any]) -> bool:
        """Whether the question goes out now; while one is on its way, the newest waits."""
        if hook in self._flying:
            self._next[hook] = arguments
            return False
        self._flying.add(hook)
        return True

    def answered(self, hook: str, value: Any, error: PluginError | None) -> bool:
        """Note an answer; whether it differs from the one before. An error leaves the last good value."""
        self._flying.discard(hook)
        before = (self._errors.pop(hook, None) is not None, self._values.get(hook))
        if error is not None:
            self._errors[hook] = error
            return not before[0]
        self._values[hook] = value
        return before != (False, value)

    def waiting(self, hook: str) -> dict[str, Any] | None:
        """Arguments of the question that waited for this answer."""
        return self._next.pop(hook, None)

    def interrupted(self) -> None:
        """The process is gone: nothing is on its way any more."""
        self._flying.clear()
        self._next.clear()
