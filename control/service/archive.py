"""Backup and restore of a control server: its database and its keys, in one file that only its owner reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from appliance.types.errors import StateError
from control.state.backup import dump, restore
from control.state.database import open_database
from control.state.engines import database_url, sqlite_url
from control.state.files import write_private
from control.state.identity import DERP_KEY_FILE, NOISE_KEY_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL

DATABASE_FILE = "control.db"
_KEY_FILES = (NOISE_KEY_FILE, DERP_KEY_FILE)


def place_of(data_dir: Path, database_text: str) -> URL:
    """The database of a server with these settings."""
    return database_url(database_text) if database_text else sqlite_url(data_dir / DATABASE_FILE)


async def back_up(data_dir: Path, database_text: str, file: Path) -> int:
    """Write the backup; the number of its rows. The server may run. Raises `StateError`."""
    if not database_text and not (data_dir / DATABASE_FILE).exists():
        mend = "name its folder with --data-dir, or its --database"
        raise StateError(f"there is no control server in {data_dir}", mend=mend)
    database = await open_database(place_of(data_dir, database_text))
    try:
        lines = await dump(database)
    finally:
        await database.close()
    try:
        keys = {name: (data_dir / name).read_text("ascii") for name in _KEY_FILES if (data_dir / name).exists()}
        write_private(file, "".join(f"{line}\n" for line in [json.dumps({"keys": keys}), *lines]).encode())
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(
            f"cannot write the backup {file}: {error}", mend="see that there is room and access"
        ) from error
    return len(lines) - 1


async def bring_back(data_dir: Path, database_text: str, file: Path) -> dict[str, int]:
    """Restore into an empty database and a folder without keys, or with the same ones; rows by table.

    Raises `StateError` before anything is changed.
    """
    lines = _read(file)
    keys = _keys(lines)
    missing = _missing_keys(data_dir, keys)
    database = await open_database(place_of(data_dir, database_text))
    try:
        counts = await restore(database, lines[1:])
    finally:
        await database.close()
    for name in missing:
        write_private(data_dir / name, keys[name].encode())
    return counts


def _read(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"cannot read the backup {file}: {error}", mend="check its path") from error


def _missing_keys(data_dir: Path, keys: dict[str, str]) -> list[str]:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [name for name, key in keys.items() if not _holds(data_dir / name, key)]


def _keys(lines: list[str]) -> dict[str, str]:
    try:
        keys = json.loads(lines[0])["keys"]
        return {name: str(keys[name]) for name in _KEY_FILES if name in keys}
    except (IndexError, ValueError, KeyError, TypeError, RecursionError):
        mend = "make one with: waypost-control backup FILE"
        raise StateError("this is no backup of a control server", mend=mend) from None


def _holds(path: Path, key: str) -> bool:
    """Whether the key is there already. Raises `StateError` for another one."""
    if not path.exists():
        return False
    if path.read_text("ascii") != key:
        mend = "restore into a new data folder, or move that file away"
        raise StateError(f"{path} holds another key than the backup", mend=mend)
    return True
