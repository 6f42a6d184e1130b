"""What fuzzing starts from: the protocol vectors, and every input that once broke something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
FINDINGS = VECTORS / "fuzz"


def _hex_strings(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _hex_strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _hex_strings(part)
    elif isinstance(value, str) and len(value) % 2 == 0:
        try:
            yield bytes.fromhex(value)
        except ValueError:
            return


def vectors(protocol: str) -> list[bytes]:
    """Every hexadecimal value of a protocol's vector files."""
    found: list[bytes] = []
    for path in sorted((VECTORS / protocol).glob("*.json")):
        found.extend(_hex_strings(json.loads(path.read_text())))
    return list(dict.fromkeys(found))


def findings(target: str) -> list[bytes]:
    """Inputs of `tests/vectors/fuzz/<target>.json`: each broke the target once."""
    path = FINDINGS / f"{target}.json"
    if not path.exists():
        return []
    return [bytes.fromhex(entry["input"]) for entry in json.loads(path.read_text())["inputs"]]
