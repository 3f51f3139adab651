"""What a security module does, told again from the design, without a look at how the module does it.

Sentences in quotes are the design's or the issue's. Every order gives an ``Outcome``: the reasons for which
it may be refused, of which the module names one, or none. Numbers are octets or seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NEVER: Final = 0
UNLIMITED: Final = -1
OPEN_CALLS: Final = 2
PROBE_MEMORY: Final = 1024
BAD_ENDS: Final = {2: "unreachable", 3: "out-of-fuel"}
"""What the probe does of its argument's first octet, and what a run that ends so is refused for."""
ENDED: Final = {"blocked": "blocked", "suspended": "expired", "expired": "expired", "exhausted": "exhausted"}
"""States in which a resource is of no use, and what user and supplier are told then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """A programme that can be sent: whether it may be loaded, what it imports, and what its runs do."""

    name: str
    code: bytes
    refused: str = ""
    """Why no resource takes it."""
    right: str = ""
    """The right that it needs."""
    mark: int = 0
    """What a run leaves at octet 14."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What comes of an order: why it may be refused, or what it says when it is not."""

    reasons: frozenset[str] = frozenset()
    status: int = 0
    output: bytes = b""


DONE: Final = Outcome()


def refused(*reasons: str) -> Outcome:
    """Return an outcome for these reasons; empty ones are none."""
    return Outcome(reasons=frozenset(filter(None, reasons)))


@dataclass(slots=True, kw_only=True)
class Resource:
    """One resource: "id, TAR, state, supplier, start and end, API rights, expiry, executions left"."""

    tar: bytes
    service: str
    supplier: str
    code_size: int
    data_size: int
    rights: frozenset[str]
    expires_at: int
    executions: int
    delete_at_end: bool
    rsc_id: int = 0
    start: int = 0
    state: str = "reserved"
    has_key: bool = True
    session: int | None = None
    received: int = 0
    programme: Programme | None = None
    version: int = 0
    data: bytes = b""
    key: str = ""
    """What its supplier's key is called; the first one has the supplier's name."""

    def __post_init__(self) -> None:
        self.key = self.key or self.supplier

    @property
    def end(self) -> int:
        """Where the area ends."""
        return self.start + self.code_size + self.data_size

    @property
    def alive(self) -> str:
        """The state that a resource comes back to."""
        return "loaded" if self.programme else "reserved"

    def unusable(self, use: str, *, loaded: bool | None = None) -> str:
        """Return why the supplier or the user may not *use* it now, empty when they may.

        *loaded* says whether the use needs a programme, or must be without one; None: either will do.
        """
        if self.state in ENDED:
            return ENDED[self.state]
        if loaded is not None and loaded != (self.state == "loaded"):
            return f"{use}-when-{self.state}"
        return ""

    def lose_key(self) -> None:
        """Forget the supplier: "no new authentication, update or load", "also in a session that was open"."""
        self.has_key, self.session, self.received = False, None, 0


