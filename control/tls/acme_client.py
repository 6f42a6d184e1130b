"""The program that orders one certificate by ACME (RFC 8555): `python -m control.tls.acme_client`.

The library is synchronous and large; so it lives for the time of an order only. Standard input: one JSON line with an
`Order`, later one empty line when the answers are public. Standard output: JSON lines, each a `Said`. Secrets travel
through these pipes alone.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
from acme import challenges, client, errors, messages
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWK

if TYPE_CHECKING:
    import requests

USER_AGENT = "waypost-control"
REQUEST_TIMEOUT_S = 30
NONCE_ROUNDS = 10
MAX_TEXT = 500


@challenges.ChallengeResponse.register
class TlsAlpnResponse(challenges.KeyAuthorizationChallengeResponse):
    """RFC 8737, which the library left to others."""

    typ = "tls-alpn-01"


@challenges.Challenge.register
class TlsAlpn(challenges.KeyAuthorizationChallenge):
    """RFC 8737 section 3."""

    response_cls = TlsAlpnResponse
    typ = "tls-alpn-01"

    def validation(self, account_key: JWK, **_: Any) -> str:
        """What the certificate must carry, 64 hex digits."""
        return hashlib.sha256(self.key_authorization(account_key).encode()).hexdigest()


class Order(msgspec.Struct, kw_only=True):
    """directory: URL. challenge: http-01 or tls-alpn-01. contact: mail addresses. account_key, request: PEM.
    limit_s: for everything after the answers.
    """

    directory: str
    challenge: str
    contact: list[str]
    account_key: str
    request: str
    limit_s: float


class Said(msgspec.Struct, kw_only=True, omit_defaults=True):
    """publish: path → body that port 80 of the names must show, or name → digest for port 443. chain: PEM, leaf first.
    error: why there is none.
    """

    publish: dict[str, str] | None = None
    chain: str = ""
    error: str = ""


class Network(client.ClientNetwork):
    """Asks again when a nonce is refused (RFC 8555 section 6.5); the library does so only once per request."""

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(NONCE_ROUNDS - 1):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)


def obtain(order: Order, publish: Callable[[dict[str, str]], None]) -> str:
    """The chain; `publish` returns when the answers are public. Raises `acme.errors.Error`, OSError, ValueError."""
    key = JWK.load(order.account_key.encode())
    network = Network(key, alg=ES256, user_agent=USER_AGENT, timeout=REQUEST_TIMEOUT_S)
    server = client.ClientV2(client.ClientV2.get_directory(order.directory, network), network)
    _log_in(server, order.contact)
    placed = server.new_order(order.request.encode())
    open_ones = [one for one in placed.authorizations if one.body.status != messages.STATUS_VALID]
    waiting = [(one.body.identifier.value, _challenge(one, order.challenge)) for one in open_ones]
    publish(dict(_answer(name, one.chall, key) for name, one in waiting))
    for _, one in waiting:
        server.answer_challenge(one, one.chall.response(key))
    deadline = datetime.now() + timedelta(seconds=order.limit_s)  # noqa: DTZ005  # the library compares with naive local time
    return str(server.poll_and_finalize(placed, deadline).fullchain_pem)


def _log_in(server: client.ClientV2, contact: list[str]) -> None:
    """The account of this key, made when the authority does not know it yet."""
    wanted = messages.NewRegistration(
        contact=tuple(f"mailto:{address}" for address in contact), terms_of_service_agreed=True
    )
    try:
        server.new_account(wanted)
    except errors.ConflictError as known:
        body = messages.Registration(contact=wanted.contact)
        server.net.account = messages.RegistrationResource(body=body, uri=known.location)


def _challenge(authorization: messages.AuthorizationResource, kind: str) -> messages.ChallengeBody:
    for one in authorization.body.challenges:
        if one.chall.typ == kind:
            return one
    raise errors.ClientError(f"{authorization.body.identifier.value}: the authority offers no {kind}")


def _answer(name: str, challenge: challenges.HTTP01 | TlsAlpn, key: JWK) -> tuple[str, str]:
    """Where the authority will look, and what it must find there."""
    place = challenge.path if isinstance(challenge, challenges.HTTP01) else name
    return place, challenge.validation(key)


def reason(error: Exception) -> str:
    """What an authority or the network said, for people."""
    if isinstance(error, errors.ValidationError):
        failed = chain.from_iterable(one.body.challenges for one in error.failed_authzrs)
        texts = [str(one.error.detail) for one in failed if one.error is not None]
        return "; ".join(texts) or "the authority could not validate the names"
    if isinstance(error, messages.Error):
        return str(error.detail or error.description or error.typ)
    if isinstance(error, errors.TimeoutError):
        return "the authority did not decide in time"
    if isinstance(error, OSError):  # the library wraps it twice, with addresses of its own objects
        cause = getattr(error.args[0], "reason", error) if error.args else error
        return f"the authority cannot be reached: {str(cause).rpartition('): ')[2]}"
    return str(error) or type(error).__name__


def main(source: BinaryIO, target: BinaryIO) -> int:
    """One order from `source`, what is said about it to `target`. The exit code."""

    def say(said: Said) -> None:
        target.write(msgspec.json.encode(said) + b"\n")
        target.flush()

    def publish(answers: dict[str, str]) -> None:
        say(Said(publish=answers))
        if not source.readline():
            raise ValueError("the server that wanted the certificate is gone")

    try:
        order = msgspec.json.decode(source.readline(), type=Order)
        say(Said(chain=obtain(order, publish)))
    except (errors.Error, JoseError, OSError, ValueError, KeyError, AttributeError) as error:
        say(Said(error=reason(error)[:MAX_TEXT]))  # an authority's answers may have any form
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer, sys.stdout.buffer))
