"""Wire types: spellings, nulls, what is sent and what is left out (spec sections 0, 20, 21)."""

import msgspec
import pytest

from appliance.proto.control import messages as wire
from appliance.types.errors import DecodeError


def test_ok__other_spellings_nulls_and_unknown_names() -> None:
    request = wire.decode(
        wire.MapRequest,
        b'{"NODEKEY":"nodekey:aa","hostInfo":{"IpnVersion":"1","Os":"linux","RoutableIps":null,"New":{"a":1},'
        b'"netInfo":{"PreferredDerp":900,"DerpLatency":{"900-v4":0.5,"901-V4":1}}},"Endpoints":null,"What":[]}',
    )
    assert request.node_key == "nodekey:aa"
    assert request.hostinfo is not None
    assert (request.hostinfo.ipn_version, request.hostinfo.os, request.hostinfo.routable_ips) == ("1", "linux", [])
    assert request.hostinfo.net_info is not None
    assert request.hostinfo.net_info.preferred_derp == 900
    assert request.hostinfo.net_info.derp_latency == {"900-v4": 0.5, "901-V4": 1.0}


def test_ok__exact_spelling_wins() -> None:
    assert wire.decode(wire.MapRequest, b'{"nodekey":"a","NodeKey":"b"}').node_key == "b"
    assert wire.decode(wire.MapRequest, b'{"NodeKey":"b","nodekey":"a"}').node_key == "b"


def test_ok__null_in_maps_stays_null_in_lists_goes() -> None:
    response = wire.decode(
        wire.MapResponse,
        b'{"PacketFilters":{"*":null,"base":[null,{"srcips":["*"]}]},"Peers":[null,{"id":1,"CapMap":{"x":null}}],'
        b'"OnlineChange":{"12":true}}',
    )
    assert response.packet_filters["*"] is None
    assert [rule.src_ips for rule in response.packet_filters["base"] or []] == [["*"]]
    assert [(node.id, node.cap_map) for node in response.peers] == [(1, {"x": None})]
    assert response.online_change == {12: True}


def test_ok__absent_and_empty_are_two_things() -> None:
    assert wire.decode(wire.MapResponse, b"{}").packet_filter is None
    assert wire.decode(wire.MapResponse, b'{"PacketFilter":[]}').packet_filter == []
    assert wire.encode(wire.MapResponse(packet_filter=[])) == b'{"PacketFilter":[]}'
    assert wire.encode(wire.PeerChange(node_id=1, endpoints=[], cap_map={})) == (
        b'{"NodeID":1,"CapMap":{},"Endpoints":[]}'
    )


def test_ok__keep_alive_is_exact() -> None:
    assert wire.encode(wire.MapResponse(keep_alive=True)) == b'{"KeepAlive":true}'


def test_ok__register_response_always_carries_its_six_fields() -> None:
    assert wire.encode(wire.RegisterResponse()) == (
        b'{"User":{"ID":0,"DisplayName":""},"Login":{"ID":0,"Provider":"","LoginName":"","DisplayName":""},'
        b'"NodeKeyExpired":false,"MachineAuthorized":false,"AuthURL":"","Error":""}'
    )


def test_ok__raw_utf8_without_escapes() -> None:
    encoded = wire.encode(wire.Hostinfo(hostname="Büro/é\u2028<&>"))
    assert b"\\" not in encoded
    assert "Büro/é\u2028<&>".encode() in encoded


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (wire.Node, "ID StableID Name User Sharer Key KeyExpiry Machine DiscoKey Addresses AllowedIPs HomeDERP DERP "
         "LastSeen CapMap UnsignedPeerAPIOnly IsWireGuardOnly SelfNodeV4MasqAddrForThisPeer ExitNodeDNSResolvers "
         "DataPlaneAuditLogID ComputedNameWithHost"),
        (wire.Hostinfo, "IPNVersion FrontendLogID BackendLogID OS OSVersion DistroCodeName RoutableIPs WoLMACs "
         "sshHostKeys NetInfo TPM GoArchVar ExitNodeID"),
        (wire.NetInfo, "MappingVariesByDestIP WorkingIPv6 OSHasIPv6 WorkingUDP WorkingICMPv4 UPnP PMP PCP "
         "PreferredDERP DERPLatency HavePortMap"),
        (wire.MapResponse, "DERPMap DNSConfig SSHPolicy TKAInfo PopBrowserURL PeersChangedPatch ControlDialPlan "
         "DomainDataPlaneAuditLogID OnlineChange"),
        (wire.PingRequest, "URL URLIsNoise IP Types Payload"),
        (wire.PingResponse, "NodeIP DERPRegionID DERPRegionCode PeerAPIPort IsLocalIP LatencySeconds"),
        (wire.DerpNode, "RegionID HostName IPv4 IPv6 STUNPort STUNOnly DERPPort STUNTestIP CanPort80 CertName"),
        (wire.DerpMap, "omitDefaultRegions HomeParams Regions"),
        (wire.SshAction, "sessionDuration holdAndDelegate allowAgentForwarding onRecordingFailure"),
        (wire.SshPrincipal, "nodeIP userLogin any"),
        (wire.ControlIpCandidate, "ACEHost DialStartDelaySec IP"),
        (wire.UserProfile, "ProfilePicURL LoginName"),
        (wire.MapRequest, "TKAHead HardwareAttestationKeySignatureTimestamp OmitPeers"),
        (wire.RegisterRequest, "NLKey OldNodeKey NodeKeySignature"),
    ],
)  # fmt: skip
def test_ok__names_are_spelled_as_on_the_wire(kind: type[msgspec.Struct], names: str) -> None:
    have = {field.encode_name for field in msgspec.structs.fields(kind)}
    assert set(names.split()) <= have


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{", b'{"ID":"x"}', b'{"Name":1}', b"\xff", b"[" * 100_000, b'{"Addresses":[1]}']
)
def test_fail__what_is_no_such_message(data: bytes) -> None:
    with pytest.raises(DecodeError):
        wire.decode(wire.Node, data)


def test_ok__times() -> None:
    moment = wire.parse_time("2026-01-02T03:04:05.123456789+01:00")
    assert moment is not None
    assert wire.format_time(moment) == "2026-01-02T02:04:05.123456Z"
    assert wire.parse_time("") is None
    assert wire.parse_time(wire.ZERO_TIME) is None
    assert wire.format_time(None) == ""
    assert wire.parse_time(wire.LOGOUT_EXPIRY) is not None


@pytest.mark.parametrize("text", ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "20260101"])
def test_fail__no_times(text: str) -> None:
    with pytest.raises(DecodeError):
        wire.parse_time(text)
