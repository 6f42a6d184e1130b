"""What tests of all plugins share."""

from __future__ import annotations

from tests.leftovers import awaited_end, connections_end

__all__ = ["awaited_end", "connections_end"]
