"""The commands of `waypost-control`."""
