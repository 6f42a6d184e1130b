"""Never comes back, without giving the interpreter away."""

from __future__ import annotations

from appliance.api import hookimpl


class Hangs:
    @hookimpl
    def appliance_contribute_routes(self) -> list[str]:
        while True:
            pass
