"""Refusals of the service; each maps to one HTTP status."""

from __future__ import annotations

from appliance.types.errors import ApplianceError


class ServiceError(ApplianceError):
    """An operation was refused."""

    code = "refused"
    status = 400


class NotFoundError(ServiceError):
    code = "not-found"
    status = 404


class ConflictError(ServiceError):
    """It exists already, is in use, or changed meanwhile."""

    code = "conflict"
    status = 409


class DeniedError(ServiceError):
    """The actor's role does not allow it."""

    code = "denied"
    status = 403
