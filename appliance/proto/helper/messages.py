"""Messages to `waypost-helper`: one JSON object per datagram of a Unix seqpacket socket, one request per connection.

A request is one of a fixed set of verbs, told apart by the field `verb`; unknown verbs, unknown fields and wrong types
are refused. No message carries a path, a command or a secret. What a verb may be used for (which settings, which
values) is the helper's to decide, not this codec's.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal, TypeVar

import msgspec

from appliance.types.errors import DecodeError, DecodeReason

T = TypeVar("T")

MAX_MESSAGE_BYTES = 4096
MAX_NAMESERVERS = 3
"""As many as resolv.conf(5) has."""
MAX_SEARCH = 6
MAX_DOMAINS = 40
"""Names below which alone a resolver is asked; as many as fit into a message."""

_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"

HostLabel = Annotated[str, msgspec.Meta(pattern=rf"\A{_LABEL}\Z", max_length=63)]
"""One DNS label (RFC 1123 section 2.1)."""
Domain = Annotated[str, msgspec.Meta(pattern=rf"\A{_LABEL}(?:\.{_LABEL})*\.?\Z", max_length=254)]
AddressText = Annotated[str, msgspec.Meta(min_length=2, max_length=45)]
"""An IP address without scope, checked by `parse_request`."""
InterfaceName = Annotated[str, msgspec.Meta(pattern=r"\A(?!\.{1,2}\Z)[^/\x00-\x20\x7f]{0,15}\Z")]
SettingKey = Annotated[str, msgspec.Meta(pattern=r"\Anet/[^\x00-\x20\x7f]+\Z", max_length=128)]
"""A path below /proc/sys; slashes part the words, since interface names may hold dots."""
SettingValue = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,2}\Z")]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="verb"):
    """Root of all requests."""


class SetSysctl(Request, frozen=True, tag="set-sysctl"):
    """Set a kernel setting of the helper's list."""

    key: SettingKey
    value: SettingValue


class SetHostname(Request, frozen=True, tag="set-hostname"):
    """Name the machine, now and after a reboot."""

    name: HostLabel


class SetResolver(Request, frozen=True, tag="set-resolver"):
    """Have the host's programs use these nameservers; without any, put back what was before.

    `way`: `image`, a file of the helper's own; `file`, /etc/resolv.conf; `resolved` and `network-manager`, by D-Bus;
    `resolvconf`, that program. `domains`: only names below them, and `interface`: the link that carries the setting
    (way `resolved`).
    """

    nameservers: Annotated[tuple[AddressText, ...], msgspec.Meta(max_length=MAX_NAMESERVERS)] = ()
    search: Annotated[tuple[Domain, ...], msgspec.Meta(max_length=MAX_SEARCH)] = ()
    way: Literal["image", "file", "resolved", "network-manager", "resolvconf"] = "image"
    domains: Annotated[tuple[Domain, ...], msgspec.Meta(max_length=MAX_DOMAINS)] = ()
    interface: InterfaceName = ""


class LoadRelay(Request, frozen=True, tag="load-relay"):
    """Load the relay's program for a UDP port, and hand over program and maps as descriptors beside the reply.

    The program is the helper's own; `mark` goes onto the packets that it sends.
    """

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    mark: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]


class Reboot(Request, frozen=True, tag="reboot"):
    """Restart the machine."""


AnyRequest = SetSysctl | SetHostname | SetResolver | LoadRelay | Reboot


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`code` is "" when the request was carried out; `text` and `mend` are for people."""

    code: Annotated[str, msgspec.Meta(max_length=40)] = ""
    text: Annotated[str, msgspec.Meta(max_length=400)] = ""
    mend: Annotated[str, msgspec.Meta(max_length=400)] = ""


_ENCODER = msgspec.json.Encoder()
_REQUESTS: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)
_REPLIES = msgspec.json.Decoder(Reply)


def encode_message(message: AnyRequest | Reply) -> bytes:
    return _ENCODER.encode(message)


def parse_request(data: bytes) -> AnyRequest:
    """Raises `DecodeError`."""
    request: AnyRequest = _decode(_REQUESTS, data)
    if isinstance(request, SetResolver):
        for text in request.nameservers:
            _check_address(text)
    return request


def parse_reply(data: bytes) -> Reply:
    """Raises `DecodeError`."""
    return _decode(_REPLIES, data)


def verb_of(request: AnyRequest) -> str:
    return str(request.__struct_config__.tag)


def _decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    if len(data) > MAX_MESSAGE_BYTES:
        raise DecodeError(DecodeReason.TOO_LONG)
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise DecodeError(DecodeReason.BAD_VALUE, str(error)[:200]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DecodeError(DecodeReason.BAD_JSON) from None


def _check_address(text: str) -> None:
    try:
        address = ip_address(text)
    except ValueError:
        raise DecodeError(DecodeReason.BAD_VALUE, "not an IP address") from None
    if "%" in text or address.is_unspecified or address.is_multicast:
        raise DecodeError(DecodeReason.BAD_VALUE, "not the address of a nameserver")
