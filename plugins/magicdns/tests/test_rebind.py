from __future__ import annotations

from ipaddress import ip_address

import dns.message
import dns.rrset
import pytest

from appliance.proto.dns import parse_reply
from plugins.magicdns.rebind import is_private, rebinds


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("192.168.1.1", True), ("10.0.0.1", True), ("127.0.0.1", True), ("169.254.1.1", True), ("100.64.0.1", True),
        ("0.0.0.0", True), ("::1", True), ("fd00::1", True), ("fe80::1", True), ("::ffff:10.0.0.1", True),
        ("9.9.9.9", False), ("2620:fe::fe", False),
    ],
)  # fmt: skip
def test_ok__addresses(address: str, private: bool) -> None:
    assert is_private(ip_address(address)) == private


@pytest.mark.parametrize(
    ("name", "caught"),
    [("evil.example", True), ("fritz.box", False), ("a.fritz.box", False), ("nas.lan", False), ("nas", False)],
)
def test_ok__names_of_sites_may(name: str, caught: bool) -> None:
    reply = dns.message.make_response(dns.message.make_query(name, "A"))
    reply.answer.append(dns.rrset.from_text(f"{name}.", 5, "IN", "A", "9.9.9.9", "192.168.1.1"))
    assert rebinds(parse_reply(reply.to_wire()), name, ("fritz.box",)) == caught
