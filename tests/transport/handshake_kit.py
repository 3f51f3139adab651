"""Parties that may shake hands in every form and suite, and one who stands between them."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.transport.security_kit import flipped, sealing_key, seeded, signing_key
from transport.errors import HandshakeRejected
from transport.security.domain_key import DomainKey, Kind, generate_symmetric
from transport.security.handshake import Credentials, initiator, responder
from transport.security.handshake_states import MESSAGES, State
from transport.security.suites import ALL_SUITES, SealingKey, SigningKey, suite
from transport.security.terms import (
    AGREE_THEN_SIGN,
    DOMAIN_ASYMMETRIC,
    DOMAIN_SYMMETRIC,
    FORM_NUMBERS,
    INITIATOR,
    KEY_TRANSPORT,
    RESPONDER,
    SIGN_THEN_AGREE,
    Terms,
)

if TYPE_CHECKING:
    from transport.security.handshake_side import Side
    from transport.security.suites import Rng

UA, SUPPLIER, TAR, LOGIC_NAME = b"8988211000000000018", b"bank", bytes.fromhex("b20100"), b"news"

# The fields of each message, from the descriptions of the forms. A signature, share or sealed contribution is
# as long as the suite of its sender or receiver makes it.
LAYOUTS: Final[dict[str, tuple[str, ...]]] = {
    AGREE_THEN_SIGN: ("tag suite nonce offer", "tag nonce answer signature mac", "tag signature mac"),
    KEY_TRANSPORT: ("tag suite nonce sealed", "tag nonce sealed signature mac", "tag signature mac"),
    SIGN_THEN_AGREE: (
        "tag suite nonce",
        "tag nonce signature",
        "tag offer signature",
        "tag answer signature mac",
        "tag mac",
    ),
    DOMAIN_SYMMETRIC: ("tag suite nonce offer", "tag nonce answer signature mac", "tag mac"),
    DOMAIN_ASYMMETRIC: ("tag suite nonce offer", "tag nonce answer signature mac", "tag signature mac"),
}
_FIXED: Final = {"tag": 1, "suite": 1, "nonce": 16, "mac": 16}
CONTRIBUTION: Final = 32
_EVERY_OCTET: Final = 220
"""Up to how many octets a message is attacked in each of them."""


class Case(NamedTuple):
    """A form, the suite that agrees, and the suites of both sides' own keys where they are others."""

    form: str
    suite: str
    module: str = ""
    supplier: str = ""

    def __str__(self) -> str:
        """Return what pytest calls it."""
        return "-".join(filter(None, (self.form, *self[1:])))

    def suite_of(self, role: str) -> str:
        """Return the suite of *role*'s keys."""
        return {INITIATOR: self.module, RESPONDER: self.supplier}[role] or self.suite


def _cases() -> list[Case]:
    """Return each form in each suite alone, and in each with the next one's keys and the one's before it."""
    names = list(ALL_SUITES)
    around = list(zip(names, names[1:] + names[:1], names[-1:] + names[:-1], strict=True))
    return [
        case
        for form in FORM_NUMBERS
        for case in [*(Case(form, name) for name in names), *(Case(form, *names_of) for names_of in around)]
    ]


CASES: Final = _cases()
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_form = pytest.mark.parametrize("form", FORM_NUMBERS)
SMALLEST: Final = next(iter(ALL_SUITES))
"""The suite of tests that need only one."""


class Person(NamedTuple):
    """Somebody with keys of his own."""

    signing: SigningKey
    sealing: SealingKey


PEOPLE: Final = ("module", "supplier", "rogue")


def person(kind: str, name: str) -> Person:
    """Return who goes by *name*, with keys of suite *kind*."""
    seed = 1 + PEOPLE.index(name)
    return Person(signing_key(kind, seed), sealing_key(kind, seed))


DOMAINS: Final = ("news", "weather")


def domain_key(form: str, kind: str, name: str = "news", generation: int = 1) -> DomainKey:
    """Return the key of domain *name*, of the kind that *form* needs."""
    if form == DOMAIN_ASYMMETRIC:
        pair = signing_key(kind, 4 + DOMAINS.index(name))
        return DomainKey(
            kind=Kind.PAIR, generation=generation, suite=kind, public=pair.public, secret=pair.private
        )
    return generate_symmetric(random.Random(f"{kind} {name}").randbytes, generation=generation)


class Run(NamedTuple):
    """A finished handshake: both sides and all its messages."""

    initiator: Side
    responder: Side
    messages: tuple[bytes, ...]


class Held(NamedTuple):
    """An attempt under way whose last message has been sent and not come yet."""

    sender: Side
    receiver: Side
    messages: tuple[bytes, ...]

    @property
    def message(self) -> bytes:
        """The message that has not come."""
        return self.messages[-1]


