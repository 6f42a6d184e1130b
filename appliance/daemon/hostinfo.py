"""What this node tells control about itself: the machine's facts, preferences and the plugins' parts."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version as distribution_version
from pathlib import Path

import msgspec

from appliance.api.values import HostinfoPart
from appliance.config.schema import hostname_problem
from appliance.proto.control import messages as wire
from appliance.state.profiles import Prefs
from appliance.types.keys import MachinePublicKey

OS_RELEASE = Path("/etc/os-release")
VERSION = distribution_version("waypost")


def host_facts(machine: MachinePublicKey, os_release: Path = OS_RELEASE) -> wire.Hostinfo:
    """What does not change while the process runs (control-protocol spec section 12)."""
    release = parse_os_release(os_release)
    return wire.Hostinfo(
        ipn_version=f"{VERSION}-waypost",
        backend_log_id=hashlib.sha256(b"waypost log id" + machine.raw).hexdigest(),
        os="linux",
        os_version=os.uname().release,
        distro=release.get("ID", ""),
        distro_version=release.get("VERSION_ID", ""),
        distro_codename=release.get("VERSION_CODENAME", ""),
        machine=platform.machine(),
        hostname=machine_name(),
        app="waypost",
        no_logs_no_support=True,
    )


def parse_os_release(path: Path) -> dict[str, str]:
    """`KEY=value` lines with shell quotes; empty when the file cannot be read."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, sep, value in pairs if sep}


def machine_name() -> str:
    """First label of the machine's name as a DNS label."""
    label = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-")[:63].strip("-")
    return label if label and not hostname_problem(label) else "gateway"


_FLAGS = {field.encode_name: field.name for field in msgspec.structs.fields(wire.Hostinfo)}


def make_hostinfo(
    facts: wire.Hostinfo,
    prefs: Prefs,
    hostname: str,
    routes: Iterable[str],
    part: HostinfoPart,
    net_info: wire.NetInfo | None,
    own_services: Iterable[wire.Service] = (),
) -> wire.Hostinfo:
    """The whole of it now. `hostname` is the configuration's; preferences go before it.

    `own_services` are the daemon's: its peer API.
    """
    services = [wire.Service(proto=s.proto, port=s.port, description=s.description) for s in part.services]
    return msgspec.structs.replace(
        facts,
        hostname=prefs.hostname or hostname or facts.hostname,
        shields_up=prefs.shields_up,
        request_tags=list(prefs.advertise_tags),
        routable_ips=list(routes),
        services=[*own_services, *services],
        ssh_host_keys=list(part.ssh_host_keys),
        net_info=net_info,
        exit_node_id=part.exit_node,
        location=wire.Location(**asdict(part.location)) if part.location is not None else None,
        **_flags(part.flags),
    )


def _flags(flags: Mapping[str, bool]) -> dict[str, bool]:
    return {_FLAGS[name]: value for name, value in flags.items() if name in _FLAGS}
