"""The person at the console: orders to agents and their events back, under a key of the run.

Orders come from whoever launched the fleet and from nobody else on the broker; events carry what a handset's
display showed its subscriber. Both are therefore encrypted and authenticated (AES-128-GCM) under a key that
the launcher makes, keeps in the state directory and hands to the agents it starts. Addressee, reference and
trace of the frame are bound in, so that what was recorded on the wire cannot be made another's, and each is
taken once.

The wire between a factory and the modules that it holds by their contacts is sealed alike: in a factory it is
a wire indeed, and nobody else on the broker may personalise a blank module first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agents.errors import MessageRejected
from agents.freshness import References, Taken
from agents.messages.codec import decode, encode
from agents.messages.orders import REFUSED, Event, Order
from bus import spans, tracing
from bus.frame import Bearer, Frame
from bus.topics import Events, Orders

if TYPE_CHECKING:
    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import TraceContext
    from transport.security.suites import Rng

NONCE_OCTETS: Final = 12
CONSOLE: Final = "console"
COMMAND: Final = "command APDU"
RESPONSE: Final = "response APDU"
M = TypeVar("M", Order, Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What an agent needs to read orders and to report events; *run* is the number of this launch."""

    fleet: str
    run: int
    key: bytes = field(repr=False)
    clock: Clock
    rng: Rng
    counters: Counters | None = field(default=None, repr=False, compare=False)
    """Where refused orders are counted, if anywhere."""
    _references: References = field(init=False, repr=False, compare=False)
    _taken: Taken[None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_references", References(self.clock, self.rng))
        object.__setattr__(self, "_taken", Taken(self.clock))

    def open(self, frame: Frame, kind: type[M], *, to: str) -> M:
        """Return the order or event in *frame*, which must be meant for *to*.

        Raises MessageRejected if it was not sealed under this run's key, or belongs to an earlier run.
        """
        message = decode(self.unwrap(kind.__name__, frame, to=to), kind)
        if message.run != self.run:
            raise MessageRejected("of-an-earlier-run")
        return message

    def take(self, frame: Frame, kind: type[M], *, to: str) -> M:
        """Return the order or event in *frame*, once. Raises MessageRejected as ``open``, or for a replay."""
        message = self.open(frame, kind, to=to)
        self._taken.take(kind.__name__, frame.reference, None)
        return message

    def wrap(self, use: str, octets: bytes, *, to: str, reference: bytes, trace: TraceContext) -> bytes:
        """Return *octets* encrypted for one *use*, for *to*, and for the frame with these."""
        nonce = self.rng(NONCE_OCTETS)
        return nonce + AESGCM(self.key).encrypt(nonce, octets, self._bound(use, to, reference, trace))

    def unwrap(self, use: str, frame: Frame, *, to: str) -> bytes:
        """Return the octets in *frame*.

        Raises MessageRejected unless ``wrap`` made them for this *use*, addressee, reference and trace.
        """
        nonce, sealed = frame.pdu[:NONCE_OCTETS], frame.pdu[NONCE_OCTETS:]
        bound = self._bound(use, to, frame.reference, frame.trace)
        try:
            return AESGCM(self.key).decrypt(nonce, sealed, bound)
        except (InvalidTag, ValueError):
            raise MessageRejected("not-from-the-console") from None

    def contact(self, use: str) -> str:
        """Return *use* for this run alone: an APDU of an earlier one opens nothing."""
        return f"{use} of run {self.run}"

    def _bound(self, use: str, to: str, reference: bytes, trace: TraceContext) -> bytes:
        # Names have no slash in them, and what follows has a fixed length.
        return f"{self.fleet}/{use}/{to}/".encode() + reference + trace.trace_id

    async def order(
        self,
        client: BusClient,
        agent: str,
        *,
        do: str,
        ua: str = "",
        service: str = "",
        argument: bytes = b"",
        trace: TraceContext,
    ) -> None:
        """Give *agent* one order, which begins *trace*; returns when the broker has it.

        The first line of a transaction says what it is: nobody else may live to tell.
        """
        order = Order(run=self.run, do=do, ua=ua, service=service, argument=argument)
        said = {name: value for name, value in (("do", do), ("service", service), ("ua", ua)) if value}
        with tracing.bound(None, **said):
            frame = self._frame(order, CONSOLE, agent, trace)
            await client.publish(Orders(fleet=self.fleet, agent=agent), frame)

    async def report(self, client: BusClient, event: Event, *, source: str, trace: TraceContext) -> None:
        """Tell the console what became of an order; returns when the broker has it."""
        if event.reason:
            spans.fail(event.reason)
        if self.counters is not None and event.result == REFUSED:
            self.counters.refused("order", event.reason)
        await client.publish(Events(fleet=self.fleet), self._frame(event, source, CONSOLE, trace))

    def _frame(self, message: Order | Event, source: str, destination: str, trace: TraceContext) -> Frame:
        reference = self._references.next()
        return Frame(
            bearer=Bearer.ORDER if isinstance(message, Order) else Bearer.EVENT,
            source=source,
            destination=destination,
            pdu=self.wrap(
                type(message).__name__, encode(message), to=destination, reference=reference, trace=trace
            ),
            reference=reference,
            trace=trace,
            sent_at=self.clock.now(),
        )
