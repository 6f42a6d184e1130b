"""Pure: from findings to health items and text."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from appliance.api import Finding, HealthItem
from appliance.types.errors import Severity
from appliance.types.findings import FAILED, OK, WARNING

SAID_ELSEWHERE = frozenset({"control", "relay", "firewall", "approvals", "dns"})
"""Core or other plugins raise health items of their own for these."""


def health_items(findings: Sequence[Finding], ignored: Collection[str]) -> tuple[HealthItem, ...]:
    """What is wrong and nobody else says."""
    return tuple(
        HealthItem(each.check, each.text, each.mend, Severity.HIGH if each.state == FAILED else Severity.LOW)
        for each in findings
        if each.state in (FAILED, WARNING) and each.check not in SAID_ELSEWHERE and each.check not in ignored
    )


def report(findings: Sequence[Finding]) -> str:
    """All findings for people."""
    if not findings:
        return "nothing was looked at yet; try again in a minute, or run: waypost doctor"
    lines = []
    for each in findings:
        mend = f" → {each.mend}" if each.mend else ""
        lines.append(f"{each.state:<8} {each.check:<12} {each.text}{mend}")
    return "\n".join(lines)


def well(findings: Sequence[Finding]) -> int:
    return sum(each.state == OK for each in findings)
