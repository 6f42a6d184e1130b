"""Whose clock counts, on a virtual wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from appliance.netmap.server_time import ServerTime

SERVER = datetime(2026, 6, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


def test_ok__wall_clock_while_nothing_better_is_known() -> None:
    assert ServerTime().now(SERVER) == SERVER
    assert ServerTime().skew is None


def test_ok__server_wins_over_a_clock_that_is_a_year_behind() -> None:
    time = ServerTime()
    time.note(SERVER, SERVER - YEAR)
    assert time.skew == YEAR
    assert time.now(SERVER - YEAR + timedelta(hours=1)) == SERVER + timedelta(hours=1)


def test_ok__small_difference_is_none() -> None:
    time = ServerTime()
    time.note(SERVER, SERVER + timedelta(seconds=59))
    assert time.skew == timedelta()


def test_ok__correcting_our_clock_does_not_move_the_servers() -> None:
    time = ServerTime()
    time.note(SERVER, SERVER - YEAR)
    time.wall_jumped(YEAR)
    assert time.now(SERVER) == SERVER
    time.wall_jumped(-2 * YEAR)
    assert time.now(SERVER - 2 * YEAR) == SERVER


def test_ok__it_is_not_earlier_than_the_last_word_of_an_earlier_run() -> None:
    time = ServerTime()
    time.not_before(SERVER)
    time.not_before(SERVER - YEAR)
    assert time.now(datetime(1970, 1, 1, tzinfo=UTC)) == SERVER
    time.wall_jumped(YEAR)
    assert time.now(SERVER + YEAR) == SERVER + YEAR


def test_ok__what_the_server_says_now_beats_what_it_said_once() -> None:
    time = ServerTime()
    time.not_before(SERVER + YEAR)
    time.note(SERVER, SERVER)
    assert time.now(SERVER) == SERVER
