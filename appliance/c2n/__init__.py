"""Requests of the control server to this node, by path (control-protocol spec 17)."""
