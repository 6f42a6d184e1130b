"""DERP: relaying packets between nodes by their public keys (derp spec sections 1 to 3).

`frames` and `parser` are the codec, `handshake` the sealed introductions, `upgrade` the HTTP exchange, `client` and
`server` the machines.
"""
