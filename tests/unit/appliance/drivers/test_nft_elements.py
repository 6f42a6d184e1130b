"""What goes to the kernel itself and what does not; the kernel's answers are in tests/lab/test_filter.py."""

import pytest

from appliance.drivers.nft_elements import SetElements

MADE = """add table inet one
add set inet one v4 { type ipv4_addr . inet_service;  }
add map inet one sources { type ipv4_addr : verdict;  }
add set inet one ranges { type ipv4_addr; flags interval; }
"""


@pytest.mark.parametrize(
    "document",
    [
        "",
        "add table inet one\n",
        "add element inet one ranges { 10.0.0.1 }\n",
        "add element inet one v4 { 10.0.0.1 }\n",
        "add element inet one v4 { 10.0.0.0/8 . 80 }\n",
        "add element inet one v4 { 10.0.0.1 . 80-90 }\n",
        "add element inet one v4 { 10.0.0.1 . 80000 }\n",
        "add element inet one sources { 10.0.0.1 : goto there }\n",
        "add element ip one v4 { 10.0.0.1 . 80 }\n",
        "add element inet one v4 { " + ", ".join(["10.0.0.1 . 80"] * 2000) + " }\n",
    ],
)
def test_fail__not_single_elements_of_a_known_hash_set(document: str) -> None:
    elements = SetElements()
    elements.note(MADE)
    assert not elements.apply(document)


def test_ok__sets_are_known_as_long_as_they_stand() -> None:
    elements = SetElements()
    elements.note(MADE)
    assert set(elements._fields) == {("inet one", "v4"), ("inet one", "sources")}
    elements.note("delete map inet one sources\n")
    assert set(elements._fields) == {("inet one", "v4")}
    elements.note("add table inet one\ndelete table inet one\n")
    assert not elements._fields


def test_ok__bytes_of_a_change() -> None:
    elements = SetElements()
    elements.note(MADE)
    kind, flags, body = elements._message("add element inet one v4 { 10.0.0.1 . 80 }")
    assert (kind, flags) == (0xA0C, 0x400)
    assert (
        body.hex()
        == (
            "01000000"  # family, version, resource
            "08000100" + b"one\0".hex() + "07000200" + b"v4\0\0".hex() + "18000380"  # table, set, elements
            "14000180" + "10000180" + "0c000100" + "0a000001" + "00500000"  # element, key, value: address, port
        )
    )
