import struct

import pytest

from appliance.drivers.netlink_messages import attribute, attributes, check, messages, nested
from appliance.types.errors import DecodeError


def test_ok__layout_of_attributes() -> None:
    assert attribute(2, b"wg\0") == b"\x07\0\x02\0wg\0\0"
    assert list(attributes(attribute(2, b"wg\0") + nested(3, b"ab"))) == [(2, b"wg\0"), (3, b"ab")]
    assert list(attributes(b"\0\0")) == []


@pytest.mark.parametrize("head", [b"\3\0\1\0", b"\x09\0\1\0"])
def test_fail__length_of_an_attribute(head: bytes) -> None:
    with pytest.raises(DecodeError):
        list(attributes(head))


def test_ok__acknowledgements() -> None:
    check(struct.pack("=i", 0))
    check(b"")
    with pytest.raises(FileExistsError):
        check(struct.pack("=i", -17))


def test_ok__messages_of_a_datagram() -> None:
    first = struct.pack("=IHHII", 19, 5, 0, 7, 0) + b"abc\0"
    assert list(messages(first + struct.pack("=IHHII", 16, 3, 0, 8, 0))) == [(7, 5, b"abc"), (8, 3, b"")]
    assert list(messages(first[:10])) == list(messages(bytes(16))) == []
