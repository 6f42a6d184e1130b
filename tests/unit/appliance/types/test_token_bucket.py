from appliance.types.token_bucket import TokenBucket


def test_ok__burst_then_rate():
    bucket = TokenBucket(rate=2.0, burst=3.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(10.5)
    assert not bucket.take(10.6)


def test_ok__saving_up_is_bounded():
    bucket = TokenBucket(rate=1.0, burst=2.0)
    bucket.take(0.0)
    assert sum(bucket.take(1000.0) for _ in range(10)) == 2


def test_ok__what_is_too_large_takes_nothing():
    bucket = TokenBucket(rate=100.0, burst=1000.0)
    assert bucket.take(5.0, 800)
    assert not bucket.take(5.0, 201)
    assert bucket.take(5.0, 200)
    assert not bucket.take(6.0, 101)
    assert bucket.take(6.0, 100)


def test_ok__a_clock_that_goes_back_gives_nothing():
    bucket = TokenBucket(rate=1.0, burst=1.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert bucket.take(51.0)
