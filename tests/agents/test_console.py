"""The console: orders and events under the key of the run, and what nobody else can do with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.console import COMMAND, CONSOLE, NONCE_OCTETS, RESPONSE, Console
from agents.errors import MessageRejected
from agents.messages.codec import encode
from agents.messages.orders import Event, Order
from agents.randomness import make_rng
from bus.clock import SystemClock
from bus.frame import Bearer, Frame, TraceContext
from bus.topics import Events, Orders
from tests.agents.role_kit import TRACE
from tests.bus.manual_clock import ManualClock

if TYPE_CHECKING:
    from tests.agents.role_kit import Kit

KEY = bytes(range(16))
HERE = Console(fleet="fleet", run=3, key=KEY, clock=SystemClock(), rng=make_rng(1, "console"))
ORDER = Order(run=3, do="invoke", ua="8988", service="account", argument=b"secret argument")
EVENT = Event(run=3, do="invoke", ua="8988", service="account", result="ok", reason="", output=b"secret")


def sealed(message: Order | Event, *, console: Console = HERE, to: str = "bank") -> Frame:
    """Return the frame in which *console* says *message* to an agent."""
    octets = console.wrap(type(message).__name__, encode(message), to=to, reference=bytes(8), trace=TRACE)
    return framed(octets)


def framed(octets: bytes) -> Frame:
    """Return a frame around what was sealed."""
    return Frame(
        bearer=Bearer.ORDER,
        source=CONSOLE,
        destination="bank",
        pdu=octets,
        reference=bytes(8),
        trace=TRACE,
        sent_at=0.0,
    )


def other(**changes: object) -> Console:
    """Return another console."""
    return replace(HERE, **changes)  # type: ignore[arg-type]


def test_an_order_comes_out_as_it_went_in() -> None:
    """Who has the key reads the order; on the wire no octet of it is to be seen."""
    frame = sealed(ORDER)
    assert HERE.open(frame, Order, to="bank") == ORDER
    assert HERE.open(sealed(EVENT), Event, to="bank") == EVENT
    assert b"secret" not in frame.pdu
    assert b"account" not in frame.pdu


@pytest.mark.parametrize(
    "reader",
    [other(key=bytes(16)), other(fleet="other")],
    ids=["other-key", "other-fleet"],
)
def test_who_has_another_key_or_fleet_reads_nothing(reader: Console) -> None:
    """Key and fleet are what an order is sealed under."""
    with pytest.raises(MessageRejected, match="not-from-the-console"):
        reader.open(sealed(ORDER), Order, to="bank")


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": b"\x01" * 8},
        {"trace": TraceContext(trace_id=b"X" * 16, span_id=b"S" * 8)},
    ],
    ids=["reference", "trace"],
)
def test_an_order_is_bound_to_its_frame(changes: dict[str, Any]) -> None:
    """Under another reference or another trace an order does not open."""
    with pytest.raises(MessageRejected, match="not-from-the-console"):
        HERE.open(replace(sealed(ORDER), **changes), Order, to="bank")


def test_an_order_is_for_one_agent_and_is_no_event() -> None:
    """Led to another agent, or taken for an event, it does not open."""
    with pytest.raises(MessageRejected, match="not-from-the-console"):
        HERE.open(sealed(ORDER), Order, to="shop")
    with pytest.raises(MessageRejected, match="not-from-the-console"):
        HERE.open(sealed(ORDER), Event, to="bank")


def test_an_order_of_an_earlier_run_is_refused() -> None:
    """The key outlives a launch, an order does not."""
    with pytest.raises(MessageRejected, match="of-an-earlier-run"):
        other(run=4).open(sealed(ORDER), Order, to="bank")


def test_an_apdu_of_an_earlier_run_opens_nothing() -> None:
    """What passes over the contacts is sealed for the run, too."""
    octets = HERE.wrap(HERE.contact(COMMAND), b"\x80", to="bank", reference=bytes(8), trace=TRACE)
    assert HERE.unwrap(HERE.contact(COMMAND), framed(octets), to="bank") == b"\x80"
    later = other(run=4)
    for use in (later.contact(COMMAND), HERE.contact(RESPONSE), COMMAND):
        with pytest.raises(MessageRejected, match="not-from-the-console"):
            later.unwrap(use, framed(octets), to="bank")


def test_an_order_is_taken_once() -> None:
    """The second time it is a replay, and one of another time is stale; a mere look takes nothing."""
    clock = ManualClock()
    console = other(clock=clock)
    reference = int(clock.now()).to_bytes(4, "big") + bytes(4)
    octets = console.wrap("Order", encode(ORDER), to="bank", reference=reference, trace=TRACE)
    frame = replace(framed(octets), reference=reference)
    for _ in range(2):
        console.open(frame, Order, to="bank")
    assert console.take(frame, Order, to="bank") == ORDER
    with pytest.raises(MessageRejected, match="replayed"):
        console.take(frame, Order, to="bank")
    clock.advance(1000.0)
    with pytest.raises(MessageRejected, match="stale"):
        console.take(frame, Order, to="bank")


@given(octets=st.binary(max_size=200))
def test_arbitrary_octets_are_refused(octets: bytes) -> None:
    """Whatever is no sealed message ends in the one typed rejection."""
    with pytest.raises(MessageRejected):
        HERE.open(framed(octets), Order, to="bank")


@given(place=st.integers(min_value=0, max_value=NONCE_OCTETS + 40), bit=st.integers(0, 7))
def test_an_altered_bit_is_noticed(place: int, bit: int) -> None:
    """Nonce, text and tag: no bit of them can be turned."""
    octets = bytearray(sealed(ORDER).pdu)
    octets[place] ^= 1 << bit
    with pytest.raises(MessageRejected):
        HERE.open(framed(bytes(octets)), Order, to="bank")


def test_the_key_is_in_no_repr() -> None:
    """A console may be logged; its key is not in it."""
    assert KEY.hex() not in repr(HERE)
    assert repr(KEY) not in repr(HERE)


async def test_orders_and_events_travel_on_their_topics(kit: Kit) -> None:
    """An order goes to its agent under a trace of its own, an event to the console under the trace given."""
    for service in ("account", "silent"):
        await kit.send_order("agree", service, agent="bank", ua="")
    event = replace(EVENT, run=1)
    await kit.console.report(kit.clients["console"], event, source="bank", trace=TRACE)
    first, second = await kit.wire.until(Orders(fleet=kit.fleet, agent="bank"), 2)
    told = (await kit.wire.until(Events(fleet=kit.fleet)))[0]
    assert kit.console.open(first, Order, to="bank").service == "account"
    assert first.trace != second.trace
    assert (first.bearer, first.source, first.destination) == (Bearer.ORDER, CONSOLE, "bank")
    assert (told.bearer, told.source, told.destination) == (Bearer.EVENT, "bank", CONSOLE)
    assert told.trace.trace_id == TRACE.trace_id
    assert kit.console.open(told, Event, to=CONSOLE) == event
