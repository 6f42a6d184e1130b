"""Requests that are no HTTP: aiohttp answers them with 400; they are counted here and kept out of the log, which
strangers could fill with them."""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError


class MalformedRequests(logging.Filter):
    """`logger` is for aiohttp's server; `count` is how many requests it could not read."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.logger = logging.Logger("status_page.http")
        self.logger.parent = logging.getLogger()
        self.logger.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            self.count += 1
            return False
        return True
