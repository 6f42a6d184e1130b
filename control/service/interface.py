"""What the transports call (`control.server`, `control.derp`): the seam between protocol and service.

`control.service.service.ControlService` implements it; tests of transports may bring a smaller one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.proto.control.messages import Hostinfo, RegisterRequest, RegisterResponse
    from appliance.types.addresses import AddrPort
    from appliance.types.ids import NodeId
    from appliance.types.keys import DiscoPublicKey, MachinePublicKey, NodePublicKey
    from control.state.changes import Change
    from control.state.mesh import MeshView
    from control.state.records import NodeRecord


class NodeFacing(Protocol):
    """Operations on behalf of nodes."""

    async def register(
        self, machine_key: MachinePublicKey, request: RegisterRequest, remote_ip: str
    ) -> RegisterResponse:
        """POST /machine/register in the decision order of control-protocol spec 7.4.

        Refusals meant for the user come back as a response with `Error`; nothing is raised for them.
        """
        ...

    async def settle(self, node_key: NodePublicKey) -> None:
        """Where several processes serve the mesh: take in what another one committed, if this key is unknown here."""
        ...

    def node_for(self, machine_key: MachinePublicKey, node_key: NodePublicKey) -> NodeRecord | None:
        """The node of this key if it belongs to this machine (the tunnel's), else None: answer 404."""
        ...

    async def update_node(
        self,
        node_id: NodeId,
        *,
        hostinfo: Hostinfo | None = None,
        endpoints: Sequence[AddrPort] | None = None,
        endpoint_types: Sequence[int] | None = None,
        disco_key: DiscoPublicKey | None = None,
        capability_version: int = 0,
    ) -> None:
        """A lite update. None, a zero key and 0 leave the stored value alone; a Hostinfo without NetInfo keeps the
        former NetInfo. Publishes only if something differs."""
        ...

    async def seen_at(self, node: NodeRecord, address: str) -> None:
        """A map stream of the node is about to open from this IP address."""
        ...

    def session_started(self, node_id: NodeId) -> None:
        """A map stream opened: the node is online. Sessions are counted."""
        ...

    def session_ended(self, node_id: NodeId) -> None:
        """A map stream closed; after the last one and 10 s of grace the node is offline."""
        ...

    def view(self) -> MeshView:
        """The live read model; never changes identity."""
        ...

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call `callback` after each committed change, in the loop's thread; returns the function that ends it."""
        ...

    def is_known(self, node_key: NodePublicKey) -> bool:
        """DERP admission: whether the key belongs to a registered, unexpired node."""
        ...

    async def sweep(self) -> None:
        """Time-driven work: grace times, expiry, ephemeral nodes, coalesced writes. Call about once a second."""
        ...
