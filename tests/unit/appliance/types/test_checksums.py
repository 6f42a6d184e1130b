from __future__ import annotations

import pytest

from appliance.types.checksums import checksum, ones_sum
from tests.contract.packets import reference_sum


@pytest.mark.parametrize("data", [b"\x00\x01", b"\xff\xff\xff\xfe\x01", bytes(range(256)), b"\x01"])
def test_ok__sums_agree_with_the_long_way(data: bytes) -> None:
    assert ones_sum(data) == reference_sum(data) % 65535
    field = checksum(ones_sum(data))
    assert reference_sum(data + bytes(len(data) % 2) + field.to_bytes(2, "big")) == 0xFFFF
