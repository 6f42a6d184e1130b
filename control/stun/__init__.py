"""STUN server: tells clients the address from which the Internet sees them (derp spec section 8)."""
