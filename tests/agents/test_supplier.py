"""The supplier: whose word it takes for a resource, and what it does with one."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agents.errors import Refusal
from agents.handset.security_module.life_cycle import ResourceState
from agents.identity import certify_module
from agents.loading import PIECE_OCTETS
from agents.messages.air import Call
from agents.messages.codec import encode
from agents.messages.inside import Activate, Agree, Agreed, Done, Refused, ResourceChanged
from agents.messages.succession import key_digest
from bus.frame import Bearer, Frame
from bus.topics import ReportTo, ShortMessageFrom, ShortMessageTo
from tests.agents.role_kit import PATIENCE_S, SUBJECTS, TRACE, Kit, Puppet, open_kit, programme
from transport.secured_packet import SecurityParameters, encode_command
from transport.security.terms import AGREE_THEN_SIGN
from transport.sms import (
    IEI_COMMAND_PACKET,
    Address,
    FailureCause,
    InformationElement,
    SmsDeliverReport,
    SmsSubmit,
    UserData,
)

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress

BANK, SHOP = SUBJECTS["bank"][2], SUBJECTS["shop"][2]
TAR = bytes.fromhex("a00001")
LOST = SmsDeliverReport(failure_cause=FailureCause.DATA_DOWNLOAD_ERROR).encode()
ADD_FIVE = bytes.fromhex("010000000100000005")
BALANCE, FIVE = b"\x03", bytes.fromhex("00000005")
SERVED = ("subscribe", "reserve", "activate", "serve")


@pytest.fixture
async def served(market: Kit) -> Kit:
    """Return a market in which the first module's account is loaded and personal."""
    await market.take("personalise", *SERVED)
    return market


def activate(kit: Kit, service: str = "account", *, turn: int = 1, **changes: Any) -> Activate:
    """Return what an operator says of the first module; its key is the shop's."""
    public = kit.keys["shop"].signing.public
    options: dict[str, Any] = {"issuer": kit.keys["root"], "now": kit.clock.now()} | changes
    certificate = certify_module(kit.ua(), "x25519", public, b"", **options)
    return Activate(
        ua=kit.ua(),
        service=service,
        certificate=certificate.encode(),
        rsc_id=1,
        tar=TAR,
        turn=turn,
        supplier_digest=key_digest(kit.keys["bank"].signing.public),
    )


def changed(kit: Kit, state: str, *, turn: int = 2) -> ResourceChanged:
    """Return what an operator says became of the first module's account."""
    return ResourceChanged(
        ua=kit.ua(),
        service="account",
        state=state,
        turn=turn,
        supplier_digest=key_digest(kit.keys["bank"].signing.public),
    )


class Given:
    """A real supplier that has agreed the account with a puppet."""

    def __init__(self, kit: Kit, mno: Puppet) -> None:
        self.kit = kit
        self.mno = mno

    async def tell(self, message: Activate | ResourceChanged) -> Done:
        """Have the operator tell the supplier something."""
        return await self.mno.desk.link.ask("bank", message, Done, trace=TRACE)


@pytest.fixture
async def given(kit: Kit) -> Given:
    """Return the supplier, and the operator's puppet."""
    mno = await kit.puppet("mno")
    mno.says = lambda _question: Agreed(service="account", tar=TAR)
    await kit.start("bank")
    await kit.agree("account")
    return Given(kit, mno)


def stored(kit: Kit, columns: str, name: str = "bank") -> list[tuple[Any, ...]]:
    """Return columns of a supplier's resources as they are on disk."""
    database = sqlite3.connect(kit.directory / f"{name}.db")
    rows = database.execute(f"SELECT {columns} FROM resources ORDER BY ua, tar").fetchall()  # noqa: S608
    database.close()
    return rows


def messages_to_module(kit: Kit, number: str = BANK) -> int:
    """Return how many short messages *number* has sent to the first module."""
    frames = kit.wire.on(ShortMessageTo(fleet=kit.fleet, ua=kit.ua()))
    return sum(frame.source == number for frame in frames)


def lose_report(kit: Kit, nth: int) -> None:
    """Turn the *nth* report to the bank into "not delivered", though the module has taken the message."""
    seen: list[Frame] = []

    def alter(_path: str, frame: Frame) -> list[Frame]:
        if frame.bearer is Bearer.REPORT and frame.destination == BANK:
            seen.append(frame)
            if len(seen) == nth:
                return [replace(frame, pdu=LOST)]
        return [frame]

    kit.clients["cell"].alter = alter


