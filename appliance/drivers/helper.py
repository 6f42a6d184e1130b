"""The client of `waypost-helper`, and a `SysctlPort` that turns to it where the kernel refuses the daemon itself."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence

import msgspec

from appliance.bpf.relay_loader import RelayDescriptors
from appliance.ports.sysctl import SysctlError, SysctlPort, SysctlUnansweredError
from appliance.proto.helper.messages import (
    MAX_MESSAGE_BYTES,
    AnyRequest,
    LoadRelay,
    Reboot,
    Reply,
    SetHostname,
    SetResolver,
    SetSysctl,
    encode_message,
    parse_reply,
)
from appliance.types.errors import DecodeError, PrivilegeError

CALL_TIMEOUT_S = 20.0
"""The first call starts the helper, which takes its time on a small board that boots."""
_RELAY_DESCRIPTORS = 3
_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class HelperError(PrivilegeError):
    """The helper refused, failed, cannot be reached (`code` is then `helper-away`), or did not answer in time
    (`helper-silent`): then it may still do what it was asked for."""

    code = "helper"


class HelperClient:
    """Calls the helper at `path`; each call is a connection of its own, made in a thread. Raises `HelperError`."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def set_sysctl(self, key: str, value: str) -> None:
        await self.call(SetSysctl(key=key, value=value))

    async def set_hostname(self, name: str) -> None:
        await self.call(SetHostname(name=name))

    async def set_resolver(
        self,
        nameservers: Sequence[str],
        search: Sequence[str] = (),
        *,
        way: str = "image",
        domains: Sequence[str] = (),
        interface: str = "",
    ) -> None:
        """Without nameservers what was before is put back. `way` is as in `SetResolver`."""
        given = {"nameservers": nameservers, "search": search, "way": way, "domains": domains, "interface": interface}
        try:
            request = msgspec.convert(given, SetResolver)
        except msgspec.ValidationError as error:
            raise HelperError(f"this cannot be the host's resolver: {error}", mend="correct the setting") from None
        await self.call(request)

    async def load_relay(self, port: int, mark: int) -> RelayDescriptors:
        """The relay's program for a UDP port, and its maps; the caller closes them."""
        descriptors = await self.call(LoadRelay(port=port, mark=mark))
        if len(descriptors) != _RELAY_DESCRIPTORS:
            _close(descriptors)
            raise HelperError("the helper's reply came without its descriptors", mend="update waypost")
        return RelayDescriptors(*descriptors)

    async def reboot(self) -> None:
        await self.call(Reboot())

    async def call(self, request: AnyRequest) -> list[int]:
        """Descriptors that came beside the reply."""
        reply, descriptors = await asyncio.to_thread(self._exchange, encode_message(request))
        if reply.code:
            _close(descriptors)
            raise HelperError(reply.text, mend=reply.mend, code=reply.code)
        return descriptors

    def _exchange(self, data: bytes) -> tuple[Reply, list[int]]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                connection.settimeout(CALL_TIMEOUT_S)
                connection.connect(self._path)
                connection.send(data)
                answer, descriptors, _, _ = socket.recv_fds(connection, MAX_MESSAGE_BYTES, _RELAY_DESCRIPTORS)
                for descriptor in descriptors:
                    os.set_inheritable(descriptor, False)
        except TimeoutError as error:
            text = f"the helper on {self._path} did not answer within {CALL_TIMEOUT_S:g} s"
            raise HelperError(text, mend="see its log: journalctl -u waypost-helper", code="helper-silent") from error
        except OSError as error:
            text = f"the helper does not answer on {self._path}: {error.strerror or error}"
            mend = "start it: systemctl start waypost-helper.socket"
            raise HelperError(text, mend=mend, code="helper-away") from error
        try:
            return parse_reply(answer), descriptors
        except DecodeError as error:
            _close(descriptors)
            raise HelperError(f"the helper's reply is no reply: {error.text}", mend="update waypost") from error


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class HelpedSysctl:
    """`direct`, and the helper for each write that the kernel refuses to `direct`."""

    def __init__(self, direct: SysctlPort, helper: HelperClient) -> None:
        self._direct = direct
        self._helper = helper

    async def read(self, key: str) -> str | None:
        return await self._direct.read(key)

    async def children(self, key: str) -> list[str]:
        return await self._direct.children(key)

    async def write(self, key: str, value: str) -> None:
        try:
            await self._direct.write(key, value)
        except SysctlError as error:
            if not _refused(error):
                raise
            await self._write_by_helper(key, value, error)

    async def _write_by_helper(self, key: str, value: str, direct: SysctlError) -> None:
        try:
            await self._helper.set_sysctl(key, value)
        except HelperError as error:
            kind = SysctlUnansweredError if error.code == "helper-silent" else SysctlError
            raise kind(f"{direct.text}; {error.text}", mend=error.mend or direct.mend) from error


def _refused(error: SysctlError) -> bool:
    """For want of rights, not because there is no such setting or value."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _REFUSALS
