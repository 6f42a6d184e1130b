"""The sections of `waypost-control.toml` and their keys; what is wrong is gathered, not only the first of it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from control.cli import config_values as values
from control.policy.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from control.cli.config_values import Parser

SERVER: dict[str, Parser] = {
    "data_dir": values.path,
    "database": values.text,
    "noise_key": values.path,
    "random_addresses": values.flag,
    "listen": values.listen,
    "url": values.text,
    "domain": values.text,
    "tls_cert": values.path,
    "tls_key": values.path,
    "tls_fallback": values.listen_or_none,
    "derp": values.flag,
    "derp_host": values.text,
    "derp_listen": values.listen,
    "derp_region": values.whole(1, 65535),
    "derp_client_rate": values.whole(0, 10**12),
    "derp_total_rate": values.whole(0, 10**12),
    "stun_port": values.whole(0, 65535),
    "policy": values.path,
    "key_expiry": values.life,
    "socket": values.path,
    "log_level": values.level,
}
RECORD: dict[str, Parser] = {"name": values.domain, "type": values.text, "value": values.text}
NOTICE: dict[str, Parser] = {
    "id": values.identifier,
    "title": values.text,
    "text": values.text,
    "severity": values.severity,
    "url": values.url,
    "label": values.text,
}
RELEASE: dict[str, Parser] = {
    "latest": values.version,
    "urgent": values.flag,
    "notify_url": values.url,
    "notify_text": values.text,
}
SECTIONS: dict[str, dict[str, Parser]] = {
    "server": SERVER,
    "dns": {
        "magic": values.flag,
        "nameservers": values.many(values.resolver),
        "override_local": values.flag,
        "use_with_exit_node": values.flag,
        "split": values.mapping(values.domain, values.many(values.resolver)),
        "search": values.many(values.domain),
        "exit_filtered": values.many(values.suffix),
    },
    "derp_map": {
        "urls": values.many(values.url),
        "files": values.many(values.path),
        "refresh": values.interval,
    },
    "clients": RELEASE,
    "gateways": RELEASE,
    "certificates": {"set_dns_command": values.many(values.text)},
    "id_tokens": {"audiences": values.many(values.text)},
    "tls": {
        "acme": values.secure_url,
        "accept_terms": values.flag,
        "names": values.many(values.host),
        "contact": values.many(values.mail_address),
        "challenge": values.challenge,
        "challenge_listen": values.listen,
        "ca_file": values.path,
    },
    "posture": {"countries": values.path},
    "metrics": {"listen": values.listen, "token_file": values.path},
}
LISTS: dict[str, tuple[dict[str, Parser], tuple[str, ...]]] = {
    "dns.records": (RECORD, ("name", "value")),
    "notices": (NOTICE, ("id", "title", "text")),
}
"""`[[…]]` tables: their keys, and those that each entry needs."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """`place` is a key path or a flag."""

    place: str
    text: str
    mend: str


class SectionReader:
    """Reads a parsed TOML document; `problems` holds everything that is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[ConfigProblem] = []

    def read(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Values by section, lists by their dotted name."""
        self._check_names("", document, ("version", *SECTIONS, "notices"))
        found: dict[str, Any] = {}
        for name, keys in SECTIONS.items():
            section = self._section(document, name)
            records = section.pop("records", []) if name == "dns" else []
            found[name] = self._table(f"{name}.", section, keys)
            if name == "tls" and section:
                self._check_authority(section)
            if name == "dns":
                found["dns.records"] = self._list("dns.records", records)
        found["notices"] = self._list("notices", document.get("notices", []))
        return found

    def _section(self, document: Mapping[str, Any], name: str) -> dict[str, Any]:
        section = document.get(name, {})
        if isinstance(section, dict):
            return dict(section)
        self._note(name, f"{name} is not a section", f"write [{name}]")
        return {}

    def _list(self, name: str, entries: Any) -> list[dict[str, Any]]:
        keys, needed = LISTS[name]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self._note(name, f"{name} is not a list of tables", f"write [[{name}]]")
            return []
        tables = [self._table(f"{name}[{number}].", entry, keys) for number, entry in enumerate(entries, 1)]
        for number, table in enumerate(tables, 1):
            missing = [key for key in needed if key not in entries[number - 1]]
            if missing:
                self._note(f"{name}[{number}]", f"{name}[{number}] lacks {', '.join(missing)}", "add it")
            elif name == "dns.records":
                self._check_record(f"{name}[{number}]", table)
        return [table for table in tables if all(key in table for key in needed)]

    def _check_authority(self, section: dict[str, Any]) -> None:
        """An authority is asked for names, and only by somebody who took its terms."""
        for key in ("acme", "names"):
            if not section.get(key):
                self._note(f"tls.{key}", f"tls.{key} is missing", "give the authority's directory URL and the names")
        if section.get("accept_terms") is not True:
            mend = "read the authority's terms and write accept_terms = true"
            self._note("tls.accept_terms", "tls.accept_terms is not set", mend)

    def _check_record(self, place: str, record: dict[str, Any]) -> None:
        kind = record.setdefault("type", "AAAA" if ":" in record.get("value", "") else "A")
        parse = {"A": IPv4Address, "AAAA": IPv6Address}.get(kind)
        try:
            if parse is None:
                raise ValueError
            parse(record.get("value", ""))
        except ValueError:
            mend = "type is A or AAAA, and value an address of that kind"
            self._note(place, f"{place}: {kind} {record.get('value')!r} is no address record", mend)

    def _table(self, place: str, table: Mapping[str, Any], keys: Mapping[str, Parser]) -> dict[str, Any]:
        self._check_names(place, table, keys)
        found = {}
        for name, value in table.items():
            if name not in keys:
                continue
            try:
                found[name] = keys[name](value)
            except ValueError as error:
                self._note(place + name, f"{place}{name}: {value!r} does not fit", str(error))
        return found

    def _check_names(self, place: str, found: Iterable[str], known: Iterable[str]) -> None:
        known = tuple(known)
        for name in found:
            if name not in known:
                mend = did_you_mean(name, known) or f"known here: {', '.join(known)}"
                self._note(place + name, f"{place}{name} is not a setting", mend)

    def _note(self, place: str, text: str, mend: str) -> None:
        self.problems.append(ConfigProblem(place, text, mend))