async def invoke(kit: Kit, service: str = "account", argument: bytes = b"") -> tuple[str, str]:
    """Have the supplier run the first module's application; return how that ended."""
    agent = "shop" if service in {"loyalty", "liar"} else "bank"
    event = await kit.order("invoke", service, agent=agent, argument=argument)
    return event.result, event.reason


# AGREE


async def test_the_offer_is_what_the_operator_is_asked_for(kit: Kit) -> None:
    """Key, suite, sizes and rights of the offer, and the number under which handsets call."""
    mno = await kit.puppet("mno")
    mno.says = lambda _question: Agreed(service="account", tar=TAR)
    await kit.start("bank")
    event = await kit.order("agree", "account", agent="bank", ua="")
    assert event.result == "ok"
    message = mno.questions[0].message
    assert isinstance(message, Agree)
    assert (message.service, message.number, message.suite, message.forms) == (
        "account",
        BANK,
        "p256",
        [AGREE_THEN_SIGN],
    )
    assert message.public == kit.keys["bank"].signing.public
    assert (message.code_size, message.data_size, message.executions) == (1024, 256, -1)


async def test_an_operator_that_does_not_agree_is_believed(kit: Kit) -> None:
    """Its reason is the order's."""
    mno = await kit.puppet("mno")
    mno.says = lambda _question: Refused(reason="service-of-another")
    await kit.start("bank")
    event = await kit.order("agree", "account", agent="bank", ua="")
    assert (event.result, event.reason) == ("refused", "service-of-another")


async def test_what_is_not_offered_is_not_agreed(kit: Kit) -> None:
    """A service of somebody else is refused before anybody is asked."""
    mno = await kit.puppet("mno")
    await kit.start("bank")
    event = await kit.order("agree", "loyalty", agent="bank", ua="")
    assert (event.result, event.reason) == ("refused", "unknown-service")
    assert mno.questions == []


# ACT


@pytest.mark.parametrize("name", ["other", "shop", "factory", "root"])
async def test_only_its_own_operator_gives_or_takes_resources(given: Given, name: str) -> None:
    """Another operator, another supplier, even the authority: refused, and nothing is stored."""
    kit = given.kit
    stranger = await kit.puppet(name)
    for message in (activate(kit), changed(kit, "blocked")):
        with pytest.raises(Refusal, match="not-my-operator"):
            await stranger.desk.link.ask("bank", message, Done, trace=TRACE)
    assert stored(kit, "*") == []
    await given.tell(activate(kit))
    with pytest.raises(Refusal, match="not-my-operator"):
        await stranger.desk.link.ask("bank", changed(kit, "blocked"), Done, trace=TRACE)
    assert stored(kit, "state, barred") == [("active", "")]


async def test_an_activation_is_stored_when_it_is_answered(given: Given) -> None:
    """Module, certified key and TAR, with personal data of its own; told twice, given once."""
    kit = given.kit
    await given.tell(activate(kit))
    columns = "ua, tar, service, rsc_id, module_suite, module_public, state, barred, session, counter"
    (row,) = stored(kit, columns)
    public = kit.keys["shop"].signing.public
    assert row == (kit.ua(), TAR, "account", 1, "x25519", public, "active", "", None, 0)
    ((personal,),) = stored(kit, "personal")
    assert len(personal) == 48
    await given.tell(activate(kit))
    assert stored(kit, "personal") == [(personal,)]


async def test_a_service_that_is_not_offered_is_not_taken(given: Given) -> None:
    """An operator may err: the supplier says so."""
    with pytest.raises(Refusal, match="unknown-service"):
        await given.tell(activate(given.kit, "loyalty"))


async def test_the_operators_word_for_a_key_is_not_enough(given: Given) -> None:
    """A key that the authority did not certify for this very module is refused: nobody is let in between."""
    kit = given.kit
    forged = activate(kit, issuer=replace(kit.keys["mno"], name="root"))
    another = replace(activate(kit), ua=kit.ua(2))
    for message, reason in ((forged, "bad-signature"), (another, "wrong-subject")):
        with pytest.raises(Refusal, match=reason):
            await given.tell(message)
    assert stored(kit, "*") == []


