"""A node of the mesh inside a Python program, as an ordinary user: `async with Node(...)`. See docs/embed.md."""

from appliance.embed.connector import MeshConnector
from appliance.embed.errors import LoginNeededError, NodeError
from appliance.embed.node import Node

__all__ = ["LoginNeededError", "MeshConnector", "Node", "NodeError"]
