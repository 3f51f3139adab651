"""Somebody on the broker who wants the fleet to do as he says: what he sends is well made, but not his."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, cast

import pytest

from agents.console import Console
from agents.exchange import UNSECURED
from agents.fleet.expectations import Result
from agents.fleet.reasons import in_words
from agents.freshness import References
from agents.link_sealed import QUESTION
from agents.messages.air import MANAGER_TAR, Subscribe
from agents.messages.codec import encode
from agents.messages.inside import LookUp, ResourceChanged
from agents.messages.orders import Event
from agents.messages.signed import Purpose, sign
from agents.traces.chart import chart_of, reasons
from agents.traces.chart_words import words
from bus.clock import SystemClock
from bus.frame import Bearer, Frame
from bus.topics import Inbox, ShortMessageFrom
from tests.scenarios.kit import FLEET, Moments, fleet_of, log_events, play, rows
from tests.scenarios.stranger import TRACE, Wiretap, again, frame, say
from transport.concatenation import split
from transport.secured_packet import encode_command
from transport.security import sealing
from transport.security.certificates import Certificate
from transport.security.suites import SUITES
from transport.sms import IEI_COMMAND_PACKET, Address, InformationElement, SmsSubmit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agents.fleet.report import Report
    from agents.messages.inside import Request
    from bus.client import BusClient
    from bus.topics import Topic
    from tests.scenarios.conftest import Recording
    from transport.security.suites import SigningKey

OPERATOR: Final = "mno"
NUMBER: Final = "15550100"
RESERVE, BLOCK, AFTER_SERVING_AGAIN = 3, 8, 12
"""Indices of the steps before which the attacks come."""

Messages = list[tuple[str, bytes]]


def victim(config: Path) -> str:
    """Return the address of the first handset."""
    return fleet_of(config).handset_addresses()[0][0]


def attacked(config: Path, step: int, attack: Callable[[], Messages]) -> Report:
    """Play the fleet; what *attack* returns is on everybody's wire before the step's first order is."""
    moments = Moments(started={step: lambda: say(moments.port, attack())})
    return play(config, progress=moments)


def replayed(config: Path, step: int, room: str, change: Callable[[int, bytes], bytes]) -> Report:
    """Play the fleet; before *step* everything that was said below *room* is said again, *change*d."""
    with Wiretap(FLEET) as tap:

        def attack() -> None:
            tap.catch_up()
            recorded = tap.heard(room)
            assert recorded, "there was nothing to say again"
            say(moments.port, [(topic, change(number, old)) for number, (topic, old) in enumerate(recorded)])

        moments = Moments(broker=tap.open, started={step: attack})
        return play(config, progress=moments)


def as_it_was(_number: int, payload: bytes) -> bytes:
    """Say it again octet by octet."""
    return payload


def under_another_reference(number: int, payload: bytes) -> bytes:
    """Say it again so that nobody takes it for a repetition by the network."""
    return again(payload, number=number)


def refusals(state: Path, event: str, reason: str) -> int:
    """Return how often *event* was for *reason*, by the log; charts of what it tells name it."""
    entries = log_events(state)
    found = [entry for entry in entries if entry["event"] == event and entry.get("reason") == reason]
    for trace_id in {entry["trace_id"] for entry in found}:
        chart = chart_of(entry for entry in entries if entry.get("trace_id") == trace_id)
        assert any(f"{event}: {reason}" in words(row, chart) for row in chart.rows)
        assert reason in reasons(chart)
        assert in_words(Result.REFUSED, reason) != reason
    hushed = (entry for entry in entries if (entry.get("of"), entry.get("reason")) == (event, reason))
    return max([len(found), *(int(entry["count"]) for entry in hushed)])


# ---- the console -----------------------------------------------------------------------------------------


@dataclass
class Letterbox:
    """Takes what an agent would publish, instead of a connection."""

    messages: Messages = field(default_factory=list)

    async def publish(self, topic: Topic, sealed: Frame) -> None:
        """Keep it."""
        self.messages.append((topic.path, sealed.encode()))


def counterfeiter() -> Console:
    """Return a console like the run's, with a key of somebody's own."""
    return Console(fleet=FLEET, run=1, key=bytes(16), clock=SystemClock(), rng=os.urandom)


@pytest.mark.parametrize(("agent", "do"), [(OPERATOR, "block"), ("bank", "invoke"), ("", "serve")])
def test_forged_order(agent: str, do: str, config: Path, state: Path, recording: Recording) -> None:
    """Who has not the console's key gives orders to no role and to no handset."""
    box, ua = Letterbox(), victim(config)
    client = cast("BusClient", box)
    asyncio.run(counterfeiter().order(client, agent or ua, do=do, ua=ua, service="account", trace=TRACE))
    report = attacked(config, AFTER_SERVING_AGAIN, lambda: box.messages)
    assert report.dropped == {"not-from-the-console": 1}
    assert refusals(state, "order.dropped" if agent else "bus.payload_dropped", "not-from-the-console") == 1
    recording.check_same_end(report, state)