async def test_a_module_with_the_suppliers_own_key_is_refused(given: Given) -> None:
    """Nobody makes a secure connection with himself."""
    kit = given.kit
    own = certify_module(
        kit.ua(), "p256", kit.keys["bank"].signing.public, b"", issuer=kit.keys["root"], now=kit.clock.now()
    )
    with pytest.raises(Refusal, match="bad-public-key"):
        await given.tell(replace(activate(kit), certificate=own.encode()))


async def test_what_became_of_an_unknown_resource_is_nothing(given: Given) -> None:
    """A change of what was never activated is taken note of and changes nothing."""
    assert await given.tell(changed(given.kit, "released")) == Done()
    assert await given.tell(replace(changed(given.kit, "released"), service="x")) == Done()
    assert stored(given.kit, "*") == []


@pytest.mark.parametrize(
    ("state", "row"),
    [
        ("blocked", ("active", "blocked")),
        ("expired", ("active", "expired")),
        ("exhausted", ("active", "exhausted")),
        ("active", ("active", "")),
        ("released", ("released", "")),
    ],
)
async def test_changes_are_stored(given: Given, state: str, row: tuple[str, str]) -> None:
    """Blocked, expired, exhausted, of use again, or released: the row says so, without a session."""
    await given.tell(activate(given.kit))
    await given.tell(changed(given.kit, state))
    assert stored(given.kit, "state, barred, session") == [(*row, None)]


@pytest.mark.parametrize("state", ["blocked", "expired", "exhausted"])
async def test_what_the_operator_says_has_ended_is_not_used(given: Given, state: str) -> None:
    """Refused for just that, without asking the module; of use again, what was missing before is missing."""
    kit = given.kit
    await given.tell(activate(kit))
    await given.tell(changed(kit, state))
    assert await invoke(kit) == ("refused", state)
    seen = len(kit.events)
    await call(kit, encode(Call(tar=TAR, opening=bytes(50))))
    event = await kit.event("serve", after=seen)
    assert (event.result, event.reason) == ("refused", state)
    assert messages_to_module(kit) == 0
    await given.tell(changed(kit, "active", turn=3))
    assert await invoke(kit) == ("refused", "not-loaded")


@pytest.mark.parametrize("state", ["", "reserved", "stray", "refused", "Blocked"], ids=repr)
async def test_a_state_that_is_none_is_refused(given: Given, state: str) -> None:
    """What the supplier cannot make anything of changes nothing; an operator hears so."""
    kit = given.kit
    await given.tell(activate(kit))
    if not state:
        with pytest.raises(ValueError, match="state"):
            changed(kit, state)
        return
    with pytest.raises(Refusal, match="unknown-state"):
        await given.tell(changed(kit, state))
    assert stored(kit, "state, barred, turn") == [("active", "", 1)]


async def test_old_news_are_none(given: Given) -> None:
    """What was said of an earlier turn, and comes again or late, changes nothing any more."""
    kit = given.kit
    await given.tell(activate(kit))
    await given.tell(changed(kit, "blocked", turn=2))
    await given.tell(changed(kit, "active", turn=3))
    for message in (changed(kit, "blocked", turn=2), changed(kit, "released", turn=3), activate(kit)):
        await given.tell(message)
    assert stored(kit, "state, barred, turn") == [("active", "", 3)]


async def test_a_released_resource_may_be_given_again(given: Given) -> None:
    """An activation of a later reservation begins anew, with other personal data; the old one does not."""
    kit = given.kit
    await given.tell(activate(kit))
    before = stored(kit, "personal")
    await given.tell(changed(kit, "released"))
    await given.tell(activate(kit))
    assert stored(kit, "state") == [("released",)]
    await given.tell(activate(kit, turn=3))
    assert stored(kit, "state") == [("active",)]
    assert stored(kit, "personal") != before


# SER


async def test_a_handset_is_served(served: Kit) -> None:
    """The application is in the module, a session in the store, and the account answers its challenge."""
    module = served.cell.phones[served.ua()].module
    (definition,) = module.definitions.all()
    assert definition.state is ResourceState.LOADED
    assert stored(served, "state, counter") == [("ready", 2)]
    assert await invoke(served) == ("ok", "")


