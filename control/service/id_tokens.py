"""Signed statements of who a node is, for third parties (OpenID Connect tokens, ES256)."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from appliance.crypto.signing import SEED_SIZE, TokenKey
from appliance.types.errors import DecodeError, StateError
from control.service.errors import DeniedError, ServiceError
from control.state.files import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.ports.randomness import Randomness
    from control.service.core import Core
    from control.state.records import NodeRecord

KEY_FILE = "id-token.key"
LIFE_S = 300
MAX_AUDIENCE = 256


def load_token_key(file: Path, randomness: Randomness) -> TokenKey:
    """The signing key, made when the file is missing. Raises `StateError`."""
    try:
        if file.exists():
            return TokenKey.from_pem(file.read_bytes())
        made = TokenKey.from_seed(randomness.bytes(SEED_SIZE))
        write_private(file, made.reveal_pem())
    except DecodeError as error:
        raise StateError(f"{file}: {error.text}", mend="restore it from a backup, or move it away") from None
    except OSError as error:
        raise StateError(f"cannot use {file}: {error.strerror}", mend="check the folder and its owner") from error
    return made


class IdTokens:
    """Issues tokens; `audiences` are those that nodes may ask for, `*` = any. Without a key nothing is issued."""

    def __init__(self, core: Core, audiences: tuple[str, ...], key: TokenKey | None) -> None:
        self._core = core
        self._audiences = audiences
        self._key = key
        self._key_id = "" if key is None else _key_id(key)

    @property
    def enabled(self) -> bool:
        return self._key is not None

    def issue(self, node: NodeRecord, audience: str) -> str:
        """The token of this node for this audience. Raises `ServiceError`."""
        key = self._key
        if key is None:
            raise ServiceError("this server issues no tokens", mend="set audiences in [id_tokens] of its config")
        if not audience or len(audience) > MAX_AUDIENCE:
            raise ServiceError("a token needs an audience of at most 256 letters")
        if audience not in self._audiences and "*" not in self._audiences:
            raise DeniedError("this server issues no tokens for this audience", mend="add it to [id_tokens]")
        now = self._core.clock.wall_now()
        if node.is_expired(now):
            raise DeniedError("the node's key has expired", mend="log in again")
        header = {"alg": "ES256", "typ": "JWT", "kid": self._key_id}
        signed = _part(header) + b"." + _part(self._claims(node, audience, int(now.timestamp())))
        return (signed + b"." + _base64(key.sign(signed))).decode()

    def _claims(self, node: NodeRecord, audience: str, now: int) -> dict[str, Any]:
        domain = self._core.settings.domain
        claims: dict[str, Any] = {
            "iss": self._core.settings.url,
            "sub": f"{node.given_name}.{domain}",
            "aud": audience,
            "iat": now,
            "nbf": now,
            "exp": now + LIFE_S,
            "jti": self._core.randomness.bytes(16).hex(),
            "key": str(node.node_key),
            "addresses": [str(prefix) for prefix in node.addresses],
            "nid": node.id,
            "node": node.stable_id,
            "domain": domain,
        }
        user = self._core.owner_of(node)
        if node.tags:
            claims["tags"] = [f"{domain}:{tag}" for tag in node.tags]
        elif user is not None:
            claims |= {"user": f"{domain}:{user.login_name}", "uid": user.id}
        return claims

    def discovery(self) -> dict[str, Any]:
        """`/.well-known/openid-configuration`."""
        issuer = self._core.settings.url
        return {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }

    def key_set(self) -> dict[str, Any]:
        """`/.well-known/jwks.json`."""
        if self._key is None:
            return {"keys": []}
        return {"keys": [{**_public_jwk(self._key), "kid": self._key_id, "use": "sig", "alg": "ES256"}]}


def _public_jwk(key: TokenKey) -> dict[str, str]:
    x, y = key.public_point()
    return {"crv": "P-256", "kty": "EC", "x": _base64(x).decode(), "y": _base64(y).decode()}


def _key_id(key: TokenKey) -> str:
    """The thumbprint of RFC 7638."""
    canonical = json.dumps(_public_jwk(key), separators=(",", ":"), sort_keys=True).encode()
    return _base64(hashlib.sha256(canonical).digest()).decode()


def _part(value: dict[str, Any]) -> bytes:
    return _base64(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
