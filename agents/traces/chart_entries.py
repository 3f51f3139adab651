"""From a transaction's lines to the rows of its chart: the ends of a message put together, spans counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.traces.chart_lines import ENDS, SENT, TAKEN
from agents.traces.chart_people import CELL_BROADCAST, Names
from agents.traces.chart_rows import FALLBACK, Arrow, Fate, Remark, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agents.traces.chart_lines import Told
    from agents.traces.chart_rows import Row

MAX_DEPTH: Final = 64
"""Of spans in each other, as far as they are counted."""


class Message:
    """What is told of one message, at either end."""

    def __init__(self, first: Told) -> None:
        self.first = first
        self.last = first
        self.sent: Told | None = None
        self.taken: list[Told] = []
        self.lost: list[Told] = []
        self.add(first)

    def add(self, line: Told) -> None:
        """Take in one more line of it."""
        self.last = line
        if line.event == SENT:
            self.sent = self.sent or line
        else:
            (self.taken if line.event == TAKEN else self.lost).append(line)

    @property
    def fate(self) -> Fate:
        """What became of it. A cell takes what the air then loses; of the many of a page some miss it."""
        if self.lost and not (self.taken and self.first.bearer == CELL_BROADCAST):
            return Fate.LOST
        return Fate.TAKEN if self.taken else Fate.UNKNOWN

    @property
    def same(self) -> tuple[str, ...]:
        """What it has in common with its repetitions, and with no other message."""
        line = self.first
        return line.reference, line.bearer, line.direction, line.source, line.destination


class Entries:
    """The messages and the remarks of a transaction, in order."""

    def __init__(self, lines: Sequence[Told]) -> None:
        self.names = Names(lines)
        self._entries: list[Message | Told] = []
        self._parents: dict[str, str] = {}
        self._fallbacks: dict[str, str] = {}
        """By span: the bearer over which is tried there what failed over another."""
        messages: dict[str, Message] = {}
        for line in lines:
            if line.event == SENT or line.event not in ENDS:
                self._parents.setdefault(line.span, line.parent)
                if line.cause:
                    self._parents.setdefault(line.parent, line.cause)
            if line.span and line.event.endswith(FALLBACK):
                self._fallbacks[line.span] = line.bearer or line.reason
            if line.event not in ENDS:
                self._entries.append(line)
            elif line.span in messages:
                messages[line.span].add(line)
            else:
                self._entries.append(message := Message(line))
                if line.span:  # without its span, a line is a message of which nothing else is known
                    messages[line.span] = message

    def met(self) -> list[str]:
        """Return who takes part, in the order in which one meets them."""
        names: list[str] = []
        for entry in self._entries:
            if isinstance(entry, Message):
                names += (self._sender(entry), self.names.recipient(entry.first))
            else:
                names.append(self.names.actor(entry))
        return names

    def rows(self, lifelines: Mapping[str, int]) -> Iterator[Row]:
        """Yield the chart's rows, with *lifelines* by the names of who has them."""
        said: set[tuple[str, ...]] = set()
        for entry in self._entries:
            if isinstance(entry, Message):
                is_again = bool(entry.first.reference) and entry.same in said
                said.add(entry.same)
                yield self._arrow(entry, lifelines, is_again=is_again)
            else:
                yield self._remark(entry, lifelines)

    def _sender(self, message: Message) -> str:
        return self.names.sender(message.sent or message.first)

    def _arrow(self, message: Message, lifelines: Mapping[str, int], *, is_again: bool) -> Arrow:
        line, fate = message.sent or message.first, message.fate
        sender, recipient = self._sender(message), self.names.recipient(message.first)
        arrived = message.taken[0] if message.taken else message.last
        return Arrow(
            source=lifelines[sender],
            destination=lifelines[recipient],
            sender=sender,
            recipient=recipient,
            bearer=line.bearer,
            direction=line.direction,
            octets=line.octets,
            attempt=line.attempt,
            is_again=is_again,
            is_fallback=self._fallbacks.get(line.parent) == line.bearer,
            fate=fate,
            reason=message.lost[0].reason if message.lost else line.reason,
            is_sending_told=message.sent is not None,
            taken=len(message.taken) if fate is Fate.TAKEN else 0,
            told=line.moment,
            until=arrived.moment,
            delay=arrived.moment.since(line.moment),
            reference=line.reference,
            span=line.span,
            parent=line.parent,
            depth=self._depth(line.span),
        )

    def _remark(self, line: Told, lifelines: Mapping[str, int]) -> Remark:
        agent = self.names.actor(line)
        return Remark(
            participant=lifelines[agent],
            agent=agent,
            event=line.event,
            kind=kind_of(line.event, line.level, dict(line.details).get("result", ""), line.reason),
            details=line.details,
            reason=line.reason,
            told=line.moment,
            until=line.moment,
            span=line.span,
            parent=line.parent,
            depth=self._depth(line.span),
        )

    def _depth(self, span: str) -> int:
        """Return in how many other spans *span* lies; spans of strangers may lie in each other."""
        depth = 0
        while (span := self._parents.get(span, "")) and depth < MAX_DEPTH:
            depth += 1
        return depth
