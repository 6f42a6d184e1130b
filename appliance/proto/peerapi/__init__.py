"""The peer API's rules without its sockets: where it listens, how it is found, which requests it refuses."""

from appliance.proto.peerapi.location import NAMES_PATH, PORT_TRIES, PROTO, peer_endpoint, port_choice
from appliance.proto.peerapi.requests import BROWSER_HEADERS, host_is_ours, is_cross_site, looks_like_browser

__all__ = [
    "BROWSER_HEADERS",
    "NAMES_PATH",
    "PORT_TRIES",
    "PROTO",
    "host_is_ours",
    "is_cross_site",
    "looks_like_browser",
    "peer_endpoint",
    "port_choice",
]
