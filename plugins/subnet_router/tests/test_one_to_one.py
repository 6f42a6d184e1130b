from __future__ import annotations

import pytest

from appliance.api import AttachedPrefix, PrefixTranslation, SettingError
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.one_to_one import MAX_TRANSLATIONS, parse_translations
from plugins.subnet_router.state import RouterState


def test_ok__pairs_in_normal_form() -> None:
    config = SubnetRouterConfig(translate=(" 192.168.1.7/24  as 10.7.1.0/24", "fd00:1::/64 as fd00:7::/64"))
    assert config.translate == ("192.168.1.0/24 as 10.7.1.0/24", "fd00:1::/64 as fd00:7::/64")
    assert config.translations[0] == PrefixTranslation("192.168.1.0/24", "10.7.1.0/24")
    assert [each.outside for each in config.translations] == ["10.7.1.0/24", "fd00:7::/64"]


def test_ok__the_outer_network_is_offered_and_not_the_inner_one() -> None:
    config = SubnetRouterConfig(auto=True, translate=("192.168.1.0/24 as 10.7.1.0/24",))
    attached = tuple(AttachedPrefix(text, "eth1") for text in ("192.168.1.0/24", "192.168.2.0/24"))
    assert RouterState(config, attached=attached).wanted == ("10.7.1.0/24", "192.168.2.0/24")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("192.168.1.0/24", "no pair"),
        ("192.168.1.0/24 = 10.7.1.0/24", "no pair"),
        ("192.168.1.0/24 as 10.7.0.0/16", "do not match"),
        ("192.168.1.0/24 as fd00::/24", "do not match"),
        ("10.0.0.0/8 as 10.0.0.0/8", "overlap"),
        ("192.168.1.0/24 as 100.64.1.0/24", "ranges of the mesh"),
        ("192.168.1.0/24 as ten", "not a prefix"),
        ("10.8.0.0/16 as 10.7.0.0/16", "overlaps another"),
        ("192.168.1.0/25 as 10.9.1.0/25", "overlaps another"),
    ],
)
def test_fail__pairs_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        parse_translations(("192.168.1.0/24 as 10.7.1.0/24", text))
    assert caught.value.key == "translate[1]"
    assert caught.value.mend


def test_fail__too_many() -> None:
    with pytest.raises(SettingError, match=str(MAX_TRANSLATIONS)):
        SubnetRouterConfig(translate=("192.168.1.0/24 as 10.7.1.0/24",) * (MAX_TRANSLATIONS + 1))
