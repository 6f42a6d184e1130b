"""Client and server tunnel machines against each other, without a socket."""

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.proto.control.tunnel import ClientTunnel, ServerTunnel
from appliance.proto.control.tunnel_events import (
    BodyReceived,
    EarlyPayloadReceived,
    Established,
    RequestReceived,
    ResponseStarted,
    StreamDrained,
    StreamEnded,
    StreamFailed,
    TunnelEvent,
    TunnelFailed,
)
from appliance.proto.control.upgrade import ACCEPTED, parse_upgrade
from appliance.proto.http1.head import parse_request_head
from appliance.proto.noise.handshake import Initiator
from appliance.types.keys import ChallengePublicKey, MachinePrivateKey

MACHINE = MachinePrivateKey(clamp(bytes(range(32))))
SERVER = MachinePrivateKey(clamp(bytes(range(64, 96))))
CHALLENGE = ChallengePublicKey(bytes(range(32)))


class Pair:
    """Both machines and the wire between them."""

    def __init__(self, *, version: int = 130, challenge: ChallengePublicKey | None = CHALLENGE, step: int = 65536):
        initiator = Initiator(MACHINE, public_key(SERVER), version=version, ephemeral_seed=bytes(32))
        self.client = ClientTunnel("control.example", initiator)
        head = parse_request_head(self.client.data_to_send())
        assert head is not None
        self.server = ServerTunnel(SERVER, parse_upgrade(head[0]), ephemeral_seed=bytes(range(32)), challenge=challenge)
        self.step = step
        self.first_flight = ACCEPTED + self.server.data_to_send()
        self.client_events: list[TunnelEvent] = []
        self.server_events: list[TunnelEvent] = []
        self.deliver(self.client, self.first_flight)

    def deliver(self, machine: ClientTunnel | ServerTunnel, data: bytes) -> None:
        for start in range(0, len(data), self.step):
            machine.receive_data(data[start : start + self.step])

    def run(self) -> None:
        """Pass bytes until both are silent."""
        while True:
            up, down = self.client.data_to_send(), self.server.data_to_send()
            self.deliver(self.server, up)
            self.deliver(self.client, down)
            for machine, events in ((self.client, self.client_events), (self.server, self.server_events)):
                while (event := machine.next_event()) is not None:
                    events.append(event)
            if not up and not down:
                return


@pytest.mark.parametrize("step", [1, 7, 65536])
def test_ok__handshake_early_payload_and_request(step: int) -> None:
    pair = Pair(step=step)
    pair.run()
    assert pair.server_events[0] == Established(public_key(MACHINE), 130)
    assert pair.client_events[0] == Established(public_key(SERVER), 130)
    assert pair.client_events[1] == EarlyPayloadReceived(b'{"nodeKeyChallenge":"%s"}' % str(CHALLENGE).encode())
    stream = pair.client.request("POST", "/machine/register?x=1", b'{"a":1}')
    pair.run()
    request = pair.server_events[-1]
    assert isinstance(request, RequestReceived)
    assert (request.method, request.path, request.body) == ("POST", "/machine/register?x=1", b'{"a":1}')
    pair.server.respond(request.stream_id, 200, b"{}")
    pair.run()
    started, body, ended = pair.client_events[-3:]
    assert isinstance(started, ResponseStarted)
    assert started.status == 200
    assert ("content-type", "application/json") in started.headers
    assert body == BodyReceived(stream, b"{}")
    assert ended == StreamEnded(stream)


def test_ok__early_payload_has_the_size_of_the_spec() -> None:
    from appliance.proto.control.tunnel import encode_early_payload

    assert encode_early_payload(CHALLENGE)[:9].hex() == "ffffff54530000005f"


def test_ok__settings_come_unasked_without_early_payload() -> None:
    pair = Pair(challenge=None)
    assert len(pair.first_flight) > len(ACCEPTED) + 51 + 9
    pair.run()
    assert not any(isinstance(event, EarlyPayloadReceived) for event in pair.client_events)
    pair.client.request("GET", "/machine/whoami")
    pair.run()
    assert isinstance(pair.server_events[-1], RequestReceived)


def test_ok__old_clients_get_no_early_payload() -> None:
    pair = Pair(version=48)
    pair.run()
    assert not any(isinstance(event, EarlyPayloadReceived) for event in pair.client_events)


