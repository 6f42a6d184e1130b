"""Plugin `leaks`."""
