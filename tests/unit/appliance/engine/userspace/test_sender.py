import errno
from collections import Counter

from appliance.engine.userspace.peers import PeerRecord
from appliance.engine.userspace.sender import Sender, covers, wrap
from appliance.ports.packets import MemoryUdpPort, Segments
from appliance.ports.underlay import PeerPath
from appliance.proto.wireguard import GeneveSource, RelaySource
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePublicKey
from appliance.types.packets import Buffer

KEY = NodePublicKey(bytes(range(32)))
V4, V6 = AddrPort("192.0.2.1", 1), AddrPort("2001:db8::1", 1)


def test_ok__wrap_keeps_the_last_short_segment() -> None:
    wrapped = wrap(Segments(b"aaaabbbbcc", 4), 456)
    header = bytes.fromhex("00007a120001c800")
    assert [bytes(segment) for segment in wrapped] == [header + b"aaaa", header + b"bbbb", header + b"cc"]


def test_ok__the_port_of_the_right_version() -> None:
    ports = [MemoryUdpPort(AddrPort("0.0.0.0", 5)), MemoryUdpPort(AddrPort("::", 5))]
    sender = Sender(lambda port: ports, lambda port: None, Counter())
    sender.open(5)
    for to in (V4, V6):
        sender.send(to, Segments(b"x", 1), None)
    assert [[to for to, _ in port.sent] for port in ports] == [[V4], [V6]]


def test_fail__no_port_of_that_version_is_counted() -> None:
    counters: Counter[str] = Counter()
    sender = Sender(lambda port: [MemoryUdpPort(AddrPort("0.0.0.0", 5))], lambda port: None, counters)
    sender.open(5)
    sender.send(V6, Segments(b"x", 1), None)
    sender.send_to_source(RelaySource(KEY), b"x", KEY)
    assert counters == {"send_failed": 1, "no_relay": 1}


def test_ok__covers() -> None:
    record = PeerRecord(KEY)
    sources = (V4, GeneveSource(V4, 7), RelaySource(KEY))
    for path, wanted in (
        (PeerPath(), (False, False, False)),
        (PeerPath(direct=V4), (True, False, False)),
        (PeerPath(direct=V4, vni=7), (False, True, False)),
        (PeerPath(direct=V4, relay=True), (True, False, True)),
    ):
        record.path = path
        assert tuple(covers(record, source) for source in sources) == wanted


def test_ok__too_large_for_our_link_is_no_failure() -> None:
    class Narrow(MemoryUdpPort):
        def send_whole(self, to: AddrPort, packet: Buffer) -> None:
            raise OSError(errno.EMSGSIZE, "message too long")

    counters: Counter[str] = Counter()
    sender = Sender(lambda port: [Narrow(AddrPort("0.0.0.0", 5))], lambda port: None, counters)
    sender.open(5)
    sender.send_whole(V4, bytes(9000))
    sender.send_whole(V6, b"x")
    assert counters == {"too_large": 1, "send_failed": 1}