@dataclass(slots=True, kw_only=True)
class Model:
    """A personalised module: its resources, its counters, what it takes for the time."""

    zone: tuple[int, int]
    slots: int
    resources: dict[bytes, Resource] = field(default_factory=dict)
    commands: int = 0
    announcements: int = 0
    signed: int = 0
    claimed: int = 0
    latest: float = 0.0
    uploads: dict[bytes, tuple[Programme, int]] = field(default_factory=dict)
    calls: dict[bytes, int] = field(default_factory=dict)

    # --- the memory ---

    def areas(self) -> list[Resource]:
        """Return the resources by place."""
        return sorted(self.resources.values(), key=lambda each: each.start)

    def gaps(self) -> list[tuple[int, int]]:
        """Return what is free: where, and how much."""
        taken = [edge for each in self.areas() for edge in (each.start, each.end)]
        edges = [self.zone[0], *taken, self.zone[1]]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return [(start, end - start) for start, end in pairs if start < end]

    def best_fit(self, size: int) -> int | None:
        """Return where the smallest gap is that has room, the lowest of equal ones."""
        fitting = [(room, start) for start, room in self.gaps() if room >= size]
        return min(fitting)[1] if fitting else None

    # --- time and power ---

    def power_cut(self) -> None:
        """Lose what is volatile: pieces of a programme, open calls, and the time that nothing came of."""
        self.uploads.clear()
        self.calls.clear()
        self.latest = 0.0

    def passes(self, now: float) -> None:
        """Hear what the handset says of the time: "from the phone, never backwards"; and see what ends by it.

        By the handset's time a resource is suspended, and no more: "one that lies forwards can at most expire
        what an operator's signed time then restores".
        """
        self.latest = max(self.latest, now, self.claimed, self.signed)
        in_use = [each for each in self.resources.values() if each.state in ("reserved", "loaded")]
        spent = [each for each in in_use if each.executions == 0]
        late = [each for each in in_use if NEVER < each.expires_at <= self.latest and each not in spent]
        if spent or late:
            self.claimed = max(self.claimed, int(self.latest))
        for each in spent:
            self._end(each, "exhausted")
        for each in late:
            each.state = "suspended"
            self._forget(each.tar)

    def announce(self, time: int, counter: int) -> Outcome:
        """Hear the operator's time, "trusted over" the handset's."""
        if counter <= self.announcements:
            return refused("replayed")
        self.announcements, self.signed, self.claimed = counter, max(self.signed, time), 0
        self.latest = self.signed
        for each in tuple(self.resources.values()):
            if NEVER < each.expires_at <= self.signed:
                if each.state != "expired":
                    self._end(each, "expired")
            elif each.state == "suspended":
                each.state = each.alive
                self._forget(each.tar)
        return DONE

    def _end(self, resource: Resource, state: str) -> None:
        """End a resource by itself: "deactivate or delete, as the reservation said; both remove the key"."""
        self._forget(resource.tar)
        resource.lose_key()
        resource.state = state
        if resource.delete_at_end:
            del self.resources[resource.tar]

    def _forget(self, tar: bytes) -> None:
        self.uploads.pop(tar, None)
        self.calls.pop(tar, None)

    # --- the operator ---

    def reserve(self, resource: Resource, *, fault: str = "") -> Outcome:
        """RES: "the zone is divided on demand (best fit)". *fault*: a reason that is sure without a look."""
        size = resource.code_size + resource.data_size
        start = self.best_fit(size)
        free = sum(room for _, room in self.gaps())
        known = resource.tar in self.resources or any(
            each.service == resource.service for each in self.resources.values()
        )
        outcome = refused(
            fault,
            "resource-exists" if known else "",
            "definitions-full" if len(self.resources) == self.slots else "",
            *self._unlivable(resource.expires_at, resource.executions),
            "" if start is not None else "zone-fragmented" if free >= size else "zone-full",
        )
        if not outcome.reasons:
            assert start is not None
            resource.start = start
            used = {each.rsc_id for each in self.resources.values()}
            resource.rsc_id = min(set(range(1, self.slots + 1)) - used)
            resource.data = bytes(resource.data_size)
            self.resources[resource.tar] = resource
        return outcome

    def _unlivable(self, expires_at: int, executions: int) -> Iterable[str]:
        yield "no-executions" if executions == 0 else ""
        yield "already-expired" if NEVER < expires_at <= self.signed else ""

    def block(self, tar: bytes) -> Outcome:
        """REVOKE: "its supplier key goes"."""
        resource = self.resources.get(tar)
        if resource is None:
            return refused("unknown-resource")
        if resource.state in ("blocked", "expired", "exhausted"):
            return refused(f"block-when-{resource.state}")
        resource.lose_key()
        resource.state = "blocked"
        self._forget(tar)
        return DONE

    def unblock(self, tar: bytes, key: str) -> Outcome:
        """Give a blocked resource back to its supplier, whose key must be the one that it had last."""
        resource = self.resources.get(tar)
        if resource is None:
            return refused("unknown-resource")
        outcome = refused(
            "" if key == resource.key else "not-the-suppliers-key",
            "" if resource.state == "blocked" else f"unblock-when-{resource.state}",
        )
        if not outcome.reasons:
            resource.state, resource.has_key = resource.alive, True
        return outcome

    def renew(self, tar: bytes, key: str, expires_at: int, executions: int) -> Outcome:
        """Set another date and another count; what these ended is of use again, what was blocked is not."""
        resource = self.resources.get(tar)
        if resource is None:
            return refused("unknown-resource")
        outcome = refused(
            "" if key == resource.key else "not-the-suppliers-key",
            *self._unlivable(expires_at, executions),
        )
        if not outcome.reasons:
            resource.expires_at, resource.executions = expires_at, executions
            if resource.state != "blocked":
                resource.state, resource.has_key = resource.alive, True
        return outcome

    def change_key(self, tar: bytes, former: str, key: str, *, endorsed: bool) -> Outcome:
        """Go by another key of the supplier, by the word of the one that the resource has, in any state."""
        resource = self.resources.get(tar)
        if resource is None:
            return refused("unknown-resource")
        outcome = refused(
            "" if former == resource.key else "not-the-suppliers-key",
            "" if endorsed else "not-endorsed",
        )
        if not outcome.reasons:
            resource.key, resource.session, resource.received = key, None, 0
            self._forget(tar)
        return outcome

    def release(self, tar: bytes) -> Outcome:
        """REVOKE: "a release overwrites the area with zeros"; ``gaps`` says which octets those are."""
        if tar not in self.resources:
            return refused("unknown-resource")
        del self.resources[tar]
        self._forget(tar)
        return DONE

    def compact(self) -> Outcome:
        """Move the resources together: they "keep identity and content"."""
        at = self.zone[0]
        for each in self.areas():
            size = each.end - each.start
            each.start, at = at, at + size
        return DONE

    # --- the supplier and the user ---

    def call(self, tar: bytes, number: int) -> Outcome:
        """SER: the user has the handset call; of too many open calls the oldest gives way."""
        resource = self.resources.get(tar)
        if resource is None:
            return refused("unknown-resource")
        why = resource.unusable("authenticate")
        if why:
            return refused(why)
        self.calls.pop(tar, None)
        if len(self.calls) == OPEN_CALLS:
            del self.calls[next(iter(self.calls))]
        self.calls[tar] = number
        return DONE

    def prove(self, tar: bytes, number: int) -> Outcome:
        """SER: the supplier answers call *number*; "a new session ends the old one"."""
        resource = self.resources.get(tar)
        if resource is None:
            return refused("no-open-call")
        why = resource.unusable("authenticate")
        if why or tar not in self.calls:
            return refused(why, "" if tar in self.calls else "no-open-call")
        if self.calls[tar] != number:
            return refused("bad-signature")
        self._forget(tar)
        resource.session, resource.received = number, 0
        return DONE

    def packet(self, tar: bytes, session: int, counter: int) -> Outcome:
        """Take a packet to *tar* under the keys of *session*: "fresh counters", each once."""
        resource = self.resources.get(tar)
        if resource is None:
            return refused("unknown-resource")
        if resource.session is None:
            return refused(resource.unusable("authenticate") or "no-session")
        if resource.session != session:
            return refused("checksum")
        if counter <= resource.received:
            return refused("counter")
        resource.received = counter
        return DONE

    def piece(self, tar: bytes, programme: Programme, version: int, *, second: bool) -> Outcome:
        """Take one half of a programme under a session; the second one completes it."""
        resource = self.resources[tar]
        if resource.state in ENDED:
            return refused(ENDED[resource.state])
        begun = self.uploads.get(tar)
        if second and begun is None and (resource.programme, resource.version) == (programme, version):
            return DONE  # said again, because the answer was lost
        if len(programme.code) > resource.code_size:
            return refused("code-too-large")
        if not second:
            self.uploads[tar] = programme, version
            return DONE
        if begun != (programme, version):
            return refused("piece-of-another")
        del self.uploads[tar]
        return self._install(resource, programme, version)

    def _install(self, resource: Resource, programme: Programme, version: int) -> Outcome:
        """Load the first programme, or a newer one in its place, with the memory of its first run."""
        if (resource.programme, resource.version) == (programme, version):
            return DONE  # sent twice, done once: the data stays what it has become
        outcome = refused(
            programme.refused,
            "version-not-newer" if version <= resource.version else "",
            "ungranted-import" if programme.right and programme.right not in resource.rights else "",
            "memory-too-large" if resource.data_size < PROBE_MEMORY else "",
        )
        if not outcome.reasons:
            resource.programme, resource.version, resource.state = programme, version, "loaded"
            resource.data = bytes(resource.data_size)
        return outcome

    def personalise(self, tar: bytes, octets: bytes) -> Outcome:
        """Have the programme take personal data, under a session; no execution is counted."""
        resource = self.resources[tar]
        why = resource.unusable("personalise", loaded=True)
        if why:
            return refused(why)
        kept = octets[:64]
        resource.data = resource.data[:512] + kept + resource.data[512 + len(kept) :]
        self._claim(resource)
        return DONE

    def invoke(self, tar: bytes, argument: bytes, *, counted: Callable[[], None] = lambda: None) -> Outcome:
        """Run the programme; "an execution is counted before it runs", when *counted* is told."""
        resource = self.resources.get(tar)
        if resource is None:
            return refused("unknown-resource")
        why = resource.unusable("invoke", loaded=True)
        if why:
            return refused(why)
        resource.executions -= resource.executions > 0
        self._claim(resource)
        counted()
        outcome = self._run(resource, argument)
        if resource.executions == 0:
            self._end(resource, "exhausted")
        return outcome

    def _claim(self, resource: Resource) -> None:
        """Keep the time, if a programme may have asked for it: to it, too, it never goes backwards."""
        if "time" in resource.rights:
            self.claimed = max(self.claimed, int(self.latest))

    def _run(self, resource: Resource, argument: bytes) -> Outcome:
        """Do what ``module_kit``'s probe does; a run that ends badly leaves "memory exactly as before"."""
        programme = resource.programme
        assert programme is not None
        data = bytearray(resource.data)
        argument = argument[:400]
        data[16 : 16 + len(argument)] = argument
        data[0] = (data[0] + 1) % 256
        if data[16] == 1:
            return Outcome(reasons=frozenset({"application-refused"}), status=7)
        if data[16] in BAD_ENDS:
            return refused(BAD_ENDS[data[16]])
        data[15] = data[0]
        output = bytes(data[15 : 16 + len(argument)])
        if programme.right == "time":
            data[32:40] = int(self.latest).to_bytes(8, "little")
            output += data[32:40]
        data[14] = programme.mark
        resource.data = bytes(data)
        return Outcome(output=output)
