"""The rows of a chart: a message between two lifelines, or a remark on one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agents.traces.chart_lines import Lapse, Moment


class Fate(StrEnum):
    """What became of a message, as far as its lines tell."""

    TAKEN = "taken"
    LOST = "lost"
    UNKNOWN = "unknown"
    """Nobody tells that it was taken, nor that it was lost."""


class Kind(StrEnum):
    """How much a remark matters."""

    NOTE = "note"
    WARNING = "warning"
    """Something went wrong that may be made good: a repetition, a channel that was lost."""
    REFUSED = "refused"
    """Somebody said no, or gave up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """A message, or the parts of one, or the same one of many."""

    source: int
    """Which lifeline, from the left."""
    destination: int
    sender: str
    recipient: str
    bearer: str
    direction: str
    octets: int
    attempt: int
    is_again: bool
    """Whether the same message went the same way before: the air, or its sender, repeats it."""
    is_fallback: bool
    """Whether it goes over this bearer because another one failed."""
    fate: Fate
    reason: str
    is_sending_told: bool
    taken: int
    """How many times it was taken, if it was."""
    told: Moment
    until: Moment
    """When the last of it was taken or, where that is not known, told of."""
    delay: Lapse
    reference: str
    span: str
    parent: str
    depth: int
    messages: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether both its ends are told, or that it was lost."""
        return self.is_sending_told and self.fate is not Fate.UNKNOWN

    @property
    def is_repetition(self) -> bool:
        """Whether it was said before."""
        return self.is_again or self.attempt > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What an agent tells of itself, or many tell alike."""

    participant: int
    agent: str
    event: str
    kind: Kind
    details: tuple[tuple[str, str], ...]
    reason: str
    told: Moment
    until: Moment
    span: str
    parent: str
    depth: int
    times: int = 1


Row = Arrow | Remark

FALLBACK: Final = ".fallback"
"""How the names of events end that tell that one bearer is tried in place of another."""
_REFUSALS: Final = (".refused", ".failed", ".given_up", ".mismatch", ".crashed", ".dead_letter")
_TROUBLES: Final = (
    ".lost",
    ".retry",
    ".dropped",
    FALLBACK,
    ".absent",
    ".not_sent",
    ".superseded",
    ".unsupported",
)
# These tell a reason only where the answer was no.
_ANSWERS: Final = ("manager.", "command.answered")


def kind_of(event: str, level: str, result: str, reason: str) -> Kind:
    """Return how much it matters that *event* was told, at *level*, with this *result* for this *reason*."""
    if result in {"refused", "failed"} or event.endswith(_REFUSALS) or level in {"error", "critical"}:
        return Kind.REFUSED
    if reason and event.startswith(_ANSWERS):
        return Kind.REFUSED
    if level == "warning" or event.endswith(_TROUBLES):
        return Kind.WARNING
    return Kind.NOTE
