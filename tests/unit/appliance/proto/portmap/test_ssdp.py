from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from appliance.proto.portmap.ssdp import (
    ALL,
    GATEWAY_DEVICE,
    MAX_ANSWERS,
    MAX_SIZE,
    Answer,
    encode_search,
    parse_answer,
    ranked,
)
from appliance.types.errors import DecodeError, DecodeReason

VECTORS = json.loads((Path(__file__).parents[4] / "vectors/portmap/messages.json").read_text())["ssdp"]
DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
ANSWER = (
    "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: " + DEVICE + "\r\nUSN: uuid:1::" + DEVICE + "\r\n"
    "EXT:\r\nSERVER: Box/1.0 UPnP/1.1\r\nLOCATION: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n"
).encode()


@pytest.mark.parametrize(("target", "name"), [(ALL, "all"), (GATEWAY_DEVICE, "gateway")])
def test_ok__search_vectors(target: str, name: str) -> None:
    data = encode_search(target)
    assert len(data) == VECTORS[name]["size"]
    assert hashlib.sha256(data).hexdigest().startswith(VECTORS[name]["sha256_begins"])


@pytest.mark.parametrize("data", [ANSWER, ANSWER[:-2], ANSWER[:-4]])
def test_ok__answer_also_without_its_empty_line(data: bytes) -> None:
    found = parse_answer(data)
    assert found == Answer("http://192.168.1.1:5000/rootDesc.xml", "Box/1.0 UPnP/1.1", f"uuid:1::{DEVICE}")


def test_ok__newest_version_first_and_each_description_once() -> None:
    one, two = Answer("http://a/", "s", "uuid:1::igd:1"), Answer("http://b/", "s", "uuid:1::igd:2")
    again = Answer("http://a/", "s", "uuid:1::other:1")
    assert ranked([one, two, again]) == (again, two)
    assert len(ranked(Answer(f"http://{n}/", "", "") for n in range(50))) == MAX_ANSWERS


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (ANSWER.replace(b"InternetGatewayDevice", b"MediaServer"), DecodeReason.BAD_TYPE),
        (ANSWER.replace(b"LOCATION", b"OTHER"), DecodeReason.BAD_VALUE),
        (ANSWER.replace(b"200", b"404"), DecodeReason.BAD_VALUE),
        (ANSWER.replace(b"HTTP/1.1 200 OK", b"NOTIFY * HTTP/1.1"), DecodeReason.BAD_VERSION),
        (ANSWER + b"x" * MAX_SIZE, DecodeReason.TOO_LONG),
    ],
)
def test_fail__other_things(data: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_answer(data)
    assert caught.value.reason == reason
