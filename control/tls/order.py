"""An order of a certificate as the server sees it: account key, request, the program that talks to the authority."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from appliance.crypto.certificates import SEED_SIZE, CertificatePair, is_pair, private_key, read_pem, signing_request
from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError, DecodeError
from control.tls.files import write_private
from control.tls.sources import TlsError

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.ports.randomness import Randomness

DEFAULT_CHALLENGE_LISTEN = AddrPort("::", 80)
HTTP, TLS_ALPN = "http-01", "tls-alpn-01"
PROGRAM = "control.tls.acme_client"
LIMIT_S = 300.0
MAX_LINE = 1 << 20
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY")
"""Of our environment: a database's password, for one, is none of the program's business."""


class AcmeError(ApplianceError):
    """There is no new certificate."""

    code = "acme"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeSettings:
    """directory: the authority's URL. names: DNS names or IP addresses, the first also the account's common one.

    challenge: http-01 or tls-alpn-01. challenge_listen: where the authority looks at port 80 of the names (http-01); by
    tls-alpn-01 it looks at port 443, which must lead to the front listener. ca_file: who vouches for the
    directory's own TLS; None = the system's authorities.
    """

    directory: str
    names: tuple[str, ...]
    contact: tuple[str, ...] = ()
    challenge: str = HTTP
    challenge_listen: AddrPort = DEFAULT_CHALLENGE_LISTEN
    ca_file: Path | None = None


class AcmeFolder:
    """Files about one authority, for the owner only; another directory URL gets another folder."""

    def __init__(self, data_dir: Path, directory: str) -> None:
        mark = sha256(directory.encode()).hexdigest()[:8]
        self.path = data_dir / "acme" / f"{urlsplit(directory).hostname or 'authority'}-{mark}"

    @property
    def account_key(self) -> Path:
        return self.path / "account.key"

    @property
    def certificate(self) -> Path:
        """Chain and key."""
        return self.path / "certificate.pem"

    @property
    def stand_in(self) -> Path:
        """Self-signed, presented until there is a certificate."""
        return self.path / "stand-in.pem"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    def load_account_key(self, randomness: Randomness) -> bytes:
        """PEM; made at the first call. Raises `TlsError`."""
        try:
            return self.account_key.read_bytes()
        except FileNotFoundError:
            made = private_key(randomness.bytes(SEED_SIZE))
        except OSError as error:
            raise TlsError(f"cannot read {self.account_key}: {error.strerror}", mend="check its owner") from error
        try:
            write_private(self.account_key, made)
        except OSError as error:
            raise TlsError(f"cannot keep {self.account_key}: {error.strerror}", mend="make it writable") from error
        return made


async def order_certificate(
    settings: AcmeSettings,
    account_key: bytes,
    randomness: Randomness,
    publish: Callable[[Mapping[str, str]], None],
    limit_s: float = LIMIT_S,
) -> CertificatePair:
    """A new key and its chain. `publish`: path → body to be shown at port 80 from now on, or by
    tls-alpn-01 name → digest for port 443. Raises `AcmeError`."""
    new_key = private_key(randomness.bytes(SEED_SIZE))
    order = {
        "directory": settings.directory,
        "challenge": settings.challenge,
        "contact": [*settings.contact],
        "account_key": account_key.decode(),
        "request": signing_request(settings.names, new_key).decode(),
        "limit_s": limit_s,
    }
    try:
        async with asyncio.timeout(limit_s):
            chain = await _run(msgspec.json.encode(order), settings.ca_file, publish)
    except TimeoutError:
        raise AcmeError(f"no certificate within {limit_s:.0f} s") from None
    except OSError as error:
        raise AcmeError(f"the order cannot be made: {error.strerror or error}") from error
    return _checked(CertificatePair(chain, new_key), settings.names)


def _checked(pair: CertificatePair, names: tuple[str, ...]) -> CertificatePair:
    """An authority's answer is not believed blindly: what does not fit would replace what works."""
    try:
        if is_pair(pair.certificate_pem, pair.private_key_pem):
            found = {name.lower() for name in read_pem(pair.certificate_pem).names}
            if {name.lower() for name in names} <= found:
                return pair
    except DecodeError as error:
        raise AcmeError("the authority's answer is no certificate") from error
    raise AcmeError("the authority's certificate is not the one that was ordered")


async def _run(order: bytes, ca_file: Path | None, publish: Callable[[Mapping[str, str]], None]) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-W", "ignore", "-m", PROGRAM),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE,
        env=_environment(ca_file),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(order + b"\n")
        while line := await process.stdout.readline():
            said = msgspec.json.decode(line)
            if said.get("error"):
                raise AcmeError(str(said["error"]))
            if said.get("chain"):
                return str(said["chain"]).encode()
            publish(said["publish"])
            process.stdin.write(b"\n")
        raise AcmeError("the program that orders certificates ended without a word; see the lines before this one")
    finally:
        process.stdin.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


def _environment(ca_file: Path | None) -> dict[str, str]:
    trusted = str(ca_file) if ca_file is not None else ssl.get_default_verify_paths().cafile
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**passed, **({"REQUESTS_CA_BUNDLE": trusted} if trusted else {})}
