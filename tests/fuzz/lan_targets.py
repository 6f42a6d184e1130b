"""What hosts of a LAN say: multicast DNS, through the reflector; and who is asked to be woken."""

from __future__ import annotations

from contextlib import suppress

from appliance.proto.mdns import MAX_DATAGRAM, parse_message
from appliance.proto.wake_on_lan import magic_packet, normal_mac, parse_answer, parse_magic_packet
from appliance.types.errors import DecodeError
from plugins.mdns_reflector.reflector import Reflector
from plugins.mdns_reflector.tests.network import IPP, announcement, question
from tests.fuzz.runner import Target

MAC = "00:1a:2b:3c:4d:5e"


def run_mdns(data: bytes) -> None:
    """By LAN and by site, twice: what goes through is whole, small enough, and read again as the same."""
    reflector = Reflector((IPP,))
    for moment in (1.0, 1.1):
        for datagrams in (
            reflector.receive_from_lan(data, "lan0", moment),
            reflector.receive_from_site(data, "b", moment + 2.0),
        ):
            for datagram in datagrams:
                assert len(datagram) <= MAX_DATAGRAM
                assert not parse_message(datagram).is_empty


def run_wake(data: bytes) -> None:
    with suppress(DecodeError):
        assert magic_packet(parse_magic_packet(data)) == data
    with suppress(DecodeError):
        parse_answer(data)
    with suppress(DecodeError):
        assert len(normal_mac(data.decode("latin-1"))) == len(MAC)


TARGETS = (
    Target(
        "mdns",
        run_mdns,
        [question(), announcement(), announcement(0)],
        ("appliance/proto/mdns", "plugins/mdns_reflector"),
        (b"\x04_ipp\x04_tcp\x05local\0", b"\xc0\x0c", b"\x84\0", b"\0\x21\x80\x01"),
    ),
    Target("wake", run_wake, [magic_packet(MAC), MAC.encode(), b'{"SentTo":["a"]}'], ("appliance/proto/wake_on_lan",)),
)
