"""Who asks, and what the role allows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from control.service.errors import DeniedError
from control.state.records import NodeRecord, Role


class Permission(StrEnum):
    READ = "read"
    USERS = "manage users"
    KEYS = "manage pre-auth keys"
    NODES = "manage nodes"
    ROUTES = "approve routes"
    POLICY = "change the policy"


_EVERYTHING = frozenset(Permission)
_ALLOWED = {
    Role.OWNER: _EVERYTHING,
    Role.ADMIN: _EVERYTHING,
    Role.NETWORK_ADMIN: frozenset({Permission.READ, Permission.ROUTES, Permission.POLICY}),
    Role.IT_ADMIN: frozenset({Permission.READ, Permission.USERS, Permission.KEYS, Permission.NODES}),
    Role.BILLING_ADMIN: frozenset({Permission.READ}),
    Role.AUDITOR: frozenset({Permission.READ}),
    Role.MEMBER: frozenset[Permission](),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """`name` goes into the audit log. `scopes`, where given, allow less than the role does."""

    name: str
    role: Role
    scopes: frozenset[Permission] | None = None

    def require(self, permission: Permission) -> None:
        """Raises `DeniedError` if role or scopes do not hold it."""
        if self.scopes is not None and permission not in self.scopes:
            mend = "make an API key with this scope"
            raise DeniedError(f"{self.name} may not {permission}: its scopes do not hold it", mend=mend)
        if permission not in _ALLOWED[self.role]:
            mend = "ask an administrator of the tailnet"
            raise DeniedError(f"{self.name} may not {permission} with the role {self.role}", mend=mend)


SYSTEM = Actor("system", Role.OWNER)
"""The server itself: expiry, ephemeral nodes, autoApprovers."""


def local_admin(uid: int) -> Actor:
    """Somebody with the server's own rights on its machine."""
    return Actor(f"local:{uid}", Role.OWNER)


def node_actor(node: NodeRecord) -> Actor:
    """A node acting for itself; holds no permission."""
    return Actor(f"node:{node.id}", Role.MEMBER)
