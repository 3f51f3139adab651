"""Secure connections between roles: made once, then each question and each reply is a packet of one.

Who asks and has no session with the other opens one; what it asks and the replies to that are packets of it.
Each side's sessions are its own to open: when two ask each other at once there are two, and no tie. They live
in RAM, and end with the process, with the keys that the other is known by, or with the next session: that
takes the place of the one before when it is established, and not sooner.

Whom the asker sends a packet of a session that he has lost, he who was asked says so (``LinkUnknown``).
Nobody vouches for this: without the keys there is nothing to prove it with. So it may do no more than anybody
may be allowed to do. It counts only if it names the asker's present session, whose label an eavesdropper
knows and nobody can guess; it ends nothing, but begins one handshake, and not another one for NOTICE_S
seconds. While that is under way the session is used as before, and the next one takes its place only when the
other side has proven itself in it. So one who forges it makes two roles shake hands every NOTICE_S seconds,
with each other, and changes nothing else; and one who withholds it gains a wait of seconds, as a question
that gets no reply begins a handshake too. Neither can lead anybody to speak in clear, sealed, in another form
or under an older session: there is no such message.

What strangers can make us keep is bounded. An opening proves nothing, costs us a key agreement and a
signature, and is kept half-open: HALF_OPEN of them in one asker's name, the oldest giving way, each for
HALF_OPEN_S. A message that does not hold changes nothing, for a copy of the attempt judges it. When an
attempt of an asker's is done, those that it began before are forgotten: a proof that somebody held back does
not put an older session in the place of a newer one.

References are checked by ``link``, over all sessions; counters here, in each.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar, Final

from agents.errors import MessageRejected, NoSession
from agents.link_handshakes import Handshakes
from agents.link_ways import SEALED, Heard, Letter
from agents.messages.codec import decode, encode
from agents.messages.link import (
    LINK_MESSAGES,
    LinkGreeted,
    LinkGreeting,
    LinkQuestion,
    LinkReply,
    LinkUnknown,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.directory import Directory, Party
    from agents.identity import RoleKeys
    from agents.link_handshakes import Attempt
    from agents.link_session import Session
    from agents.link_ways import LinkForms
    from transport.security.suites import Rng

HALF_OPEN: Final = 4
HALF_OPEN_S: Final = 30.0
NOTICE_S: Final = 5.0


class SessionWay:
    """One role's end, to all others whose link is in a form."""

    def __init__(self, *, keys: RoleKeys, directory: Directory, forms: LinkForms, rng: Rng) -> None:
        self._name = keys.name
        self._directory = directory
        self._forms = forms
        self._handshakes = Handshakes(keys=keys, directory=directory, forms=forms, rng=rng)
        self._ours: dict[str, Session] = {}
        """By whom we ask."""
        self._theirs: dict[str, Session] = {}
        """By who asks us."""
        self._attempts: dict[str, Attempt] = {}
        """Our own, by whom we ask: one each."""
        self._half_open: dict[str, OrderedDict[bytes, Attempt]] = {}
        """By who asks us, then by label, the oldest first."""
        self._noticed: dict[str, float] = {}
        """When a notice was last followed, by whom it was said to be of."""

    # Out ---------------------------------------------------------------------------------------------------

    def session(self, to: str) -> bytes | None:
        """See ``Way.session``."""
        peer = self._peer(to)
        ours = self._ours.get(to)
        return ours.label if ours is not None and ours.peer == peer else None

    def open(self, to: str, now: float, *, patience_s: float) -> Letter | None:
        """See ``Way.open``."""
        peer = self._peer(to)
        attempt = self._attempts.get(to)
        if attempt is not None and now - attempt.made_at < patience_s and attempt.peer == peer:
            return None
        attempt = self._attempts[to] = self._handshakes.begin(peer, now)
        return Letter(octets=encode(LinkGreeting(label=attempt.label, octets=attempt.said)))

    def sent(self, to: str, letter: Letter) -> bool:
        """See ``Way.sent``: our last message has to be there before the first packet."""
        attempt = self._attempts.get(to)
        if attempt is None or letter.establishes != attempt.label:
            return False
        del self._attempts[to]
        self._ours[to] = attempt.session(asks=True)
        return True

    def question(self, to: str, octets: bytes, reference: bytes) -> bytes:
        """See ``Way.question``."""
        ours = self._ours[to]
        return encode(LinkQuestion(label=ours.label, packet=ours.protect(octets, reference)))

    def reply(self, to: str, octets: bytes, reference: bytes) -> tuple[bytes | None, bytes]:
        """See ``Way.reply``: the session is that of the question, or the one that took its place."""
        return self.again(to, octets, reference), octets

    def again(self, to: str, kept: bytes, reference: bytes) -> bytes | None:
        """See ``Way.again``: one who has no session any more will ask again in another one."""
        theirs = self._theirs.get(to)
        if theirs is None:
            return None
        return encode(LinkReply(label=theirs.label, packet=theirs.protect(kept, reference)))

    # In ----------------------------------------------------------------------------------------------------

    def take(self, source: str, octets: bytes, now: float) -> Heard | Letter | None:
        """See ``Way.take``: *source* says whose keys to try, and they say whether it is so."""
        message = decode(octets, *LINK_MESSAGES)
        # Who asks may be told no, even when it is nobody any more; but nobody shakes hands with it.
        asks = isinstance(message, LinkQuestion)
        peer = self._peer(source, self._directory.introduced if asks else None)
        return self._takes[type(message)](self, peer, message, now)

    def forget(self, heard: Heard) -> None:
        """See ``Way.forget``."""
        self._theirs[heard.sender.name].window.forget(heard.counter)

    def _peer(self, name: str, look_up: Callable[[str], Party] | None = None) -> Party:
        if name == self._name:
            raise MessageRejected("reflected")
        peer = (look_up or self._handshakes.peer)(name)
        if self._forms.between(self._name, name) == SEALED:
            raise MessageRejected("wrong-way", "a session, where messages are sealed")
        return peer

    def _greeting(self, peer: Party, message: LinkGreeting, now: float) -> Letter | None:
        asker, label = peer.name, message.label
        theirs = self._theirs.get(asker)
        if theirs is not None and theirs.label == label:
            raise MessageRejected("replayed")
        kept = self._half_open.setdefault(asker, OrderedDict())
        for old in [each for each, attempt in kept.items() if now - attempt.made_at > HALF_OPEN_S]:
            del kept[old]
        attempt = kept.get(label)
        if attempt is None or attempt.peer != peer:
            attempt = self._handshakes.await_opening(label, peer, now)
        attempt = attempt.hear(message.octets)
        if attempt.is_done:
            while kept and kept.popitem(last=False)[0] != label:
                pass
            self._theirs[asker] = attempt.session(asks=False)
            return None
        kept[label] = attempt
        if len(kept) > HALF_OPEN:
            kept.popitem(last=False)
        return Letter(octets=encode(LinkGreeted(label=label, octets=attempt.said)))

    def _greeted(self, peer: Party, message: LinkGreeted, _now: float) -> Letter:
        attempt = self._attempts.get(peer.name)
        if attempt is None or (attempt.label, attempt.peer) != (message.label, peer):
            raise MessageRejected("no-attempt")
        attempt = self._attempts[peer.name] = attempt.hear(message.octets)
        octets = encode(LinkGreeting(label=attempt.label, octets=attempt.said))
        return Letter(octets=octets, establishes=attempt.label if attempt.is_done else b"")

    def _question(self, peer: Party, message: LinkQuestion, _now: float) -> Heard:
        theirs = self._theirs.get(peer.name)
        if theirs is None or (theirs.label, theirs.peer) != (message.label, peer):
            raise NoSession(notice=encode(LinkUnknown(label=message.label)))
        return _heard(theirs, message.packet, is_reply=False)

    def _reply(self, peer: Party, message: LinkReply, _now: float) -> Heard:
        ours = self._ours.get(peer.name)
        if ours is None or (ours.label, ours.peer) != (message.label, peer):
            raise MessageRejected("no-session")
        heard = _heard(ours, message.packet, is_reply=True)
        if heard.again:
            raise MessageRejected("replayed")
        return heard

    def _unknown(self, peer: Party, message: LinkUnknown, now: float) -> Letter | None:
        ours = self._ours.get(peer.name)
        if ours is None or ours.label != message.label:
            raise MessageRejected("unexpected-notice")
        if now - self._noticed.get(peer.name, -NOTICE_S) < NOTICE_S:
            raise MessageRejected("too-many-notices")
        self._noticed[peer.name] = now
        return self.open(peer.name, now, patience_s=NOTICE_S)

    _takes: ClassVar[Mapping[type[Any], Callable[[Any, Party, Any, float], Heard | Letter | None]]] = {
        LinkGreeting: _greeting,
        LinkGreeted: _greeted,
        LinkQuestion: _question,
        LinkReply: _reply,
        LinkUnknown: _unknown,
    }


def _heard(session: Session, packet: bytes, *, is_reply: bool) -> Heard:
    reference, octets, counter, again = session.open(packet)
    return Heard(
        sender=session.peer,
        reference=reference,
        octets=octets,
        is_reply=is_reply,
        counter=counter,
        again=again,
    )
