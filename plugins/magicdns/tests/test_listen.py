"""The resolver's own sockets when the host is short of something."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import dns.message
import dns.query
import pytest

from plugins.magicdns.listen import Listener
from plugins.magicdns.resolver import Client
from plugins.magicdns.tests.scripted import Scripted
from plugins.magicdns.tests.test_resolver import running


class Short(socket.socket):
    """Has no descriptor left for the first connections."""

    refusals = 3

    def accept(self) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.mark.timeout(60)
async def test_ok__connections_that_cannot_be_taken_now_are_taken_later() -> None:
    stream, datagrams = Short(socket.AF_INET, socket.SOCK_STREAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for each in (stream, datagrams):
        each.bind(("127.0.0.1", 0))
        each.setblocking(False)
    stream.listen()
    port = stream.getsockname()[1]
    asked = dns.message.make_query("web.example", "A")
    async with Scripted({("web.example", "A"): ("192.0.2.1",)}).serving() as upstream, running(upstream) as resolver:
        listener = asyncio.ensure_future(Listener(datagrams, stream, resolver, lambda _: Client.HOST).run())
        try:
            found = await asyncio.to_thread(dns.query.tcp, asked, "127.0.0.1", 30, port)
        finally:
            listener.cancel()
            await asyncio.wait([listener])
    assert found.answer[0][0].address == "192.0.2.1"
    assert stream.refusals == 0
