"""Plugin `raises`."""
