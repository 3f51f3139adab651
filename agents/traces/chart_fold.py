"""A chart made shorter, for whoever wants the story: nothing that went wrong is left out.

* Parts of one packet (short messages one after the other, chunks of a channel) become one arrow, with the
  bare reports that the parts were answered with.
* What the arrows say already (a packet was delivered, in so many parts) is not remarked again.
* What is said over and over, and lost each time, stands once where nothing comes between, with how often.
* What many do alike, the handsets that one broadcast reaches above all, stands once, with how many did.

Any other message that was lost, repeated, taken twice, or whose other end is missing stays by itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agents.traces.chart_people import CELL_BROADCAST
from agents.traces.chart_rows import Arrow, Fate, Remark

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agents.traces.chart_people import Participant
    from agents.traces.chart_rows import Row

BARE: Final = 4
"""Octets of a delivery report that brings no data."""
SOON_S: Final = 1.0
"""Simulated: how long after one part of a packet the next is sent over a channel, at most."""
_TOLD_BY_ARROWS: Final = frozenset(
    {
        ("sms.delivered", ""),
        ("bip.packet_sent", ""),
        ("bip.packet_received", ""),
        ("bip.link_opened", ""),
        ("bip.link_closed", "hung-up"),
    }
)
"""Events, for no reason or for one."""
_CHANNELS: Final = frozenset({"bip-tcp", "bip-udp"})
_IN_PARTS: Final = _CHANNELS | {"sms"}
_REPORT: Final = "report"
_MANY_TIMES: Final = ("cell_broadcast.", "campaign.reported")
"""What one does for many, over and over."""


def fold(rows: Iterable[Row], participants: Sequence[Participant]) -> list[Row]:
    """Return *rows*, fewer of them."""
    told = (
        row for row in rows if not (isinstance(row, Remark) and (row.event, row.reason) in _TOLD_BY_ARROWS)
    )
    return _fold_crowds(_fold_losses(_fold_parts(told)), participants)


# ---- parts of one packet ---------------------------------------------------------------------------------


class _Parts:
    """An arrow that may get longer yet, and the bare reports that came between."""

    def __init__(self, first: Arrow) -> None:
        self._arrow = first
        self._latest = first.told
        self._references = {first.reference}
        self._reports: list[Arrow] = []

    def takes(self, row: Row) -> bool:
        """Take *row* in, if it is another part, or a report of one."""
        if not isinstance(row, Arrow) or not _is_plain(row):
            return False
        if _way(row) == _way(self._arrow) and self._is_soon(row):
            self._latest = row.told
            self._references.add(row.reference)
            self._arrow = replace(
                self._arrow,
                octets=self._arrow.octets + row.octets,
                messages=self._arrow.messages + 1,
                until=row.until,
                delay=row.until.since(self._arrow.told),
            )
        elif _is_bare(row) and row.reference in self._references and row.recipient == self._arrow.sender:
            self._reports.append(row)
        else:
            return False
        return True

    def _is_soon(self, row: Arrow) -> bool:
        """Whether *row* was sent so soon that it may be another part. On a channel, what comes later is not.

        A repetition of CAT_TP is a message of its own there, as like the first as another part would be; but
        it waits for an answer that stays away. Short messages wait for each other's reports, for any time.
        """
        passed = row.told.since(self._latest).seconds
        return row.bearer not in _CHANNELS or passed is None or passed <= SOON_S

    def rows(self) -> list[Row]:
        """Return what is to be shown: of a message in one part, its report too."""
        return [self._arrow] if self._arrow.messages > 1 else [self._arrow, *self._reports]


def _fold_parts(rows: Iterable[Row]) -> Iterator[Row]:
    parts: _Parts | None = None
    for row in rows:
        if parts is not None and parts.takes(row):
            continue
        if parts is not None:
            yield from parts.rows()
        parts = _Parts(row) if isinstance(row, Arrow) and row.bearer in _IN_PARTS and _is_plain(row) else None
        if parts is None:
            yield row
    if parts is not None:
        yield from parts.rows()


def _is_plain(arrow: Arrow) -> bool:
    return arrow.is_whole and arrow.fate is Fate.TAKEN and arrow.taken == 1 and not arrow.is_repetition


def _is_bare(arrow: Arrow) -> bool:
    return arrow.bearer == _REPORT and arrow.octets <= BARE


def _way(arrow: Arrow) -> tuple[str, ...]:
    return arrow.sender, arrow.recipient, arrow.bearer, arrow.direction, arrow.parent


# ---- what gets lost over and over ------------------------------------------------------------------------


def _fold_losses(rows: Iterable[Row]) -> Iterator[Row]:
    last: Row | None = None
    for row in rows:
        if last is not None and _is_lost_again(last, row):
            last = _together(last, row)
            continue
        if last is not None:
            yield last
        last = row
    if last is not None:
        yield last


def _is_lost_again(last: Row, row: Row) -> bool:
    """Whether *row* is what *last* is, as like it as a repetition can be, and lost as it was."""
    if not isinstance(last, Arrow) or not isinstance(row, Arrow) or row.fate is not Fate.LOST:
        return False
    return _loss(last) == _loss(row) and last.octets == row.octets * last.messages


def _loss(arrow: Arrow) -> tuple[object, ...]:
    way = (arrow.sender, arrow.recipient, arrow.bearer, arrow.direction)
    return *way, arrow.fate, arrow.reason, arrow.is_sending_told, arrow.is_repetition, arrow.is_fallback


# ---- what many do alike ----------------------------------------------------------------------------------


def _fold_crowds(rows: Iterable[Row], participants: Sequence[Participant]) -> list[Row]:
    folded: dict[tuple[object, ...], Row] = {}
    for number, row in enumerate(rows):
        alike = _what_alike(row) if _is_of_many(row, participants) else (number,)
        before = folded.get(alike)
        folded[alike] = row if before is None else _together(before, row)
    return list(folded.values())


def _is_of_many(row: Row, participants: Sequence[Participant]) -> bool:
    if isinstance(row, Remark):
        return participants[row.participant].is_crowd or row.event.startswith(_MANY_TIMES)
    ends = (participants[row.source], participants[row.destination])
    return row.bearer == CELL_BROADCAST or any(end.is_crowd for end in ends)


def _what_alike(row: Row) -> tuple[object, ...]:
    if isinstance(row, Remark):
        details = dict(row.details)
        came_to = details.get("result"), details.get("outcome")
        return row.participant, row.event, row.kind, row.reason, *came_to
    way = (row.source, row.destination, row.bearer, row.direction)
    return *way, row.fate, row.reason, row.is_repetition, row.is_fallback, row.is_sending_told


def _together(first: Row, other: Row) -> Row:
    if isinstance(first, Arrow) and isinstance(other, Arrow):
        return replace(
            first,
            octets=first.octets + other.octets,
            messages=first.messages + other.messages,
            until=other.until,
            delay=other.until.since(first.told),
        )
    if isinstance(first, Remark) and isinstance(other, Remark):
        alike = tuple(detail for detail in first.details if detail in other.details)
        return replace(first, details=alike, times=first.times + other.times, until=other.until)
    return first
