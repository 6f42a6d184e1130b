"""Prometheus text exposition format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "waypost_"
_NOT_A_NAME = re.compile(r"[^a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Sample:
    """`name` is cleaned and gets the prefix where it lacks it; `kind` is counter or gauge."""

    name: str
    value: float
    help: str = ""
    kind: str = "gauge"
    labels: Mapping[str, Any] = field(default_factory=dict)


def exposition(samples: Iterable[Sample]) -> str:
    """All samples, those of one name together."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        families.setdefault(_name(sample.name), []).append(sample)
    lines: list[str] = []
    for name, family in sorted(families.items()):
        if family[0].help:
            lines.append(f"# HELP {name} {_escaped(family[0].help)}")
        lines.append(f"# TYPE {name} {family[0].kind}")
        lines += [f"{name}{_labels(sample.labels)} {_number(sample.value)}" for sample in family]
    return "".join(f"{line}\n" for line in lines)


def _name(name: str) -> str:
    clean = _NOT_A_NAME.sub("_", name.lower())
    return clean if clean.startswith(PREFIX) else PREFIX + clean


def _labels(labels: Mapping[str, Any]) -> str:
    if not labels:
        return ""
    pairs = ",".join(
        f'{_NOT_A_NAME.sub("_", name.lower())}="{_escaped(str(value), quote=True)}"' for name, value in labels.items()
    )
    return f"{{{pairs}}}"


def _escaped(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quote else text


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
