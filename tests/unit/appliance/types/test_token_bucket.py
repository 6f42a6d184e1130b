from appliance.types.token_bucket import TokenBucket


def test_ok__burst_then_rate():
    bucket = TokenBucket(rate=2.0, burst=3.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(10.5)
    assert not bucket.take(10.6)


def test_ok__several_tokens_at_once():
    bucket = TokenBucket(rate=10.0, burst=30.0)
    assert [bucket.take(10.0, 20) for _ in range(2)] == [True, False]
    assert bucket.take(10.0, 10), "what was refused cost nothing"
    assert bucket.take(12.0, 20)


def test_ok__saving_up_is_bounded():
    bucket = TokenBucket(rate=1.0, burst=2.0)
    bucket.take(0.0)
    assert sum(bucket.take(1000.0) for _ in range(10)) == 2
