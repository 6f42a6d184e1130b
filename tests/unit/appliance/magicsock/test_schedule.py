from appliance.magicsock.schedule import Schedule


def test_ok__owners_come_in_order_of_deadline():
    schedule = Schedule()
    schedule.set("b", 2.0)
    schedule.set("a", 1.0)
    assert schedule.next_deadline() == 1.0
    assert [schedule.pop_due(5.0) for _ in range(3)] == ["a", "b", None]


def test_ok__deadline_moves_back_and_forth():
    schedule = Schedule()
    schedule.set("a", 1.0)
    schedule.set("a", 3.0)
    assert schedule.pop_due(2.0) is None
    assert schedule.next_deadline() == 3.0
    schedule.set("a", 2.5)
    assert schedule.pop_due(2.5) == "a"
    assert len(schedule) == 0


def test_ok__forgotten_owner_never_comes():
    schedule = Schedule()
    schedule.set("a", 1.0)
    schedule.set("a", None)
    assert schedule.next_deadline() is None
    schedule.set("a", 4.0)
    assert schedule.owners() == ("a",)
    assert schedule.next_deadline() == 4.0


def test_ok__heap_does_not_grow_with_changes():
    schedule = Schedule()
    for n in range(1000):
        schedule.set("a", float(n))
    assert len(schedule._heap) == 1
