"""The inside road: a role asks another by name and gets its reply, sealed both ways.

A question travels as one frame to the other's inbox, the reply to the asker's, with the same reference. A
question that gets no reply is asked again with the same reference and the same octets. Who was asked before
gives the reply that it gave, or none while it is still at work: each question is carried out once, and a
recording of the wire is worth nothing. Only after a restart may one be carried out again, which every
handler bears by looking at what it has stored. A reply nobody waits for is dropped.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from agents.errors import MessageRejected, Refusal, Unanswered
from agents.freshness import References, Taken
from agents.messages.codec import decode, encode
from agents.messages.inside import REPLIES, REQUESTS, Refused, Reply, Request
from bus.errors import MailboxFull
from bus.frame import Bearer, Frame
from bus.topics import Inbox
from transport.errors import Rejected, SealRejected
from transport.security import sealing

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from agents.directory import Directory, Party
    from agents.identity import RoleKeys
    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import TraceContext
    from transport.security.suites import Rng

QUESTION: Final = b"otafleet question"
REPLY: Final = b"otafleet reply"
REPLY_TIMEOUT_S: Final = 10.0
ATTEMPTS: Final = 4
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
    """The sealed reply that it was given before, when it comes again."""


class Link:
    """One role's end of the inside road."""

    def __init__(
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
    ) -> None:
        self.name = keys.name
        self._client = client
        self._fleet = fleet
        self._keys = keys
        self._directory = directory
        self._clock = clock
        self._counters = counters
        self._log = log
        self._references = References(clock, rng)
        self._taken: Taken[bytes] = Taken(clock)
        self._waiting: dict[bytes, tuple[str, asyncio.Future[Reply]]] = {}
        self._deliver: Callable[[Question], None] | None = None

    async def start(self, deliver: Callable[[Question], None]) -> None:
        """Listen to the inbox; questions go to *deliver*, which must not wait."""
        self._deliver = deliver
        await self._client.subscribe([Inbox(fleet=self._fleet, agent=self.name)], self._received)

    async def ask(self, to: str, message: Request, expected: type[R], *, trace: TraceContext) -> R:
        """Ask *to* and return its reply, of class *expected*.

        Raises Refusal with the other's reason, or Unanswered when it stays silent.
        """
        reference = self._references.next()
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[reference] = (to, future)
        try:
            reply = await self._ask_until_answered(to, encode(message), reference, future, trace)
        finally:
            del self._waiting[reference]
        if isinstance(reply, Refused):
            raise Refusal(reply.reason)
        if not isinstance(reply, expected):
            raise Refusal("unexpected-reply")
        return reply

    async def _ask_until_answered(
        self, to: str, octets: bytes, reference: bytes, future: asyncio.Future[Reply], trace: TraceContext
    ) -> Reply:
        sealed = self._seal(octets, to=to, context=QUESTION, reference=reference)
        for attempt in range(1, ATTEMPTS + 1):
            await self._send(to, sealed, reference, trace, attempt)
            done, _ = await asyncio.wait([future], timeout=REPLY_TIMEOUT_S)
            if done:
                return future.result()
            self._counters.retried(Bearer.ROLE)
        raise Unanswered(to)

    async def repeat(self, question: Question) -> None:
        """Give *question* the reply that it was given before."""
        assert question.answered, "it was answered before"
        await self._send(question.sender, question.answered, question.reference, question.trace, 1)

    async def reply(self, question: Question, reply: Reply) -> None:
        """Answer *question*; returns when the broker has the reply."""
        sealed = self._seal(encode(reply), to=question.sender, context=REPLY, reference=question.reference)
        self._taken.settle(question.sender, question.reference, sealed)
        await self._send(question.sender, sealed, question.reference, question.trace, 1)

    async def _send(
        self, to: str, sealed: bytes, reference: bytes, trace: TraceContext, attempt: int
    ) -> None:
        frame = Frame(
            bearer=Bearer.ROLE,
            source=self.name,
            destination=to,
            pdu=sealed,
            reference=reference,
            trace=trace,
            sent_at=self._clock.now(),
            attempt=attempt,
        )
        await self._client.publish(Inbox(fleet=self._fleet, agent=to), frame)

    def _seal(self, octets: bytes, *, to: str, context: bytes, reference: bytes) -> bytes:
        # Who asks may be told no, even when it is nobody any more; but it is asked nothing.
        look_up = self._directory.introduced if context == REPLY else self._directory.party
        recipient = look_up(to)
        return sealing.seal(
            octets,
            context=context,
            sender=self.name,
            sender_key=self._keys.signing,
            recipient=to,
            recipient_public=recipient.sealing_public,
            recipient_suite=recipient.suite,
            serial=reference,
        )

    def _received(self, frame: Frame, topic: str) -> None:
        try:
            self._take(frame)
        except Rejected as rejection:
            self._counters.dropped(rejection.reason)
            self._log.warning(
                "link.dropped", agent=self.name, topic=topic, source=frame.source, reason=rejection.reason
            )

    def _take(self, frame: Frame) -> None:
        sealed = sealing.SealedMessage.parse(frame.pdu)
        sender = self._directory.introduced(sealed.sender)
        waiting = self._waiting.get(sealed.serial)
        # The serial says whether this answers us; the context it was sealed under proves it.
        is_reply = waiting is not None and waiting[0] == sealed.sender
        try:
            octets = self._open(sealed, sender, REPLY if is_reply else QUESTION)
        except SealRejected:
            if self._is_reply(sealed, sender):
                # An answer to an earlier launch, or one that came twice: late, but nobody's fault.
                raise MessageRejected("unexpected-reply") from None
            raise
        if waiting is not None and is_reply:
            self._directory.party(sealed.sender)
            if not waiting[1].done():
                waiting[1].set_result(decode(octets, *REPLIES))
            return
        message = decode(octets, *REQUESTS)
        question = Question(
            sender=sealed.sender,
            role=sender.role,
            message=message,
            reference=sealed.serial,
            trace=frame.trace,
            answered=self._taken.get(sealed.sender, sealed.serial),
        )
        assert self._deliver is not None, "frames come after start()"
        if question.answered is None:
            self._hand_over(question)
        elif question.answered:
            self._deliver(question)

    def _open(self, sealed: sealing.SealedMessage, sender: Party, context: bytes) -> bytes:
        return sealing.open_sealed(
            sealed,
            context=context,
            recipient=self.name,
            sealing_key=self._keys.sealing,
            sender_public=sender.signing_public,
            sender_suite=sender.suite,
        )

    def _is_reply(self, sealed: sealing.SealedMessage, sender: Party) -> bool:
        try:
            self._open(sealed, sender, REPLY)
        except SealRejected:
            return False
        return True

    def _hand_over(self, question: Question) -> None:
        """Give the role a new question; one that it has no room for may come again."""
        assert self._deliver is not None, "frames come after start()"
        self._taken.take(question.sender, question.reference, _AT_WORK)
        try:
            self._deliver(question)
        except MailboxFull:
            self._taken.forget(question.sender, question.reference)
            raise
