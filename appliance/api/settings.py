"""How a plugin's configuration class reports a wrong value.

A configuration class is a frozen dataclass whose fields have defaults and plain types. It checks itself in
`__post_init__` and raises `SettingError`; the core puts the plugin's key path in front.
"""

from __future__ import annotations


class SettingError(ValueError):
    """`key` is relative to the plugin's table: "advertise_routes[2]"."""

    def __init__(self, key: str, text: str, *, mend: str = "") -> None:
        super().__init__(f"{key}: {text}")
        self.key = key
        self.text = text
        self.mend = mend
