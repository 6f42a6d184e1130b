"""Loads plugins, calls their hooks, runs their services, and keeps the core alive when one of them fails."""
