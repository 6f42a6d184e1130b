"""The caller's side of handed-out sockets."""

from __future__ import annotations

import asyncio
import os
import socket

import msgspec

from appliance.localapi.mesh_schema import MAX_MESSAGE_BYTES, Handout, HandoutRequest, handout_socket
from appliance.types.errors import ApplianceError


async def take_socket(localapi: str, request: HandoutRequest) -> socket.socket:
    """A non-blocking socket of the mesh from the daemon of that local API. Raises `ApplianceError`."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as line:
        try:
            await loop.sock_connect(line, handout_socket(localapi))
            await loop.sock_sendall(line, msgspec.json.encode(request))
            await _readable(line)
            data, descriptors, _flags, _address = socket.recv_fds(line, MAX_MESSAGE_BYTES, 1)
        except OSError as error:
            text = f"waypostd hands out no sockets at {handout_socket(localapi)}: {error.strerror or error}"
            raise ApplianceError(text, mend="is it running? see waypost status", code="daemon-unreachable") from error
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    try:
        return _made(data, descriptors)
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _made(data: bytes, descriptors: list[int]) -> socket.socket:
    try:
        reply = msgspec.json.decode(data, type=Handout)
    except msgspec.MsgspecError:
        reply = Handout()
    if reply.error is not None:
        raise ApplianceError(reply.error.text, mend=reply.error.mend, code=reply.error.code)
    if not descriptors:
        raise ApplianceError("waypostd ended the conversation", mend="see its log", code="daemon-unreachable")
    made = socket.socket(fileno=descriptors[0])
    made.setblocking(False)
    return made


async def _readable(sock: socket.socket) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)
