from control.derp.throttle import LEAST_BURST_BYTES, NO_LIMIT, Bucket, Rate, Throttle, byte_rate


def test_ok__no_limit_never_waits() -> None:
    bucket = Bucket(NO_LIMIT)
    assert bucket.take(1 << 30, 0.0) == 0.0


def test_ok__a_burst_is_free_and_what_is_above_it_waits() -> None:
    bucket = Bucket(Rate(1000, 500))
    assert bucket.take(500, 10.0) == 0.0
    assert bucket.take(100, 10.0) == 0.1
    assert bucket.take(0, 10.2) == 0.0
    assert bucket.take(500, 20.0) == 0.0, "it fills up to its burst, no further"
    assert bucket.take(1, 20.0) > 0


def test_ok__a_frame_always_fits() -> None:
    assert byte_rate(10).burst == LEAST_BURST_BYTES
    assert byte_rate(10, 1 << 20).burst == 1 << 20
    assert byte_rate(0, 99) == NO_LIMIT


def test_ok__the_stricter_of_own_and_total_counts_and_limits_may_change() -> None:
    limits = [Rate(1000, 100)]
    throttle = Throttle(lambda: limits[0], Bucket(Rate(100, 100)))
    assert throttle.take(100, 0.0) == 0.0
    assert throttle.take(100, 0.0) == 1.0
    limits[0] = Rate(10, 100)
    assert throttle.take(100, 0.0) == 20.0