@pytest.mark.parametrize(
    ("service", "supplier"), [("silent", "bank"), ("loyalty", "shop")], ids=["no-data", "loyalty"]
)
async def test_every_kind_of_application_is_served(market: Kit, service: str, supplier: str) -> None:
    """With personal data or without, of a supplier of either suite."""
    await market.take("personalise")
    await market.take(*SERVED, service=service)
    assert stored(market, "state", supplier) == [("ready",)]
    assert await invoke(market, service) == ("ok", "")


async def test_a_large_programme_goes_in_pieces(market: Kit) -> None:
    """2.5 KiB are three commands, each under a counter of its own; the module puts them together."""
    await market.take("personalise")
    await market.take(*SERVED, service="large")
    assert stored(market, "state, counter") == [("ready", 3)]
    (definition,) = market.cell.phones[market.ua()].module.definitions.all()
    assert definition.code_length == len(programme("large")) > 2 * PIECE_OCTETS
    assert await invoke(market, "large") == ("ok", "")


async def test_what_is_loaded_is_not_loaded_again(market: Kit) -> None:
    """Served twice, the second call makes a new session and nothing else: the points are still there."""
    await market.take("personalise")
    await market.take(*SERVED, service="loyalty")
    before = messages_to_module(market, SHOP)
    event = await market.order("invoke", "loyalty", agent=market.ua(), argument=ADD_FIVE)
    assert (event.result, event.output) == ("ok", FIVE)
    await market.take("serve", service="loyalty")
    assert messages_to_module(market, SHOP) - before == 2  # the proof, in two parts
    event = await market.order("invoke", "loyalty", agent="shop")
    assert (event.result, event.output) == ("ok", FIVE)


async def test_a_load_that_was_interrupted_is_finished_by_the_next_call(market: Kit) -> None:
    """The module has the programme, the supplier does not know: served again, both agree."""
    await market.take("personalise", "subscribe", "reserve", "activate")
    lose_report(market, 4)
    event = await market.order("serve", "account")
    assert (event.result, event.reason) == ("failed", "rp-error-d5")
    assert stored(market, "state") == [("active",)]
    market.clients["cell"].alter = lambda _path, frame: [frame]
    await market.take("serve")
    assert stored(market, "state") == [("ready",)]
    assert await invoke(market) == ("ok", "")


async def call(kit: Kit, data: bytes, *, tar: bytes = TAR) -> None:
    """Send the bank a call from the first module's address."""
    packet = encode_command(spi=SecurityParameters(), tar=tar, data=data)
    element = InformationElement(iei=IEI_COMMAND_PACKET, data=b"")
    user_data = UserData(header=(element,), payload=packet)
    submit = SmsSubmit(reference=1, destination=Address(digits=BANK), user_data=user_data)
    frame = Frame(
        bearer=Bearer.SMS,
        source=kit.ua(),
        destination=BANK,
        pdu=submit.encode(),
        reference=bytes(8),
        trace=TRACE,
        sent_at=0.0,
    )
    await kit.clients["cell"].publish(ShortMessageFrom(fleet=kit.fleet, address=BANK), frame)


async def test_a_call_for_a_service_that_was_not_agreed_is_dropped(kit: Kit) -> None:
    """A TAR that stands for nothing, and what is no call at all, are counted and dropped."""
    await kit.start("bank")
    await call(kit, encode(Call(tar=TAR, opening=bytes(50))))
    await kit.counters.until_dropped("unknown-resource")
    await call(kit, b"\xc1")
    await kit.counters.until_dropped("not-msgpack")


async def test_a_call_for_a_resource_that_was_not_given_is_refused(market: Kit) -> None:
    """Reserved and not activated: the subscriber hears that the supplier does not know his resource."""
    await market.take("personalise", "subscribe", "reserve")
    event = await market.order("serve", "account")
    assert (event.result, event.reason) == ("refused", "unknown-resource")


async def test_a_call_that_opens_nothing_fails(served: Kit) -> None:
    """An opening that is no first message of the connection ends with its reason; the session stays."""
    tar = stored(served, "tar")[0][0]
    seen = len(served.events)
    await call(served, encode(Call(tar=tar, opening=bytes(50))), tar=tar)
    event = await served.event("serve", after=seen)
    assert event.result == "failed"
    assert await invoke(served) == ("ok", "")


