"""Immutable records of the control server's state (policy-and-management spec section 3).

They are what the read model, the policy compiler and the mapper see; the tables behind them are in `models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, NewType

from appliance.types.addresses import DEFAULT_V4, DEFAULT_V6, AddrPort, Prefix
from appliance.types.ids import NO_REGION, NodeId, RegionId, StableNodeId, UserId
from appliance.types.keys import DiscoPublicKey, MachinePublicKey, NodePublicKey

if TYPE_CHECKING:
    from datetime import datetime

    from appliance.proto.control.messages import Hostinfo

TailnetId = NewType("TailnetId", int)
PreAuthKeyId = NewType("PreAuthKeyId", int)
ApiKeyId = NewType("ApiKeyId", int)

DEFAULT_TAILNET = TailnetId(1)
"""The one tailnet of a plain installation."""

TAGGED_DEVICES = UserId(2147455555)
"""Placeholder owner that tagged nodes carry on the wire (control-protocol spec 7.2)."""
TAGGED_DEVICES_NAME = "tagged-devices"


class Role(StrEnum):
    """What a user may do in management; the words of the policy's autogroups."""

    OWNER = "owner"
    ADMIN = "admin"
    NETWORK_ADMIN = "network-admin"
    IT_ADMIN = "it-admin"
    BILLING_ADMIN = "billing-admin"
    AUDITOR = "auditor"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A person. `name` is unique in its tailnet; the policy calls the user by `email`, else by `name`."""

    id: UserId
    name: str
    created: datetime
    email: str = ""
    display_name: str = ""
    role: Role = Role.MEMBER

    @property
    def login_name(self) -> str:
        """What clients and the policy show: the e-mail, else the name."""
        return self.email or self.name


@dataclass(frozen=True, slots=True)
class CustomAttribute:
    """A `custom:…` posture attribute that an administrator, or the node where the policy lets it, set."""

    name: str
    value: str | float | bool
    expiry: datetime | None = None


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A registered node: owned by a user (`user_id`) or by its `tags` (`user_id` None), never both.

    `given_name` is the unique DNS label; `hostname` what the node calls itself. `advertised_routes` are what it
    offers (Hostinfo.RoutableIPs), `approved_routes` what an administrator or autoApprovers allow it to serve.
    `key_expiry` None = never. `home_derp` 0 and `disco_key` None = unknown.
    """

    id: NodeId
    stable_id: StableNodeId
    user_id: UserId | None
    machine_key: MachinePublicKey
    node_key: NodePublicKey
    given_name: str
    ipv4: IPv4Address
    ipv6: IPv6Address
    created: datetime
    hostname: str = ""
    hostinfo: Hostinfo | None = None
    disco_key: DiscoPublicKey | None = None
    endpoints: tuple[AddrPort, ...] = ()
    endpoint_types: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    advertised_routes: tuple[Prefix, ...] = ()
    approved_routes: tuple[Prefix, ...] = ()
    key_expiry: datetime | None = None
    ephemeral: bool = False
    last_seen: datetime | None = None
    capability_version: int = 0
    home_derp: RegionId = NO_REGION
    pre_auth_key_id: PreAuthKeyId | None = None
    renamed: bool = False
    custom_attributes: tuple[CustomAttribute, ...] = ()

    @property
    def addresses(self) -> tuple[Prefix, Prefix]:
        """Own overlay prefixes, IPv4/32 then IPv6/128, the order of the wire."""
        return IPv4Network(self.ipv4), IPv6Network(self.ipv6)

    @property
    def wire_user_id(self) -> UserId:
        """Owner on the wire: the placeholder for tagged nodes."""
        return TAGGED_DEVICES if self.user_id is None else self.user_id

    @property
    def served_routes(self) -> tuple[Prefix, ...]:
        """Advertised and approved, exit routes included."""
        approved = set(self.approved_routes)
        return tuple(route for route in self.advertised_routes if route in approved)

    @property
    def subnet_routes(self) -> tuple[Prefix, ...]:
        """Served routes without 0.0.0.0/0 and ::/0."""
        return tuple(route for route in self.served_routes if not is_exit_route(route))

    @property
    def exit_routes(self) -> tuple[Prefix, ...]:
        """0.0.0.0/0 and ::/0 where this node is an approved exit node."""
        return tuple(route for route in self.served_routes if is_exit_route(route))

    @property
    def offers_apps(self) -> bool:
        """Whether the node says that it is an app connector."""
        return self.hostinfo is not None and self.hostinfo.app_connector is True

    @property
    def services(self) -> tuple[str, ...]:
        """Services that the node may host; none can be defined yet."""
        return ()

    @property
    def attributes(self) -> dict[str, str | float | bool]:
        """What postures of the policy look at: what the node tells, and what was set (policy spec 1.9).

        Attributes that expire are taken away by the service when their time is up.
        """
        told = {} if self.hostinfo is None else posture_attributes(self.hostinfo)
        return told | {one.name: one.value for one in self.custom_attributes}

    def is_expired(self, wall_now: datetime) -> bool:
        return self.key_expiry is not None and self.key_expiry <= wall_now


