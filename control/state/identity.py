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


def load_identity(data_dir: Path, randomness: Randomness, noise_key: Path | None = None) -> ServerIdentity:
    """Read both keys, making those that do not exist yet. `noise_key`: a file whose key becomes the Noise key.

    Raises `StateError`, also when another Noise key is there already.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if noise_key is not None:
            _take_over(noise_key, data_dir / NOISE_KEY_FILE)
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


def _take_over(source: Path, path: Path) -> None:
    """Copy the key, once: clients know the server by it."""
    try:
        key = MachinePrivateKey.parse(source.read_text("ascii").strip())
    except (DecodeError, UnicodeDecodeError) as error:
        raise StateError(
            f"{source} does not hold a key", mend='it must be one line that begins with "privkey:"'
        ) from error
    except OSError as error:
        raise StateError(f"cannot read the key {source}: {error.strerror}", mend="check --noise-key") from error
    text = (key.reveal_text() + "\n").encode()
    if not path.exists():
        write_private(path, text)
    elif path.read_bytes().strip() != text.strip():
        mend = f"its clients know this server by {path}; move that file away if none of them matters"
        raise StateError(f"this server has another key than {source} already", mend=mend)