class Parties:
    """A module and a supplier who know each other's keys, and any number of attempts between them."""

    def __init__(self, case: Case, seed: int = 0) -> None:
        self.case = case
        self.rng: Rng = seeded(seed)
        self.terms = Terms(
            suite=case.suite,
            form=case.form,
            initiator=UA,
            responder=SUPPLIER,
            tar=TAR,
            initiator_suite=case.module,
            responder_suite=case.supplier,
            logic_name=LOGIC_NAME,
        )
        self.module = person(case.suite_of(INITIATOR), "module")
        self.supplier = person(case.suite_of(RESPONDER), "supplier")
        self.domain_key = domain_key(case.form, case.suite_of(INITIATOR))

    def module_has(self, **changes: object) -> Credentials:
        """Return what the module brings, but for *changes*."""
        return replace(credentials(self.module, self.supplier, self.domain_key), **changes)  # type: ignore[arg-type]

    def supplier_has(self, **changes: object) -> Credentials:
        """Return what the supplier brings, but for *changes*."""
        return replace(credentials(self.supplier, self.module, self.domain_key), **changes)  # type: ignore[arg-type]

    def initiator(self, has: Credentials | None = None, **changes: object) -> Side:
        """Return a module's side, its terms but for *changes*."""
        return initiator(replace(self.terms, **changes), has or self.module_has(), self.rng)  # type: ignore[arg-type]

    def responder(self, has: Credentials | None = None, **changes: object) -> Side:
        """Return a supplier's side, its terms but for *changes*."""
        return responder(replace(self.terms, **changes), has or self.supplier_has(), self.rng)  # type: ignore[arg-type]

    def run(self) -> Run:
        """Return an honest attempt, carried through."""
        opening, answering = self.initiator(), self.responder()
        return Run(opening, answering, tuple(converse(opening, answering)))

    def held(self, step: int, opening: Side | None = None, answering: Side | None = None) -> Held:
        """Return an honest attempt up to its message *step*, counted from 0."""
        sender, receiver = opening or self.initiator(), answering or self.responder()
        messages = [sender.start()]
        for _ in range(step):
            message = receiver.receive(messages[-1])
            assert message is not None
            messages.append(message)
            sender, receiver = receiver, sender
        return Held(sender, receiver, tuple(messages))


def credentials(own: Person, peer: Person, key: DomainKey | None = None) -> Credentials:
    """Return what *own* brings to a handshake with *peer*."""
    return Credentials(
        signing_key=own.signing,
        sealing_key=own.sealing,
        peer_signing_public=peer.signing.public,
        peer_sealing_public=peer.sealing.public,
        domain_key=key,
    )


def steps(case: Case) -> range:
    """Return the numbers of the form's messages."""
    return range(len(MESSAGES[case.form]))


def fields(case: Case, step: int) -> dict[str, slice]:
    """Return where each field of a message stands."""
    sender, receiver = (INITIATOR, RESPONDER) if step % 2 == 0 else (RESPONDER, INITIATOR)
    agrees = suite(case.suite)
    lengths = _FIXED | {
        "offer": agrees.offer_length,
        "answer": agrees.answer_length,
        "sealed": suite(case.suite_of(receiver)).sealed_length(CONTRIBUTION),
        "signature": suite(case.suite_of(sender)).signature_length,
    }
    found, at = {}, 0
    for name in LAYOUTS[case.form][step].split():
        found[name] = slice(at, at + lengths[name])
        at += lengths[name]
    return found


def contribution_field(case: Case, step: int) -> str:
    """Return what a message's contribution to the secret is called; empty when it has none."""
    return next((name for name in ("offer", "answer", "sealed") if name in fields(case, step)), "")


def positions(octets: bytes, where: slice) -> list[int]:
    """Return the octets of a field to attack: all of them, or in a long message its ends and some within."""
    all_of_them = range(where.start, where.stop)
    if len(octets) <= _EVERY_OCTET or len(all_of_them) <= 16:
        return list(all_of_them)
    within = random.Random(where.start).sample(all_of_them, 8)
    return sorted({*all_of_them[:4], *all_of_them[-4:], *within})


def put(octets: bytes, where: slice, other: bytes) -> bytes:
    """Return *octets* with the field *where* replaced by *other*."""
    return octets[: where.start] + other + octets[where.stop :]


def altered(octets: bytes, at: int) -> tuple[bytes, bytes]:
    """Return *octets* with the lowest and with the highest bit of the octet *at* turned."""
    return flipped(octets, at), put(octets, slice(at, at + 1), bytes([octets[at] ^ 0x80]))


Meddle = Callable[[int, bytes], bytes]


def converse(sender: Side, receiver: Side, meddle: Meddle | None = None) -> list[bytes]:
    """Carry messages to and fro until all is said, each through *meddle*; return them as they were sent."""
    messages: list[bytes] = []
    message: bytes | None = sender.start()
    while message is not None:
        messages.append(message)
        carried = meddle(len(messages) - 1, message) if meddle else message
        sender, receiver = receiver, sender
        message = sender.receive(carried)
    return messages


def has_keys(side: Side) -> bool:
    """Return whether *side* gives keys out; if not, it says so as a misuse."""
    if side.state is State.ESTABLISHED:
        return bool(side.keys)
    with pytest.raises(ValueError, match="no session keys"):
        _ = side.keys
    return False


def refused(side: Side, octets: bytes) -> str:
    """Let *side* receive what it must refuse; it ends dead and without keys. Return the reason."""
    with pytest.raises(HandshakeRejected) as caught:
        side.receive(octets)
    assert side.state is State.DEAD
    assert not has_keys(side)
    return caught.value.reason


def meddled(held: Held, octets: bytes) -> str:
    """Put *octets* in the place of the message that has not come; return the reason of the refusal.

    Copies of the sides go on with it for as long as they accept what comes: until one refuses, and then no
    side has keys that had none before.
    """
    receiver, sender = copy(held.receiver), copy(held.sender)
    had = has_keys(sender)
    sides = [receiver, sender]
    for _ in range(len(held.messages) + 5):
        try:
            message = sides[0].receive(octets)
        except HandshakeRejected as rejection:
            assert sides[0].state is State.DEAD
            assert (has_keys(receiver), has_keys(sender)) == (False, had)
            return rejection.reason
        assert message is not None, "all was said and nothing refused"
        octets = message
        sides.reverse()
    raise AssertionError("a handshake without an end")


def finish(held: Held) -> None:
    """Let the message come after all; both sides end with the same keys."""
    receiver, sender, message = held.receiver, held.sender, held.message
    while True:
        answer = receiver.receive(message)
        if answer is None:
            break
        receiver, sender, message = sender, receiver, answer
    assert receiver.keys == sender.keys
