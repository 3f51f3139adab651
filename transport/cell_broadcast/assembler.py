"""Putting pages together, whatever comes of them in whichever round.

A message is named by its message identifier, its scope and its message code; under one name there is one
version, incomplete or complete, and the update number tells which of two is the later. A page of a later
version begins it and ends the earlier one; a page of an earlier version is nothing. What was complete is
remembered, without its octets, until too many others were: rounds that go on for days deliver it once. A page
that contradicts what is known of its very version (another total or coding, or other octets in its place)
begins it anew: then somebody has forgotten to count, and the newest octets are the best guess.

Nothing of this outlives the assembler: the clause on update numbers holds for a phone that "has not been
switched off".
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from transport.cell_broadcast.schedule import MAX_PERIOD, PERIOD_UNIT_S
from transport.cell_broadcast.serial_number import MAX_UPDATE

if TYPE_CHECKING:
    from transport.cell_broadcast.page import Page
    from transport.cell_broadcast.serial_number import GeographicScope, SerialNumber

TIMEOUT_S: Final = 2 * MAX_PERIOD * PERIOD_UNIT_S
"""Two of the longest repetition periods: who missed a page twice in a row may still get it."""

_MAX_UNREPORTED: Final = 256
_UPDATES: Final = MAX_UPDATE + 1
_HALF_A_ROUND: Final = _UPDATES // 2
_WHOLE: Final = 64  # all handsets of a cell complete a message before the next one comes
_MISSING: Final = b""  # in the place of a page, which is never empty

_Name: TypeAlias = "tuple[int, GeographicScope, int, int]"
# What tells messages apart: message identifier, scope, code, and the update number where versions are apart.


class DropReason(StrEnum):
    """Why pages were thrown away."""

    TIMED_OUT = "timed-out"
    CROWDED_OUT = "crowded-out"
    CONTRADICTED = "contradicted"
    UPDATED = "updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """An incomplete message that was given up."""

    message_identifier: int
    serial: SerialNumber
    reason: DropReason


@dataclass(slots=True, kw_only=True)
class _Message:
    """The pages held of one version, each in its place; ``seen_at`` is when the last new one came."""

    serial: SerialNumber
    total: int
    dcs: int
    missing: int
    contents: list[bytes]
    seen_at: float = 0.0

    def agrees(self, page: Page) -> bool:
        """Whether *page* can be one of this version's."""
        if (self.total, self.dcs) != (page.total, page.dcs):
            return False
        if self.serial is not page.serial and self.serial != page.serial:
            return False
        held = self.contents[page.number - 1]
        return held == page.content or not held


class _Memory(NamedTuple):
    """What remains of a complete version: enough to know its pages again."""

    serial: SerialNumber
    dcs: int
    digests: tuple[int, ...]

    def knows(self, page: Page) -> bool:
        if (len(self.digests), self.dcs) != (page.total, page.dcs):
            return False
        return self.digests[page.number - 1] == hash(page.content)


class _Whole(NamedTuple):
    """What the pages of a message make, and by what each of them is known again."""

    content: bytes
    digests: tuple[int, ...]


@lru_cache(maxsize=_WHOLE)
def _whole(contents: tuple[bytes, ...]) -> _Whole:
    """Put a message together: once for all assemblers of a process that have got the same pages."""
    return _Whole(b"".join(contents), tuple(map(hash, contents)))


