"""An order: what goes to the program, what may come back, and what an authority that is not there looks like.

The good case is tests/lab/test_acme.py, against a real authority.
"""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.crypto.certificates import CertificatePair, private_key, self_signed
from appliance.ports.randomness import SeededRandomness
from control.tls import acme_client
from control.tls.order import AcmeError, AcmeFolder, AcmeSettings, _checked, order_certificate
from tests.lab.control_process import free_port

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_ok__files_of_an_authority_are_for_the_owner(tmp_path: Path) -> None:
    folder = AcmeFolder(tmp_path, "https://authority.example/dir")
    first = folder.load_account_key(SeededRandomness(1))
    assert folder.load_account_key(SeededRandomness(2)) == first
    assert folder.account_key.stat().st_mode & 0o777 == 0o600
    assert AcmeFolder(tmp_path, "https://authority.example/other").path != folder.path
    assert folder.path.name.startswith("authority.example-")


@pytest.mark.timeout(60)
async def test_fail__no_authority_there(tmp_path: Path) -> None:
    shown: list[object] = []
    settings = AcmeSettings(directory=f"https://127.0.0.1:{free_port()}/dir", names=("control.example",))
    with pytest.raises(AcmeError) as error:
        await order_certificate(settings, private_key(b"\x01" * 48), SeededRandomness(1), shown.append)
    assert "refused" in error.value.text
    assert not shown


@pytest.mark.timeout(60)
async def test_fail__too_slow(tmp_path: Path) -> None:
    settings = AcmeSettings(directory="https://192.0.2.1/dir", names=("control.example",))
    with pytest.raises(AcmeError) as error:
        await order_certificate(settings, private_key(b"\x01" * 48), SeededRandomness(1), lambda _: None, limit_s=0.05)
    assert "within" in error.value.text


def test_fail__an_answer_that_does_not_fit_is_refused() -> None:
    pair = self_signed(["control.example"], NOW, NOW + timedelta(days=9), b"\x01" * 48)
    assert _checked(pair, ("control.example",)) is pair
    wrong = [
        (pair, ("control.example", "other.example")),
        (CertificatePair(pair.certificate_pem, private_key(b"\x02" * 48)), ("control.example",)),
        (CertificatePair(b"<html>", pair.private_key_pem), ("control.example",)),
    ]
    for answer, names in wrong:
        with pytest.raises(AcmeError):
            _checked(answer, names)


@pytest.mark.parametrize("line", [b"", b"{}\n", b"\xff\n", b'{"directory": 1}\n'])
def test_fail__the_program_answers_nonsense_with_an_error(line: bytes) -> None:
    said = io.BytesIO()
    assert acme_client.main(io.BytesIO(line), said) == 1
    assert json.loads(said.getvalue())["error"]
