from __future__ import annotations

import signal
import threading

import pytest

from appliance.pluginhost.stall import Stalled, StallGuard


def spin() -> None:
    while True:
        pass


def test_fail__busy_call_is_interrupted() -> None:
    guard = StallGuard(0.05)
    with pytest.raises(Stalled):
        guard.call(spin)
    assert guard.last_s < 2


def test_fail__sleeping_call_is_interrupted() -> None:
    with pytest.raises(Stalled):
        StallGuard(0.05).call(threading.Event().wait, 5)


def test_fail__bare_handler_does_not_keep_it() -> None:
    def stubborn() -> None:
        while True:
            try:
                spin()
            except Exception:
                continue

    with pytest.raises(Stalled):
        StallGuard(0.05).call(stubborn)


def test_ok__result_error_and_timer_pass_through() -> None:
    before = signal.getitimer(signal.ITIMER_REAL)[0]
    handler = signal.getsignal(signal.SIGALRM)
    guard = StallGuard(1.0)
    assert guard.call(int, "7") == 7
    with pytest.raises(ValueError):
        guard.call(int, "x")
    assert signal.getsignal(signal.SIGALRM) is handler
    after = signal.getitimer(signal.ITIMER_REAL)[0]
    assert (before == 0) == (after == 0)
    assert after <= before


def test_ok__other_threads_are_only_measured() -> None:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(StallGuard(0.01).call(int, "3")))
    thread.start()
    thread.join()
    assert results == [3]
