"""How long handsets take to report a short message, and so how long to wait before it is sent again.

A handset that takes longer than the time-out, because its network is slow or the machine that hosts it is
busy, gets every message twice, and takes longer for it. So reports are timed, for each handset apart: what
one of them says cannot change how long another is waited for.

A report answers one transmission and does not say which; of a message that was sent once it tells a round
trip. One that was sent again tells nothing, unless a report of it comes once more: then both copies arrived,
and the first report was to the first of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transport.round_trip import RoundTrip

if TYPE_CHECKING:
    from bus.bearers.service_centre import SmsSettings


@dataclass(slots=True, kw_only=True)
class _Handset:
    """The *round_trip* of one, and the last message that was sent again: its reference, how long it took."""

    round_trip: RoundTrip
    unclear: tuple[bytes, float] | None = None


class ReportTimes:
    """What is known of the handsets that messages were sent to."""

    def __init__(self, settings: SmsSettings) -> None:
        self._settings = settings
        self._handsets: dict[str, _Handset] = {}

    def wait_s(self, ua: str, attempt: int) -> float:
        """Return for how long a report of *attempt* (from 1) is awaited from *ua*, in seconds."""
        handset = self._handsets.get(ua)
        report_s = self._settings.report_timeout_s if handset is None else handset.round_trip.timeout_s
        return report_s + self._settings.more_s(attempt)

    def reported(self, ua: str, reference: bytes, took_s: float, *, again: bool) -> None:
        """Learn that *ua* reported a message *took_s* after it was sent first; *again*: it was sent twice."""
        handset = self._handsets.get(ua)
        if handset is None:
            least_s, most_s = self._settings.report_timeout_s, self._settings.report_most_s
            round_trip = RoundTrip(first_s=least_s, least_s=least_s, most_s=most_s)
            handset = self._handsets[ua] = _Handset(round_trip=round_trip)
        if again:
            handset.unclear = reference, took_s
        else:
            handset.round_trip.measured(took_s)

    def reported_again(self, ua: str, reference: bytes) -> None:
        """Learn that *ua* reported once more what was reported already."""
        handset = self._handsets.get(ua)
        if handset is not None and handset.unclear is not None and handset.unclear[0] == reference:
            handset.round_trip.measured(handset.unclear[1])
            handset.unclear = None