_TRACKS = {"0": "stable", "1": "unstable"}
"""Release track by whether the minor version is odd."""


def posture_attributes(hostinfo: Hostinfo) -> dict[str, str | float | bool]:
    """`node:…` attributes of a Hostinfo; what the node did not say is missing, not empty."""
    version = hostinfo.ipn_version.split("-", 1)[0]
    minor = version.split(".")[1] if version.count(".") >= 1 else ""
    found: dict[str, str | float | bool] = {
        "node:os": _OS_NAMES.get(hostinfo.os.lower(), hostinfo.os.lower()),
        "node:osVersion": hostinfo.os_version,
        "node:tsVersion": version,
        "node:tsAutoUpdate": hostinfo.allows_update,
        "node:tsStateEncrypted": "" if hostinfo.state_encrypted is None else hostinfo.state_encrypted,
        "node:tsReleaseTrack": _TRACKS[str(int(minor) % 2)] if minor.isdecimal() and len(minor) < 9 else "",
    }
    return {name: value for name, value in found.items() if value != ""}


_OS_NAMES = {"macos": "macos", "darwin": "macos", "ios": "ios", "linux": "linux", "windows": "windows"}


def is_exit_route(prefix: Prefix) -> bool:
    return prefix in (DEFAULT_V4, DEFAULT_V6)


@dataclass(frozen=True, slots=True)
class PreAuthKeyRecord:
    """A pre-auth key without its secret. `prefix` is its public part; `user_id` None = for tagged nodes."""

    id: PreAuthKeyId
    prefix: str
    user_id: UserId | None
    tags: tuple[str, ...]
    reusable: bool
    ephemeral: bool
    created: datetime
    expiry: datetime | None
    used: datetime | None = None
    revoked: datetime | None = None
    description: str = ""

    def state(self, wall_now: datetime) -> str:
        """`valid`, `used`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        if self.expiry is not None and self.expiry <= wall_now:
            return "expired"
        return "used" if self.used is not None and not self.reusable else "valid"


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """A key of the management API without its secret. `scopes` name what it may do, `author` who made it.

    `user_id`: the key acts for this user and never beyond the user's role; None = for the server's administrator.
    """

    id: ApiKeyId
    prefix: str
    scopes: tuple[str, ...]
    author: str
    created: datetime
    expiry: datetime | None
    revoked: datetime | None = None
    description: str = ""
    user_id: UserId | None = None

    def state(self, wall_now: datetime) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expiry is not None and self.expiry <= wall_now else "valid"


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """One stored version of the policy file, its bytes as given. Version 0 = no policy, allow all."""

    version: int
    text: str
    created: datetime | None = None
    author: str = ""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who did what to which object; `before` and `after` are JSON texts, without secrets."""

    time: datetime
    actor: str
    action: str
    target: str
    before: str = ""
    after: str = ""
