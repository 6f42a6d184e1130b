"""Bounded parsing and building of HTTP/1.1 heads, for upgrades and tiny replies (RFC 9112); no bodies, no chunks."""
