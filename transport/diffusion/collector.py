"""A module's side: packets of campaigns in, whatever their order; programmes that the supplier signed out.

What is refused, and where:

* who does not know the domain key, or knows another domain's: by the packet's CC;
* who knows it but is not the supplier: by the signature over the manifest, by the digest of each piece, or by
  the programme's SHA-256, whichever is at hand first (:mod:`transport.diffusion.collection`);
* another logic name, TAR, supplier, generation of the domain key, or an old version: by the manifest, before
  its signature costs anything;
* what this module cannot take, a programme larger than the resource say: by the manifest, but once it is
  proven, so that the supplier's word is told from a forger's (``Unfit``), and none of it is collected;
* pieces of one campaign under the name of another: they are not what that one's manifest says;
* floods: by bounds. Before a manifest is proven, fragments are held of the four campaigns begun last. A head
  is one packet and is judged when it comes, so a flood cannot keep an honest one out; and once a manifest is
  proven nothing but a proven manifest of a higher version, or of the same version in a later campaign, ends
  it. A signature in parts has to wait for them: among the four heads that came last, so one who knows the
  domain key and floods can delay that.

What a collector holds at most is ``max_octets`` of pieces and unproven fragments, 16 octets for each piece of
the list of digests (16,368), and four waiting heads with their signatures (18,300, where there are such at
all). Old suites and versions need no list of their own: what was collected is known by its version.

A page assembler hands a message over once and then knows it again for a while, in a short campaign for good.
So what was refused for want of room, or had to give way, would not come again, and a few packets of one who
knows the domain key would keep a programme out. Therefore the collector says when it would take such things
now (``Wanted``), and after ``Suspected`` and ``GivenUp`` as well the assembler has to offer everything again.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from transport.diffusion.collection import Collection
from transport.diffusion.erasure import MAX_PROGRAMME, is_available
from transport.diffusion.fragment import FragmentKind
from transport.diffusion.unproven import MAX_WAITING, Unproven, Waiting
from transport.errors import DiffusionRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transport.diffusion.fragment import Fragment
    from transport.diffusion.manifest import Head, Manifest
    from transport.diffusion.work import Work

MAX_OCTETS: Final = 2 * MAX_PROGRAMME
SPARE_PIECES: Final = 4
"""Room for more pieces than the programme has, for the rare case that as many do not suffice."""
TIMEOUT_S: Final = 24 * 3600.0
"""A campaign of which nothing was heard for a day is over, or the handset was off for most of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A manifest is proven: this is what the supplier broadcasts."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A manifest is proven: it is of the very programme that is there, in its version."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """A manifest is proven, of what cannot be taken here: ``too-large``, or ``no-fec``."""

    manifest: Manifest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspected:
    """Somebody who knows the domain key forged a piece: only pieces on the manifest's list count now."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """There is room for what was refused, or gave way, before: it should be offered again."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The programme, whole, signed for and newer than the one before."""

    manifest: Manifest
    programme: bytes = field(repr=False)


class GivenUpReason(StrEnum):
    """Why a campaign ended without its programme."""

    SUPERSEDED = "superseded"
    TIMED_OUT = "timed-out"
    WRONG_PROGRAMME = "wrong-programme"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """A campaign that was announced and will not be collected."""

    manifest: Manifest
    reason: GivenUpReason


Event: TypeAlias = Announced | Known | Unfit | Suspected | Wanted | Collected | GivenUp
_OF_HEADS: Final = frozenset({FragmentKind.HEAD, FragmentKind.SIGNATURE})
_NOT_NOW: Final = frozenset({"full", "other-campaign"})
"""Why something is refused that may be of use later."""


