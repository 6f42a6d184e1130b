"""The table of uplinks."""

import msgspec

from appliance.cli.uplinks import uplink_line
from appliance.localapi.schema import UplinkStatus


def test_ok__what_was_measured_stands_at_the_end() -> None:
    measured = UplinkStatus(interface="eth0", in_use=True, state="good", latency_s=0.0123, carries_tx_bytes_s=4.75e6)
    assert uplink_line(measured).startswith("* eth0            good       12.3 ms")
    assert uplink_line(measured).endswith("  carries 38.0 Mbit/s up")
    both = msgspec.structs.replace(measured, carries_rx_bytes_s=25e6)
    assert uplink_line(both).endswith("  carries 200.0 Mbit/s down, 38.0 Mbit/s up")


def test_ok__metered_and_not_yet_measured() -> None:
    assert uplink_line(UplinkStatus(interface="wwan0", state="good", metered=True)).endswith("  metered")
    assert uplink_line(UplinkStatus(interface="eth0", state="good")).endswith("Mbit/s (most 0.0)")
