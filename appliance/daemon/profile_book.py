"""What people do with profiles: list, delete; and which one a command means."""

from __future__ import annotations

import re

from appliance.localapi.schema import ProfileView
from appliance.state.profiles import Prefs, ProfileEntry, Profiles
from appliance.types.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


class NoSuchProfileError(ConfigError):
    code = "no-such-profile"


class ProfileBook:
    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    def views(self, current_url: str) -> tuple[ProfileView, ...]:
        """All of them; `current_url` is the control server in force."""
        known = self._profiles.list()
        return tuple(
            ProfileView(
                id=entry.id,
                name=entry.shown_name,
                current=entry.id == known.current,
                control_url=current_url if entry.id == known.current else self.prefs_of(entry).control_url,
                login_name=entry.login_name,
                logged_in=self._profiles.open(entry).keys.load() is not None,
            )
            for entry in known.profiles
        )

    def current(self) -> ProfileEntry:
        known = self._profiles.list()
        return next((entry for entry in known.profiles if entry.id == known.current), ProfileEntry(known.current))

    def prefs_of(self, entry: ProfileEntry) -> Prefs:
        return self._profiles.open(entry).prefs.load() or Prefs()

    def other(self, name: str) -> ProfileEntry:
        """An existing profile that is not the current one. Raises `NoSuchProfileError`, `ConfigError`."""
        entry = self._profiles.find(name)
        if entry is None:
            raise NoSuchProfileError(f"there is no profile {name!r}", mend="list them: waypost profiles list")
        if entry.id == self.current().id:
            raise ConfigError(f"{name!r} is the current profile", mend="name another: waypost profiles list")
        return entry

    def target(self, name: str) -> ProfileEntry | None:
        """The profile that `up --profile` means, perhaps a new one; None: the current one. Raises `ConfigError`."""
        entry = self._profiles.find(name) if name else self.current()
        if entry is None:
            if not _NAME.fullmatch(name):
                raise ConfigError(f"{name!r} is no name of a profile", mend="use letters, digits, dots, - and _")
            return self._profiles.make(name)
        return None if entry.id == self.current().id else entry
