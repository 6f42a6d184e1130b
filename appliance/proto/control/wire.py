"""Base of the wire types, and the JSON conventions of the control protocol (control-protocol spec sections 0 and 21).

Decoding: names match without regard to case, unknown names are ignored, `null` in a field means absent, a `null`
element of a list of objects is dropped. Map keys are data and stay as they are; map values keep their `null`.
Encoding: raw UTF-8, zero values left out. A field with `default_factory` of a scalar is always sent. Fields typed
`... | None` tell absent (None) from present-but-empty.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from appliance.types.errors import DecodeError, DecodeReason

_WORDS = {
    "ace": "ACE", "api": "API", "cap": "Cap", "derp": "DERP", "dns": "DNS", "icmpv4": "ICMPv4", "id": "ID",
    "ids": "IDs", "ip": "IP", "ipn": "IPN", "ips": "IPs", "ipv4": "IPv4", "ipv6": "IPv6", "macs": "MACs", "nl": "NL",
    "os": "OS", "pcp": "PCP", "pmp": "PMP", "ssh": "SSH", "stun": "STUN", "tka": "TKA", "tpm": "TPM", "udp": "UDP",
    "upnp": "UPnP", "url": "URL", "wireguard": "WireGuard", "wol": "WoL",
}  # fmt: skip


def wire_name(attribute: str) -> str:
    """`stable_id` -> `StableID`: the spelling that the protocol uses."""
    return "".join(_WORDS.get(word) or word[:1].upper() + word[1:] for word in attribute.split("_"))


class Wire(msgspec.Struct, rename=wire_name, omit_defaults=True, gc=False, kw_only=True):
    """A JSON object whose zero fields are left out."""


class CamelWire(msgspec.Struct, rename="camel", omit_defaults=True, gc=False, kw_only=True):
    """A JSON object with lower-camel names (SSH policy)."""


W = TypeVar("W", bound=msgspec.Struct)
_Walk = Callable[[Any], Any]

# One encoder for all messages: it keeps no state between calls.
_encode = msgspec.json.Encoder().encode


def encode(message: msgspec.Struct) -> bytes:
    """JSON in raw UTF-8, without white space."""
    return _encode(message)


def decode(kind: type[W], data: bytes | bytearray | memoryview) -> W:
    """Parse one message. Raises `DecodeError` (BAD_JSON) for anything that is not such a message."""
    try:
        return from_plain(kind, msgspec.json.decode(data))
    except RecursionError:
        raise DecodeError(DecodeReason.BAD_JSON, "nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise DecodeError(DecodeReason.BAD_JSON, str(error)[:200]) from None


def from_plain(kind: type[W], plain: Any) -> W:
    """The message from an already parsed JSON value. Raises `DecodeError` (BAD_JSON)."""
    try:
        return msgspec.convert(_struct_walk(kind)(plain), kind, str_keys=True)
    except (msgspec.ValidationError, OverflowError) as error:
        raise DecodeError(DecodeReason.BAD_JSON, str(error)[:200]) from None


@functools.cache
def _struct_walk(kind: type[msgspec.Struct]) -> _Walk:
    """A function that rewrites a parsed object to exact names without nulls; touches only what differs."""
    hints = typing.get_type_hints(kind)
    fields = msgspec.structs.fields(kind)
    names = frozenset(field.encode_name for field in fields)
    folded = {name.lower(): name for name in names}
    children: tuple[tuple[str, _Walk], ...] | None = None

    def walk(value: Any) -> Any:
        nonlocal children
        if type(value) is not dict:
            return value
        if children is None:  # built late: a type may hold itself
            found = ((field.encode_name, _walk_of(hints[field.name])) for field in fields)
            children = tuple((name, child) for name, child in found if child is not None)
        if not value.keys() <= names or None in value.values():
            value = _exact(value, names, folded)
        for name, child in children:
            part = value.get(name)
            if part is not None:
                value[name] = child(part)
        return value

    return walk


def _exact(value: dict[str, Any], names: frozenset[str], folded: dict[str, str]) -> dict[str, Any]:
    """Known names in their exact spelling (which wins over other spellings), nulls and unknown names left out."""
    result: dict[str, Any] = {}
    for name, part in value.items():
        if part is None:
            continue
        if name in names:
            result[name] = part
        else:
            exact = folded.get(name.lower())
            if exact is not None:
                result.setdefault(exact, part)
    return result


def _walk_of(hint: Any) -> _Walk | None:
    """The walk for a field's type; None when nothing inside has names."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _struct_walk(hint)
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is list:
        return _list_walk(_walk_of(arguments[0]))
    if origin is dict:
        return _dict_walk(_walk_of(arguments[1]))
    if origin in (typing.Union, types.UnionType):
        return next((walk for walk in map(_walk_of, arguments) if walk is not None), None)
    return None


def _list_walk(inner: _Walk | None) -> _Walk | None:
    if inner is None:
        return None

    def walk(value: Any) -> Any:
        return [inner(part) for part in value if part is not None] if type(value) is list else value

    return walk


def _dict_walk(inner: _Walk | None) -> _Walk | None:
    if inner is None:
        return None

    def walk(value: Any) -> Any:
        if type(value) is not dict:
            return value
        return {name: None if part is None else inner(part) for name, part in value.items()}

    return walk
