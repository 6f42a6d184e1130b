"""The CA file: added to the system's certificates, read anew when it changes, named when it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.magicdns.config import MagicDnsConfig
from plugins.magicdns.errors import CaFileError
from plugins.magicdns.health import health_items
from plugins.magicdns.state import DnsState, UpstreamState
from plugins.magicdns.tests.scripted import certificate_file
from plugins.magicdns.trust import Trust


def test_ok__a_private_authority_beside_the_systems(tmp_path: Path) -> None:
    trust = Trust()
    known = trust.context().cert_store_stats()["x509"]
    trust.set_ca_file(str(certificate_file(tmp_path, "dns.example")))
    assert trust.context().cert_store_stats()["x509"] == known + 1
    assert trust.context() is trust.context()
    assert trust.context("h2") is not trust.context()


def test_ok__a_renewed_file_counts(tmp_path: Path) -> None:
    trust, path = Trust(), tmp_path / "both.pem"
    path.write_text("no certificate")
    trust.set_ca_file(str(path))
    with pytest.raises(CaFileError, match="no certificate in PEM form"):
        trust.context()
    assert trust.problem
    certificate_file(tmp_path, "dns.example")
    trust.set_ca_file(str(path))
    assert trust.context()
    assert not trust.problem


def test_fail__no_file(tmp_path: Path) -> None:
    trust = Trust()
    trust.set_ca_file(str(tmp_path / "none.pem"))
    with pytest.raises(CaFileError, match=r"none\.pem.*no such file"):
        trust.context()


def test_fail__health_says_what_to_mend() -> None:
    state = DnsState(
        MagicDnsConfig(ca_file="/etc/waypost/ca.pem"),
        upstreams=(UpstreamState("tls://dns.example", error="its certificate does not count", untrusted=True),),
        ca_problem="permission denied",
    )
    found = {each.code: each for each in health_items(state)}
    assert "tls://dns.example" in found["dns-upstream-untrusted"].text
    assert "permission denied" in found["dns-ca-file"].text
    assert all("plugins.magicdns.ca_file" in found[code].mend for code in ("dns-upstream-untrusted", "dns-ca-file"))
