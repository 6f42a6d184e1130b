"""The control protocol of the ecosystem ("ts2021"), sans-IO: wire types, tunnel, map stream, deltas.

Spec: control-protocol. Start at `messages` (wire types), `tunnel` (machines), `delta` (netmap state).
"""
