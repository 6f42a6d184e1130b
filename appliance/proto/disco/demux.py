"""Telling packets apart on the one UDP socket, by their first bytes (magicsock-disco spec 1.5)."""

from __future__ import annotations

from enum import IntEnum

from appliance.proto.disco.packet import KEY_END, MAGIC
from appliance.proto.geneve import HEADER_SIZE as GENEVE_SIZE
from appliance.proto.stun import is_stun
from appliance.types.packets import Buffer

_GENEVE_DISCO = b"\x7a\x11"
_GENEVE_WIREGUARD = b"\x7a\x12"
_WIREGUARD_HEADS = frozenset(bytes((kind, 0, 0, 0)) for kind in (1, 2, 3, 4))


class PacketKind(IntEnum):
    """What a datagram is. Of the Geneve kinds the payload starts at byte 8."""

    UNKNOWN = 0
    WIREGUARD = 1
    DISCO = 2
    STUN = 3
    GENEVE_DISCO = 4
    GENEVE_WIREGUARD = 5


def classify(packet: Buffer) -> PacketKind:
    """Kind of a datagram; never raises. UNKNOWN is to be dropped.

    The specified order is STUN, Geneve, disco, WireGuard. WireGuard is tested first here because nearly every packet
    is one; its bytes 1 to 3 are zero, which none of the others allows (STUN needs byte 1 = 1, the rest bytes 2 and 3).
    """
    if bytes(packet[:4]) in _WIREGUARD_HEADS:
        return PacketKind.WIREGUARD
    if is_stun(packet):
        return PacketKind.STUN
    if len(packet) < GENEVE_SIZE:
        return PacketKind.UNKNOWN
    if not packet[0] & 0xC0 and not packet[1] & 0x3F and not packet[7]:
        if packet[2:4] == _GENEVE_WIREGUARD:
            return PacketKind.GENEVE_WIREGUARD
        if packet[2:4] == _GENEVE_DISCO:
            inner_is_disco = packet[8:14] == MAGIC and len(packet) >= GENEVE_SIZE + KEY_END
            return PacketKind.GENEVE_DISCO if inner_is_disco else PacketKind.UNKNOWN
    if len(packet) >= KEY_END and packet[:6] == MAGIC:
        return PacketKind.DISCO
    return PacketKind.UNKNOWN
