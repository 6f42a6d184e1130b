"""DERP client connections: one per region, dialled on demand (derp spec section 7)."""
