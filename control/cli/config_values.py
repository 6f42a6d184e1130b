"""Values of `waypost-control.toml`: each parser takes what TOML gave and raises `ValueError` with the mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from appliance.types.addresses import AddrPort, parse_addr_port
from appliance.types.errors import DecodeError
from control.cli.logs import LEVELS
from control.cli.options import NEVER, parse_duration

Parser = Callable[[Any], Any]

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[^\s]*)?")
_VERSION = re.compile(r"\d{1,6}(\.\d{1,6}){1,3}")
_MAIL = re.compile(r"[^@\s,]{1,64}@[A-Za-z0-9.-]{1,253}")
_ID = re.compile(r"[a-z0-9-]{1,64}")
MAX_ENTRIES = 1000


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("write a string in quotes")
    return value


def path(value: Any) -> Path:
    return Path(text(value))


def listen(value: Any) -> AddrPort:
    try:
        return parse_addr_port(text(value))
    except DecodeError:
        raise ValueError("write an address and a port, as 0.0.0.0:8080 or [::]:8080") from None


def listen_or_none(value: Any) -> AddrPort | None:
    return None if value == "none" else listen(value)


def whole(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise ValueError(f"write a whole number from {low} to {high}")

    return parse


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


def life(value: Any) -> timedelta | None:
    """None = never."""
    seconds = parse_duration(text(value))
    return None if seconds == NEVER else timedelta(seconds=seconds)


def interval(value: Any) -> float:
    """Seconds, at least a minute."""
    seconds = parse_duration(text(value))
    if not 60 <= seconds <= 30 * 86400:
        raise ValueError("write a time from 1m to 30d")
    return seconds


def level(value: Any) -> str:
    if value not in LEVELS:
        raise ValueError(f"write one of {', '.join(LEVELS)}")
    return str(value)


def url(value: Any) -> str:
    if not _URL.fullmatch(text(value)):
        raise ValueError("write a URL as https://host/path")
    return str(value)


def secure_url(value: Any) -> str:
    if not text(value).startswith("https://"):
        raise ValueError("write a URL as https://host/path")
    return url(value)


def host(value: Any) -> str:
    """A DNS name or an IP address, in its usual form."""
    try:
        return str(ip_address(text(value)))
    except ValueError:
        return domain(value)


def mail_address(value: Any) -> str:
    if not _MAIL.fullmatch(text(value)):
        raise ValueError("write a mail address as ops@example.org")
    return str(value)


def domain(value: Any) -> str:
    """A DNS name or suffix in lower case, without dots at its ends."""
    name = text(value).strip(".").lower()
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("write a DNS name as corp.example")
    return name


def suffix(value: Any) -> str:
    """A domain; a leading dot, which means all names below it, stays."""
    return ("." if text(value).startswith(".") else "") + domain(value)


def resolver(value: Any) -> str:
    """An IP address, or an `https://` URL of a resolver."""
    try:
        return str(ip_address(text(value)))
    except ValueError:
        if str(value).startswith("https://") and _URL.fullmatch(str(value)):
            return str(value)
    raise ValueError("write an address as 9.9.9.9 or a URL as https://dns.example/dns-query")


def version(value: Any) -> str:
    if not _VERSION.fullmatch(text(value)):
        raise ValueError("write a version as 1.98.2")
    return str(value)


def challenge(value: Any) -> str:
    if value not in ("http-01", "tls-alpn-01"):
        raise ValueError("write http-01 or tls-alpn-01")
    return str(value)


def severity(value: Any) -> str:
    if value not in ("low", "medium", "high"):
        raise ValueError("write low, medium or high")
    return str(value)


def identifier(value: Any) -> str:
    if not _ID.fullmatch(text(value)):
        raise ValueError("write lower-case letters, digits and -")
    return str(value)


def many(parse: Parser) -> Parser:
    """A list of values."""

    def parse_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > MAX_ENTRIES:
            raise ValueError("write a list in [ ]")
        return tuple(parse(one) for one in value)

    return parse_all


def mapping(parse_name: Parser, parse: Parser) -> Parser:
    """A table of names that the file chooses."""

    def parse_all(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict) or len(value) > MAX_ENTRIES:
            raise ValueError('write a table, as "corp.example" = ["10.0.0.53"]')
        return {parse_name(name): parse(one) for name, one in value.items()}

    return parse_all
