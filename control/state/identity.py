"""The server's own keys, files of mode 0600 in the data directory.

Losing the Noise key breaks every client until it restarts (control-protocol spec section 2), so it is made once and a
damaged file is an error, never a reason to make another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from appliance.crypto.x25519 import clamp
from appliance.types.errors import DecodeError, StateError
from appliance.types.keys import DerpPrivateKey, MachinePrivateKey, SecretKey
from control.state.files import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.ports.randomness import Randomness

K = TypeVar("K", bound=SecretKey)

NOISE_KEY_FILE = "noise.key"
DERP_KEY_FILE = "derp.key"


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """`noise` is the static key of /ts2021, `derp` that of the embedded DERP server."""

    noise: MachinePrivateKey
    derp: DerpPrivateKey


def load_identity(data_dir: Path, randomness: Randomness) -> ServerIdentity:
    """Read both keys, making those that do not exist yet. Raises `StateError`."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return ServerIdentity(
            noise=_load(data_dir / NOISE_KEY_FILE, MachinePrivateKey, randomness),
            derp=_load(data_dir / DERP_KEY_FILE, DerpPrivateKey, randomness),
        )
    except OSError as error:
        mend = "give the server's user write access, or name another folder with --data-dir"
        raise StateError(f"cannot use the data folder {data_dir}: {error.strerror}", mend=mend) from error


def _load(path: Path, kind: type[K], randomness: Randomness) -> K:
    if not path.exists():
        key = kind(clamp(randomness.bytes(32)))
        write_private(path, (key.reveal_text() + "\n").encode())
        return key
    try:
        return kind.parse(path.read_text("ascii").strip())
    except (DecodeError, UnicodeDecodeError) as error:
        mend = "restore it from a backup; a new key would cut off every client until it restarts"
        raise StateError(f"{path} does not hold a key", mend=mend) from error
