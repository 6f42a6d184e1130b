"""Admission by asking a URL, as control servers of this field offer one (derp spec 3.6)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp

from appliance.types.errors import ControlError

if TYPE_CHECKING:
    from appliance.types.keys import NodePublicKey

TIMEOUT_S = 5.0
MAX_ANSWER = 4096


class UrlAdmission:
    """POSTs node key and source address; the answer is `{"Allow": true|false}`.

    A server that cannot be reached admits when `fail_open`, else refuses; a bad answer always refuses.
    """

    def __init__(self, url: str, *, fail_open: bool) -> None:
        self._url = url
        self._fail_open = fail_open
        self._session: aiohttp.ClientSession | None = None

    async def admit(self, key: NodePublicKey, ip: str) -> bool:
        """`control.derp.server.Admit`. Raises `ControlError` when nobody answers and that means no."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        question = json.dumps({"NodePublic": str(key), "Source": ip}).encode()
        try:
            async with self._session.post(self._url, data=question, allow_redirects=False) as response:
                body = await response.content.read(MAX_ANSWER)
        except (aiohttp.ClientError, OSError) as error:
            if self._fail_open:
                return True
            raise ControlError(f"{self._url} does not answer: {error or type(error).__name__}") from error
        return response.status == 200 and _allows(body)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _allows(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and answer.get("Allow") is True
