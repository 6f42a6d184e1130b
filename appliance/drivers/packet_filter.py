"""Classic BPF programs on sockets (socket(7), SO_ATTACH_FILTER)."""

from __future__ import annotations

import ctypes
import socket
import struct

from appliance.drivers.socket_options import SO_ATTACH_FILTER

_INSTRUCTION_BYTES = 8


def attach_filter(sock: socket.socket, program: bytes) -> None:
    """Let a socket have only what a classic BPF program lets through. Raises OSError."""
    held = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // _INSTRUCTION_BYTES, ctypes.addressof(held))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
