"""Types of the local API about plugins: `GET /v1/plugins`, `POST /v1/plugins/run`.

Settings change by `PATCH /v1/prefs`.
"""

from __future__ import annotations

from typing import Any

import msgspec


class PluginView(msgspec.Struct, frozen=True, kw_only=True):
    """An installed plugin. `state`: running, starting, degraded, stalled, disabled or refused.

    `settings` are all that hold, defaults included, as far as the plugin has told them; `changed` those that file or
    preferences set. `commands` maps names to one line of help. `restarts` counts those of its own process.
    """

    name: str
    state: str
    enabled: bool
    purpose: str = ""
    placement: str = ""
    problem: str = ""
    hooks: tuple[str, ...] = ()
    rights: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    commands: dict[str, str] = {}
    settings: dict[str, Any] = {}
    changed: dict[str, Any] = {}
    failures: int = 0
    slow_calls: int = 0
    restarts: int = 0


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    plugin: str
    command: str
    arguments: tuple[str, ...] = ()


class RunReply(msgspec.Struct, frozen=True, kw_only=True):
    """`ok` False: the command failed, `text` says why."""

    text: str
    ok: bool = True
