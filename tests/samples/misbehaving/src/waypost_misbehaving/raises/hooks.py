"""Raises in every hook that there is; a test holds that none is missing."""

from __future__ import annotations

from typing import NoReturn

from appliance.api import hookimpl


class Raises:
    @hookimpl
    def appliance_accept_routes(self) -> NoReturn:
        raise RuntimeError("appliance_accept_routes")

    @hookimpl
    def appliance_check_health(self) -> NoReturn:
        raise RuntimeError("appliance_check_health")

    @hookimpl
    def appliance_configure(self) -> NoReturn:
        raise RuntimeError("appliance_configure")

    @hookimpl
    def appliance_contribute_firewall(self) -> NoReturn:
        raise RuntimeError("appliance_contribute_firewall")

    @hookimpl
    def appliance_contribute_hostinfo(self) -> NoReturn:
        raise RuntimeError("appliance_contribute_hostinfo")

    @hookimpl
    def appliance_contribute_routes(self) -> NoReturn:
        raise RuntimeError("appliance_contribute_routes")

    @hookimpl
    def appliance_metrics(self) -> NoReturn:
        raise RuntimeError("appliance_metrics")

    @hookimpl
    def appliance_netmap_changed(self) -> NoReturn:
        raise RuntimeError("appliance_netmap_changed")

    @hookimpl
    def appliance_relay_request(self) -> NoReturn:
        raise RuntimeError("appliance_relay_request")

    @hookimpl
    def appliance_run_command(self) -> NoReturn:
        raise RuntimeError("appliance_run_command")

    @hookimpl
    def appliance_start(self) -> NoReturn:
        raise RuntimeError("appliance_start")

    @hookimpl
    def appliance_status_panel(self) -> NoReturn:
        raise RuntimeError("appliance_status_panel")

    @hookimpl
    def appliance_stop(self) -> NoReturn:
        raise RuntimeError("appliance_stop")
