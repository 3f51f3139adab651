"""Roles that may make sessions with each other in every form and suite, and one who stands between them.

Nothing here is asynchronous: what one side says is octets in the test's hands, and the test brings them to
the other side, or something else. Whoever says something says its name with it, as a frame does; the other
side goes by it only to look for keys.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from agents.directory import CertificateDirectory, Party
from agents.errors import NoSession
from agents.identity import RoleKeys, certify
from agents.link_sessions import SessionWay
from agents.link_ways import Heard, Letter, LinkForms
from agents.messages.codec import decode, encode
from agents.messages.link import (
    LINK_MESSAGES,
    LinkGreeted,
    LinkGreeting,
    LinkQuestion,
    LinkReply,
    LinkUnknown,
)
from tests.bus.manual_clock import ManualClock
from tests.transport.security_kit import sealing_key, seeded, signing_key
from transport.errors import Rejected
from transport.security.certificates import Role
from transport.security.handshake_states import MESSAGES
from transport.security.suites import ALL_SUITES
from transport.security.terms import AGREE_THEN_SIGN, KEY_TRANSPORT, SIGN_THEN_AGREE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.messages.link import LinkMessage
    from bus.clock import Clock
    from transport.security.certificates import Certificate

FORMS: Final = (AGREE_THEN_SIGN, KEY_TRANSPORT, SIGN_THEN_AGREE)
PEOPLE: Final = {
    "root": Role.AUTHORITY,
    "mno": Role.OPERATOR,
    "bank": Role.SUPPLIER,
    "shop": Role.SUPPLIER,
}
ASKER, OTHER, THIRD = "mno", "bank", "shop"
NOW: Final = 1_750_000_000.0
PATIENCE_S: Final = 5.0
QUESTION, REPLY = b"what is the time?", b"too late"
REFERENCE: Final = bytes(range(8))


class Case(NamedTuple):
    """A form, and the suites of the two who speak."""

    form: str
    asker: str
    other: str

    def __str__(self) -> str:
        """Return what pytest calls it."""
        suites = (self.asker,) if self.asker == self.other else (self.asker, self.other)
        return "-".join((self.form, *suites))

    def suite_of(self, name: str) -> str:
        """Return the suite of *name*'s keys."""
        return {ASKER: self.asker, OTHER: self.other}.get(name, "x25519")


_NAMES: Final = list(ALL_SUITES)
CASES: Final = [Case(form, name, name) for form in FORMS for name in _NAMES]
MIXED: Final = [
    Case(form, *pair) for form in FORMS for pair in zip(_NAMES, _NAMES[1:] + _NAMES[:1], strict=True)
]
SMALL: Final = [Case(form, "x25519", "p256") for form in FORMS]
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_form = pytest.mark.parametrize("case", SMALL, ids=str)


@cache
def keys_of(name: str, suite: str) -> RoleKeys:
    """Return who goes by *name*, with keys of *suite*, made once."""
    seed = 1 + list(PEOPLE).index(name)
    return RoleKeys(
        name=name,
        role=PEOPLE[name],
        suite=suite,
        signing=signing_key(suite, seed),
        sealing=sealing_key(suite, seed),
    )


class Register(CertificateDirectory):
    """A directory in which what is known of somebody may change while everybody goes by it."""

    def __init__(self, authority: Certificate, *, clock: Clock) -> None:
        super().__init__(authority, clock=clock)
        self.newer: dict[str, Party] = {}

    def introduced(self, name: str) -> Party:
        """Return the newest that is known of *name*."""
        return self.newer.get(name) or super().introduced(name)

    def party(self, name: str) -> Party:
        """Return the newest that is known of *name*, if it still holds."""
        return self.newer.get(name) or super().party(name)


