"""The helper's socket: handed over by systemd (sd_listen_fds(3)), or made by hand with the same rights."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from appliance.types.errors import PrivilegeError

FIRST_DESCRIPTOR = 3
BACKLOG = 8


def activated_socket(environ: MutableMapping[str, str], pid: int) -> socket.socket | None:
    """The socket that systemd opened for this process, or None. Raises `PrivilegeError` when it is another kind."""
    count = environ.pop("LISTEN_FDS", "")
    if environ.pop("LISTEN_PID", "") != str(pid) or count in ("", "0"):
        return None
    mend = "give the unit one socket: ListenSequentialPacket="
    if count != "1":
        raise PrivilegeError(f"systemd handed over {count} sockets instead of one", mend=mend)
    try:
        listener = socket.socket(fileno=FIRST_DESCRIPTOR)
    except OSError as error:
        raise PrivilegeError(f"descriptor {FIRST_DESCRIPTOR} is no socket: {error.strerror}", mend=mend) from error
    listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if listener.family != socket.AF_UNIX or listener.type != socket.SOCK_SEQPACKET or not listening:
        listener.close()
        raise PrivilegeError("systemd handed over a socket of another kind", mend=mend)
    listener.set_inheritable(False)
    return listener


def made_socket(path: Path, gid: int) -> socket.socket:
    """Listen at `path`: root and the group `gid` may connect. Raises `PrivilegeError`."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _check_folder(path.parent)
        _remove_left_over(path)
        return _bound(path, gid)
    except OSError as error:
        mend = "run it as root, or give another --socket"
        raise PrivilegeError(f"cannot listen on {path}: {error.strerror or error}", mend=mend) from error


def _bound(path: Path, gid: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    umask = os.umask(0o177)
    try:
        listener.bind(str(path))
        os.chown(path, -1, gid, follow_symlinks=False)
        path.chmod(0o660)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        path.unlink(missing_ok=True)
        raise
    finally:
        os.umask(umask)
    return listener


def _check_folder(folder: Path) -> None:
    """Another user who could write there could put its own socket in our place."""
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        mend = "give a --socket in a folder that only its owner, the helper's user, can write"
        raise PrivilegeError(f"others may write to {folder}", mend=mend)


def _remove_left_over(path: Path) -> None:
    """A dead helper's socket goes; a living one's, or another file, stays. Raises `PrivilegeError`."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise PrivilegeError(f"{path} is no socket", mend="remove it, or give another --socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise PrivilegeError(f"another helper listens on {path}", mend="stop it, or give another --socket")
