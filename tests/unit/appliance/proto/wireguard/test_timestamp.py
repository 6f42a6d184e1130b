from appliance.proto.wireguard.timestamp import TimestampSource, encode_tai64n


def test_ok__known_value() -> None:
    assert encode_tai64n(0x6553F100 * 10**9 + 0x01ABCDEF).hex() == "400000006553f10a01000000"


def test_ok__rises_when_the_clock_stands_or_falls() -> None:
    source = TimestampSource()
    seen = [source.next(10**18) for _ in range(100)]
    seen += [source.next(10**18 - 10**12) for _ in range(100)]
    assert seen == sorted(set(seen))
    assert source.last == seen[-1]


def test_ok__goes_on_from_the_stored_value() -> None:
    stored = encode_tai64n(2 * 10**18)
    assert TimestampSource(stored).next(10**18) > stored


def test_ok__garbage_from_the_store_is_ignored() -> None:
    assert TimestampSource(b"short").next(10**18) == encode_tai64n(10**18)
