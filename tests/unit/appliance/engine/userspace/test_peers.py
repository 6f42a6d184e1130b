from appliance.engine.userspace.peers import ActivityLog, PeerRecord
from appliance.types.keys import NodePublicKey


def test_ok__first_at_once_then_once_a_second() -> None:
    log, record = ActivityLog(), PeerRecord(NodePublicKey(bytes(range(32))))
    assert log.next_timer() is None
    log.note(record, 10.0, tx=5)
    assert [report.tx_bytes for report in log.take(10.0)] == [5]
    log.note(record, 10.2, tx=1)
    log.note(record, 10.4, rx=2, direct=True)
    assert log.take(10.9) == []
    assert log.next_timer() == 11.0
    (report,) = log.take(11.0)
    assert (report.tx_bytes, report.rx_bytes, report.rx_direct) == (1, 2, True)
    assert log.next_timer() is None
    log.note(record, 13.0, rx=1)
    assert log.next_timer() == 13.0
    (report,) = log.take(13.0)
    assert (report.tx_bytes, report.rx_bytes, report.rx_direct) == (0, 1, False)


def test_ok__a_removed_peer_is_not_reported() -> None:
    log, record = ActivityLog(), PeerRecord(NodePublicKey(bytes(range(32))))
    log.note(record, 1.0, tx=1)
    log.forget(record)
    assert log.take(1.0) == []
