"""Whom resolvers must prove to be: the system's certificates and those of the operator's own authorities."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plugins.magicdns.errors import CaFileError, UntrustedError

_Stamp = tuple[str, int, int]
"""A path, and when and how large the file was written."""


class Trust:
    """`problem` says why the CA file cannot be used; "" while it can, or while nobody needed it."""

    def __init__(self) -> None:
        self.problem = ""
        self._file: _Stamp = ("", 0, 0)
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}

    def set_ca_file(self, path: str) -> None:
        """Called again and again: a file that was renewed counts at once. "" for the system's certificates alone."""
        found = _stamp(path)
        if found != self._file:
            self._file, self.problem = found, ""
            self._contexts.clear()

    def context(self, *protocols: str) -> ssl.SSLContext:
        """For a connection that offers these protocols (ALPN). Raises `CaFileError`."""
        made = self._contexts.get(protocols)
        if made is None:
            made = self._contexts[protocols] = self._made()
            if protocols:
                made.set_alpn_protocols(protocols)
        return made

    def _made(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        path = self._file[0]
        try:
            if path:
                context.load_verify_locations(cafile=path)
        except ssl.SSLError:
            self.problem = "it holds no certificate in PEM form"
        except OSError as error:
            self.problem = (error.strerror or str(error)).lower()
        if self.problem:
            raise CaFileError(f"the CA file {path} cannot be used: {self.problem}")
        return context


def _stamp(path: str) -> _Stamp:
    if not path:
        return "", 0, 0
    try:
        found = Path(path).stat()
    except OSError:
        return path, 0, 0
    return path, found.st_mtime_ns, found.st_size


@contextmanager
def judged() -> Iterator[None]:
    """Raises `UntrustedError` for a certificate that does not count."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise untrusted(error) from None


def untrusted(error: Exception) -> UntrustedError:
    """What the TLS library's error means."""
    reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)
    return UntrustedError(f"its certificate does not count: {reason.rstrip('.')}")
