"""Messages of the kernel's WireGuard family over generic netlink (linux/wireguard.h; magicsock-disco spec 6.5). Pure.

Integers are in the host's order.

| Device attribute | | Peer attribute | |
|---|---|---|---|
| 2 | interface name, ends in 0 | 1 | public key |
| 3 | private key | 2 | preshared key |
| 6 | UDP port, u16 | 3 | flags, u32: 1 remove, 2 replace allowed IPs, 4 update only |
| 7 | firewall mark, u32 | 4 | endpoint: sockaddr_in or sockaddr_in6 |
| 8 | peers, nested | 5 | persistent keepalive in seconds, u16 |
| | | 6 | last handshake: two s64, seconds and nanoseconds |
| | | 7, 8 | bytes received and sent, u64 |
| | | 9 | allowed IPs, nested: 1 family u16, 2 address, 3 prefix length u8 |
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator

from appliance.drivers.netlink_messages import attribute, attributes, named, nested
from appliance.ports.wireguard_device import DevicePeer, PeerSetting
from appliance.types.addresses import AddrPort, Prefix
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import NodePrivateKey, NodePublicKey

GET_DEVICE, SET_DEVICE = 0, 1
VERSION = 1
MAX_PEERS_BYTES = 60_000
"""The attribute of all peers has a 16-bit length."""
PREFIXES_PER_ENTRY = 1000

_NAME, _PRIVATE_KEY, _PORT, _MARK, _PEERS = 2, 3, 6, 7, 8
_KEY, _PSK, _FLAGS, _ENDPOINT, _KEEPALIVE, _HANDSHAKE, _RX, _TX, _ALLOWED = 1, 2, 3, 4, 5, 6, 7, 8, 9
_REMOVE, _REPLACE_IPS, _UPDATE_ONLY = 1, 2, 4
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def device_name(name: str) -> bytes:
    return named(_NAME, name)


def device_settings(*, key: NodePrivateKey | None = None, port: int | None = None, mark: int | None = None) -> bytes:
    """Attributes of the device itself."""
    made = b"" if key is None else attribute(_PRIVATE_KEY, key.reveal())
    made += b"" if port is None else attribute(_PORT, struct.pack("=H", port))
    return made + (b"" if mark is None else attribute(_MARK, struct.pack("=I", mark)))


def peers_attributes(settings: Iterable[PeerSetting]) -> Iterator[bytes]:
    """One attribute of peers per message, as few messages as the length allows, in order."""
    entries: list[bytes] = []
    size = 0
    for setting in settings:
        for entry in _entries(setting):
            if entries and size + len(entry) > MAX_PEERS_BYTES:
                yield nested(_PEERS, b"".join(entries))
                entries, size = [], 0
            entries.append(entry)
            size += len(entry)
    if entries:
        yield nested(_PEERS, b"".join(entries))


def _entries(setting: PeerSetting) -> Iterator[bytes]:
    """A peer with many prefixes goes on in further entries, which only add prefixes."""
    flags = _REMOVE if setting.remove else 0
    flags |= _REPLACE_IPS if setting.allowed_ips is not None else 0
    flags |= _UPDATE_ONLY if setting.update_only else 0
    body = attribute(_KEY, bytes(setting.key.raw))
    first = body + (attribute(_FLAGS, struct.pack("=I", flags)) if flags else b"")
    if setting.preshared_key is not None:
        first += attribute(_PSK, setting.preshared_key.reveal())
    if setting.endpoint is not None:
        first += attribute(_ENDPOINT, encode_endpoint(setting.endpoint))
    if setting.keepalive_s is not None:
        first += attribute(_KEEPALIVE, struct.pack("=H", setting.keepalive_s))
    prefixes = setting.allowed_ips or ()
    yield nested(0, first + _allowed_ips(prefixes[:PREFIXES_PER_ENTRY]))
    for start in range(PREFIXES_PER_ENTRY, len(prefixes), PREFIXES_PER_ENTRY):
        yield nested(0, body + _allowed_ips(prefixes[start : start + PREFIXES_PER_ENTRY]))


def _allowed_ips(prefixes: Iterable[Prefix]) -> bytes:
    made = b"".join(
        nested(
            0,
            attribute(1, struct.pack("=H", _FAMILIES[prefix.version]))
            + attribute(2, prefix.network_address.packed)
            + attribute(3, bytes((prefix.prefixlen,))),
        )
        for prefix in prefixes
    )
    return nested(_ALLOWED, made) if made else b""


def encode_endpoint(endpoint: AddrPort) -> bytes:
    """A sockaddr."""
    if endpoint.is_v6:
        return struct.pack("=H", socket.AF_INET6) + struct.pack(
            ">HI16sI", endpoint.port, 0, socket.inet_pton(socket.AF_INET6, endpoint.ip), 0
        )
    return struct.pack("=H", socket.AF_INET) + struct.pack(
        ">H4s8x", endpoint.port, socket.inet_pton(socket.AF_INET, endpoint.ip)
    )


def parse_endpoint(data: memoryview) -> AddrPort:
    """Raises `DecodeError`."""
    family = struct.unpack_from("=H", data)[0] if len(data) >= 16 else 0
    if family == socket.AF_INET:
        port, raw = struct.unpack_from(">H4s", data, 2)
        return AddrPort(socket.inet_ntop(socket.AF_INET, raw), port)
    if family == socket.AF_INET6 and len(data) >= 28:
        port, _flow, raw = struct.unpack_from(">HI16s", data, 2)
        return AddrPort(socket.inet_ntop(socket.AF_INET6, raw), port)
    raise DecodeError(DecodeReason.BAD_VALUE, "endpoint of a WireGuard peer")


def parse_port(data: bytes) -> int:
    """The device's UDP port in a part of a dump, 0 when it is not there. Raises `DecodeError`."""
    found = dict(attributes(data)).get(_PORT)
    return struct.unpack_from("=H", found)[0] if found is not None and len(found) >= 2 else 0


def parse_peers(data: bytes) -> Iterator[DevicePeer]:
    """Peers in a part of a dump. Later parts of one peer, with nothing but prefixes, are left out.

    Raises `DecodeError`.
    """
    for kind, peers in attributes(data):
        if kind == _PEERS:
            for _, raw in attributes(peers):
                peer = _parse_peer(dict(attributes(raw)))
                if peer is not None:
                    yield peer


def _parse_peer(found: dict[int, memoryview]) -> DevicePeer | None:
    if _RX not in found or _TX not in found:
        return None
    try:
        key = NodePublicKey(bytes(found[_KEY]))
        seconds, nanoseconds = struct.unpack("=qq", found[_HANDSHAKE])
        (received,), (sent,) = struct.unpack("=Q", found[_RX]), struct.unpack("=Q", found[_TX])
    except (KeyError, ValueError, struct.error):
        raise DecodeError(DecodeReason.BAD_VALUE, "WireGuard peer of the kernel") from None
    endpoint = parse_endpoint(found[_ENDPOINT]) if _ENDPOINT in found else None
    return DevicePeer(key, endpoint, seconds + nanoseconds / 1e9, received, sent)
