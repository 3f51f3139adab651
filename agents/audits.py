"""What an operator makes of an audit: the module's DEF held against what the operator knows of it.

A module's own word, signed, says which resources have ended by themselves: expired by a date that the
operator's time has passed, exhausted by their last execution, or deleted by either because the reservation
said so. Nothing else may differ. What does is a fault: the module holds what nobody reserved, lacks what it
should have, or has it otherwise than it was told. The operator's books keep what they say of a resource with
a fault; only one that nobody reserved is entered, as stray, so that it can be released. A module may say
anything: whatever it says ends in findings. Nothing here sends or stores anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from agents.errors import MessageRejected
from agents.handset.security_module.memory import MAX_DEFINITIONS
from agents.messages.air import Audited, AuditedResource
from agents.messages.codec import decode
from agents.subscriptions import ACTIVE, BLOCKED, EXHAUSTED, EXPIRED, HELD, RELEASED, RESERVED, STRAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agents.store.registry import Row

DELETE: Final = "delete"
"""The end of a resource that leaves nothing of it."""
MISMATCH: Final = "audit-mismatch"
"""The refusal of an audit that found a fault."""

_TERMS: Final[Mapping[str, tuple[str, ...]]] = {
    "other-resource": ("rsc_id",),
    "other-size": ("code_size", "data_size"),
    "other-supplier": ("supplier_digest",),
    "other-rights": ("rights",),
    "other-limits": ("expires_at", "at_end"),
}
"""By fault: what DEF and the subscription call alike, and must have alike."""
_STATES: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "reserved": (frozenset({RESERVED, ACTIVE}), ""),
    # Reserved and loaded: the supplier was told, and the operator stopped before it could note that.
    "loaded": (frozenset({RESERVED, ACTIVE}), ""),
    # Only the handset's time says so, and that is not to be believed.
    "suspended": (frozenset({RESERVED, ACTIVE}), ""),
    "blocked": (frozenset({BLOCKED}), ""),
    "expired": (frozenset({RESERVED, ACTIVE, BLOCKED, EXHAUSTED, EXPIRED}), EXPIRED),
    "exhausted": (frozenset({RESERVED, ACTIVE, EXHAUSTED}), EXHAUSTED),
}
"""By the state that the module says: which ones the subscription may have, and which it gets, if another."""
_USABLE: Final = frozenset({"reserved", "loaded", "suspended"})
"""The states in which a resource has its supplier's key."""
_IN_USE: Final = frozenset({RESERVED, ACTIVE})
"""The states of a subscription whose resource may have run for the last time."""


class Zone(NamedTuple):
    """What a module's last audit said of the room in its memory, in octets."""

    free: int
    largest_free: int


class Fault(NamedTuple):
    """Something in a module that is not as its operator left it."""

    what: str
    service: str
    rsc_id: int = 0


@dataclass(slots=True)
class Findings:
    """What an audit found: the subscriptions that have another state now, by service, and the faults."""

    states: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


class Reading:
    """A module's DEF, read page by page."""

    def __init__(self) -> None:
        self.entries: list[AuditedResource] = []
        self.figures: Audited
        """The last page, whose figures are the latest."""
        self.turn = 0
        """The counter of the command that was answered with it."""
        self.is_complete = False

    @property
    def after(self) -> int:
        """The resource behind which the next page has to begin."""
        return self.entries[-1].rsc_id if self.entries else 0

    def take(self, page: Audited, turn: int) -> None:
        """Take one page, the answer of *turn*.

        Raises MessageRejected for a page that does not go on, so that no module is asked for ever.
        """
        before = self.after
        for octets in page.definitions:
            entry = decode(octets, AuditedResource)
            if entry.rsc_id <= self.after:
                raise MessageRejected("audit-out-of-order")
            self.entries.append(entry)
        if len(self.entries) > MAX_DEFINITIONS or (not page.complete and self.after == before):
            raise MessageRejected("audit-without-end")
        self.figures, self.turn, self.is_complete = page, turn, page.complete


def compare(
    reading: Reading,
    *,
    memory: int,
    now: float,
    agreements: Mapping[bytes, Row],
    subscriptions: Mapping[str, Row],
) -> Findings:
    """Return what is to be said of the module whose DEF was read to its end.

    *memory* is how many octets the authority says it has; *now* is the operator's time, and no module was
    told a later one. *agreements* are the operator's by TAR, *subscriptions* the module's by service.
    """
    told = min(reading.figures.signed_time, int(now))
    findings = Findings(faults=[*_memory_faults(reading, memory), *_overlaps(reading.entries)])
    seen = set()
    for entry in reading.entries:
        agreement = agreements.get(entry.tar)
        service = agreement["service"] if agreement else ""
        known = subscriptions.get(service)
        is_held = known is not None and known["state"] in HELD
        if known is None or not is_held or service != entry.service:
            findings.faults.append(Fault("unknown-resource", entry.service, entry.rsc_id))
            if service and not is_held:
                findings.states[service] = STRAY
            continue
        seen.add(service)
        faults = [*_faults(entry, known, told)]
        findings.faults += [Fault(what, service, entry.rsc_id) for what in faults]
        state = _STATES[entry.state][1] if not faults else ""
        if state and state != known["state"]:
            findings.states[service] = state
    for service, known in subscriptions.items():
        if known["state"] not in HELD or service in seen:
            continue
        if _may_be_deleted(known, told):
            findings.states[service] = RELEASED
        else:
            findings.faults.append(Fault("missing-resource", service, known["rsc_id"]))
    return findings


def _memory_faults(reading: Reading, memory: int) -> Iterator[Fault]:
    """Yield a fault if the module has not the memory it was registered with, or more room than it can."""
    figures = reading.figures
    taken = sum(_size(entry) for entry in reading.entries)
    if figures.size != memory or not figures.largest_free <= figures.free <= figures.size - taken:
        yield Fault("other-memory", "")


def _overlaps(entries: list[AuditedResource]) -> Iterator[Fault]:
    end = 0
    for entry in sorted(entries, key=lambda one: one.start):
        if entry.start < end:
            yield Fault("overlapping-resource", entry.service, entry.rsc_id)
        end = max(end, entry.start + _size(entry))


def _size(entry: AuditedResource) -> int:
    return entry.code_size + entry.data_size


def _faults(entry: AuditedResource, known: Row, told: int) -> Iterator[str]:
    """Yield what is wrong with a resource that the operator knows."""
    for what, names in _TERMS.items():
        if any(getattr(entry, name) != known[name] for name in names):
            yield what
    left, given = entry.executions_left, known["executions"]
    if (left > given) if given >= 0 and left >= 0 else (left != given):
        yield "other-executions"
    if entry.usable != (entry.state in _USABLE):
        yield "other-key"
    allowed, _ = _STATES.get(entry.state, (frozenset(), ""))
    if known["state"] not in allowed or not _is_due(entry, told):
        yield "other-state"


def _is_due(entry: AuditedResource, told: int) -> bool:
    """Say whether a resource that says it has ended had reason to, the module having been *told* the time."""
    if entry.state == "expired":
        return 0 < entry.expires_at <= told
    return entry.state != "exhausted" or entry.executions_left == 0


def _may_be_deleted(known: Row, told: int) -> bool:
    """Say whether a resource that is gone may have been deleted by its date or its last execution."""
    is_over = 0 < known["expires_at"] <= told
    may_be_used_up = known["executions"] >= 0 and known["state"] in _IN_USE
    return bool(known["at_end"] == DELETE and (may_be_used_up or is_over))
