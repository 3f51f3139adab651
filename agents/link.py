"""The inside road: a role asks another by name and gets its reply, protected both ways.

A question travels as one frame to the other's inbox, the reply to the asker's, with the same reference. A
question that gets no reply is asked again with the same reference and, but for another session, the same
octets. Who was asked before gives the reply that it gave, or none while it is still at work: each question is
carried out once, and a recording of the wire is worth nothing. Only after a restart may one be carried out
again, which every handler bears by looking at what it has stored. A reply nobody waits for is dropped.

How octets are protected is the way's business (``link_ways``): each message sealed, or sessions that two
roles make first. The messages that a way has of its own go out in their order, by a task that is there while
there are any.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agents.errors import MessageRejected, NoSession, Refusal, Unanswered
from agents.freshness import References, Taken
from agents.link_sealed import SealedWay
from agents.link_sessions import SessionWay
from agents.link_ways import SEALED, Letter, LinkForms
from agents.messages.codec import decode, encode
from agents.messages.inside import REPLIES, REQUESTS, Refused, Reply, Request
from bus import tracing
from bus.errors import BusError, MailboxFull
from bus.frame import Bearer, Frame
from bus.log_lines import Names
from bus.topics import Inbox
from transport.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from agents.directory import Directory
    from agents.identity import RoleKeys
    from agents.link_ways import Heard, Way
    from bus.actor import ActorGroup
    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import TraceContext
    from transport.security.suites import Rng

REPLY_TIMEOUT_S: Final = 10.0
ATTEMPTS: Final = 4
MOST_LETTERS: Final = 256
"""Messages of the ways that wait to be sent; one too many is dropped, as whoever wanted it asks again."""
MOST_NOTICES: Final = 32
"""No notice is put behind so many: anybody can call for one, and they must not crowd out handshakes."""
_ARRAYS: Final = frozenset(bytes([0x90 | length]) for length in range(16))
_AT_WORK: Final = b""
"""What a question has for a reply until there is one."""

R = TypeVar("R", bound=Reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question that proved to come from *sender*, entered as *role*; Role asks whether it still is."""

    sender: str
    role: str
    message: Request
    reference: bytes
    trace: TraceContext
    answered: bytes | None = field(default=None, repr=False)
    """What its way kept of the reply that it was given before, when it comes again."""

    @property
    def label(self) -> str:
        """What work on it is called: what it asks."""
        return type(self.message).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question of ours on its way: what it says, and the reply that is waited for."""

    to: str
    octets: bytes = field(repr=False)
    reference: bytes
    trace: TraceContext
    reply: asyncio.Future[Reply]
    protected: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    """As it travels, by session: asked again, it is the same octets."""


class Link:
    """One role's end of the inside road."""

    def __init__(  # noqa: PLR0913 -- what it is given to work with
        self,
        client: BusClient,
        *,
        fleet: str,
        keys: RoleKeys,
        directory: Directory,
        clock: Clock,
        rng: Rng,
        counters: Counters,
        log: FilteringBoundLogger,
        group: ActorGroup,
        forms: LinkForms | None = None,
    ) -> None:
        self.name = keys.name
        self._names = Names(agent=keys.name, role=keys.role.value)
        self._client = client
        self._fleet = fleet
        self._clock = clock
        self._counters = counters
        self._log = log
        self._group = group
        self._forms = forms or LinkForms()
        self._sealed = SealedWay(keys=keys, directory=directory, forms=self._forms, awaits=self._awaits)
        self._sessions = SessionWay(keys=keys, directory=directory, forms=self._forms, rng=rng)
        self._references = References(clock, rng)
        self._taken: Taken[bytes] = Taken(clock)
        self._waiting: dict[bytes, _Asked] = {}
        self._renewals: dict[str, asyncio.Future[None]] = {}
        """Done, and replaced, when there is a new session with somebody."""
        self._letters: deque[tuple[str, Letter, TraceContext]] = deque()
        self._postman: asyncio.Task[None] | None = None
        self._deliver: Callable[[Question], None] | None = None

    async def start(self, deliver: Callable[[Question], None]) -> None:
        """Listen to the inbox; questions go to *deliver*, which must not wait."""
        self._deliver = deliver
        await self._client.subscribe([Inbox(fleet=self._fleet, agent=self.name)], self._received)

    # Asking ------------------------------------------------------------------------------------------------

    async def ask(self, to: str, message: Request, expected: type[R], *, trace: TraceContext) -> R:
        """Ask *to* and return its reply, of class *expected*.

        Raises Refusal with the other's reason, Unanswered when it stays silent, or Rejected for one whom
        nothing can be asked.
        """
        asked = _Asked(
            to=to,
            octets=encode(message),
            reference=self._references.next(),
            trace=trace,
            reply=asyncio.get_running_loop().create_future(),
        )
        self._waiting[asked.reference] = asked
        try:
            reply = await self._ask_until_answered(asked)
        finally:
            del self._waiting[asked.reference]
        if isinstance(reply, Refused):
            raise Refusal(reply.reason)
        if not isinstance(reply, expected):
            raise Refusal("unexpected-reply")
        return reply

    async def _ask_until_answered(self, asked: _Asked) -> Reply:
        way = self._way(asked.to)
        for attempt in range(1, ATTEMPTS + 1):
            if await self._ask_once(asked, way, attempt):
                return asked.reply.result()
            self._counters.retried(Bearer.ROLE)
            # Silence may mean that the other has lost the session, and that somebody keeps this from us.
            await self._open(asked, way)
        raise Unanswered(asked.to)

    async def _ask_once(self, asked: _Asked, way: Way, attempt: int) -> bool:
        """Ask, and again whenever there is a new session to ask in; return whether there is a reply."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + REPLY_TIMEOUT_S
        while True:
            renewal = self._renewals.setdefault(asked.to, loop.create_future())
            label = way.session(asked.to)
            if label is None:
                await self._open(asked, way)
            else:
                await self._send_question(asked, way, label, attempt)
            left_s = max(0.0, until_s - loop.time())
            either: set[asyncio.Future[Any]] = {asked.reply, renewal}
            await asyncio.wait(either, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if asked.reply.done():
                return True
            if not renewal.done():
                return False

    async def _open(self, asked: _Asked, way: Way) -> None:
        letter = way.open(asked.to, self._clock.now(), patience_s=REPLY_TIMEOUT_S / 2)
        if letter is not None:
            await self._send(asked.to, letter.octets, asked.reference, asked.trace)

    async def _send_question(self, asked: _Asked, way: Way, label: bytes, attempt: int) -> None:
        if label not in asked.protected:
            asked.protected[label] = way.question(asked.to, asked.octets, asked.reference)
        await self._send(asked.to, asked.protected[label], asked.reference, asked.trace, attempt)

    def _awaits(self, sender: str, reference: bytes) -> bool:
        asked = self._waiting.get(reference)
        return asked is not None and asked.to == sender

    # Replying ----------------------------------------------------------------------------------------------

    async def repeat(self, question: Question) -> None:
        """Give *question* the reply that it was given before."""
        assert question.answered, "it was answered before"
        octets = self._way(question.sender).again(question.sender, question.answered, question.reference)
        await self._send_reply(question, octets)

    async def reply(self, question: Question, reply: Reply) -> None:
        """Answer *question*; returns when the broker has the reply."""
        way = self._way(question.sender)
        octets, kept = way.reply(question.sender, encode(reply), question.reference)
        self._taken.settle(question.sender, question.reference, kept)
        await self._send_reply(question, octets)

    async def _send_reply(self, question: Question, octets: bytes | None) -> None:
        # Without a session there is nobody who could read it; who asked will ask again in another one.
        if octets is not None:
            await self._send(question.sender, octets, question.reference, question.trace)

    # The road ----------------------------------------------------------------------------------------------

    def _way(self, other: str) -> Way:
        return self._sealed if self._forms.between(self.name, other) == SEALED else self._sessions

    async def _send(
        self, to: str, octets: bytes, reference: bytes, trace: TraceContext, attempt: int = 1
    ) -> None:
        frame = Frame(
            bearer=Bearer.ROLE,
            source=self.name,
            destination=to,
            pdu=octets,
            reference=reference,
            trace=trace,
            sent_at=self._clock.now(),
            attempt=attempt,
        )
        await self._client.publish(Inbox(fleet=self._fleet, agent=to), frame)

    def _post(self, to: str, letter: Letter, trace: TraceContext) -> None:
        """Have *letter* sent behind those before it. Raises MailboxFull when too many wait."""
        if len(self._letters) >= MOST_LETTERS:
            raise MailboxFull(f"{self.name}.link", MOST_LETTERS)
        self._letters.append((to, letter, trace))
        if self._postman is None or self._postman.done():
            self._postman = self._group.spawn(self._carry(), name=f"{self.name}.link")

    async def _carry(self) -> None:
        while self._letters:
            to, letter, trace = self._letters.popleft()
            tracing.bind_only(self._names)
            tracing.bind(trace)
            try:
                await self._send(to, letter.octets, self._references.next(), trace)
            except BusError:
                # A broker that stays away ends the run elsewhere; what could not be sent is asked for again.
                self._counters.dropped("not-sent")
                continue
            if self._sessions.sent(to, letter):
                self._log.info("link.opened", agent=self.name, peer=to)
                renewal = self._renewals.pop(to, None)
                if renewal is not None:
                    renewal.set_result(None)

    def _received(self, frame: Frame, topic: str) -> None:
        try:
            self._take(frame)
        except NoSession as rejection:
            self._drop(frame, topic, rejection)
            if len(self._letters) < MOST_NOTICES:
                self._post(frame.source, Letter(octets=rejection.notice), frame.trace)
        except Rejected as rejection:
            self._drop(frame, topic, rejection)

    def _drop(self, frame: Frame, topic: str, rejection: Rejected) -> None:
        self._counters.dropped(rejection.reason)
        self._log.warning(
            "link.dropped", agent=self.name, topic=topic, source=frame.source, reason=rejection.reason
        )

    def _take(self, frame: Frame) -> None:
        # A message of sessions begins as a msgpack array does, a sealed one with its format.
        way: Way = self._sessions if frame.pdu[:1] in _ARRAYS else self._sealed
        came = way.take(frame.source, frame.pdu, self._clock.now())
        if isinstance(came, Letter):
            self._post(frame.source, came, frame.trace)
        elif came is not None and came.is_reply:
            self._take_reply(came)
        elif came is not None:
            self._take_question(came, way, frame.trace)

    def _take_reply(self, heard: Heard) -> None:
        if not self._awaits(heard.sender.name, heard.reference):
            raise MessageRejected("unexpected-reply")
        reply = self._waiting[heard.reference].reply
        if not reply.done():
            reply.set_result(decode(heard.octets, *REPLIES))

    def _take_question(self, heard: Heard, way: Way, trace: TraceContext) -> None:
        answered = self._taken.get(heard.sender.name, heard.reference)
        if answered is None and heard.again:
            raise MessageRejected("replayed")
        question = Question(
            sender=heard.sender.name,
            role=heard.sender.role,
            message=decode(heard.octets, *REQUESTS),
            reference=heard.reference,
            trace=trace,
            answered=answered,
        )
        assert self._deliver is not None, "frames come after start()"
        if question.answered is None:
            self._hand_over(question, heard, way)
        elif question.answered:
            self._deliver(question)

    def _hand_over(self, question: Question, heard: Heard, way: Way) -> None:
        """Give the role a new question; one that it has no room for may come again."""
        assert self._deliver is not None, "frames come after start()"
        self._taken.take(question.sender, question.reference, _AT_WORK)
        try:
            self._deliver(question)
        except MailboxFull:
            self._taken.forget(question.sender, question.reference)
            way.forget(heard)
            raise