class Street:
    """A market's roles and their ways; whose certificates are ``certified`` they all go by."""

    def __init__(self, case: Case, seed: int = 0) -> None:
        self.case = case
        self.clock = ManualClock(NOW)
        self.rng = seeded(seed)
        self.keys = {name: keys_of(name, case.suite_of(name)) for name in PEOPLE}
        root = self.keys["root"]
        self.certified: dict[str, Certificate] = {
            name: certify(keys, issuer=root, serial=number, now=NOW)
            for number, (name, keys) in enumerate(self.keys.items(), 1)
        }
        self.forms = LinkForms(said={ASKER: case.form})
        self.ways: dict[str, SessionWay] = {}
        for name in PEOPLE:
            self.restart(name)

    @property
    def now(self) -> float:
        """The time that everybody goes by."""
        return self.clock.now()

    def directory(self, *others_of: Certificate) -> Register:
        """Return what somebody goes by, with these certificates; they are checked when they are entered."""
        certified = self.certified | {each.subject: each for each in others_of}
        directory = Register(certified.pop("root"), clock=self.clock)
        for name, certificate in certified.items():
            directory.enter((certificate,), role=PEOPLE[name], issuer="root")
        return directory

    def restart(self, name: str, *others_of: Certificate, forms: LinkForms | None = None) -> Register:
        """Begin *name* anew, with nothing in its memory; return what it goes by."""
        directory = self.directory(*others_of)
        self.ways[name] = SessionWay(
            keys=self.keys[name], directory=directory, forms=forms or self.forms, rng=self.rng
        )
        return directory

    def open(self, asker: str = ASKER, other: str = OTHER, patience_s: float = 0.0) -> Letter:
        """Return the opening of a new attempt."""
        letter = self.ways[asker].open(other, self.now, patience_s=patience_s)
        assert letter is not None
        return letter

    def take(self, to: str, source: str, octets: bytes) -> Heard | Letter | None:
        """Bring *octets* to *to*, under the name of *source*."""
        return self.ways[to].take(source, octets, self.now)

    def shake(
        self,
        asker: str = ASKER,
        other: str = OTHER,
        *,
        first: Letter | None = None,
        meddle: Callable[[int, bytes], bytes] | None = None,
    ) -> list[bytes]:
        """Carry an attempt to its end, each message through *meddle*; return them as they were sent."""
        said: list[bytes] = []
        letter: Letter | None = first or self.open(asker, other)
        sender, receiver = asker, other
        while letter is not None:
            self.ways[sender].sent(receiver, letter)
            said.append(letter.octets)
            carried = meddle(len(said) - 1, letter.octets) if meddle else letter.octets
            answer = self.take(receiver, sender, carried)
            assert not isinstance(answer, Heard)
            letter, sender, receiver = answer, receiver, sender
        return said

    def held(self, step: int) -> Held:
        """Return an honest attempt up to its message *step*, counted from 0, which has not come yet."""
        letter, sender, receiver = self.open(), ASKER, OTHER
        said = [letter.octets]
        for _ in range(step):
            answer = self.take(receiver, sender, said[-1])
            assert isinstance(answer, Letter)
            letter, sender, receiver = answer, receiver, sender
            said.append(letter.octets)
        self.ways[sender].sent(receiver, letter)
        return Held(self, sender, receiver, tuple(said))

    def ask(self, octets: bytes = QUESTION, reference: bytes = REFERENCE) -> bytes:
        """Return a question of the asker's, as it travels."""
        return self.ways[ASKER].question(OTHER, octets, reference)

    def reply(self, octets: bytes = REPLY, reference: bytes = REFERENCE) -> bytes:
        """Return a reply of the other's, as it travels."""
        said, _ = self.ways[OTHER].reply(ASKER, octets, reference)
        assert said is not None
        return said

    def heard(self, to: str, source: str, octets: bytes) -> Heard:
        """Bring *octets*, which must be heard."""
        heard = self.take(to, source, octets)
        assert isinstance(heard, Heard)
        return heard

    def session(self, asker: str = ASKER, other: str = OTHER) -> bytes | None:
        """Return the label of the session that the asker would ask in."""
        return self.ways[asker].session(other)

    def converses(self, asker: str = ASKER, other: str = OTHER) -> bool:
        """Say whether a question is heard and its reply too, in the session there is."""
        asking, answering = self.ways[asker], self.ways[other]
        question = self.heard(other, asker, asking.question(other, QUESTION, REFERENCE))
        said, _ = answering.reply(asker, REPLY, question.reference)
        assert said is not None
        reply = self.heard(asker, other, said)
        names = (question.sender.name, reply.sender.name)
        return (names, question.octets, reply.octets) == ((asker, other), QUESTION, REPLY)


