"""A tunnel on a transport that fills up: what is asked of it, what it refuses to buffer."""

from __future__ import annotations

import asyncio
from typing import Any

from appliance.crypto.x25519 import clamp, public_key
from appliance.proto.control.tunnel import ClientTunnel, ServerTunnel
from appliance.proto.control.tunnel_events import RequestReceived, ResponseStarted, TunnelEvent
from appliance.proto.control.upgrade import parse_upgrade
from appliance.proto.http1.head import parse_request_head
from appliance.proto.noise.handshake import Initiator
from appliance.types.keys import MachinePrivateKey
from control.noise.connection import TunnelConnection

MACHINE = MachinePrivateKey(clamp(bytes(range(32))))
SERVER = MachinePrivateKey(clamp(bytes(range(64, 96))))


class Wire(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False
        self.closes = 0
        self.aborted = False
        self.reading = True

    def write(self, data: Any) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True
        self.closes += 1

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Handler:
    """Notes calls; answers when told."""

    def __init__(self) -> None:
        self.requests: list[RequestReceived] = []
        self.gone: list[int] = []
        self.writable_calls = 0
        self.cancelled = 0
        self.defect = False

    async def handle(self, connection: TunnelConnection, request: RequestReceived) -> None:
        self.requests.append(request)
        if self.defect:
            raise RuntimeError("a defect")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def stream_gone(self, connection: TunnelConnection, stream_id: int) -> None:
        self.gone.append(stream_id)

    def writable(self, connection: TunnelConnection) -> None:
        self.writable_calls += 1


class Bench:
    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        initiator = Initiator(MACHINE, public_key(SERVER), version=130, ephemeral_seed=bytes(32))
        self.client = ClientTunnel("h", initiator)
        head = parse_request_head(self.client.data_to_send())
        assert head is not None
        tunnel = ServerTunnel(SERVER, parse_upgrade(head[0]), ephemeral_seed=bytes(range(32)))
        self.handler = Handler()
        self.connection = TunnelConnection(tunnel, self.handler, tasks.create_task, "192.0.2.1")
        self.wire = Wire()
        self.connection.connection_made(self.wire)

    async def run(self) -> list[TunnelEvent]:
        """Pass bytes both ways until all is quiet; what the client saw."""
        events: list[TunnelEvent] = []
        for _ in range(50):
            data = bytes(self.wire.written)
            self.wire.written.clear()
            self.client.receive_data(data)
            answer = self.client.data_to_send()
            if answer:
                self.connection.data_received(answer)
            await asyncio.sleep(0)
            while (event := self.client.next_event()) is not None:
                events.append(event)
        return events


async def test_ok__everything_of_the_first_flight_leaves_in_one_write() -> None:
    async with asyncio.TaskGroup() as tasks:
        bench = Bench(tasks)
        assert bench.wire.written.startswith(b"HTTP/1.1 101")
        await bench.run()
        assert bench.client.peer == public_key(SERVER)
        assert bench.connection.peer == public_key(MACHINE)


async def test_ok__reset_stream_and_lost_connection_cancel_the_handlers() -> None:
    async with asyncio.TaskGroup() as tasks:
        bench = Bench(tasks)
        stream = bench.client.request("GET", "/one")
        bench.client.request("GET", "/two")
        await bench.run()
        assert len(bench.handler.requests) == 2
        bench.client.reset(stream)
        await bench.run()
        assert bench.handler.gone == [stream]
        assert bench.handler.cancelled == 1
        bench.connection.connection_lost(None)
        assert bench.handler.gone == [stream, 0]
    assert bench.handler.cancelled == 2


async def test_ok__a_full_stream_or_transport_is_not_writable() -> None:
    async with asyncio.TaskGroup() as tasks:
        bench = Bench(tasks)
        stream = bench.client.request("GET", "/map")
        await bench.run()
        connection = bench.connection
        connection.start_response(stream, 200, ())
        assert connection.is_writable(stream)
        connection.pause_writing()
        assert not connection.is_writable(stream)
        assert not bench.wire.reading
        connection.resume_writing()
        assert connection.is_writable(stream)
        assert bench.wire.reading
        assert bench.handler.writable_calls == 1
        connection.send_body(stream, bytes(2 * 2**20))
        assert not connection.is_writable(stream)
        await bench.run()
        assert connection.is_writable(stream)
        assert bench.handler.writable_calls > 1
        connection.connection_lost(None)


async def test_fail__a_defect_is_answered_and_the_tunnel_lives() -> None:
    async with asyncio.TaskGroup() as tasks:
        bench = Bench(tasks)
        bench.handler.defect = True
        bench.client.request("GET", "/one")
        events = await bench.run()
        assert [event.status for event in events if isinstance(event, ResponseStarted)] == [500]
        assert not bench.wire.closed


async def test_fail__garbage_closes_the_transport() -> None:
    async with asyncio.TaskGroup() as tasks:
        bench = Bench(tasks)
        await bench.run()
        bench.connection.data_received(b"\x04\x00\x10" + bytes(16))
        assert bench.wire.closed
        assert bench.connection.counters == {"tunnel_opened": 1, "tunnel_bad_ciphertext": 1}


async def test_ok__a_transport_is_closed_once() -> None:
    """asyncio's TLS transport that is closed twice can no longer be aborted."""
    async with asyncio.TaskGroup() as tasks:
        bench = Bench(tasks)
        await bench.run()
        bench.connection.data_received(b"\x04\x00\x10" + bytes(16))
        bench.connection.close()
        bench.connection.close()
        assert bench.wire.closes == 1
        waiting = [tasks.create_task(bench.connection.wait_lost()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        bench.connection.connection_lost(None)
    assert all(task.done() for task in waiting)
    await bench.connection.wait_lost()
