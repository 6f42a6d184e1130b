"""The nftables table that joins the path finder's socket to the WireGuard port (magicsock-disco spec 6.3). Pure.

What comes to the port and is not WireGuard (type below 8, three zero bytes) goes to the inner port, with its true
source; what the inner port sends leaves from the WireGuard port. The rules are static: nothing in them is per peer.
"""

from __future__ import annotations

TABLE = "waypost_port"


def steering_document(port: int, inner: int, interface: str) -> str:
    """The table made anew. Untracked, as nothing may depend on the order in which the two ports are used.

    `fib daddr type local` leaves alone what this host only forwards; only what is not WireGuard pays for it.
    """
    return f"""table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
    chain arriving {{
        type filter hook prerouting priority -350; policy accept;
        iifname {{ "lo", "{interface}" }} accept
        udp dport {inner} fib daddr type local drop
        udp dport {port} @th,64,32 & 0xf8ffffff != 0 fib daddr type local udp dport set {inner} notrack
    }}
    chain leaving {{
        type filter hook output priority -350; policy accept;
        udp sport {inner} udp sport set {port} notrack
    }}
}}
"""


def unsteering_document() -> str:
    """Removes the table, whether it is there or not."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\n"