class Held(NamedTuple):
    """An attempt under way whose last message has been sent and not come yet."""

    street: Street
    sender: str
    receiver: str
    messages: tuple[bytes, ...]

    @property
    def message(self) -> bytes:
        """The message that has not come."""
        return self.messages[-1]

    @property
    def label(self) -> bytes:
        """Return the attempt's label."""
        return parsed(self.message).label

    def finish(self) -> None:
        """Let the message come after all; then there is a session."""
        street, sender, receiver, octets = self.street, self.sender, self.receiver, self.message
        while (answer := street.take(receiver, sender, octets)) is not None:
            assert isinstance(answer, Letter)
            street.ways[receiver].sent(sender, answer)
            sender, receiver, octets = receiver, sender, answer.octets
        assert street.session() == self.label
        assert street.converses()


def steps(case: Case) -> range:
    """Return the numbers of the form's messages."""
    return range(len(MESSAGES[case.form]))


def _each_step(cases: list[Case]) -> pytest.MarkDecorator:
    found = [(case, step) for case in cases for step in steps(case)]
    return pytest.mark.parametrize(("case", "step"), found, ids=str)


each_step = _each_step(CASES)
each_small_step = _each_step(SMALL)


def parsed(octets: bytes) -> LinkMessage:
    """Return the message in *octets*."""
    message: LinkMessage = decode(octets, *LINK_MESSAGES)
    return message


def said_in(octets: bytes) -> bytes:
    """Return what a message of a handshake says."""
    message = parsed(octets)
    assert isinstance(message, LinkGreeting | LinkGreeted)
    return message.octets


def packet_in(octets: bytes) -> bytes:
    """Return the packet in a question or reply."""
    message = parsed(octets)
    assert isinstance(message, LinkQuestion | LinkReply)
    return message.packet


def letter(came: Heard | Letter | None) -> Letter:
    """Return what is said to a message, which must be something."""
    assert isinstance(came, Letter)
    return came


def but(message: bytes, **changes: Any) -> bytes:
    """Return a message with some of its fields changed."""
    return encode(replace(parsed(message), **changes))


def refused(street: Street, to: str, source: str, octets: bytes) -> str:
    """Bring *octets*, which must be refused; return the reason."""
    with pytest.raises(Rejected) as caught:
        street.take(to, source, octets)
    return caught.value.reason


def noticed(street: Street, to: str, source: str, octets: bytes) -> bytes:
    """Bring a question whose session is not known there; return the notice that its asker is sent."""
    with pytest.raises(NoSession) as caught:
        street.take(to, source, octets)
    assert isinstance(parsed(caught.value.notice), LinkUnknown)
    return caught.value.notice


def misled(
    street: Street,
    opening: bytes,
    *,
    to: str = OTHER,
    source: str = ASKER,
    asker: str = ASKER,
    other: str = OTHER,
    label: bytes = b"",
) -> str:
    """Put an opening to *to* as *source*'s; return what it is refused for.

    Nothing in an opening is proven: if it is answered, the answer is put to *asker* as *other*'s, for his
    attempt *label*, by default the opening's own; then it is he who refuses.
    """
    try:
        answer = street.take(to, source, opening)
    except Rejected as rejection:
        return rejection.reason
    told = LinkGreeted(label=label or parsed(opening).label, octets=said_in(letter(answer).octets))
    return refused(street, asker, other, encode(told))


def renewed(street: Street) -> None:
    """Check the honest next attempt: it succeeds, and its session is of use."""
    street.shake()
    assert street.converses()
