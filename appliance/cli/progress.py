"""Says on standard error what a command waits for, once that takes longer than a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.status import Status as Spinner

    from appliance.cli.session import Session

DELAY_S = 1.0


class Progress:
    """A spinner on a terminal; silence elsewhere, so that scripts read errors only."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._started = time.monotonic()
        self._spinner: Spinner | None = None
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spinner is not None:
            self._spinner.stop()

    def show(self, text: str) -> None:
        """What is awaited now."""
        if text == self._last or time.monotonic() - self._started < DELAY_S:
            return
        self._last = text
        if self._spinner is not None:
            self._spinner.update(text)
            return
        if sys.stderr.isatty():
            self._spinner = self._session.console(stderr=True).status(text)
            self._spinner.start()

    def note(self, text: str) -> None:
        """A line that stays."""
        self._session.console(stderr=True).print(text, markup=False)
