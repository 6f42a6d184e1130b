"""Fields of certificates, against the library that made them; hostile bytes."""

from datetime import UTC, datetime

import pytest

from appliance.drivers.certificates import parse_certificate
from appliance.types.errors import DecodeError
from tests.unit.appliance.drivers.certs import make


def test_ok__fields(tmp_path):
    _, der = make(tmp_path, "derpkey0123", ("a.example", "*.b.example", "192.0.2.1", "2001:db8::1"))
    fields = parse_certificate(der)
    assert fields.common_name == "derpkey0123"
    assert fields.names == ("a.example", "*.b.example", "192.0.2.1", "2001:db8::1")
    assert fields.not_before < datetime.now(UTC) < fields.not_after


def test_ok__names_match(tmp_path):
    fields = parse_certificate(make(tmp_path, names=("a.example", "*.b.example", "192.0.2.1"))[1])
    assert [fields.is_for(name) for name in ("A.example", "x.b.example", "192.0.2.1", "a.example.")] == [True] * 4
    assert [fields.is_for(name) for name in ("x.a.example", "x.y.b.example", "b.example", "192.0.2.2", "")] == [
        False
    ] * 5


def test_ok__no_names(tmp_path):
    assert parse_certificate(make(tmp_path, names=())[1]).names == ()


def test_fail__truncated_at_every_byte(tmp_path):
    _, der = make(tmp_path)
    for size in range(len(der)):
        with pytest.raises(DecodeError):
            parse_certificate(der[:size])
