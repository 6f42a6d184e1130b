"""What an authority gets to see at the TLS port, and who else does not."""

from __future__ import annotations

import pytest
from cryptography import x509

from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.types.errors import DecodeError
from control.tls.alpn_challenge import PROTOCOL, AlpnAnswers, sent_name
from control.tls.client_hello import ClientHello

DIGEST = "ab" * 32


def test_ok__only_the_authority_and_only_while_it_is_expected():
    answers = AlpnAnswers(VirtualClock(), SeededRandomness(1))
    asked = ClientHello("control.example", (PROTOCOL,))
    assert not answers.is_waiting
    assert answers.context_for(asked) is None
    answers.publish({"Control.example": DIGEST, "192.0.2.1": DIGEST})
    assert answers.is_waiting
    assert answers.context_for(asked) is not None
    assert answers.context_for(ClientHello("1.2.0.192.in-addr.arpa", (PROTOCOL,))) is not None
    for other in (
        ClientHello("other.example", (PROTOCOL,)),
        ClientHello("control.example", (b"http/1.1",)),
        ClientHello("control.example", (PROTOCOL, b"http/1.1")),
        ClientHello("control.example", ()),
    ):
        assert answers.context_for(other) is None
    answers.publish({})
    assert answers.context_for(asked) is None


@pytest.mark.parametrize("digest", ["", "zz", "ab"])
def test_fail__no_digest(digest):
    with pytest.raises((DecodeError, ValueError)):
        AlpnAnswers(VirtualClock(), SeededRandomness(1)).publish({"control.example": digest})


def test_ok__names_as_authorities_send_them():
    assert sent_name("Control.Example") == "control.example"
    assert sent_name("192.0.2.1") == "1.2.0.192.in-addr.arpa"
    assert sent_name("2001:db8::1").endswith(".8.b.d.0.1.0.0.2.ip6.arpa")


def test_ok__the_certificate_carries_the_digest():
    from datetime import UTC, datetime, timedelta

    from appliance.crypto.certificates import SEED_SIZE, challenge_certificate

    now = datetime(2026, 1, 1, tzinfo=UTC)
    pair = challenge_certificate("control.example", bytes(range(32)), now, now + timedelta(hours=1), bytes(SEED_SIZE))
    found = x509.load_pem_x509_certificate(pair.certificate_pem)
    extension = found.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    assert extension.critical
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    assert extension.value.value == b"\x04\x20" + bytes(range(32))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["control.example"]
