from __future__ import annotations

from plugins.subnet_router.rules import families, offers_subnets, unapproved


def test_ok__small_rules() -> None:
    assert unapproved(("10.1.0.0/16", "10.2.0.0/16"), ("10.2.0.0/16",)) == ("10.1.0.0/16",)
    assert families(("10.0.0.0/8", "fd00::/64")) == {4, 6}
    assert offers_subnets(("0.0.0.0/0", "10.0.0.0/8"))
    assert not offers_subnets(("0.0.0.0/0", "::/0"))
