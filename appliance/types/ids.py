"""Identifiers, one NewType each, so that mypy tells them apart (control-protocol spec section 0)."""

from __future__ import annotations

from typing import NewType

NodeId = NewType("NodeId", int)
StableNodeId = NewType("StableNodeId", str)
UserId = NewType("UserId", int)
LoginId = NewType("LoginId", int)
RegionId = NewType("RegionId", int)
ProfileId = NewType("ProfileId", str)

NO_REGION = RegionId(0)
"""None, or an unknown one."""

MAX_ID = 2**53 - 1
"""Largest numeric identifier: JSON readers keep 53 bits exactly."""
