"""More ways to decide who may use a relay: an own list, a node on the same host; all that are set must agree."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import aiohttp

from appliance.types.errors import ConfigError, ControlError, DecodeError
from appliance.types.keys import NodePublicKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from control.derp.server import Admit

TIMEOUT_S = 5.0
_log = logging.getLogger(__name__)


class ListAdmission:
    """Node keys of a file, one a line ("nodekey:…"); what follows the key, and lines that begin with #, are remarks."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._keys: frozenset[NodePublicKey] = frozenset()

    def load(self) -> None:
        """Read the file; on an error the list stays as it is. Raises `ConfigError`."""
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            text = f"allow_file: cannot read {self._file}: {error}"
            raise ConfigError(text, mend="check the path and its owner") from error
        keys = set()
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                keys.add(NodePublicKey.parse(words[0]))
            except DecodeError:
                text = f"{self._file}:{number}: {words[0][:80]!r} is no node key"
                raise ConfigError(text, mend="write nodekey: and 64 hex digits") from None
        self._keys = frozenset(keys)

    def __len__(self) -> int:
        return len(self._keys)

    async def admit(self, key: NodePublicKey, ip: str) -> bool:
        """`control.derp.server.Admit`."""
        return key in self._keys


class NodeAdmission:
    """Asks a node of the mesh on this host: whom it sees may use the relay (spec 3.6, local daemon)."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def admit(self, key: NodePublicKey, ip: str) -> bool:
        """`control.derp.server.Admit`. Raises `ControlError` when the node does not answer, which means no."""
        if self._session is None:
            connector = aiohttp.UnixConnector(self._socket)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        url = f"http://local-tailscaled.sock/localapi/v0/whois?addr={quote(str(key), safe='')}"
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError) as error:
            raise ControlError(f"the node at {self._socket} does not answer: {error}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def all_of(admissions: Sequence[Admit]) -> Admit | None:
    """Everybody asked must admit; None when nobody is to be asked."""
    if not admissions:
        return None

    async def admit(key: NodePublicKey, ip: str) -> bool:
        for ask in admissions:
            if not await ask(key, ip):
                return False
        return True

    return admit
