from __future__ import annotations

import pytest

from appliance.api import SettingError
from plugins.subnet_router.config import MAX_ROUTES, SubnetRouterConfig


def test_ok__routes_are_masked_sorted_and_single() -> None:
    texts = ("fd00:2::1/64", "192.168.20.7/24", "192.168.10.0/24", "192.168.20.0/24")
    config = SubnetRouterConfig(advertise_routes=texts)
    assert config.advertise_routes == ("192.168.10.0/24", "192.168.20.0/24", "fd00:2::/64")


def test_ok__defaults() -> None:
    assert SubnetRouterConfig() == SubnetRouterConfig((), accept_routes=False, snat=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.0.0.0/0", "default route"),
        ("::/0", "default route"),
        ("100.64.0.0/10", "address ranges of the mesh"),
        ("100.0.0.0/8", "address ranges of the mesh"),
        ("fd7a:115c:a1e0::/64", "address ranges of the mesh"),
        ("224.0.0.0/4", "cannot be routed"),
        ("127.0.0.0/8", "cannot be routed"),
        ("169.254.0.0/16", "cannot be routed"),
        ("fe80::/64", "cannot be routed"),
        ("0.0.0.0/8", "cannot be routed"),
        ("ten", "not a prefix"),
        ("10.0.0.0/33", "not a prefix"),
        ("", "not a prefix"),
    ],
)
def test_fail__route_cannot_be_advertised(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        SubnetRouterConfig(advertise_routes=("10.1.0.0/16", text))
    assert caught.value.key == "advertise_routes[1]"
    assert caught.value.mend


def test_fail__too_many_routes() -> None:
    with pytest.raises(SettingError, match=str(MAX_ROUTES)):
        SubnetRouterConfig(advertise_routes=("10.0.0.0/8",) * (MAX_ROUTES + 1))


def test_ok__lists_are_normal() -> None:
    config = SubnetRouterConfig(
        auto_except=("192.168.1.9/24", "guest0"), refuse_routes=("10.0.0.9/8",), probes=(" 192.168.1.2 ", "FD00::2")
    )
    assert config.auto_except == ("192.168.1.0/24", "guest0")
    assert config.refuse_routes == ("10.0.0.0/8",)
    assert config.probes == ("192.168.1.2", "fd00::2")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("auto_except", "192.168.1.0/40"),
        ("auto_except", ""),
        ("refuse_routes", "guest0"),
        ("accept_only", "guest0"),
        ("own_first", "most"),
        ("mesh_first", "all"),
        ("probes", "192.168.1.0/24"),
        ("probes", "switch"),
    ],
)
def test_fail__entry_of_a_list(key: str, text: str) -> None:
    good = "10.0.0.1" if key == "probes" else "10.0.0.0/8"
    with pytest.raises(SettingError) as caught:
        SubnetRouterConfig(**{key: (good, text)})
    assert caught.value.key == f"{key}[1]"
    assert caught.value.mend


@pytest.mark.parametrize("key", ["auto_except", "accept_only", "refuse_routes", "own_first", "mesh_first", "probes"])
def test_fail__too_many_entries(key: str) -> None:
    with pytest.raises(SettingError) as caught:
        SubnetRouterConfig(**{key: ("10.0.0.1",) * (MAX_ROUTES + 1)})
    assert caught.value.key == key


def test_ok__which_routes_go_first() -> None:
    config = SubnetRouterConfig(own_first=("All", "10.8.1.9/24"), mesh_first=("10.8.0.9/16",))
    assert config.own_first == ("0.0.0.0/0", "::/0", "10.8.1.0/24")
    assert config.mesh_first == ("10.8.0.0/16",)
    with pytest.raises(SettingError, match=r"10\.8\.1\.0/24 is in own_first too") as caught:
        SubnetRouterConfig(own_first=("10.8.1.0/24",), mesh_first=("10.8.1.1/24",))
    assert caught.value.key == "mesh_first"


def test_ok__shared_address() -> None:
    assert SubnetRouterConfig(shared_address=" 192.168.10.254 ").shared_address == "192.168.10.254"
    for text in ("fd00::1", "192.168.10.0/24", "router"):
        with pytest.raises(SettingError) as caught:
            SubnetRouterConfig(shared_address=text)
        assert caught.value.key == "shared_address"
        assert caught.value.mend


def test_ok__shared_address_v6() -> None:
    for text, kept in ((" FD00:10::0FE ", "fd00:10::fe"), ("fe80::fe", "fe80::fe"), ("2001:db8::fe", "2001:db8::fe")):
        config = SubnetRouterConfig(shared_address_v6=text)
        assert config.shared_address_v6 == kept
        assert config.shared == (kept,)
    both = SubnetRouterConfig(shared_address="192.168.10.254", shared_address_v6="fe80::fe")
    assert both.shared == ("192.168.10.254", "fe80::fe")


@pytest.mark.parametrize(
    "text",
    ["192.168.10.254", "fd00::/64", "router", "fe80::fe%eth1", "::1", "::", "ff02::1", "::ffff:10.0.0.1",
     "fd7a:115c:a1e0::9"],
)  # fmt: skip
def test_fail__shared_address_v6(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        SubnetRouterConfig(shared_address_v6=text)
    assert caught.value.key == "shared_address_v6"
    assert caught.value.mend
