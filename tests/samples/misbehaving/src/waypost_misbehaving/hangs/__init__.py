"""Plugin `hangs`."""
