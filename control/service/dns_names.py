"""Challenges of node certificates: checked, then published by the operator's program (ACME, dns-01)."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from control.service.actor import node_actor
from control.service.errors import DeniedError, ServiceError

if TYPE_CHECKING:
    from control.service.core import Core
    from control.state.records import NodeRecord

TIMEOUT_S = 120.0
MAX_AT_ONCE = 4
MAX_SAID = 2000
_VALUE = re.compile(r"[A-Za-z0-9_-]{20,128}")
"""A dns-01 answer: unpadded base64url of a hash (RFC 8555 section 8.4)."""


class DnsNames:
    """Runs `command NAME VALUE` and answers when it has ended; it must have published the TXT record by then."""

    def __init__(self, core: Core, command: tuple[str, ...]) -> None:
        self._core = core
        self._command = command
        self._places = asyncio.Semaphore(MAX_AT_ONCE)

    @property
    def enabled(self) -> bool:
        return bool(self._command)

    async def publish(self, node: NodeRecord, name: str, kind: str, value: str) -> None:
        """Raises `ServiceError`: not this node's name, not a challenge, or the program failed."""
        if not self._command:
            mend = "set set_dns_command in [certificates] of its config"
            raise ServiceError("this server publishes no DNS records for nodes", mend=mend)
        wanted = name.rstrip(".").lower()
        if wanted != f"_acme-challenge.{self._core.model.fqdn(node)}".rstrip(".").lower():
            raise DeniedError("a node may publish the challenge of its own name only")
        if kind != "TXT" or not _VALUE.fullmatch(value):
            raise ServiceError("only the TXT record of a certificate challenge can be published")
        async with self._places:
            await self._run(wanted, value)
        async with self._core.change(node_actor(node)) as draft:
            await draft.audit("node.set-dns", f"node:{node.id}", None, {"name": wanted})

    async def _run(self, name: str, value: str) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                name,
                value,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise ServiceError(f"{self._command[0]} cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(TIMEOUT_S):
                _, said = await process.communicate()
        except TimeoutError:
            raise ServiceError(f"{self._command[0]} did not end in {TIMEOUT_S:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            text = said[-MAX_SAID:].decode(errors="replace").strip()
            raise ServiceError(f"{self._command[0]} failed with {process.returncode}: {text}")
