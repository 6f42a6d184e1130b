"""Peer relay: other nodes of the mesh meet on this gateway's public UDP port."""
