from appliance.magicsock.candidates import CandidateTable
from appliance.magicsock.timing import MAX_CANDIDATES
from appliance.types.addresses import AddrPort

A, B = AddrPort("192.0.2.1", 1), AddrPort("192.0.2.2", 2)


def test_ok__netmap_loses_its_mark_and_is_deletable():
    table = CandidateTable()
    table.set_netmap([A, B], 0.0)
    table.set_netmap([B], 0.0)
    assert table.get(A).deletable(0.0)
    assert not table.get(B).deletable(0.0)
    assert table.get(B).sources == ("netmap",)


def test_ok__call_me_maybe_is_never_deletable():
    table = CandidateTable()
    table.add(A, 0.0).call_me_maybe_at = 1.0
    assert not table.get(A).deletable(1000.0)


def test_ok__learned_from_ping_lives_45_s():
    table = CandidateTable()
    table.add(A, 0.0).last_got_ping = 10.0
    assert not table.get(A).deletable(55.0)
    assert table.get(A).deletable(55.1)


def test_fail__full_table_refuses_unless_something_can_go():
    table = CandidateTable()
    for port in range(MAX_CANDIDATES):
        table.add(AddrPort("192.0.2.1", port + 1), 0.0).last_got_ping = 0.0
    assert table.add(B, 10.0) is None
    keep = AddrPort("192.0.2.1", 1)
    assert table.add(B, 100.0, keep) is not None
    assert keep in table
    assert len(table) == 2