def test_forged_event(config: Path, state: Path, recording: Recording) -> None:
    """Who has not the console's key cannot make the console believe how an order ended."""
    box = Letterbox()
    event = Event(
        run=1, do="reserve", ua=victim(config), service="account", result="refused", reason="no", output=b""
    )
    asyncio.run(counterfeiter().report(cast("BusClient", box), event, source=OPERATOR, trace=TRACE))
    report = attacked(config, RESERVE, lambda: box.messages)
    assert report.dropped == {"not-from-the-console": 1}
    assert refusals(state, "event.dropped", "not-from-the-console") == 1
    recording.check_same_end(report, state)


def test_order_of_an_earlier_run(config: Path, state: Path, recording: Recording) -> None:
    """An order that was recorded in one launch is none in the next, though the key is the same."""
    with Wiretap(FLEET) as tap:
        play(config, progress=Moments(broker=tap.open), ended=tap.catch_up)
    orders = tap.heard(f"order/{OPERATOR}")
    report = attacked(config, 0, lambda: orders)
    assert report.dropped["of-an-earlier-run"] == len(orders)
    assert refusals(state, "order.dropped", "of-an-earlier-run") == len(orders)
    recording.check_same_end(report, state)


def test_order_of_this_run_again(config: Path, state: Path, recording: Recording) -> None:
    """An order that was recorded is not obeyed a second time: what was unblocked stays so."""
    report = replayed(config, AFTER_SERVING_AGAIN, f"order/{OPERATOR}", as_it_was)
    recording.check_same_end(report, state)
    assert refusals(state, "order.dropped", "replayed") > 0


# ---- the air ---------------------------------------------------------------------------------------------


def subscription(*, signer: str, key: SigningKey) -> list[bytes]:
    """Return the short messages of a subscription to the account, signed with *key* as *signer*."""
    signed = sign(
        encode(Subscribe(service="account")),
        purpose=Purpose.REQUEST,
        target=OPERATOR,
        counter=99,
        signer=signer,
        key=key,
    )
    packet = encode_command(spi=UNSECURED, tar=MANAGER_TAR, data=encode(signed))
    first = InformationElement(iei=IEI_COMMAND_PACKET, data=b"")
    return [
        SmsSubmit(reference=1, destination=Address(digits=NUMBER), user_data=part).encode()
        for part in split(packet, reference=1, first=first)
    ]


@pytest.mark.parametrize(
    ("sender_is_victim", "reason"), [(True, "signature"), (False, "meant-for-another")], ids=["as", "for"]
)
def test_subscription_with_the_address_of_another(
    sender_is_victim: bool,  # noqa: FBT001 -- a parameter of the test
    reason: str,
    config: Path,
    state: Path,
    recording: Recording,
) -> None:
    """A handset cannot subscribe in another's name: neither as the other nor for the other."""
    ua, attacker = (address for address, _ in fleet_of(config).handset_addresses()[:2])
    key = SUITES["x25519"].generate_signing_key(os.urandom)

    def attack() -> Messages:
        source = ua if sender_is_victim else attacker
        return [
            (
                ShortMessageFrom(fleet=FLEET, address=NUMBER).path,
                frame(Bearer.SMS, source, NUMBER, part, number=number).encode(),
            )
            for number, part in enumerate(subscription(signer=ua, key=key))
        ]

    report = attacked(config, RESERVE, attack)
    assert report.dropped == {reason: 1}
    assert refusals(state, "packet.refused", reason) == 1
    recording.check_same_end(report, state)


@pytest.mark.parametrize("room", ["sms/mt", "sms/mo", "sms/report"])
def test_short_messages_again(room: str, config: Path, state: Path, recording: Recording) -> None:
    """Short messages and reports that were recorded change nothing when they come again."""
    report = replayed(config, AFTER_SERVING_AGAIN, room, under_another_reference)
    recording.check_same_end(report, state)


