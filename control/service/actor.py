"""Who asks, and what the role allows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from control.service.errors import DeniedError
from control.state.records import NodeRecord, Role, UserRecord


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

    def holds(self, permission: Permission) -> bool:
        """Whether role and scopes allow it."""
        return permission in _ALLOWED[self.role] and (self.scopes is None or permission in self.scopes)

    def require_role(self, role: Role) -> None:
        """Raises `DeniedError` if `role` allows what this actor may not: nobody makes others mightier than himself."""
        beyond = sorted(permission for permission in _ALLOWED[role] if not self.holds(permission))
        if beyond or (role is Role.OWNER and self.role is not Role.OWNER):
            mend = "ask an owner of the tailnet"
            raise DeniedError(f"{self.name} may not give or take the role {role} with the role {self.role}", mend=mend)

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


def permissions_of(role: Role) -> tuple[Permission, ...]:
    """What users with this role may do, in the order of the enumeration."""
    return tuple(permission for permission in Permission if permission in _ALLOWED[role])


def user_actor(user: UserRecord, scopes: frozenset[Permission] | None = None, *, by: str = "") -> Actor:
    """A user who proved who he is; `by` names what spoke for him, such as an API key."""
    return Actor(f"user:{user.name}{' ' + by if by else ''}", user.role, scopes)


def node_actor(node: NodeRecord) -> Actor:
    """A node acting for itself; holds no permission."""
    return Actor(f"node:{node.id}", Role.MEMBER)
