"""A wildcard of IPv6 listens on both IP versions."""

from __future__ import annotations

from appliance.drivers.listening import listen_hosts


def test_ok__wildcard_is_every_version_that_the_host_has() -> None:
    hosts = listen_hosts("::")
    assert hosts[0] == "0.0.0.0"
    assert set(hosts) <= {"0.0.0.0", "::"}


def test_ok__an_address_stays_alone() -> None:
    assert listen_hosts("127.0.0.1") == ["127.0.0.1"]
    assert listen_hosts("2001:db8::1") == ["2001:db8::1"]
