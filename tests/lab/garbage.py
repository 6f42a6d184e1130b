"""Hostile bytes for every listening port, and the program that sends them as fast as it can.

    python -m tests.lab.garbage KIND TARGET SECONDS      prints one JSON line: what was sent, and how fast

KIND is udp, stun, relay, http, ts2021, noise or derp (TARGET ip:port), localapi or admin (TARGET socket path).
A quarter of the bytes is random; the rest are valid messages, truncated and mutated.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from random import Random

from appliance.crypto.x25519 import clamp
from appliance.proto.control.tunnel import ClientTunnel
from appliance.proto.control.tunnel_events import Established
from appliance.proto.control.upgrade import parse_key_response
from appliance.proto.http1.head import encode_request_head, parse_response_head
from appliance.proto.noise.handshake import Initiator
from appliance.types.keys import MachinePrivateKey, MachinePublicKey
from tests.fuzz.mutation import mutate
from tests.fuzz.targets import TARGETS

SOL_UDP = 17
UDP_SEGMENT = 103
SEGMENTS = 40
BATCHES = 512
CONNECTIONS = 128
LOCAL_HOST = "local-waypostd.sock"
DRAIN_S = 0.2
ADMIN_HOST = "waypost-control"


@dataclass
class Sent:
    """`messages` are datagrams, or connections made and filled."""

    kind: str
    messages: int = 0
    bytes: int = 0
    seconds: float = 0.0


def children(target: str, random: Random, extra: tuple[bytes, ...] = ()) -> bytes:
    """One hostile input in the manner of a fuzz target."""
    if random.random() < 0.25:
        return random.randbytes(random.randrange(1, 300))
    seeds = [*TARGETS[target].seeds, *extra]
    return mutate(random.choice(seeds), seeds, TARGETS[target].words, random)


# --- datagrams ------------------------------------------------------------------------------------------------------


def _batches(kinds: tuple[str, ...], random: Random) -> list[tuple[int, bytes]]:
    """(segment size, super-datagram): many different packets of one size that leave in one call."""
    batches = []
    for _ in range(BATCHES):
        packets = [children(random.choice(kinds), random) for _ in range(SEGMENTS)]
        size = max(1, min(1200, len(random.choice(packets))))
        batches.append((size, b"".join((packet * (size // max(1, len(packet)) + 1))[:size] for packet in packets)))
    return batches


DATAGRAMS = {
    "udp": ("wireguard", "disco", "geneve", "stun"),
    "stun": ("stun",),
    "relay": ("relay", "geneve", "disco", "stun"),
}
"""Fuzz targets whose seeds are mutated, by kind."""


def send_datagrams(kind: str, kinds: tuple[str, ...], target: tuple[str, int], seconds: float) -> Sent:
    """Flood with UDP segmentation offload; built before the clock starts, so that sending is all there is to do."""
    batches = _batches(kinds, Random(1))
    sent = Sent(kind)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(target)
        started = time.monotonic()
        while sent.seconds < seconds:
            for size, data in batches:
                control = [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", size))]
                with contextlib.suppress(ConnectionRefusedError):
                    sent.bytes += sock.sendmsg([data], control)
                sent.messages += SEGMENTS
            sent.seconds = time.monotonic() - started
    return sent


# --- connections ----------------------------------------------------------------------------------------------------

Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Random], Awaitable[int]]


async def _drain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that there is no more, and take what the server says until it ends the connection."""
    if writer.can_write_eof():
        writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while await reader.read(65536):
                pass


async def junk_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, random: Random) -> int:
    data = children("http1", random, (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20,))
    writer.write(data)
    await _drain(reader, writer)
    return len(data)


async def junk_upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, random: Random) -> int:
    """A well-formed head with a hostile handshake, or a valid one with hostile records behind it."""
    initiation = Initiator(MACHINE, random.choice((OTHER, KEY[0])), version=130, ephemeral_seed=random.randbytes(32))
    tunnel = ClientTunnel("x", initiation)
    data = tunnel.data_to_send()
    if random.random() < 0.5:
        data = mutate(data, [data], (), random)
    data += children("noise", random)
    writer.write(data)
    await _drain(reader, writer)
    return len(data)