def test_ok__requests_may_be_queued_before_the_handshake() -> None:
    initiator = Initiator(MACHINE, public_key(SERVER), version=130, ephemeral_seed=bytes(32))
    client = ClientTunnel("control.example", initiator)
    client.request("GET", "/early")
    head = parse_request_head(client.data_to_send())
    assert head is not None
    server = ServerTunnel(SERVER, parse_upgrade(head[0]), ephemeral_seed=bytes(32), challenge=CHALLENGE)
    assert client.data_to_send() == b""
    client.receive_data(ACCEPTED + server.data_to_send())
    server.receive_data(client.data_to_send())
    assert isinstance(server.next_event(), Established)
    request = server.next_event()
    assert isinstance(request, RequestReceived)
    assert request.path == "/early"


def test_ok__several_streams_and_a_body_larger_than_every_window() -> None:
    pair = Pair()
    long_poll = pair.client.request("POST", "/machine/map", b"{}")
    other = pair.client.request("POST", "/machine/map", b"{}")
    pair.run()
    requests = [event for event in pair.server_events if isinstance(event, RequestReceived)]
    assert len(requests) == 2
    big = bytes(6 * 2**20)
    pair.server.start_response(requests[0].stream_id, 200, ())
    pair.server.send_body(requests[0].stream_id, big)
    assert pair.server.queued_bytes(requests[0].stream_id) > 0
    pair.server.respond(requests[1].stream_id, 200, b"small")
    pair.run()
    received = [event for event in pair.client_events if isinstance(event, BodyReceived)]
    assert sum(len(event.data) for event in received if event.stream_id == long_poll) == len(big)
    assert b"".join(event.data for event in received if event.stream_id == other) == b"small"
    assert StreamDrained(requests[0].stream_id) in pair.server_events
    assert pair.server.queued_bytes(requests[0].stream_id) == 0


def test_ok__client_uploads_up_to_a_mebibyte() -> None:
    pair = Pair()
    pair.client.request("POST", "/big", b"x" * 2**20)
    pair.run()
    request = pair.server_events[-1]
    assert isinstance(request, RequestReceived)
    assert len(request.body) == 2**20


@pytest.mark.parametrize("excess", [1, 2**20])
def test_fail__too_large_a_body_is_refused_and_the_tunnel_lives(excess: int) -> None:
    pair = Pair()
    pair.client.request("POST", "/big", b"x" * (2**20 + excess))
    pair.run()
    assert not any(isinstance(event, RequestReceived) for event in pair.server_events)
    statuses = [event.status for event in pair.client_events if isinstance(event, ResponseStarted)]
    assert statuses == [413]
    assert not pair.server.failed
    pair.client.request("GET", "/next")
    pair.run()
    assert isinstance(pair.server_events[-1], RequestReceived)


def test_ok__client_reset_reaches_the_server() -> None:
    pair = Pair()
    stream = pair.client.request("POST", "/machine/map", b"{}")
    pair.run()
    pair.server.start_response(stream, 200, ())
    pair.run()
    pair.client.reset(stream)
    pair.run()
    assert pair.server_events[-1] == StreamFailed(stream, 8)
    pair.server.send_body(stream, b"late")
    pair.run()
    assert not pair.server.failed


def test_fail__malformed_initiation_leaves_an_error_frame() -> None:
    server = ServerTunnel(SERVER, bytes(50), ephemeral_seed=bytes(32))
    assert server.failed
    assert server.data_to_send()[:1] == b"\x03"
    assert isinstance(server.next_event(), TunnelFailed)


def test_fail__foreign_initiation_leaves_nothing() -> None:
    other = MachinePrivateKey(clamp(bytes(range(5, 37))))
    initiation = Initiator(MACHINE, public_key(other), version=130, ephemeral_seed=bytes(32)).initiation()
    server = ServerTunnel(SERVER, initiation, ephemeral_seed=bytes(32))
    assert server.failed
    assert server.data_to_send() == b""


def test_fail__a_flipped_bit_ends_the_tunnel_and_its_streams() -> None:
    pair = Pair()
    stream = pair.client.request("POST", "/machine/map", b"{}")
    pair.run()
    pair.server.respond(stream, 200, b"{}")
    data = bytearray(pair.server.data_to_send())
    data[-1] ^= 1
    pair.client.receive_data(bytes(data))
    pair.run()
    assert StreamFailed(stream, 8) in pair.client_events
    assert isinstance(pair.client_events[-1], TunnelFailed)


def test_fail__server_without_the_protocol() -> None:
    pair_client = ClientTunnel("h", Initiator(MACHINE, public_key(SERVER), version=130, ephemeral_seed=bytes(32)))
    pair_client.receive_data(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    event = pair_client.next_event()
    assert isinstance(event, TunnelFailed)
    assert "404" in event.text
