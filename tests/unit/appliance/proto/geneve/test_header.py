"""Geneve header against the vectors of magicsock-disco spec 7."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.proto.geneve import MAX_VNI, PROTOCOL_DISCO, GeneveHeader, encode_header, parse_header
from appliance.types.errors import DecodeError, DecodeReason

VECTORS = json.loads((Path(__file__).parents[4] / "vectors/geneve/header.json").read_text(encoding="utf-8"))["headers"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["bytes"])
def test_ok__vector(vector: dict[str, Any]) -> None:
    header = GeneveHeader(vector["protocol"], vector["vni"], vector["control"])
    assert encode_header(header).hex() == vector["bytes"]
    assert parse_header(bytes.fromhex(vector["bytes"]) + b"payload") == header


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("00007a110001c8", DecodeReason.TOO_SHORT),
        ("40007a110001c800", DecodeReason.BAD_VERSION),
        ("01007a110001c800", DecodeReason.BAD_VALUE),
        ("00407a110001c800", DecodeReason.BAD_VALUE),
        ("00007a110001c801", DecodeReason.BAD_VALUE),
        ("000065580001c800", DecodeReason.BAD_TYPE),
    ],
)
def test_fail__refused(header: str, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_header(bytes.fromhex(header))
    assert caught.value.reason is reason


def test_fail__vni_out_of_range() -> None:
    assert encode_header(GeneveHeader(PROTOCOL_DISCO, MAX_VNI))[4:7] == b"\xff\xff\xff"
    with pytest.raises(ValueError, match="24 bits"):
        encode_header(GeneveHeader(PROTOCOL_DISCO, MAX_VNI + 1))
