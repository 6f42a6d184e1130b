"""Plugins that hang, leak and raise beside a running transfer: it keeps its rate, health names them, disabling mends.

web client ── gateway-a ══ tunnel ══ gateway-b ── web server
              + hangs, leaks, raises, each in its own process
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.mesh import fetch_hash
from tests.lab.processes import wait_until
from tests.lab.sites import two_sites, wait_for_page
from tests.lab.topology import NatKind

if TYPE_CHECKING:
    from tests.lab.namespaces import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(90)]

SAMPLES = Path(__file__).resolve().parents[1] / "samples/misbehaving"
BAD = ("hangs", "leaks", "raises")


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """Open to the user that plugins run as, which pytest's own folder is not."""
    with tempfile.TemporaryDirectory(prefix="waypost-test-") as folder:
        Path(folder).chmod(0o755)
        yield install_samples(Path(folder))


def install_samples(base: Path) -> Path:
    shutil.copytree(SAMPLES, base / "source", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(base / "site")]
    command = [sys.executable, "-m", "pip", "install", *options, str(base / "source")]
    subprocess.run(command, check=True, capture_output=True)
    return base / "site"


def test_ok__bad_plugins_do_not_slow_the_tunnel(
    lab: Lab, tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed))
    sites = two_sites(lab, tmp_path, NatKind.EASY, NatKind.EASY, 20)
    sites.join()
    wait_for_page(sites)
    sites.a.wait_for_path("gateway-b", "direct")
    url = f"{sites.url}/large.bin"
    alone = fetch_hash(sites.site_a.host, url, 30)[1]

    for name in BAD:
        sites.a.must("plugins", "enable", name)

    missing = {"did not return", "used up its memory", "plugin raises"}

    def named() -> bool:
        text = " ".join(item["text"] for item in sites.a.status()["health"])
        missing.difference_update({words for words in missing if words in text})
        return not missing

    digest, beside = fetch_hash(sites.site_a.host, url, 30)
    wait_until(named, 30, "health to name all three")
    assert digest == sites.large_hash
    print(f"\n20 MB in {alone:.2f} s alone, {beside:.2f} s beside three bad plugins")
    # A hanging plugin takes its share of a processor that the test's two ends need as well.
    assert beside < 2.5 * alone + 1

    for name in BAD:
        sites.a.must("plugins", "disable", name)
    assert not [item for item in sites.a.status()["health"] if "plugin" in item["code"]], "disabling mends it"
    assert sites.page_comes()
    assert sites.a.path_to("gateway-b") == "direct"
