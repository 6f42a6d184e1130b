"""How a certificate and its key get into the TLS library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


def load_pair(context: ssl.SSLContext, pem: bytes) -> None:
    """The library reads files only: give it one in memory, so that no copy of the key touches a disk.

    Raises `ssl.SSLError`.
    """
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