class PageAssembler:
    """Takes pages as they come, gives what whole messages held.

    Pages may come in any order, repeated, and mixed with those of other messages. At most *max_messages* are
    held incomplete and *max_remembered* remembered complete; the incomplete one that waited longest for a new
    page goes first, and the complete one that was not heard of for longest. An incomplete message is given up
    when *timeout_s* pass without a new page. A page takes constant time, and of each incomplete message at
    most 1230 octets are held.

    By TS 23.041 a later version of a message replaces an earlier one, which then counts for nothing.
    With *versions_apart* each version is a message of its own: where content proves itself, nobody who can
    broadcast must be able to put the true version out by one of a higher number.
    """

    def __init__(
        self,
        *,
        max_messages: int = 4,
        timeout_s: float = TIMEOUT_S,
        max_remembered: int = 64,
        versions_apart: bool = False,
    ) -> None:
        if max_messages < 1 or max_remembered < 1 or timeout_s <= 0:
            raise ValueError(
                "an assembler needs room for a message, a memory for one and a positive time-out"
            )
        self._max_messages = max_messages
        self._max_remembered = max_remembered
        self._timeout_s = timeout_s
        self._versions_apart = versions_apart
        # A name is in one of the two at most. The first is in the order of seen_at, oldest first.
        self._held: OrderedDict[_Name, _Message] = OrderedDict()
        self._complete: OrderedDict[_Name, _Memory] = OrderedDict()
        self._dropped: deque[Dropped] = deque(maxlen=_MAX_UNREPORTED)

    @property
    def octets(self) -> int:
        """The content held of incomplete messages, in octets."""
        return sum(len(content) for message in self._held.values() for content in message.contents)

    def receive(self, page: Page, now: float) -> bytes | None:
        """Return the content of the message that *page* completes at *now* (seconds): 82 octets a page.

        None while pages are missing, for a page that is known already, and for one of an earlier version.
        """
        self._forget_old(now)
        serial = page.serial
        update = serial.update if self._versions_apart else 0
        name = (page.message_identifier, serial.scope, serial.code, update)
        message = self._held.get(name)
        if message is None or not message.agrees(page):
            if self._is_nothing_new(name, page, message):
                return None
            message = self._begin(name, page, message)
        elif message.contents[page.number - 1]:
            return None
        message.contents[page.number - 1] = page.content
        message.seen_at = now
        message.missing -= 1
        if message.missing:
            self._hold(name, message)
            return None
        self._held.pop(name, None)
        whole = _whole(tuple(message.contents))
        self._complete[name] = _Memory(message.serial, message.dcs, whole.digests)
        if self._versions_apart:
            # Update numbers go round: half a round ahead is one that has been, and the next of it is new.
            self._complete.pop((*name[:3], (serial.update + _HALF_A_ROUND) % _UPDATES), None)
        if len(self._complete) > self._max_remembered:
            self._complete.popitem(last=False)
        return whole.content

    def expire(self, now: float) -> list[Dropped]:
        """Give up what has timed out; return all that was dropped since the last call, oldest first.

        Beyond 256 unreported, the oldest reports are lost.
        """
        self._forget_old(now)
        dropped = list(self._dropped)
        self._dropped.clear()
        return dropped

    def forget(self, message_identifier: int) -> None:
        """Know no complete message of *message_identifier* any more: repeated, it is delivered once more."""
        for name in [name for name in self._complete if name[0] == message_identifier]:
            del self._complete[name]

    def _is_nothing_new(self, name: _Name, page: Page, held: _Message | None) -> bool:
        """Say whether a page that does not go with what is held of its message is of no use."""
        known = held or self._complete.get(name)
        if known is None:
            return False
        if known.serial != page.serial:
            return not page.serial.newer_than(known.serial)
        if isinstance(known, _Message) or not known.knows(page):
            return False
        self._complete.move_to_end(name)  # still on the air: worth remembering
        return True

    def _begin(self, name: _Name, page: Page, held: _Message | None) -> _Message:
        """Begin a message, in the place of what was held or known of it."""
        self._complete.pop(name, None)
        if held:
            updated = held.serial != page.serial
            self._drop(name, DropReason.UPDATED if updated else DropReason.CONTRADICTED)
        total = page.total
        return _Message(
            serial=page.serial, total=total, dcs=page.dcs, missing=total, contents=[_MISSING] * total
        )

    def _hold(self, name: _Name, message: _Message) -> None:
        if name in self._held:
            self._held.move_to_end(name)
            return
        if len(self._held) == self._max_messages:
            self._drop(next(iter(self._held)), DropReason.CROWDED_OUT)
        self._held[name] = message

    def _forget_old(self, now: float) -> None:
        limit = now - self._timeout_s
        while self._held:
            name, oldest = next(iter(self._held.items()))
            if oldest.seen_at > limit:
                return
            self._drop(name, DropReason.TIMED_OUT)

    def _drop(self, name: _Name, reason: DropReason) -> None:
        serial = self._held.pop(name).serial
        self._dropped.append(Dropped(message_identifier=name[0], serial=serial, reason=reason))
