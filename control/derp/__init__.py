"""DERP server: relays packets between nodes by their public keys (derp spec sections 1 to 5)."""
