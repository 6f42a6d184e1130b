"""The server side of a peer relay: allocation, bind handshake, who sends to whom (magicsock-disco spec section 5)."""

from appliance.proto.peer_relay.challenge import ChallengeMaker
from appliance.proto.peer_relay.server import Limits, Randomness, Refusal, RelayServer
from appliance.proto.peer_relay.session import BIND_LIFETIME_S, STEADY_LIFETIME_S, Leg, Session

__all__ = [
    "BIND_LIFETIME_S",
    "STEADY_LIFETIME_S",
    "ChallengeMaker",
    "Leg",
    "Limits",
    "Randomness",
    "Refusal",
    "RelayServer",
    "Session",
]