# ---- the inside road -------------------------------------------------------------------------------------


def certificates(state: Path) -> dict[str, Certificate]:
    """Return the market's certificates, which are no secret."""
    issued = (row for issuer in ("root", "mno") for row in rows(state, issuer, "certificates"))
    found = (Certificate.parse(row["octets"]) for row in issued)
    return {certificate.subject: certificate for certificate in found}


def question(state: Path, message: Request, *, sender: str, key: SigningKey, to: str) -> Messages:
    """Return a well-formed sealed question, signed with *key* as *sender*."""
    recipient = certificates(state)[to]
    asked = replace(
        frame(Bearer.ROLE, sender, to, b""), reference=References(SystemClock(), os.urandom).next()
    )
    sealed = sealing.seal(
        encode(message),
        context=QUESTION,
        sender=sender,
        sender_key=key,
        recipient=to,
        recipient_public=recipient.sealing_public,
        recipient_suite=recipient.suite,
        serial=asked.reference,
    )
    return [(Inbox(fleet=FLEET, agent=to).path, replace(asked, pdu=sealed).encode())]


@pytest.mark.parametrize(
    ("sender", "reason"), [("mallory", "unknown-role"), ("bank", "bad-signature"), ("shop", "wrong-suite")]
)
def test_question_of_a_stranger(
    sender: str, reason: str, config: Path, state: Path, recording: Recording
) -> None:
    """A question under a name that nobody certified, or not signed with that name's key, is not heard."""
    key = SUITES["p256"].generate_signing_key(os.urandom)
    blocked = ResourceChanged(
        ua=victim(config), service="account", state="blocked", turn=99, supplier_digest=b""
    )
    report = attacked(config, RESERVE, lambda: question(state, blocked, sender=sender, key=key, to=OPERATOR))
    assert report.dropped == {reason: 1}
    assert refusals(state, "link.dropped", reason) == 1
    recording.check_same_end(report, state)


def own_key(state: Path, role: str) -> SigningKey:
    """Return a role's own signing key, as if the role itself were the attacker."""
    (kept,) = (row for row in rows(state, role, "own_keys") if row["purpose"] == "signing")
    return SUITES[kept["suite"]].load_signing_key(kept["private_key"])


def test_question_beyond_the_role(config: Path, state: Path, recording: Recording) -> None:
    """A supplier, certified and with its own key, learns from the authority about no module."""

    def attack() -> Messages:
        asks = LookUp(ua=victim(config))
        return question(state, asks, sender="shop", key=own_key(state, "shop"), to="root")

    report = attacked(config, RESERVE, attack)
    assert refusals(state, "question.refused", "unknown-module") == 1
    recording.check_same_end(report, state)


def test_supplier_that_plays_the_operator(config: Path, state: Path, recording: Recording) -> None:
    """A supplier cannot tell another that its resource was blocked: only its operator can."""

    def attack() -> Messages:
        blocked = ResourceChanged(
            ua=victim(config), service="account", state="blocked", turn=99, supplier_digest=b""
        )
        return question(state, blocked, sender="shop", key=own_key(state, "shop"), to="bank")

    report = attacked(config, AFTER_SERVING_AGAIN, attack)
    assert refusals(state, "question.refused", "not-my-operator") == 1
    recording.check_same_end(report, state)


@pytest.mark.parametrize("room", ["role/bank", "role/mno", "role/root"])
def test_questions_again(room: str, config: Path, state: Path, recording: Recording) -> None:
    """A sealed question that comes again changes nothing: it gets the octets that answered it before."""
    with Wiretap(FLEET) as tap:

        def attack() -> None:
            tap.catch_up()
            say(moments.port, tap.heard(room))

        moments = Moments(broker=tap.open, started={AFTER_SERVING_AGAIN: attack})
        report = play(config, progress=moments, ended=tap.catch_up)
    recording.check_same_end(report, state)
    replies: dict[tuple[str, bytes], list[bytes]] = {}
    for topic, payload in tap.heard("role"):
        if not topic.endswith(room):
            heard = Frame.parse(payload)
            replies.setdefault((topic, heard.reference), []).append(heard.pdu)
    assert all(len(set(answers)) == 1 for answers in replies.values())
    assert any(len(answers) > 1 for answers in replies.values())
