"""What must be right before anything is started: folders, and that no other process uses the same state."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance.config.schema import Config
from appliance.types.errors import ConfigError, StateError


def prepare_folders(config: Config) -> None:
    """Make the state folder, and the socket's folder where that is allowed. Raises `StateError`."""
    state = Path(config.daemon.state_dir)
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        mend = "check its rights, or give another --state-dir"
        raise StateError(f"the state folder {state} cannot be used: {error.strerror}", mend=mend) from error
    with suppress(OSError):
        Path(config.daemon.socket).parent.mkdir(mode=0o755, parents=True, exist_ok=True)


@contextmanager
def only_one(state_dir: str) -> Iterator[None]:
    """Hold the state folder's lock. Raises `ConfigError` when another process holds it."""
    descriptor = os.open(f"{state_dir}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            mend = "stop it, or give this one its own --state-dir"
            text = f"another waypostd is running with the state folder {state_dir}"
            raise ConfigError(text, mend=mend, code="already-running") from None
        yield
    finally:
        os.close(descriptor)


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
