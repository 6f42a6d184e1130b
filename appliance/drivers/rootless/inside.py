"""The process inside: holds a user and network namespace of its own and does there what cannot be done from outside.

It runs as a script (`python -I -S inside.py QUICK SLOW`, both numbers of inherited Unix stream sockets) on the
standard library alone, so that it starts in milliseconds. Each socket carries requests and replies in turn; the first
serves quick verbs, the second the slow ones. When either closes, the process ends, and the namespaces with it as soon
as the last socket made in them is closed. It opens nothing outside and takes no path from its caller.

A message is its length (4 bytes, big-endian) and JSON; a descriptor travels by SCM_RIGHTS with its first byte. A reply
is the verb's result, or `{"error": text, "errno": number}`.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
TUN_DEVICE = "/dev/net/tun"
SETTINGS = "/proc/sys/net"
READY = {"ready": True}
_LENGTH = struct.Struct(">I")
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_NAME = 15
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_SEARCH_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


class ConversationOverError(Exception):
    """The other side is gone, or says what cannot be."""


def send_message(sock: socket.socket, message: dict[str, Any], descriptor: int | None = None) -> None:
    """Send all of it; blocks. Raises OSError."""
    text = json.dumps(message).encode()
    data = memoryview(_LENGTH.pack(len(text)) + text)
    if descriptor is not None:
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        data = data[sock.sendmsg([data], control) :]
    if data:
        sock.sendall(data)


def receive_message(sock: socket.socket) -> tuple[dict[str, Any], int | None]:
    """The next message and its descriptor; blocks. Raises `ConversationOverError` and OSError."""
    descriptors: list[int] = []
    (length,) = _LENGTH.unpack(_receive(sock, _LENGTH.size, descriptors))
    if length > MAX_MESSAGE_BYTES:
        raise ConversationOverError
    message = json.loads(_receive(sock, length, descriptors))
    for spare in descriptors[1:]:
        os.close(spare)
    return message, descriptors[0] if descriptors else None


def _receive(sock: socket.socket, count: int, descriptors: list[int]) -> bytes:
    found = bytearray()
    while len(found) < count:
        data, arrived, _flags, _address = socket.recv_fds(sock, min(count - len(found), 1 << 20), 1)
        descriptors += arrived
        if not data:
            raise ConversationOverError
        found += data
    return bytes(found)


# --- verbs


def make_socket(request: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """An unbound socket of this network; its taker binds or connects it."""
    kind = request["kind"] | socket.SOCK_CLOEXEC
    return {}, socket.socket(request["family"], kind, request["protocol"]).detach()


def open_tun_device(_request: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The TUN device, not yet an interface; the interface will be in this network."""
    return {}, os.open(TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def run_nft(request: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    done = subprocess.run(
        ["nft", *request["arguments"]],  # found on the path of the system below
        input=request["text"].encode(),
        capture_output=True,
        check=False,
        env={"PATH": _SEARCH_PATH, "LC_ALL": "C.UTF-8"},
    )
    output, errors = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return {"code": done.returncode, "output": output, "errors": errors}, None


def read_setting(request: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    return {"value": _setting(request["key"]).read_text().strip()}, None


def write_setting(request: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    with _setting(request["key"]).open("r+") as setting:  # never creates
        setting.write(request["value"])
    return {}, None


def list_settings(request: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    return {"names": sorted(entry.name for entry in _setting(request["key"]).iterdir())}, None


def _setting(key: str) -> Path:
    path = Path("/proc/sys") / key
    if ".." in path.parts or not path.is_relative_to(SETTINGS):
        raise PermissionError(1, "not a setting of the network")
    return path


def refuse(request: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    raise OSError(errno.ENOSYS, f"no such verb: {request['verb']}")


QUICK = {"socket": make_socket, "tun": open_tun_device}
SLOW = {"nft": run_nft, "read": read_setting, "write": write_setting, "list": list_settings}


def serve(sock: socket.socket, verbs: dict[str, Any]) -> None:
    """Answer until the other side is gone. Raises `ConversationOverError` and OSError."""
    while True:
        request, _ = receive_message(sock)
        try:
            verb = verbs.get(request["verb"], refuse)
            reply, descriptor = verb(request)
        except OSError as error:
            send_message(sock, {"error": error.strerror or str(error), "errno": error.errno or 0})
            continue
        try:
            send_message(sock, reply, descriptor)
        finally:
            if descriptor is not None:
                os.close(descriptor)


# --- the start


def enter_namespaces() -> None:
    """Become root of a new user namespace that owns a new network. Raises OSError; `filename` names the step."""
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    libc.prctl(_PR_SET_NAME, ctypes.c_char_p(b"waypost-network"), 0, 0, 0)


def raise_loopback() -> None:
    """Raises OSError with the name `loopback`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))
        except OSError as error:
            raise OSError(error.errno, error.strerror, "loopback") from error


def main(arguments: list[str]) -> int:
    quick, slow = (socket.socket(fileno=int(number)) for number in arguments)
    try:
        enter_namespaces()
        raise_loopback()
    except OSError as error:
        step = str(error.filename or "")
        send_message(quick, {"error": error.strerror or str(error), "errno": error.errno or 0, "step": step})
        return 1
    send_message(quick, READY)
    threading.Thread(target=_serve_to_the_end, args=(slow, SLOW)).start()
    _serve_to_the_end(quick, QUICK)
    return 0


def _serve_to_the_end(sock: socket.socket, verbs: dict[str, Any]) -> None:
    try:
        serve(sock, verbs)
    except (ConversationOverError, OSError):
        os._exit(0)  # both threads at once: without the caller there is nothing left to do


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
