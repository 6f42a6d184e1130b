"""Writes small files in MaxMind's DB format 2.0: a binary tree over address bits, then the records it points at."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MAP, _TEXT, _UINT16, _UINT32, _UINT64, _ARRAY = 7, 2, 5, 6, 9, 11


def _head(kind: int, size: int) -> bytes:
    assert size < 29
    return bytes([kind << 5 | size]) if kind <= 7 else bytes([size, kind - 7])


def _encode(value: Any) -> bytes:
    if isinstance(value, dict):
        return _head(_MAP, len(value)) + b"".join(_encode(part) for pair in value.items() for part in pair)
    if isinstance(value, str):
        return _head(_TEXT, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(_ARRAY, len(value)) + b"".join(map(_encode, value))
    kind, number = value
    data = number.to_bytes(8, "big").lstrip(b"\0")
    return _head(kind, len(data)) + data


def write_countries(file: Path, networks: Mapping[str, Any]) -> None:
    """A file that knows these networks; IPv4 ones lie below ::/96."""
    nodes: list[list[Any]] = [[None, None]]
    for text, record in networks.items():
        network = ip_network(text)
        length = network.prefixlen + (96 if network.version == 4 else 0)
        bits = int(network.network_address)
        place = nodes[0]
        for depth in range(length - 1):
            side = bits >> (127 - depth) & 1
            if place[side] is None:
                nodes.append([None, None])
                place[side] = len(nodes) - 1
            place = nodes[place[side]]
        place[bits >> (128 - length) & 1] = _encode(record)
    data = bytearray()
    tree = bytearray()
    for pair in nodes:
        for side in pair:
            if isinstance(side, bytes):
                value = len(nodes) + 16 + len(data)
                data += side
            else:
                value = len(nodes) if side is None else side
            tree += value.to_bytes(3, "big")
    metadata = {
        "binary_format_major_version": (_UINT16, 2),
        "binary_format_minor_version": (_UINT16, 0),
        "build_epoch": (_UINT64, 1),
        "database_type": "Test-Country",
        "description": {"en": "countries of a test"},
        "ip_version": (_UINT16, 6),
        "languages": ["en"],
        "node_count": (_UINT32, len(nodes)),
        "record_size": (_UINT16, 24),
    }
    file.write_bytes(bytes(tree) + bytes(16) + bytes(data) + b"\xab\xcd\xefMaxMind.com" + _encode(metadata))
