"""TLS identity of the server: kept, renewed, refused with a mend (derp spec 1.3, 5.4)."""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.crypto.certificates import read_der, self_signed
from appliance.crypto.x25519 import public_key
from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.types.keys import DerpPrivateKey
from control.tls import ServerTls, TlsError

KEY = public_key(DerpPrivateKey(b"\x20" * 32))
DAY = 86400.0


def make(file: Path, clock: VirtualClock, *names: str, seed: int = 1) -> ServerTls:
    return ServerTls.self_signed(file, names or ("127.0.0.1",), clock, SeededRandomness(seed), KEY)


async def presented(tls: ServerTls) -> list[bytes]:
    """DER of what a client is shown."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls.context)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2], ssl=client)
    tls_object = writer.get_extra_info("ssl_object")
    chain = getattr(tls_object, "get_unverified_chain", None) or tls_object._sslobj.get_unverified_chain
    ders = [c if isinstance(c, bytes) else ssl.PEM_cert_to_DER_cert(c.public_bytes()) for c in chain()]
    await reader.read()
    writer.close()
    server.close()
    await server.wait_closed()
    return ders


async def test_ok__pinned_leaf_and_meta_certificate_are_shown(tmp_path: Path) -> None:
    clock = VirtualClock()
    tls = make(tmp_path / "derp.pem", clock)
    leaf, meta = [read_der(der) for der in await presented(tls)]
    assert leaf.sha256 == tls.pin_sha256
    assert tls.cert_name == f"sha256-raw:{leaf.sha256}"
    assert leaf.names == ("127.0.0.1",)
    assert leaf.not_after - leaf.not_before <= timedelta(days=365)
    assert (meta.common_name, meta.serial) == (f"derpkey{KEY.raw.hex()}", 2)


def test_ok__kept_over_restarts_for_the_owner_only(tmp_path: Path) -> None:
    file, clock = tmp_path / "new" / "derp.pem", VirtualClock()
    pin = make(file, clock).pin_sha256
    assert file.stat().st_mode & 0o777 == 0o600
    assert make(file, clock, seed=2).pin_sha256 == pin


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_ok__made_anew_when_damaged_or_for_other_names(tmp_path: Path, damage: bytes | None) -> None:
    file, clock = tmp_path / "derp.pem", VirtualClock()
    pin = make(file, clock).pin_sha256
    if damage is None:
        assert make(file, clock, "127.0.0.1", "derp.example", seed=2).pin_sha256 != pin
    else:
        file.write_bytes(damage)
        assert make(file, clock, seed=2).pin_sha256 != pin


async def test_ok__renewed_in_place_before_it_ends(tmp_path: Path) -> None:
    clock = VirtualClock()
    tls = make(tmp_path / "derp.pem", clock)
    pin, end = tls.pin_sha256, tls.not_after
    clock.advance(300 * DAY)
    assert not tls.refresh()
    meta = read_der((await presented(tls))[1])
    assert meta.not_after > clock.wall_now() + timedelta(days=20)
    clock.advance(40 * DAY)
    assert tls.refresh()
    assert tls.pin_sha256 != pin
    assert tls.not_after > end
    assert read_der((await presented(tls))[0]).sha256 == tls.pin_sha256


async def test_ok__files_are_read_again_when_replaced(tmp_path: Path) -> None:
    clock = VirtualClock()
    files = tmp_path / "cert.pem", tmp_path / "key.pem"

    def place(seed: int) -> None:
        pair = self_signed(
            ["control.example"], clock.wall_now(), clock.wall_now() + timedelta(days=9), bytes((seed,)) * 48
        )
        files[0].write_bytes(pair.certificate_pem)
        files[1].write_bytes(pair.private_key_pem)

    place(1)
    tls = ServerTls.from_files(*files, clock, SeededRandomness(1))
    assert tls.cert_name == ""
    assert not tls.refresh()
    place(2)
    assert tls.refresh()
    assert [read_der(der).sha256 for der in await presented(tls)] == [tls.pin_sha256]


def test_fail__files(tmp_path: Path) -> None:
    clock = VirtualClock()
    one, two = (
        self_signed(["a.example"], clock.wall_now(), clock.wall_now() + timedelta(days=9), bytes((s,)) * 48)
        for s in (1, 2)
    )
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    with pytest.raises(TlsError, match="cannot read"):
        ServerTls.from_files(cert, key, clock, SeededRandomness(1))
    cert.write_bytes(one.certificate_pem)
    key.write_bytes(two.private_key_pem)
    with pytest.raises(TlsError, match="is not the key of"):
        ServerTls.from_files(cert, key, clock, SeededRandomness(1))
    key.write_bytes(b"nonsense")
    with pytest.raises(TlsError, match="no PEM certificate") as caught:
        ServerTls.from_files(cert, key, clock, SeededRandomness(1))
    assert caught.value.mend


def test_fail__folder_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TlsError, match="cannot keep"):
        make(tmp_path / "file" / "derp.pem", VirtualClock())
