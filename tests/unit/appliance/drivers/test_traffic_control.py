"""Messages of tc as bytes; what they do is shown by tests/lab/test_kernel_relay.py."""

import errno
import socket
import struct

import pytest

from appliance.drivers import traffic_control
from appliance.drivers.netlink_messages import HEADER, attribute, message, messages, nested
from appliance.drivers.traffic_control import PRIORITY, Filter, parse_filter, place

ALL = socket.htons(3)


def dumped(handle=1, name=b"waypost_relay\0", kind=b"bpf\0"):
    """A filter as the kernel tells it (linux/rtnetlink.h struct tcmsg)."""
    head = struct.pack("=BxxxiIII", 0, 7, handle, 0xFFFFFFF2, PRIORITY << 16 | ALL)
    return head + attribute(1, kind) + nested(2, attribute(6, bytes(4)) + attribute(7, name))


def test_ok__a_request_names_device_place_and_priority():
    where = place(7, 1, 0xFFFFFFF2, PRIORITY << 16 | ALL)
    whole = message(44, 0x405, 1, where + attribute(1, b"bpf\0"))
    ((_, kind, payload),) = messages(whole)
    assert kind == 44
    assert struct.unpack_from("=BxxxiIII", payload) == (0, 7, 1, 0xFFFFFFF2, PRIORITY << 16 | ALL)
    assert HEADER.unpack_from(whole)[2] == 0x405


def test_ok__a_filter_of_a_dump():
    assert list(parse_filter(dumped())) == [Filter("bpf", "waypost_relay", 1, PRIORITY << 16 | ALL)]


def test_ok__the_entry_of_a_chain_is_no_filter():
    assert list(parse_filter(dumped(handle=0))) == []


def test_ok__a_kernel_without_traffic_control_has_nothing_of_ours(monkeypatch):
    def refuse(kernel, index, parent):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(traffic_control, "_filters", refuse)
    assert not traffic_control.detach(1, "waypost_relay")


def test_fail__another_refusal_is_told(monkeypatch):
    def refuse(kernel, index, parent):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(traffic_control, "_filters", refuse)
    with pytest.raises(PermissionError):
        traffic_control.detach(1, "waypost_relay")


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_fail__cut_short(cut):
    for found in parse_filter(dumped()[:cut]):
        assert found.name == ""
