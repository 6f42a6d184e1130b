"""The country of an address, by a file in MaxMind's DB format that the administrator gives (policy spec 1.9).

Whose file it is does not matter as long as its records name an ISO 3166-1 code the way country files do:
`country.iso_code`, or `country_code` or `country` as a plain text.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

import maxminddb
import structlog

from appliance.types.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_CODE = re.compile(r"[A-Z]{2}")
_log = structlog.get_logger(__name__)


class Countries:
    """Raises `ConfigError` when the file cannot be used; a file that goes bad later is said in the log, not used."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._mark = self._mark_now()
        self._reader = self._open()

    def _mark_now(self) -> tuple[int, int, int]:
        try:
            stat = self._file.stat()
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from error
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _open(self) -> maxminddb.Reader:
        try:
            return maxminddb.open_database(self._file)
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from error
        except (maxminddb.InvalidDatabaseError, ValueError) as error:
            raise self._refused(str(error)) from error

    def _refused(self, reason: str) -> ConfigError:
        mend = "give a country file in MaxMind DB format (.mmdb) that the server may read"
        return ConfigError(f"posture.countries: cannot use {self._file}: {reason}", mend=mend)

    def refresh(self) -> None:
        """Take up a replaced file. One that cannot be used leaves the former in force."""
        try:
            mark = self._mark_now()
            if mark == self._mark:
                return
            self._mark, self._reader = mark, self._open()
        except ConfigError as error:
            _log.error("the former country file stays in use", error=error.line())

    def country(self, address: str) -> str | None:
        """ISO 3166-1 alpha-2 code, in capitals; None = the file does not know, or the address is none."""
        try:
            found = self._reader.get(ip_address(address))
        except ValueError:
            return None
        except maxminddb.InvalidDatabaseError as error:
            _log.error("the country file is damaged", error=str(error))
            return None
        code = _code_in(found)
        return code if code is not None and _CODE.fullmatch(code) else None


def _code_in(record: object) -> str | None:
    """The code in a record, which is whatever the file's author wrote."""
    if not isinstance(record, dict):
        return None
    country = record.get("country")
    for code in (country.get("iso_code") if isinstance(country, dict) else country, record.get("country_code")):
        if isinstance(code, str):
            return code.upper()
    return None
