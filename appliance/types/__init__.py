"""Plain values shared by every layer; re-exports only where a name is used everywhere."""