class Collector:
    """Collects campaigns of the domain that *work* is for, of versions above *newer_than*.

    *holds* is the SHA-256 of the programme that is there in that version, or empty: a campaign of just this
    is ``Known``, each time that its head comes, and not collected. *max_programme* is what the resource has
    room for, in octets. After ``Collected`` its version is the one that others have to be newer than, and
    what is repeated of it is nothing new: who cannot keep the programme, or asks what is known, begins a new
    collector.
    """

    def __init__(
        self,
        work: Work,
        *,
        newer_than: int = 0,
        holds: bytes = b"",
        max_programme: int = MAX_PROGRAMME,
        max_octets: int = MAX_OCTETS,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        if newer_than < 0 or max_programme < 1 or max_octets < 1 or timeout_s <= 0:
            raise ValueError("a collector needs room for something, and a positive time-out")
        self._work = work
        self._open = work.opener
        self._newer_than = newer_than
        self._holds = holds
        self._max_programme = max_programme
        self._max_octets = max_octets
        self._timeout_s = timeout_s
        self._ended = 0  # the campaign that ended last: what is repeated of it is of no interest
        self._unproven = Unproven(max_octets)
        self._waiting: deque[Waiting] = deque(maxlen=MAX_WAITING)
        self._current: Collection | None = None
        self._seen_at = 0.0
        self._has_missed = False
        self._events: list[Event] = []

    @property
    def newer_than(self) -> int:
        """The version that a campaign has to be above."""
        return self._newer_than

    @property
    def manifest(self) -> Manifest | None:
        """The proven manifest of the campaign that is being collected."""
        return self._current.manifest if self._current else None

    @property
    def collected(self) -> int:
        """How many of its pieces are there."""
        return self._current.collected if self._current else 0

    @property
    def octets(self) -> int:
        """The octets held of others' making."""
        waiting = sum(waiting.octets for waiting in self._waiting)
        return self._unproven.octets + waiting + (self._current.octets if self._current else 0)

    def receive(self, packet: bytes, now: float) -> tuple[Event, ...]:
        """Take one secured packet at *now* (seconds); return what came of it.

        Raises PacketRejected for what is none under the domain's keys, and DiffusionRejected: as
        ``open_fragment``, ``Head.parse`` and ``Collection.take``; of a head "wrong-campaign", "wrong-tar",
        "wrong-logic-name", "wrong-supplier", "wrong-suite", "wrong-generation", "stale",
        "bad-signature"; "other-campaign" for what is of another than the one being collected;
        "full". What is refused changes nothing.
        """
        if self._current is None or self._seen_at <= now - self._timeout_s:
            self._forget_old(now)
        fragment = self._open(packet)
        current = self._current
        try:
            if (
                current is not None
                and fragment.campaign == current.campaign
                and fragment.kind not in _OF_HEADS
            ):
                self._add(current, fragment, now)  # as nearly all are
            elif fragment.campaign != self._ended or fragment.kind in _OF_HEADS:
                _TAKE[fragment.kind](self, fragment, now)
        except DiffusionRejected as rejection:
            self._has_missed |= rejection.reason in _NOT_NOW
            raise
        return self._reported() if self._events else ()

    def expire(self, now: float) -> tuple[Event, ...]:
        """Give up what nothing was heard of for too long; return that, if it was not reported yet."""
        self._forget_old(now)
        return self._reported()

    def _reported(self) -> tuple[Event, ...]:
        events = tuple(self._events)
        self._events.clear()
        return events

    def _take_head(self, fragment: Fragment, now: float) -> None:
        head = self._work.head(fragment.data)
        if head.manifest == self.manifest:
            self._seen_at = now
            return
        if fragment.campaign == self._ended and not self._is_there(head.manifest):
            return
        self._judge(head, fragment.campaign)
        if not head.parts:
            self._prove(head.manifest, head.signature, now)
        elif all(waiting.head != head for waiting in self._waiting):
            waiting = Waiting(head)
            waiting.take_all(self._unproven.of(fragment.campaign))
            self._has_missed |= len(self._waiting) == MAX_WAITING
            self._waiting.append(waiting)
            self._want_again(head.manifest)
            self._look_at(waiting, now)

    def _judge(self, head: Head, campaign: int) -> None:
        """Refuse what can be refused before any signature is looked at."""
        manifest, domain = head.manifest, self._work.domain
        current = self.manifest
        faults = {
            "wrong-campaign": manifest.campaign != campaign,
            "wrong-tar": manifest.tar != domain.tar,
            "wrong-logic-name": manifest.logic_name != domain.logic_name,
            "wrong-supplier": manifest.supplier != domain.supplier,
            "wrong-suite": head.suite != domain.supplier_suite,
            "wrong-generation": manifest.generation != domain.domain_key.generation,
            "stale": manifest.version <= self._newer_than and not self._is_there(manifest),
            "other-campaign": current is not None and _order(manifest) <= _order(current),
        }
        for reason, found in faults.items():
            if found:
                raise DiffusionRejected(reason, f"campaign {campaign}, version {manifest.version}")

    def _misfit(self, manifest: Manifest) -> str:
        """Return why what a proven manifest announces cannot be taken here, or nothing."""
        octets = (manifest.sources + SPARE_PIECES) * manifest.piece_length
        if manifest.programme_length > self._max_programme or octets > self._max_octets:
            return "too-large"
        return "" if is_available(manifest.scheme) else "no-fec"

    def _is_there(self, manifest: Manifest) -> bool:
        """Whether what a manifest announces is loaded already."""
        return (manifest.version, manifest.programme_sha256) == (self._newer_than, self._holds)

    def _take_signature(self, fragment: Fragment, now: float) -> None:
        for waiting in tuple(self._waiting):
            if waiting.take(fragment):
                self._look_at(waiting, now)
                return
        if fragment.campaign != self._ended:
            self._keep(fragment, now)

    def _look_at(self, waiting: Waiting, now: float) -> None:
        """Prove a head whose signature is whole; one that it does not prove is forgotten."""
        signature, manifest = waiting.signature, waiting.head.manifest
        if signature is None:
            return
        self._waiting.remove(waiting)
        self._judge(waiting.head, manifest.campaign)  # since it came another may have been collected
        self._prove(manifest, signature, now)

    def _prove(self, manifest: Manifest, signature: bytes, now: float) -> None:
        self._work.verify(manifest, signature)
        if self._is_there(manifest):
            self._events.append(Known(manifest=manifest))
            self._ended = manifest.campaign
            return
        if reason := self._misfit(manifest):
            # What is being collected goes on: there is nothing newer for this module.
            self._events.append(Unfit(manifest=manifest, reason=reason))
            self._ended = manifest.campaign
            return
        self._give_up(GivenUpReason.SUPERSEDED)
        self._current = Collection(manifest, self._work, self._max_octets)
        self._seen_at = now
        self._events.append(Announced(manifest=manifest))
        self._want_again(manifest)
        later = [waiting for waiting in self._waiting if _order(waiting.head.manifest) > _order(manifest)]
        self._waiting = deque(later, maxlen=MAX_WAITING)
        held = self._unproven.of(manifest.campaign)
        self._unproven.clear()
        self._add_all(held, now)

    def _add_all(self, held: list[Fragment], now: float) -> None:
        """Add what was held until the manifest was proven, as far as it is needed."""
        for fragment in held:
            if self._current is None:
                return
            if fragment.kind is not FragmentKind.SIGNATURE:
                # that some of it is forged is no news of the packet that came just now
                with suppress(DiffusionRejected):
                    self._add(self._current, fragment, now)

    def _want_again(self, manifest: Manifest) -> None:
        """Say that what was missed until now would be taken."""
        if self._has_missed:
            self._events.append(Wanted(manifest=manifest))
            self._has_missed = False

    def _keep(self, fragment: Fragment, now: float) -> None:
        if self._current is None:
            self._has_missed |= self._unproven.add(fragment, now)
        elif self._current.campaign != fragment.campaign:
            raise DiffusionRejected("other-campaign", f"campaign {fragment.campaign} is not collected")

    def _add(self, current: Collection, fragment: Fragment, now: float) -> None:
        """Add a fragment to the campaign that is being collected."""
        was_suspect = current.is_suspect
        programme = current.take(fragment)
        self._seen_at = now
        if fragment.kind is FragmentKind.DIGESTS:
            self._want_again(current.manifest)  # what it shows to be forged has gone
        if programme is None and current.is_suspect is was_suspect and not current.is_broken:
            return
        manifest = current.manifest
        if current.is_broken:
            self._give_up(GivenUpReason.WRONG_PROGRAMME)
            self._ended = manifest.campaign
            return
        if current.is_suspect and not was_suspect:
            self._events.append(Suspected(manifest=manifest))
        if programme is not None:
            self._events.append(Collected(manifest=manifest, programme=programme))
            self._newer_than, self._holds, self._ended = manifest.version, b"", manifest.campaign
            self._current = None

    def _give_up(self, reason: GivenUpReason) -> None:
        """End the campaign that is being collected, if there is one."""
        if self._current:
            self._events.append(GivenUp(manifest=self._current.manifest, reason=reason))
            self._current = None

    def _forget_old(self, now: float) -> None:
        limit = now - self._timeout_s
        if self._current is None:
            self._has_missed |= self._unproven.forget_old(limit)
        elif self._seen_at <= limit:
            self._give_up(GivenUpReason.TIMED_OUT)


_TAKE: Final[Mapping[FragmentKind, Callable[[Collector, Fragment, float], None]]] = {
    FragmentKind.HEAD: Collector._take_head,  # noqa: SLF001 -- a table of this class's own methods
    FragmentKind.SIGNATURE: Collector._take_signature,  # noqa: SLF001
    FragmentKind.DIGESTS: Collector._keep,  # noqa: SLF001
    FragmentKind.PIECE: Collector._keep,  # noqa: SLF001
}


def _order(manifest: Manifest) -> tuple[int, int]:
    """Return what says which of two proven campaigns is the later."""
    return manifest.version, manifest.campaign
