"""Texts out of a log as a terminal may have them: whoever wrote them, they are only read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

MAX_SHOWN: Final = 120
_SECOND_MS: Final = 1_000


def harmless(value: object, longest: int = MAX_SHOWN) -> str:
    """Return *value* as a text without control characters, cut where it is too long."""
    text = str(value)
    shown = text if text.isprintable() else "".join(c if c.isprintable() else "\N{MIDDLE DOT}" for c in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"


def clock(seconds: float) -> str:
    """Return a time of day, UTC, to the millisecond."""
    return moment(seconds)[11:23]


def moment(seconds: float) -> str:
    """Return a time, UTC, as the log writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def duration(seconds: float | None) -> str:
    """Return a duration as a person would say it."""
    if seconds is None:
        return "-"
    return f"{seconds:,.1f} s" if seconds >= 10 else f"{seconds * _SECOND_MS:,.0f} ms"
