import pytest

from appliance.magicsock.hard_nat.odds import hit, likely_counts, poisson


@pytest.mark.parametrize(
    ("openings", "probes", "percent"),
    [(64, 128, 11.9), (64, 4096, 98.5), (256, 256, 63.9), (256, 1024, 98.4), (512, 128, 64.0), (128, 512, 64.0)],
)
def test_ok__table_of_the_spec(openings, probes, percent):
    assert abs(100 * hit(openings, probes, 64512) - percent) < 0.06


def test_ok__small_pools():
    assert round(100 * hit(256, 256, 28232), 1) == 90.4
    assert round(100 * hit(256, 256, 16384), 1) == 98.3
    assert round(100 * hit(16, 64, 512), 1) == 88.6
    assert round(100 * hit(32, 256, 2048), 1) == 98.7


def test_ok__ends():
    assert hit(0, 100, 1000) == hit(100, 0, 1000) == 0.0
    assert hit(600, 600, 1000) == 1.0


@pytest.mark.parametrize(("mean", "width", "least"), [(0.5, 2, 0.9), (2, 5, 0.9), (10, 11, 0.9), (50, 24, 0.9)])
def test_ok__windows_of_the_spec(mean, width, least):
    chosen = likely_counts(mean, width)
    assert len(chosen) == width
    assert sum(poisson(k, mean) for k in chosen) >= least
    assert sum(poisson(k, mean) for k in likely_counts(mean, width - 1)) < least


def test_ok__nobody_else():
    assert poisson(0, 0.0) == 1.0
    assert likely_counts(0.0, 3)[0] == 0
