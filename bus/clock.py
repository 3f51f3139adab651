"""Time, as something that is handed in: whoever waits or stamps takes a :class:`Clock`.

A test hands in one that it moves by hand; a run hands in :class:`SystemClock`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since the Unix epoch, never backwards, and a way to wait."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC; a later call never answers less."""

    async def sleep(self, delay_s: float) -> None:
        """Return when *delay_s* seconds of this clock have passed; at once when it is not positive."""


class SystemClock:
    """The machine's clock, read once for the date and then carried on by the monotonic clock.

    So an NTP step or a person at the clock in mid-run ends no time-out early and makes none last an hour.
    """

    __slots__ = ("_epoch",)

    def __init__(self) -> None:
        self._epoch = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return self._epoch + time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """Wait *delay_s* seconds; other tasks run meanwhile."""
        await asyncio.sleep(delay_s)
