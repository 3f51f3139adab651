"""Global loading: what a supplier broadcasts to all modules of a domain, as one of them takes it (GLOBAL).

A packet of a broadcast campaign comes to a global service's own TAR, in a page message of the service's own
identifier, under keys that come of the domain key. ``transport.diffusion`` judges and collects; here stands
what it is judged by (DEF), how much may be held of it (the profile, and the room of the resource), and what
becomes of a programme that is whole: it takes the place of the one before in one transaction, with its
version, and keeps or begins its data part as the supplier's signed manifest says. Nobody is answered; who is
asked to reports afterwards (``reporting``).

The domain key alone loads nothing: a programme needs the supplier's signature, and a version above the one
that is loaded and not below the oldest that the key was given with. What a collector holds is volatile; a
module that was off begins again, or is served by the supplier itself, which gives it the same version.

Modules of one process share what octets and keys alone decide (``SharedWork``), as they share compiled
programmes; what one of them was not sent, it does not get.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import applications, domain_renewal, pulling, reporting
from agents.handset.security_module.errors import ModuleError
from agents.handset.security_module.outgoing import refuse
from agents.messages.campaign_reports import Outcome
from transport.diffusion import (
    RENEWAL_KEYSET,
    Announced,
    Collected,
    Collector,
    DataPart,
    Domain,
    GivenUp,
    GivenUpReason,
    Known,
    SharedWork,
    Suspected,
    Unfit,
    Wanted,
)
from transport.errors import DiffusionRejected, PacketRejected
from transport.secured_packet import ResponseStatus
from transport.security.domain_key import DomainKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import Definition, Stored
    from agents.handset.security_module.outgoing import Incoming
    from transport.diffusion import Event

NOT_FOR_ALL: Final = "not-for-everybody"
"""Of a broadcast that is meant for one module, or for nobody here: it could not be answered, so it does
nothing."""
LOADED: Final = "diffusion.loaded"
"""The note that the module leaves when a broadcast has brought a programme."""
KNOWN: Final = "diffusion.known"
"""The note that it leaves when a broadcast, proven, is of what the module holds already."""
_HAS_IT: Final = frozenset({Outcome.LOADED, Outcome.HELD})
_DOMAINS: Final = 64
"""Domains whose work is shared at once in a process."""
_GOES_BY: Final = ("rsc_id", "supplier_digest")
"""What a collector goes by in DEF, beside the domain key and the version."""
_ENVELOPE: Final = 8192
"""Octets that a collector may hold beside a programme's pieces: what is not proven yet, and spare ones."""


@dataclass(slots=True)
class Listening:
    """A collector, and the record of DEF that it goes by: when that is another, so is the collector.

    *refused* is why a resource that this is the record of takes no programme, or nothing. *generation* is the
    memory's, as of which the record was as it is here.
    """

    stored: Stored
    collector: Collector
    refused: str
    generation: int


def receive(core: Core, incoming: Incoming, identifier: int) -> None:
    """Take one packet of a campaign, which came under a message *identifier*. Nobody is answered.

    Never raises for what a packet holds: a refusal is a note.
    """
    listening = core.listening.get(incoming.header.tar)
    if listening is None or listening.generation != core.memory.generation:
        listening = _listening(core, incoming.header.tar)
    if listening is None or listening.stored.definition.message_identifier != identifier:
        refuse(core, incoming, ResponseStatus.INSUFFICIENT_SECURITY_LEVEL, NOT_FOR_ALL)
        return
    definition = listening.stored.definition
    if incoming.header.keyset == RENEWAL_KEYSET:
        domain_renewal.hear(core, definition, _work_of(definition).domain, incoming)
        return
    if listening.refused:
        refuse(core, incoming, ResponseStatus.INSUFFICIENT_SECURITY_LEVEL, listening.refused)
        return
    try:
        events = listening.collector.receive(incoming.octets, incoming.now)
    except PacketRejected as rejection:
        refuse(core, incoming, rejection.status, rejection.reason)
        return
    except DiffusionRejected as rejection:
        refuse(core, incoming, ResponseStatus.INSUFFICIENT_SECURITY_LEVEL, rejection.reason)
        return
    for event in events:
        _take(core, definition, event, incoming.now)


def _take(core: Core, definition: Definition, event: Event, now: float) -> None:
    """Do what is to be done when a campaign has come to something."""
    if isinstance(event, Suspected | GivenUp | Wanted):
        # What was refused meanwhile may be honest, or be of the campaign that is collected now: it shall
        # be offered again, and not taken for known.
        core.forget_pages(definition.message_identifier)
    if isinstance(event, Wanted):
        return
    outcome: Outcome | None
    if isinstance(event, Collected):
        outcome, reason = _install(core, definition, event)
    else:
        outcome, reason = _outcome(event)
        core.note(f"diffusion.{type(event).__name__.lower()}", reason=reason, tar=definition.tar)
    if isinstance(event, Announced):
        pulling.heard(core, definition, now)
    if outcome in _HAS_IT:
        pulling.done(core, definition.tar)
    if outcome is not None:
        reporting.ended(core, definition, event.manifest, outcome, now, reason)


