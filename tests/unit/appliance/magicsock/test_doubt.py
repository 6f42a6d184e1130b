from appliance.magicsock.doubt import Doubt


def test_ok__three_probes_then_the_verdict():
    doubt = Doubt()
    assert doubt.raise_(10.0)
    times = []
    while doubt.probe(doubt.next_at, 0.01):
        times.append(round(doubt.next_at, 3))
    assert times == [10.25, 10.5, 10.75]


def test_ok__patience_grows_with_latency():
    doubt = Doubt()
    doubt.raise_(10.0)
    doubt.probe(10.0, 0.4)
    assert not doubt.shaken(10.5)
    assert doubt.shaken(10.6)


def test_fail__doubt_is_not_raised_twice_in_a_second():
    doubt = Doubt()
    assert doubt.raise_(10.0)
    assert not doubt.raise_(10.1)
    doubt.end()
    assert not doubt.raise_(10.9)
    assert not doubt.shaken(20.0)
    assert doubt.raise_(11.0)
