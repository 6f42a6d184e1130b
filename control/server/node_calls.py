"""Smaller requests inside the tunnel: certificates' DNS records, identity tokens, reports, attributes
(control-protocol spec 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from appliance.proto.control import messages as wire
from control.service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from control.service.attributes import AttributeOperations
    from control.service.dns_names import DnsNames
    from control.service.id_tokens import IdTokens
    from control.service.node_reports import NodeReports
    from control.state.records import NodeRecord

    Call = Callable[[NodeRecord, wire.NodeCall], Awaitable[bytes]]


class NodeCalls:
    """Each call takes the node that the tunnel proved, and what it asks; the bytes of a 200 answer."""

    def __init__(self, dns: DnsNames, tokens: IdTokens, reports: NodeReports, attributes: AttributeOperations) -> None:
        self._attributes = attributes
        self._dns = dns
        self._tokens = tokens
        self._reports = reports
        self.calls: dict[tuple[str, str], Call] = {
            ("POST", "/machine/set-dns"): self._set_dns,
            ("POST", "/machine/id-token"): self._id_token,
            ("POST", "/machine/update-health"): self._update_health,
            ("POST", "/machine/audit-log"): self._audit_log,
            ("POST", "/machine/feature/query"): self._feature,
            ("PATCH", "/machine/set-device-attr"): self._set_attributes,
        }

    async def _set_dns(self, node: NodeRecord, call: wire.NodeCall) -> bytes:
        await self._dns.publish(node, call.name, call.type, call.value)
        return b"{}"

    async def _id_token(self, node: NodeRecord, call: wire.NodeCall) -> bytes:
        return msgspec.json.encode({"id_token": self._tokens.issue(node, call.audience)})

    async def _update_health(self, node: NodeRecord, call: wire.NodeCall) -> bytes:
        self._reports.health(node, call.subsys, call.error)
        return b"{}"

    async def _audit_log(self, node: NodeRecord, call: wire.NodeCall) -> bytes:
        await self._reports.audit(node, call.action, call.details)
        return b"{}"

    async def _set_attributes(self, node: NodeRecord, call: wire.NodeCall) -> bytes:
        await self._attributes.set_by_node(node, call.update)
        return b"{}"

    async def _feature(self, node: NodeRecord, call: wire.NodeCall) -> bytes:
        """Whether a feature is on for the tailnet, in words for the person at the terminal."""
        match call.feature:
            case "https" if self._dns.enabled:
                answer = {"Complete": True, "Text": "Certificates are on."}
            case "https":
                answer = {"Complete": False, "Text": "Certificates are off: the server has no [certificates] setting."}
            case "serve":
                answer = {"Complete": True, "Text": "Serving inside the mesh needs no setting on this server."}
            case "funnel":
                answer = {"Complete": False, "Text": "This server has no public ingress."}
            case _:
                raise ServiceError("this server does not know that feature")
        return msgspec.json.encode({**answer, "URL": "", "ShouldWait": False})
