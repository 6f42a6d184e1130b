"""An outside UDP port on the home router, kept for as long as this node runs (derp spec section 10)."""
