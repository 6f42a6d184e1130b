"""A mesh described in a file, for compiling and asking a policy without a server (docs/control/policy.md).

JSON or HuJSON; mistakes are reported at their place like those of a policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from appliance.types.ids import NodeId, UserId
from control.policy.hujson import parse_hujson
from control.policy.postures import AttributeValue
from control.policy.problems import Place, PolicyError, Problem
from control.policy.reader import Reader, plain
from control.policy.selectors import ROLE_AUTOGROUPS, SERVICE, TAG, parse_network

if TYPE_CHECKING:
    from appliance.types.addresses import Prefix
    from control.policy.hujson import Value

_USER = ("id", "name", "email", "role")
_NODE = (
    "id", "name", "user", "tags", "addresses", "advertised_routes", "approved_routes", "attributes", "services",
    "advertised_services", "online",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MeshUser:
    """`control.policy.facts.UserFacts`."""

    id: UserId
    name: str
    email: str = ""
    role: str = "member"


@dataclass(frozen=True, slots=True)
class MeshNode:
    """`control.policy.facts.NodeFacts`, and what the elections of primary routers need."""

    id: NodeId
    name: str
    ipv4: IPv4Address
    ipv6: IPv6Address
    user_id: UserId | None = None
    tags: tuple[str, ...] = ()
    advertised_routes: tuple[Prefix, ...] = ()
    approved_routes: tuple[Prefix, ...] = ()
    services: tuple[str, ...] = ()
    advertised_services: tuple[str, ...] = ()
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    online: bool = True

    @property
    def subnet_routes(self) -> tuple[Prefix, ...]:
        """Advertised and approved, without 0.0.0.0/0 and ::/0."""
        return tuple(one for one in self.advertised_routes if one in self.approved_routes and one.prefixlen)

    @property
    def exit_routes(self) -> tuple[Prefix, ...]:
        return tuple(one for one in self.advertised_routes if one in self.approved_routes and not one.prefixlen)


@dataclass(frozen=True, slots=True)
class Mesh:
    """Users, nodes and the addresses of services."""

    users: tuple[MeshUser, ...]
    nodes: tuple[MeshNode, ...]
    services: dict[str, tuple[IPv4Address | IPv6Address, ...]]


def parse_mesh(text: str | bytes) -> Mesh:
    """Raises `PolicyError` with every problem found."""
    document = parse_hujson(text)
    if document is None:
        raise PolicyError([Problem(Place(1, 1), "the mesh is empty", 'write {"users": [], "nodes": []}')])
    reader = _MeshReader()
    mesh = reader.read(document)
    if reader.problems:
        raise PolicyError(reader.problems)
    return mesh


class _MeshReader(Reader):
    def read(self, document: Value) -> Mesh:
        fields = self.fields(document, "the mesh", ("users", "nodes", "services"))
        users = [self._user(item, index) for index, item in enumerate(self.items(fields.get("users"), "users"), 1)]
        names = {name.casefold(): user.id for user in users for name in (user.name, user.email) if name}
        items = self.items(fields.get("nodes"), "nodes")
        nodes = [self._node(item, index, names) for index, item in enumerate(items, 1)]
        self._check_unique(nodes, items)
        services = {
            member.name: tuple(one for one in self._addresses(member.value, f'services["{member.name}"]'))
            for member in self.unique_members(fields.get("services"), "services")
            if self._is_service(member.name, member.place)
        }
        return Mesh(tuple(users), tuple(node for node in nodes if node is not None), services)

    def _is_service(self, name: str, place: Place) -> bool:
        good = bool(SERVICE.fullmatch(name))
        if not good:
            self.problem(place, f'not a service name: "{name}"', 'write "svc:name"')
        return good

    def _service_names(self, value: Value | None, what: str) -> tuple[str, ...]:
        return tuple(text for text, place in self.strings(value, what) if self._is_service(text, place))

    def _number(self, value: Value | None, index: int) -> int:
        if value is None:
            return index
        if isinstance(value.data, int) and not isinstance(value.data, bool) and 0 < value.data < 2**53:
            return value.data
        self.problem(value.place, "id must be a positive integer", f"write {index}")
        return index

    def _user(self, item: Value, index: int) -> MeshUser:
        fields = self.fields(item, "a user", _USER)
        role = self.text(fields.get("role"), "role") or "member"
        if role not in (*ROLE_AUTOGROUPS, "member"):
            self.problem(fields["role"].place, f'unknown role: "{role}"', ", ".join(sorted(ROLE_AUTOGROUPS)))
        name, email = self.text(fields.get("name"), "name"), self.text(fields.get("email"), "email")
        if not name and not email:
            self.problem(item.place, "a user without a name", 'add "name": "alice"')
        return MeshUser(UserId(self._number(fields.get("id"), index)), name or email, email, role)

    def _node(self, item: Value, index: int, users: dict[str, UserId]) -> MeshNode | None:
        fields = self.fields(item, "a node", _NODE)
        addresses = self._addresses(fields.get("addresses"), "addresses")
        v4 = next((one for one in addresses if isinstance(one, IPv4Address)), None)
        v6 = next((one for one in addresses if isinstance(one, IPv6Address)), None)
        if v4 is None or v6 is None:
            mend = 'write "addresses": ["100.64.0.1", "fd7a:115c:a1e0::1"]'
            self.problem(item.place, "a node needs one IPv4 and one IPv6 address", mend)
            return None
        number = self._number(fields.get("id"), index)
        tags = tuple(text for text, place in self.strings(fields.get("tags"), "tags") if self._is_tag(text, place))
        online = fields.get("online")
        return MeshNode(
            id=NodeId(number),
            name=self.text(fields.get("name"), "name") or f"node-{number}",
            ipv4=v4,
            ipv6=v6,
            user_id=self._owner(item, fields.get("user"), tags, users),
            tags=tags,
            advertised_routes=self._networks(fields.get("advertised_routes"), "advertised_routes"),
            approved_routes=self._networks(fields.get("approved_routes"), "approved_routes"),
            services=self._service_names(fields.get("services"), "services"),
            advertised_services=self._service_names(fields.get("advertised_services"), "advertised_services"),
            attributes=self._attributes(fields.get("attributes")),
            online=True if online is None else self.flag(online, "online"),
        )

    def _is_tag(self, text: str, place: Place) -> bool:
        good = bool(TAG.fullmatch(text))
        if not good:
            self.problem(place, f'not a tag: "{text}"', 'write "tag:name"')
        return good

    def _owner(
        self, item: Value, value: Value | None, tags: tuple[str, ...], users: dict[str, UserId]
    ) -> UserId | None:
        name = self.text(value, "user")
        if tags and name and value is not None:
            self.problem(value.place, "a tagged node belongs to no user", "remove the user or the tags")
        if tags:
            return None
        owner = users.get(name.removesuffix("@").casefold())
        if owner is None:
            place = item.place if value is None else value.place
            self.problem(place, f'no such user: "{name}"', "name one of users, or give the node tags")
        return owner

    def _addresses(self, value: Value | None, what: str) -> list[IPv4Address | IPv6Address]:
        found: list[IPv4Address | IPv6Address] = []
        for text, place in self.strings(value, what):
            try:
                found.append(ip_address(text))
            except ValueError:
                self.problem(place, f'{what}: not an address: "{text}"', "write it without a length")
        return found

    def _networks(self, value: Value | None, what: str) -> tuple[Prefix, ...]:
        found: list[Prefix] = []
        for text, place in self.strings(value, what):
            network = parse_network(text)
            if network is None:
                self.problem(place, f'{what}: not a network: "{text}"', "write it with zero host bits, as 10.0.0.0/8")
            else:
                found.append(network)
        return tuple(found)

    def _attributes(self, value: Value | None) -> dict[str, AttributeValue]:
        found: dict[str, AttributeValue] = {}
        for member in self.members(value, "attributes"):
            data = plain(member.value)
            if isinstance(data, str | int | float | bool):
                found[member.name] = data
            else:
                self.problem(member.value.place, f"{member.name} is {member.value.kind}", "write a string or number")
        return found

    def _check_unique(self, nodes: list[MeshNode | None], items: tuple[Value, ...]) -> None:
        seen: dict[object, str] = {}
        for node, item in zip(nodes, items, strict=True):
            for key in () if node is None else (node.id, node.ipv4, node.ipv6):
                if key in seen and node is not None:
                    self.problem(item.place, f"{node.name} and {seen[key]} share {key}", "give each its own")
                elif node is not None:
                    seen[key] = node.name
