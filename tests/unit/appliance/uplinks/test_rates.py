from __future__ import annotations

from appliance.uplinks.rates import RateMeter, Throughput


def test_ok__rates_and_peaks() -> None:
    meter = RateMeter()
    meter.read(1000, 100, 10.0)
    assert meter.throughput == Throughput()
    meter.read(5000, 300, 12.0)
    assert meter.throughput == Throughput(2000.0, 100.0, 2000.0, 100.0)
    meter.read(5000, 300, 12.1)
    assert meter.throughput.rx_rate == 2000.0, "too soon to tell"
    meter.read(6000, 900, 14.0)
    assert meter.throughput == Throughput(500.0, 300.0, 2000.0, 300.0)


def test_ok__counters_that_run_back_begin_anew() -> None:
    meter = RateMeter()
    meter.read(1000, 100, 10.0)
    meter.read(10, 1, 12.0)
    assert meter.throughput == Throughput()
    meter.read(30, 1, 13.0)
    assert meter.throughput.rx_rate == 20.0
