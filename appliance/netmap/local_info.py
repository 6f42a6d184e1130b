"""What this node tells control about itself, with a version that grows when something changed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from appliance.proto.control import messages as wire
from appliance.proto.control.delta import MapSessionMark
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.netmap import Endpoint

FRESH = MapSessionMark()


class LocalInfo:
    def __init__(self, hostinfo: wire.Hostinfo) -> None:
        self._hostinfo = hostinfo
        self._net_info = hostinfo.net_info
        self._endpoints: tuple[Endpoint, ...] = ()
        self._disco_key: DiscoPublicKey | None = None
        self.version = 1

    @property
    def hostinfo(self) -> wire.Hostinfo:
        """Complete, with the last NetInfo."""
        return msgspec.structs.replace(self._hostinfo, net_info=self._net_info)

    def change(
        self,
        *,
        endpoints: Sequence[Endpoint] | None = None,
        disco_key: DiscoPublicKey | None = None,
        hostinfo: wire.Hostinfo | None = None,
        net_info: wire.NetInfo | None = None,
    ) -> bool:
        """Whether anything is worth telling. Jitter of DERP latencies is kept, but is no reason to tell."""
        before = (self._endpoints, self._disco_key, _without_jitter(self.hostinfo))
        if endpoints is not None:
            self._endpoints = tuple(endpoints)
        self._disco_key = disco_key or self._disco_key
        if hostinfo is not None:
            self._hostinfo = hostinfo
            self._net_info = hostinfo.net_info or self._net_info
        self._net_info = net_info or self._net_info
        if before == (self._endpoints, self._disco_key, _without_jitter(self.hostinfo)):
            return False
        self.version += 1
        return True

    def lite_update(self, node_key: NodePublicKey) -> wire.MapRequest:
        """Tell everything; the answer is empty (control-protocol spec section 8)."""
        request = self._request(node_key)
        request.omit_peers = True
        return request

    def map_stream(self, node_key: NodePublicKey, former: MapSessionMark = FRESH) -> wire.MapRequest:
        """Ask for the map stream: where the `former` one ended, if the server still knows it, else from the start."""
        request = self._request(node_key)
        request.stream = True
        request.compress = "zstd"
        request.map_session_handle = former.handle or wire.NEW_SESSION
        request.map_session_seq = former.seq
        return request

    def _request(self, node_key: NodePublicKey) -> wire.MapRequest:
        return wire.MapRequest(
            version=wire.CAPABILITY_VERSION,
            keep_alive=True,
            node_key=str(node_key),
            disco_key=str(self._disco_key) if self._disco_key is not None else "",
            hostinfo=self.hostinfo,
            endpoints=[str(endpoint.addr_port) for endpoint in self._endpoints],
            endpoint_types=[int(endpoint.kind) for endpoint in self._endpoints],
        )


def _without_jitter(hostinfo: wire.Hostinfo) -> wire.Hostinfo:
    if hostinfo.net_info is None:
        return hostinfo
    return msgspec.structs.replace(hostinfo, net_info=msgspec.structs.replace(hostinfo.net_info, derp_latency={}))