async def test_a_recorded_call_opens_no_session(served: Kit) -> None:
    """A call that was answered is not answered again, and nothing is said of it; the session goes on."""
    topic = ShortMessageFrom(fleet=served.fleet, address=BANK)
    seen = len(served.events)
    for frame in served.wire.on(topic):
        await served.clients["tap"].publish(topic, frame)
    await served.counters.until_dropped("replayed")
    assert await invoke(served) == ("ok", "")
    assert [event.do for event in served.events[seen:]] == ["invoke"]


async def test_a_later_call_is_the_one_that_counts(market: Kit) -> None:
    """The handset calls again while its first call is answered: that one fails in silence, the later ends."""
    await market.take("personalise", "subscribe", "reserve", "activate")
    reports: asyncio.Queue[Frame] = asyncio.Queue()
    calls: asyncio.Queue[Frame] = asyncio.Queue()

    def hold_back(_path: str, frame: Frame) -> list[Frame]:
        if frame.bearer is Bearer.REPORT:
            reports.put_nowait(frame)
        else:
            calls.put_nowait(frame)
        return []

    cell, bank = market.clients["cell"], market.clients["bank"]
    called = ShortMessageFrom(fleet=market.fleet, address=BANK)
    cell.alter = hold_back
    async with asyncio.timeout(PATIENCE_S):
        await market.send_order("serve", "account", agent=market.ua(), ua=market.ua())
        bank.inject(called, await calls.get())
        report = await reports.get()
        await market.send_order("serve", "account", agent=market.ua(), ua=market.ua())
        second = await calls.get()
    cell.alter = lambda _path, frame: [frame]
    bank.inject(called, second)
    bank.inject(ReportTo(fleet=market.fleet, address=BANK), replace(report, pdu=LOST))
    event = await market.event("serve")
    assert (event.result, event.reason) == ("ok", "")
    assert await invoke(market) == ("ok", "")
    assert [event.do for event in market.events].count("serve") == 1


@pytest.mark.parametrize(("do", "reason"), [("block", "blocked"), ("release", "released")])
async def test_a_recorded_call_is_refused_for_what_was_revoked(served: Kit, do: str, reason: str) -> None:
    """The supplier knows by itself that there is nothing to serve: the module is not troubled."""
    topic = ShortMessageFrom(fleet=served.fleet, address=BANK)
    recorded = served.wire.on(topic)
    await served.take(do)
    seen, sent = len(served.events), messages_to_module(served)
    for frame in recorded:
        await served.clients["tap"].publish(topic, frame)
    event = await served.event("serve", after=seen)
    assert (event.result, event.reason) == ("refused", reason)
    assert messages_to_module(served) == sent


# Use


async def test_what_was_never_given_cannot_be_used(market: Kit) -> None:
    """Not activated: unknown; activated and not served: not loaded."""
    await market.take("personalise", "subscribe", "reserve")
    assert await invoke(market) == ("refused", "unknown-resource")
    await market.take("activate")
    assert await invoke(market) == ("refused", "not-loaded")


async def test_a_blocked_resource_is_used_again_after_it_was_served_again(served: Kit) -> None:
    """Blocked: refused; unblocked: the session is gone; served: it runs."""
    await served.take("block")
    assert await invoke(served) == ("refused", "blocked")
    await served.take("unblock")
    assert await invoke(served) == ("refused", "no-session")
    await served.take("serve")
    assert await invoke(served) == ("ok", "")


async def test_a_renewal_does_not_disturb_who_uses_the_resource(served: Kit) -> None:
    """Renewed while it is in use, it has its session still, and the next counter follows the last."""
    before = stored(served, "state, personal, session, counter")
    event = await served.order("renew", "account", argument=b"0 5")
    assert (event.result, event.reason) == ("ok", "")
    assert stored(served, "state, personal, session, counter") == before
    assert await invoke(served) == ("ok", "")
    definition = served.cell.phones[served.ua()].module.definitions.by_service("account")
    assert definition is not None
    assert definition.executions_left == 4


