"""What clients show: display messages, their old form, notes on versions."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest

from appliance.proto.control import messages as wire
from appliance.types.ids import NodeId, StableNodeId, UserId
from appliance.types.keys import MachinePublicKey, NodePublicKey
from control.mapper.notices import ROUTES_WAIT, add_notices, client_version, notices_for
from control.mapper.settings import ClientRelease, MapSettings, Notice
from control.state.records import NodeRecord

NOTICE = Notice("work", "Maintenance", "Tonight at ten.", "medium", url="https://status.example")


def record(**fields: Any) -> NodeRecord:
    return NodeRecord(
        id=NodeId(1),
        stable_id=StableNodeId("n1"),
        user_id=UserId(1),
        machine_key=MachinePublicKey(b"m" * 32),
        node_key=NodePublicKey(b"n" * 32),
        given_name="a",
        ipv4=IPv4Address("100.64.0.1"),
        ipv6=IPv6Address("fd7a:115c:a1e0::1"),
        created=datetime(2026, 1, 1, tzinfo=UTC),
        **fields,
    )


def test_ok__routes_that_wait_are_named_until_they_are_approved() -> None:
    route = IPv4Network("192.168.1.0/24")
    shown = notices_for(record(advertised_routes=(route,)), MapSettings(notices=(NOTICE,)))
    assert set(shown) == {"work", ROUTES_WAIT}
    assert "192.168.1.0/24" in shown[ROUTES_WAIT].text
    assert not notices_for(record(advertised_routes=(route,), approved_routes=(route,)), MapSettings())


def test_ok__only_the_difference_is_told() -> None:
    other = Notice("other", "Other", "Text.")
    response = wire.MapResponse()
    add_notices(response, 130, {"work": NOTICE}, {"other": other})
    assert response.display_messages["work"] is None
    told = response.display_messages["other"]
    assert told is not None
    assert (told.title, told.severity, told.primary_action) == ("Other", "low", None)
    assert response.health is None
    again = wire.MapResponse()
    add_notices(again, 130, {"work": NOTICE}, {"work": NOTICE})
    assert again == wire.MapResponse()


def test_ok__a_notice_with_a_link_gets_a_button() -> None:
    response = wire.MapResponse()
    add_notices(response, 117, {}, {"work": NOTICE})
    message = response.display_messages["work"]
    assert message is not None
    assert message.primary_action == wire.DisplayMessageAction(url="https://status.example", label="Read more")


def test_ok__old_clients_get_texts() -> None:
    response = wire.MapResponse()
    add_notices(response, 116, {}, {"work": NOTICE})
    assert response.health == ["Maintenance: Tonight at ten."]
    assert not response.display_messages
    healthy = wire.MapResponse()
    add_notices(healthy, 116, {"work": NOTICE}, {})
    assert healthy.health == []


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        ("1.96.1-t1a2b", wire.ClientVersion(latest_version="1.98.2", urgent_security_update=True)),
        ("1.98.2", wire.ClientVersion(running_latest=True)),
        ("1.100.0", wire.ClientVersion(running_latest=True)),
        ("0.1.0-waypost", None),
        ("", None),
        ("unknown", None),
    ],
)
def test_ok__a_newer_version_is_suggested_to_the_clients_that_it_is_for(
    running: str, expected: wire.ClientVersion | None
) -> None:
    settings = MapSettings(stock=ClientRelease("1.98.2", urgent=True))
    assert client_version(record(hostinfo=wire.Hostinfo(ipn_version=running)), settings) == expected


def test_ok__gateways_have_a_release_of_their_own() -> None:
    settings = MapSettings(stock=ClientRelease("1.98.2"), gateways=ClientRelease("0.2.0", notify_text="Update."))
    note = client_version(record(hostinfo=wire.Hostinfo(ipn_version="0.1.0-waypost")), settings)
    assert note == wire.ClientVersion(latest_version="0.2.0", notify=True, notify_text="Update.")
