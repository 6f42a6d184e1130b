"""The DERP map that nodes get: the embedded relay's region and regions from files and URLs, kept fresh.

A source that fails keeps what it gave last, also over a restart: the answer of a URL is kept in the data folder.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import aiohttp
import structlog

from appliance.proto.control import convert
from appliance.proto.control import messages as wire
from appliance.types.errors import ApplianceError, ConfigError, ControlError, DecodeError
from appliance.types.netmap import DerpMap
from control.state.files import write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from appliance.types.ids import RegionId
    from appliance.types.netmap import DerpRegion

log = structlog.get_logger("control.derp_map")

TIMEOUT_S = 20.0
MAX_BYTES = 4 << 20


def parse_derp_map(data: bytes, source: str) -> DerpMap:
    """The JSON form of the wire. Raises `ConfigError` naming the source; a map without regions is an error."""
    try:
        found = convert.derp_map(wire.decode(wire.DerpMap, data))
    except DecodeError as error:
        raise ConfigError(f"{source}: no DERP map: {error.text}", mend="it must be JSON with Regions") from None
    if not found.regions:
        raise ConfigError(f"{source}: the DERP map has no usable region", mend="it must be JSON with Regions")
    return found


def read_derp_file(path: Path) -> DerpMap:
    """Raises `ConfigError`."""
    try:
        return parse_derp_map(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"cannot read the DERP map {path}: {error.strerror}", mend="check the path") from error


async def fetch_derp_map(url: str) -> bytes:
    """The body of the URL, checked to be a DERP map. Raises `ApplianceError`."""
    limits = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=limits) as session, session.get(url, max_redirects=3) as response:
            body = await response.content.read(MAX_BYTES + 1)
            while len(body) <= MAX_BYTES and (more := await response.content.read(MAX_BYTES)):
                body += more
            status = response.status
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ControlError(f"{url} does not answer: {error or type(error).__name__}") from error
    if status != 200 or len(body) > MAX_BYTES:
        raise ControlError(f"{url} answered {status} with {len(body)} bytes, no DERP map")
    parse_derp_map(body, url)
    return body


class DerpMaps:
    """Joins all sources; later ones win where regions have the same number: URLs, files, the embedded relay."""

    def __init__(
        self, data_dir: Path, urls: tuple[str, ...], files: tuple[Path, ...], own: Callable[[], DerpMap]
    ) -> None:
        self._data_dir = data_dir
        self._urls = urls
        self._files = files
        self._own = own
        self._last: dict[str, DerpMap] = {}

    @property
    def needs_refresh(self) -> bool:
        """Whether anything comes from outside this process."""
        return bool(self._urls or self._files)

    async def load(self) -> DerpMap:
        """The map at start: a file that cannot be read is an error, a URL falls back on its kept answer."""
        for path in self._files:
            self._last[str(path)] = read_derp_file(path)
        for url in self._urls:
            self._read_kept(url)
        await self._ask_urls()
        return self.joined()

    async def refresh(self) -> DerpMap:
        """All sources again; what fails is logged and keeps its last form."""
        for path in self._files:
            try:
                self._last[str(path)] = read_derp_file(path)
            except ApplianceError as error:
                log.warning("DERP map kept as it was", source=str(path), error=error.line())
        await self._ask_urls()
        return self.joined()

    def joined(self) -> DerpMap:
        regions: dict[RegionId, DerpRegion] = {}
        scores: dict[RegionId, float] = {}
        for source in (*self._urls, *map(str, self._files)):
            found = self._last.get(source, DerpMap())
            regions |= found.regions
            scores |= found.region_score
        own = self._own()
        return DerpMap(regions={**regions, **own.regions}, region_score=scores)

    async def _ask_urls(self) -> None:
        for url in self._urls:
            try:
                body = await fetch_derp_map(url)
                self._last[url] = parse_derp_map(body, url)
                write_private(self._kept(url), body)
            except (ApplianceError, OSError) as error:
                log.warning("DERP map kept as it was", source=url, error=str(error))

    def _read_kept(self, url: str) -> None:
        try:
            self._last[url] = parse_derp_map(self._kept(url).read_bytes(), url)
        except (OSError, ApplianceError):
            log.info("no kept DERP map of this URL yet", source=url)

    def _kept(self, url: str) -> Path:
        return self._data_dir / f"derp-map-{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"
