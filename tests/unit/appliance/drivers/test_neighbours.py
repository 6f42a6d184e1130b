"""The kernel's list of IPv4 neighbours."""

from __future__ import annotations

from pathlib import Path

from appliance.drivers.neighbours import read_neighbours

LIST = """IP address       HW type     Flags       HW address            Mask     Device
192.168.10.9     0x1         0x2         00:1a:2b:3c:4d:5e     *        lan0
192.168.10.10    0x1         0x0         00:00:00:00:00:00     *        lan0
192.168.10.11    0x1         0x6         00:1a:2b:3c:4d:5f     *        lan1
224.0.0.251      0x1         0x2         01:00:5e:00:00:fb     *        lan0
192.168.10.12    0x1         zz          00:1a:2b:3c:4d:60     *        lan0
nonsense
"""


def test_ok__those_that_answered(tmp_path: Path) -> None:
    (tmp_path / "arp").write_text(LIST)
    assert read_neighbours(tmp_path / "arp") == [
        ("192.168.10.9", "00:1a:2b:3c:4d:5e", "lan0"),
        ("192.168.10.11", "00:1a:2b:3c:4d:5f", "lan1"),
    ]
    assert read_neighbours(tmp_path / "none") == []