async def junk_in_noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, random: Random) -> int:
    """A machine that owns its key and sends hostile HTTP/2, or well-formed requests with hostile JSON."""
    initiator = Initiator(MACHINE, KEY[0], version=130, ephemeral_seed=random.randbytes(32))
    tunnel = ClientTunnel("x", initiator)
    writer.write(tunnel.data_to_send())
    sent = 0
    async with asyncio.timeout(5):
        while not isinstance(tunnel.next_event(), Established):
            data = await reader.read(65536)
            if not data:
                return sent
            tunnel.receive_data(data)
    for _ in range(20):
        if random.random() < 0.5:
            assert tunnel._session is not None
            data = tunnel._session.writer.seal(children("tunnel", random))
        else:
            path = random.choice(("/machine/register", "/machine/map", "/machine/x", "/machine/whoami"))
            tunnel.request("POST", path, children("register", random))
            data = tunnel.data_to_send()
        writer.write(data)
        sent += len(data)
    await _drain(reader, writer)
    return sent


async def junk_derp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, random: Random) -> int:
    head = b"GET /derp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n"
    data = (head if random.random() < 0.7 else b"") + b"".join(children("derp", random) for _ in range(20))
    writer.write(data)
    await _drain(reader, writer)
    return len(data)


def _unix_junk(host: str, requests: tuple[tuple[str, str], ...], target: str) -> Attack:
    async def junk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, random: Random) -> int:
        body = children(target, random)
        method, path = random.choice(requests)
        headers = (("Host", host), ("Content-Length", str(len(body))), ("Content-Type", "application/json"))
        data = encode_request_head(method, path, headers) + body
        if random.random() < 0.5:
            data = mutate(data, [data], TARGETS["http1"].words, random)
        writer.write(data)
        await _drain(reader, writer)
        return len(data)

    return junk


LOCAL_REQUESTS = (
    *(("GET", f"/v1/{name}") for name in ("status", "version", "health", "prefs", "netmap", "none")),
    ("POST", "/v1/ping"),
    ("POST", "/v1/none"),
)
"""What hostile text may not change by luck: `up`, `down` and `prefs` are left to the fuzz target."""
ADMIN_REQUESTS = (("GET", "/v1/nodes"), ("GET", "/v1/users"), ("POST", "/v1/policy/check"), ("POST", "/v1/none"))

MACHINE = MachinePrivateKey(clamp(bytes(range(32))))
OTHER = MachinePublicKey(bytes(range(100, 132)))
KEY: list[MachinePublicKey] = [OTHER]
"""The control server's key, once it was asked for."""

ATTACKS: dict[str, Attack] = {
    "http": junk_http,
    "ts2021": junk_upgrade,
    "noise": junk_in_noise,
    "derp": junk_derp,
    "localapi": _unix_junk(LOCAL_HOST, LOCAL_REQUESTS, "localapi"),
    "admin": _unix_junk(ADMIN_HOST, ADMIN_REQUESTS, "policy"),
}


async def _connect(target: str, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if target.startswith("/"):
        return await asyncio.open_unix_connection(target)
    host, _, port = target.rpartition(":")
    return await asyncio.open_connection(host, int(port), ssl=tls)


async def _fetch_key(target: str) -> MachinePublicKey:
    reader, writer = await _connect(target, None)
    writer.write(encode_request_head("GET", "/key?v=130", (("Host", "x"), ("Connection", "close"))))
    data = await reader.read()
    writer.close()
    parsed = parse_response_head(data)
    assert parsed is not None
    return parse_key_response(data[parsed[1] :])


async def send_connections(kind: str, target: str, seconds: float) -> Sent:
    """Connection after connection from `CONNECTIONS` workers, each filled with garbage and dropped."""
    sent = Sent(kind)
    started = time.monotonic()
    if kind in ("ts2021", "noise"):
        KEY[0] = await _fetch_key(target)
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE

    async def worker(number: int) -> None:
        random = Random(number)
        while time.monotonic() - started < seconds:
            # Half of what hits a TLS port does not speak TLS.
            secured = tls if kind == "derp" and random.random() < 0.5 else None
            writer = None
            try:
                async with asyncio.timeout(5):
                    reader, writer = await _connect(target, secured)
                    sent.bytes += await ATTACKS[kind](reader, writer, random)
            except (OSError, TimeoutError, ssl.SSLError):
                pass
            finally:
                sent.messages += 1
                if writer is not None:
                    writer.transport.abort()

    async with asyncio.TaskGroup() as group:
        for number in range(CONNECTIONS):
            group.create_task(worker(number))
    sent.seconds = time.monotonic() - started
    return sent


def main() -> int:
    kind, target, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    if kind in DATAGRAMS:
        host, _, port = target.rpartition(":")
        sent = send_datagrams(kind, DATAGRAMS[kind], (host, int(port)), seconds)
    else:
        sent = asyncio.run(send_connections(kind, target, seconds))
    print(json.dumps(asdict(sent)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