async def test_a_resource_that_was_used_up_is_renewed_and_served_again(served: Kit) -> None:
    """The last execution takes the session; a supplier that nobody told finds so, and is served again."""
    before = stored(served, "state, personal")
    await served.order("renew", "account", argument=b"0 1")
    assert await invoke(served) == ("ok", "")
    assert (await invoke(served))[0] == "failed"
    assert await invoke(served) == ("refused", "no-session")
    await served.take("audit", service="")
    assert await invoke(served) == ("refused", "exhausted")
    await served.order("renew", "account", argument=b"0 5")
    assert await invoke(served) == ("refused", "no-session")
    await served.take("serve")
    assert await invoke(served) == ("ok", "")
    assert stored(served, "state, personal") == before


async def test_a_released_resource_is_gone_until_it_is_given_again(served: Kit) -> None:
    """After the release nothing runs; after a new story all of it is there again, with other data."""
    before = stored(served, "personal")
    await served.take("release")
    assert await invoke(served) == ("refused", "released")
    await served.take(*SERVED)
    assert await invoke(served) == ("ok", "")
    assert stored(served, "personal") != before


async def test_a_session_that_the_module_does_not_know_is_given_up(served: Kit) -> None:
    """A module that was exchanged refuses the packet: that fails, and no other packet is wasted on it."""
    served.cell.phones[served.ua()].module = await served.boot(served.ua(2))
    assert await invoke(served) == ("failed", "tar-unknown")
    assert stored(served, "session") == [(None,)]
    assert await invoke(served) == ("refused", "no-session")


async def test_an_answer_that_does_not_hold_is_refused(market: Kit) -> None:
    """The module answered, but not what the supplier's own books say."""
    await market.take("personalise")
    await market.take(*SERVED, service="liar")
    assert await invoke(market, "liar") == ("refused", "wrong-answer")


async def test_the_applications_own_no_is_told(market: Kit) -> None:
    """An argument that the application does not take is its refusal, not a failure of ours."""
    await market.take("personalise")
    await market.take(*SERVED, service="loyalty")
    assert await invoke(market, "loyalty", b"\xff") == ("refused", "application-refused")
    assert await invoke(market, "loyalty") == ("ok", "")


async def test_a_counter_is_stored_before_its_packet_leaves_and_never_used_twice(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Whatever is lost and whoever is killed: each packet has a higher counter, so the module takes it."""
    counters: list[int] = []

    def look(kit: Kit) -> None:
        def alter(path: str, frame: Frame) -> list[Frame]:
            if "/sms/mt/" in path:
                counters.append(stored(kit, "counter")[0][0])
            return [frame]

        kit.clients["bank"].alter = alter

    async with open_kit(broker, fleet, tmp_path, log) as kit:
        await kit.start("root", "factory", "mno", "bank")
        await kit.handset()
        await kit.agree("account")
        await kit.take("personalise", *SERVED)
        look(kit)
        assert await invoke(kit) == ("ok", "")
        lose_report(kit, 1)
        assert await invoke(kit) == ("failed", "rp-error-d5")
    async with open_kit(broker, fleet, tmp_path, log, run=2) as kit:
        await kit.start("root", "factory", "mno", "bank")
        await kit.handset()
        look(kit)
        assert await invoke(kit) == ("ok", "")
    assert counters == [3, 4, 5]


async def test_the_session_is_on_disk_and_on_no_wire(served: Kit) -> None:
    """66 octets in the supplier's own database; neither they nor the personal data ever pass the broker."""
    ((session, personal),) = stored(served, "session, personal")
    await invoke(served)
    assert len(session) == 66
    octets = b"".join(frame.pdu for _topic, frame in served.wire.frames)
    for secret in (session[2:18], session[18:34], session[34:50], session[50:], personal[32:], personal[:32]):
        assert secret not in octets


async def test_two_modules_are_served_at_once(market: Kit) -> None:
    """Each gets its own session and its own account."""
    await market.handset(market.ua(2), suite="p256")
    for ua in (market.ua(), market.ua(2)):
        await market.take("personalise", "subscribe", "reserve", "activate", ua=ua)
    for ua in (market.ua(), market.ua(2)):
        await market.send_order("serve", "account", agent=ua, ua=ua)
    for ua in (market.ua(), market.ua(2)):
        assert (await market.event("serve", ua=ua)).result == "ok"
    (one, two) = stored(market, "session, personal")
    assert one[0] != two[0]
    assert one[1] != two[1]
