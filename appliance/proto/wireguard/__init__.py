"""WireGuard (Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s) without IO: time, randomness and packets are arguments.

`Tunnel` is the machine of one interface and all its peers. Facts: the WireGuard paper, magicsock-disco spec section 2.
"""

from appliance.proto.wireguard.events import (
    Event,
    HandshakeCompleted,
    HandshakeFailed,
    KeypairInstalled,
    KeysZeroed,
    Outgoing,
)
from appliance.proto.wireguard.settings import Randomness, Settings
from appliance.proto.wireguard.source import GeneveSource, RelaySource, Source
from appliance.proto.wireguard.tunnel import Opened, Tunnel, TunnelPeer

__all__ = [
    "Event",
    "GeneveSource",
    "HandshakeCompleted",
    "HandshakeFailed",
    "KeypairInstalled",
    "KeysZeroed",
    "Opened",
    "Outgoing",
    "Randomness",
    "RelaySource",
    "Settings",
    "Source",
    "Tunnel",
    "TunnelPeer",
]
