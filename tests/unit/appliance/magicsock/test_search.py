from appliance.magicsock.search import Search


def test_ok__quick_rounds_first_then_every_five_seconds():
    search = Search()
    search.begin(0.0)
    gaps, now = [], 0.0
    for _ in range(5):
        search.plan(now)
        gaps.append(round(search.next_at - now, 3))
        now = search.next_at
    assert gaps == [0.7, 1.3, 3.0, 5.0, 5.0]


def test_fail__reasons_in_a_row_do_not_restart_the_quick_rounds():
    search = Search()
    search.begin(0.0)
    for _ in range(4):
        search.plan(0.0)
    search.begin(1.0)
    assert not search.early
    search.begin(5.0)
    assert search.early


def test_ok__start_over_keeps_a_planned_round():
    search = Search()
    search.start_over(3.0)
    assert search.next_at == 3.0
    search.plan(3.0)
    search.start_over(3.1)
    assert search.next_at == 3.7
    search.stop()
    assert search.next_at is None
