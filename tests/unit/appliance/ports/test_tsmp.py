from appliance.ports.tsmp import MemoryTsmpPort
from appliance.types.keys import NodePublicKey

PEER = NodePublicKey(b"\x01" * 32)


def test_ok__twin_keeps_and_tells_what_was_sent() -> None:
    port = MemoryTsmpPort()
    told = []
    port.send_packet(PEER, b"one")
    port.on_packet = lambda peer, packet: told.append((peer, packet))
    port.send_packet(PEER, b"two")
    assert port.packets == [(PEER, b"one"), (PEER, b"two")]
    assert told == [(PEER, b"two")]
