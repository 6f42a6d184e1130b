"""The guard of an exit in use, kept on disk, so that a boot closes the host before its network is up.

The table needs no process but does not outlive the kernel. `waypostd --restore-guard` loads it again; systemd runs that
before `network-pre.target`, and the daemon takes the table over, or removes it, when it starts.
"""

from __future__ import annotations

import structlog

from appliance.config.schema import Config
from appliance.drivers.nftables import apply_now
from appliance.localapi.server import refuse_if_served
from appliance.ports.store import StateStore
from appliance.state.files import FileStore
from appliance.types.errors import StateError

DOCUMENT = "exit-guard.nft"

log = structlog.get_logger("waypostd")


def keep_guard(store: StateStore, document: str) -> None:
    """Replace what a boot loads; "" forgets it. A full disk is no reason to refuse an exit: it is logged."""
    try:
        if not document:
            store.delete(DOCUMENT)
        elif store.read(DOCUMENT) != document.encode():
            store.write(DOCUMENT, document.encode())
    except StateError as error:
        log.error("the guard of the exit is not kept for the next boot", error=error.text, mend=error.mend)


def restore_guard(config: Config) -> None:
    """`waypostd --restore-guard`. Raises `ApplianceError`."""
    refuse_if_served(config.daemon.socket)
    document = FileStore(config.daemon.state_dir).read(DOCUMENT)
    if document is None:
        return
    apply_now(document.decode())
    log.info("nothing leaves past the exit from now on")