def _listening(core: Core, tar: bytes) -> Listening | None:
    """Return who collects for a TAR from now on, None where it is no global service's.

    Where the record says otherwise than the one that it went by, it is read anew; the collector stays if
    nothing changed that it goes by.
    """
    known = core.listening.get(tar)
    if known is not None and core.definitions.is_still(known.stored):
        known.generation = core.memory.generation
        return known
    core.listening.pop(tar, None)
    stored = core.definitions.record_of(tar)
    if stored is None or not stored.definition.domain_key or not stored.definition.supplier_public:
        return None
    collector = _collector_after(core, known, stored.definition)
    refused, generation = _refused(stored.definition), core.memory.generation
    listening = core.listening[tar] = Listening(stored, collector, refused, generation)
    return listening


def _refused(definition: Definition) -> str:
    try:
        definition.state_after(applications.loading(definition))
    except ModuleError as refusal:
        return refusal.reason
    return ""


def _collector_after(core: Core, known: Listening | None, definition: Definition) -> Collector:
    """Return what collects for a resource: the same as before as long as nothing changed that it goes by."""
    is_version_ours = False
    if known is not None and _is_of(known.stored.definition, definition):
        if known.stored.definition.version == definition.version:
            return known.collector
        # What it has collected itself need not be heard again.
        is_version_ours = known.collector.newer_than == definition.version and not known.collector.manifest
    if not is_version_ours:
        # What another one was offered, and lost or refused, is news to this one.
        core.forget_pages(definition.message_identifier)
    return _collector(core, definition)


def _is_of(before: Definition, definition: Definition) -> bool:
    """Whether a definition is of the same resource and domain as *before*."""
    if not compare_digest(before.domain_key, definition.domain_key):
        return False
    return all(getattr(before, name) == getattr(definition, name) for name in _GOES_BY)


def _collector(core: Core, definition: Definition) -> Collector:
    work = _work_of(definition)
    room = min(definition.code_size, core.profile.programme)
    newer_than = max(definition.version, work.domain.domain_key.oldest - 1)
    return Collector(
        work,
        newer_than=newer_than,
        holds=definition.code_digest if newer_than == definition.version else b"",
        max_programme=room,
        max_octets=2 * room + _ENVELOPE,
    )


def _work_of(definition: Definition) -> SharedWork:
    return _work(
        definition.tar,
        definition.logic_name,
        definition.supplier,
        definition.suite,
        definition.supplier_public,
        definition.domain_key,
    )


@lru_cache(maxsize=_DOMAINS)
def _work(
    tar: bytes, logic_name: str, supplier: str, suite: str, public: bytes, domain_key: bytes
) -> SharedWork:
    """Return the work of a domain, the same for all modules of the process that are in it."""
    return SharedWork(
        Domain(
            tar=tar,
            logic_name=logic_name.encode(),
            supplier=supplier.encode(),
            supplier_suite=suite,
            supplier_public=public,
            domain_key=DomainKey.load(domain_key),
        )
    )


def _install(core: Core, definition: Definition, collected: Collected) -> tuple[Outcome, str]:
    """Put the programme into its resource; return what became of it, and why.

    One that cannot run here is refused, with a note.
    """
    keep = collected.manifest.data_part is DataPart.KEEP
    try:
        applications.install(
            core, definition, collected.manifest.version, collected.programme, keep_data=keep
        )
    except ModuleError as refusal:
        core.note("application.refused", reason=refusal.reason, tar=definition.tar)
        return Outcome.REFUSED, refusal.reason
    # An upload of the supplier's was of a programme that is older now, or the same.
    core.uploads.pop(definition.tar, None)
    core.note(LOADED, tar=definition.tar)
    return Outcome.LOADED, ""


def _outcome(event: Event) -> tuple[Outcome | None, str]:
    """Return what has become of a campaign, if that is what *event* tells, and why.

    Of one that a later one took the place of there is nothing to say: the later one has its own end.
    """
    reason = getattr(event, "reason", "")
    return (None if reason == GivenUpReason.SUPERSEDED else _OUTCOMES.get(type(event))), reason


_OUTCOMES: Final[Mapping[type[Event], Outcome]] = {
    Known: Outcome.HELD,
    Unfit: Outcome.REFUSED,
    GivenUp: Outcome.REFUSED,
}
"""What has become of a campaign that brought no programme, by the event that ended it."""
