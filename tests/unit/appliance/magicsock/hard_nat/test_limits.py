from appliance.magicsock.hard_nat.limits import HOUR_S, AttemptLimit


def test_ok__three_an_hour_and_peer():
    limit = AttemptLimit[str]()
    for at in (0.0, 10.0, 20.0):
        assert limit.allows_from("a", at) == at
        limit.note("a", at)
    assert limit.allows_from("a", 30.0) == HOUR_S
    assert limit.allows_from("b", 30.0) == 30.0
    assert limit.allows_from("a", HOUR_S) == HOUR_S
    limit.forget()
    assert limit.allows_from("a", 31.0) == 31.0
