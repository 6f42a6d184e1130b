"""mac1, mac2 and cookies: proof of the key before any work, proof of the address under load (paper 5.4.4, 5.4.7)."""

from __future__ import annotations

from appliance.crypto.aead import XNONCE_SIZE, xopen, xseal
from appliance.crypto.hashes import blake2s, equal, mac16
from appliance.proto.wireguard.messages import MAC_SIZE, CookieReply
from appliance.proto.wireguard.settings import Randomness, Settings
from appliance.proto.wireguard.source import Source, cookie_bytes
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import NodePublicKey

_NO_MAC = bytes(MAC_SIZE)


def mac1_key(public: NodePublicKey) -> bytes:
    return blake2s(b"mac1----", public.raw)


def cookie_key(public: NodePublicKey) -> bytes:
    return blake2s(b"cookie--", public.raw)


class CookieChecker:
    """The receiving side: checks macs made for our static key and gives cookies."""

    __slots__ = ("_cookie_key", "_mac1_key", "_made_at", "_random", "_secret", "_settings")

    def __init__(self, public: NodePublicKey, settings: Settings, random: Randomness) -> None:
        self._mac1_key = mac1_key(public)
        self._cookie_key = cookie_key(public)
        self._settings = settings
        self._random = random
        self._secret = b""
        self._made_at = 0.0

    def mac1_ok(self, message: bytes) -> bool:
        return equal(mac16(self._mac1_key, message[: -2 * MAC_SIZE]), message[-2 * MAC_SIZE : -MAC_SIZE])

    def mac2_ok(self, message: bytes, source: Source, now: float) -> bool:
        if not self._secret or now - self._made_at >= self._settings.cookie_secret_s:
            return False
        cookie = mac16(self._secret, cookie_bytes(source))
        return equal(mac16(cookie, message[:-MAC_SIZE]), message[-MAC_SIZE:])

    def create_reply(self, message: bytes, receiver_index: int, source: Source, now: float) -> CookieReply:
        """A cookie for the sender of `message`, whose mac1 was right."""
        if not self._secret or now - self._made_at >= self._settings.cookie_secret_s:
            self._secret, self._made_at = self._random.bytes(32), now
        nonce = self._random.bytes(XNONCE_SIZE)
        cookie = mac16(self._secret, cookie_bytes(source))
        mac1 = message[-2 * MAC_SIZE : -MAC_SIZE]
        return CookieReply(receiver_index, nonce, xseal(self._cookie_key, nonce, cookie, mac1))


class CookieJar:
    """The sending side toward one peer: adds macs and keeps the cookie that the peer gave."""

    __slots__ = ("_cookie", "_cookie_at", "_cookie_key", "_last_mac1", "_mac1_key", "_settings")

    def __init__(self, public: NodePublicKey, settings: Settings) -> None:
        self._mac1_key = mac1_key(public)
        self._cookie_key = cookie_key(public)
        self._settings = settings
        self._last_mac1 = b""
        self._cookie = b""
        self._cookie_at = 0.0

    def add_macs(self, message: bytes, now: float) -> bytes:
        """`message` with its two mac fields filled."""
        body = message[: -2 * MAC_SIZE]
        mac1 = mac16(self._mac1_key, body)
        self._last_mac1 = mac1
        if not self._cookie or now - self._cookie_at >= self._settings.cookie_valid_s:
            return body + mac1 + _NO_MAC
        return body + mac1 + mac16(self._cookie, body, mac1)

    def receive_reply(self, reply: CookieReply, now: float) -> None:
        """Keep the cookie for the next retry. Raises `DecodeError` when it does not answer our last message."""
        if not self._last_mac1:
            raise DecodeError(DecodeReason.UNEXPECTED, "cookie reply")
        self._cookie = xopen(self._cookie_key, reply.nonce, reply.sealed_cookie, self._last_mac1)
        self._cookie_at = now
        self._last_mac1 = b""
