"""Subscriptions: where each order begins and ends, and that books and module always find together again."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.audits import Reading, compare
from agents.commands import Answered
from agents.errors import Refusal
from agents.handset.security_module.definitions import Definition, DefinitionTable
from agents.handset.security_module.life_cycle import AtEnd, ResourceState
from agents.handset.security_module.memory import Memory
from agents.messages.air import (
    MANAGER_TAR,
    Announce,
    Answer,
    Audit,
    Audited,
    Block,
    Invoke,
    Release,
    Renew,
    Unblock,
)
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import decode
from agents.messages.signed import EVERYBODY, Purpose, Signed
from agents.messages.succession import key_digest
from agents.operator import Operator
from agents.store.database import open_store
from agents.store.registry import Row
from agents.store.tables import AGREEMENTS, OPERATOR, SUBSCRIPTIONS
from agents.subscriptions import (
    ACTIVE,
    AFTER,
    BEFORE,
    BEYOND,
    BLOCKED,
    EXHAUSTED,
    EXPIRED,
    HELD,
    NONE,
    REFUSED,
    RELEASED,
    RESERVED,
    SAME,
    STRAY,
    SUBSCRIBED,
    TOLD,
    Renewal,
    Subscriptions,
    after_answer,
    end_of,
    is_beyond,
)
from bus.clock import SystemClock
from tests.agents.module_kit import NOW, TAR, UA, Market, manage, probe
from tests.agents.succession_kit import change, generation
from transport.cell_broadcast import GeographicScope, SerialNumber, split
from transport.secured_packet import CELL_BROADCAST, SecurityParameters, encode_command
from transport.security.terms import AGREE_THEN_SIGN
from transport.toolkit import Envelope, Tag

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agents.handset.security_module.memory import Transaction
    from agents.identity import RoleKeys
    from agents.messages.air import OperatorCommand

STATES: Final = (SUBSCRIBED, RESERVED, ACTIVE, BLOCKED, EXPIRED, EXHAUSTED, RELEASED, REFUSED, STRAY)
ORDERS: Final = tuple(BEFORE)
SERVICE: Final = "account"


# The tables


def test_each_order_of_the_tables_is_the_operators() -> None:
    """Each has a beginning, an end and what lies beyond; what suppliers are told of are orders too."""
    assert BEFORE.keys() == AFTER.keys() == BEYOND.keys()
    others = {"compact", "audit", "announce", "roll-operator-key", "introduce-operator"}
    assert set(BEFORE) | others == set(Operator.orders)
    assert set(BEFORE) >= TOLD


def test_an_order_does_not_begin_where_it_has_ended() -> None:
    """No state is on both sides of an order, so an order that is repeated is done or begins, never both."""
    assert all(not BEFORE[do] & BEYOND[do] for do in ORDERS)


def test_where_an_order_leads_it_is_done() -> None:
    """Given again, it finds its end; a renewal counts from when it is ordered, and so begins again.

    A roll-over leads nowhere else: whether a resource has the key is not told by its state.
    """
    for do in set(ORDERS) - {"renew", "roll-supplier-key"}:
        assert is_beyond(do, AFTER[do])
    assert not is_beyond("renew", AFTER["renew"])
    assert AFTER["roll-supplier-key"] == SAME
    assert BEYOND["roll-supplier-key"] == frozenset()


def test_whoever_holds_a_resource_can_be_rid_of_it() -> None:
    """A release, or a revocation, begins wherever the module has one; what can be renewed is not blocked."""
    assert BEFORE["release"] == BEFORE["revoke-supplier"] == HELD | {STRAY}
    assert BEFORE["revoke-supplier"] | BEYOND["revoke-supplier"] == {*STATES, NONE}
    assert BEFORE["roll-supplier-key"] == HELD
    assert BEFORE["renew"] == HELD - {BLOCKED}


@given(do=st.sampled_from(ORDERS), state=st.sampled_from((*STATES, "none")))
def test_each_pair_is_begun_done_or_refused(do: str, state: str) -> None:
    """A state in which an order has neither begun nor ended is named in the refusal."""
    if state in BEFORE[do]:
        assert not is_beyond(do, state)
    elif state in BEYOND[do]:
        assert is_beyond(do, state)
    else:
        with pytest.raises(Refusal, match=f"subscription-{state}"):
            is_beyond(do, state)


async def test_a_refused_order_changes_nothing(tmp_path: Path) -> None:
    """In every state, asking for every order leaves the books as they were; so does asking for nothing's."""
    async with open_store(tmp_path / "mno.db", OPERATOR) as store:
        books = Subscriptions(store, SystemClock())
        for number, state in enumerate(STATES):
            await books.change(str(number), SERVICE, state=state)
        before = [books.get(str(number), SERVICE) for number in range(len(STATES))]
        for number in range(len(STATES)):
            for do in ORDERS:
                with contextlib.suppress(Refusal):
                    books.is_done(do, str(number), SERVICE)
        with pytest.raises(Refusal, match="subscription-none"):
            books.is_done("release", "x", SERVICE)
        assert [books.get(str(number), SERVICE) for number in range(len(STATES))] == before
        assert books.states() == dict.fromkeys(STATES, 1)


async def test_what_is_not_changed_is_kept_and_outlives_a_launch(tmp_path: Path) -> None:
    """A change is of some columns; the others stay, also for who reads the file later."""
    async with open_store(tmp_path / "mno.db", OPERATOR) as store:
        books = Subscriptions(store, SystemClock())
        with pytest.raises(Refusal, match="subscription-none"):
            books.require(UA, SERVICE)
        await books.change(UA, SERVICE, state=RESERVED, rsc_id=7, rights=5)
        await books.change(UA, SERVICE, state=ACTIVE, activated=1)
    async with open_store(tmp_path / "mno.db", OPERATOR) as store:
        again = Subscriptions(store, SystemClock())
        await again.load()
        row = again.require(UA, SERVICE)
        assert (row["state"], row["rsc_id"], row["rights"], row["activated"]) == (ACTIVE, 7, 5, 1)
        assert again.of(UA, (SERVICE, "loyalty")) == {SERVICE: row}
        assert again.of("x", (SERVICE,)) == {}


# What an answer changes

MARKET: Final = Market()
RESERVATION: Final = MARKET.supplier.reserve(expires_at=int(NOW) + 60, executions=3, at_end="delete")
FIRST, SECOND = (generation("p256", number) for number in range(2))
KEY: Final = FIRST.signing.public
COMMANDS: Final[dict[str, OperatorCommand]] = {
    "reserve": RESERVATION,
    "block": Block(tar=TAR),
    "unblock": Unblock(tar=TAR, supplier_public=KEY),
    "renew": Renew(tar=TAR, supplier_public=KEY, expires_at=9, executions=8),
    "release": Release(tar=TAR),
    "revoke-supplier": Release(tar=TAR),
    "roll-supplier-key": change(FIRST, SECOND),
}


def changes(do: str, *, reason: str = "", activated: bool = True) -> dict[str, Any]:
    """Return what the answer to an order's command changes."""
    return after_answer(do, COMMANDS[do], turn=4, reason=reason, rsc_id=2, activated=activated)


@pytest.mark.parametrize("do", COMMANDS)
def test_what_was_done_changes_the_state(do: str) -> None:
    """To where the order leads, in the command's turn, with no reason left of an earlier refusal."""
    changed = changes(do)
    assert (changed.get("state", SAME), changed["turn"], changed["reason"]) == (AFTER[do], 4, "")


@pytest.mark.parametrize("do", COMMANDS)
def test_what_was_refused_leaves_the_state(do: str) -> None:
    """Only the reason is kept; but a subscription that never got its resource is refused itself."""
    expected = {"reason": "zone-full"} | ({"state": REFUSED} if do == "reserve" else {})
    assert changes(do, reason="zone-full") == expected


def test_a_reservation_is_kept_with_its_terms() -> None:
    """As the module was told them: an audit has to find just these."""
    changed = changes("reserve")
    assert (changed["rsc_id"], changed["reserved_turn"], changed["told"], changed["activated"]) == (
        2,
        4,
        0,
        0,
    )
    for name in ("code_size", "data_size", "rights", "expires_at", "executions", "at_end"):
        assert changed[name] == getattr(RESERVATION, name)
    assert len(changed["supplier_digest"]) == 32


def test_a_roll_over_is_kept_with_its_key() -> None:
    """By its digest, as an audit has to find it; the state is what it was."""
    digest = key_digest(SECOND.signing.public)
    assert changes("roll-supplier-key") == {"turn": 4, "reason": "", "supplier_digest": digest}


def test_only_a_reservation_says_which_resource_it_is() -> None:
    """Whatever id a module names later, the books keep the first."""
    assert all("rsc_id" not in changes(do) for do in COMMANDS if do != "reserve")


@pytest.mark.parametrize("do", ["unblock", "renew"])
def test_what_the_supplier_has_yet_to_be_given_is_reserved_again(do: str) -> None:
    """Of use again, but not active: the activation is still to come."""
    assert changes(do, activated=False)["state"] == RESERVED
    assert is_beyond(do, RESERVED) == (do == "unblock")


def test_a_renewal_is_kept_with_its_limits() -> None:
    """And nothing else of the reservation is another."""
    assert changes("renew") == {
        "state": ACTIVE,
        "turn": 4,
        "reason": "",
        "expires_at": 9,
        "executions": 8,
    }


@pytest.mark.parametrize(
    ("expires_at", "lifetime", "end"),
    [(0, 0, 0), (5000, 0, 5000), (0, 60, 1060)],
    ids=["never", "date", "life"],
)
def test_when_a_resource_ends(expires_at: int, lifetime: int, end: int) -> None:
    """On the agreed date, or so long after it was reserved or renewed, or never."""
    assert end_of(Row(AGREEMENTS, {"expires_at": expires_at, "lifetime": lifetime}), 1000.9) == end


# Renewals


@given(for_s=st.integers(0, 3_153_600_000), executions=st.integers(0, (1 << 31) - 1))
def test_a_renewal_travels_as_it_is(for_s: int, executions: int) -> None:
    """Whatever a config may ask for comes through."""
    renewal = Renewal(for_s, executions)
    assert Renewal.parse(renewal.encode()) == renewal


@pytest.mark.parametrize(
    "octets",
    [b"", b"1", b"1 2 3", b"x y", b"-1 0", b"0 -1", b"+1 0", b"1  0", b"01 0", b"1_0 0", b" 1 0", b"1 0\n",
     b"4294967297 0", b"0 2147483648", b"\xff 0", "٣ 0".encode(), b"9" * 5000 + b" 0"],
    ids=lambda octets: repr(octets[:12]),
)  # fmt: skip
def test_what_is_no_renewal_is_refused(octets: bytes) -> None:
    """Other numbers, other spellings, other octets: a reason, and nothing else."""
    with pytest.raises(Refusal, match="bad-renewal"):
        Renewal.parse(octets)


@given(st.binary(max_size=40))
def test_any_octets_are_a_renewal_or_refused(octets: bytes) -> None:
    """And what is one is spelt as we spell it."""
    try:
        renewal = Renewal.parse(octets)
    except Refusal:
        return
    assert renewal.encode() == octets


# Books and module: nothing between them but signed octets


class Story:
    """An operator's books on one resource, and the module that holds it or does not; the module is real."""

    def __init__(self, **terms: Any) -> None:
        self.market = Market().personalise()
        self.terms: dict[str, Any] = {
            "expires_at": int(NOW) + 100,
            "executions": 2,
            "at_end": "deactivate",
        } | terms
        self.market.supplier.key = FIRST.signing
        self.keys = 0
        self.row = Row(SUBSCRIPTIONS, {"ua": UA, "service": SERVICE, "state": SUBSCRIBED, "activated": 0})
        self.announcements = 0

    @property
    def state(self) -> str:
        """Where the books have the subscription."""
        return str(self.row["state"])

    @property
    def in_module(self) -> str:
        """Where the module has the resource."""
        definition = self.market.card.module.definitions.by_tar(TAR)
        return definition.state.value if definition else "free"

    def order(self, do: str) -> str:
        """Give an order as the operator takes it; return why it was refused, empty when it was not."""
        try:
            if is_beyond(do, self.state):
                return ""
        except Refusal as refusal:
            return refusal.reason
        if do == "activate":
            self.row = self.row.but(state=ACTIVE, activated=1)
            return ""
        answered = self.ask(do, self.command(do))
        changed = after_answer(
            do,
            answered.command,
            turn=answered.turn,
            reason=answered.reason,
            rsc_id=getattr(answered.answer, "rsc_id", 0),
            activated=bool(self.row["activated"]),
        )
        self.row = self.row.but(**changed)
        if do == "roll-supplier-key" and not answered.reason:
            self.keys += 1
            self.market.supplier.key = self.generation.signing
        return answered.reason

    @property
    def generation(self) -> RoleKeys:
        """The keys that the supplier has got to."""
        return generation("p256", self.keys)

    def command(self, do: str) -> OperatorCommand:
        """Return the command of an order; renewed, a resource gets what it had at first, but from now on."""
        if do == "reserve":
            self.market.supplier.key = self.generation.signing
            return self.market.supplier.reserve(**self.terms)
        if do == "unblock":
            return Unblock(tar=TAR, supplier_public=self.generation.signing.public)
        if do == "roll-supplier-key":
            return change(self.generation, generation("p256", self.keys + 1))
        if do == "renew":
            self.terms["expires_at"] = int(self.market.card.now) + 100
            public = self.generation.signing.public
            return Renew(tar=TAR, supplier_public=public, expires_at=self.terms["expires_at"], executions=2)
        return COMMANDS[do]

    def ask(self, do: str, command: OperatorCommand) -> Answered:
        """Send a command; return the module's word."""
        replied = manage(self.market.card, self.market.operator.signed(command))
        signed = decode(replied.data, Signed)
        signed.verify(purpose=Purpose.ANSWER, suite="x25519", public=self.market.public)
        word = decode(signed.body, Answer, Audited)
        return Answered(do, UA, SERVICE, command, signed.counter, word)

    def audit(self) -> list[str]:
        """Audit the module as the operator does; return the faults that were found."""
        reading = Reading()
        while not reading.is_complete:
            answered = self.ask("audit", Audit(after=reading.after))
            assert isinstance(answered.answer, Audited)
            reading.take(answered.answer, answered.turn)
        found = compare(
            reading,
            memory=self.market.card.size,
            now=self.market.card.now,
            agreements={TAR: Row(AGREEMENTS, {"service": SERVICE, "tar": TAR})},
            subscriptions={SERVICE: self.row},
        )
        if SERVICE in found.states:
            self.row = self.row.but(state=found.states[SERVICE], turn=reading.turn)
        return [fault.what for fault in found.faults]

    def announce(self, seconds: int) -> None:
        """Let time pass, and have the operator say so."""
        card, operator = self.market.card, self.market.operator
        card.now += seconds
        self.announcements += 1
        announcement = operator.signed(
            Announce(time=int(card.now)),
            ua=EVERYBODY,
            purpose=Purpose.ANNOUNCEMENT,
            counter=self.announcements,
        )
        packet = encode_command(
            spi=SecurityParameters(),
            tar=MANAGER_TAR,
            data=announcement,
            dialect=CELL_BROADCAST,
        )
        serial = SerialNumber(scope=GeographicScope.PLMN, code=self.announcements, update=0)
        for page in split(packet, serial, ANNOUNCEMENTS):
            card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))

    def use(self) -> None:
        """Have the supplier use the resource, if it can: serve it, and run it once."""
        is_alive = self.market.card.now < self.terms["expires_at"]
        if is_alive and self.state == ACTIVE and self.in_module in {"reserved", "loaded"}:
            self.market.connect()
            if self.in_module == "reserved":
                self.market.load(probe())
            self.market.supplier.result(self.market.card, Invoke(argument=b"\0"))

    def put(self, state: ResourceState | None) -> None:
        """Have a mishap put the resource into a state, or take it away: a module's memory is restored."""
        card = self.market.card
        memory = Memory.from_pages(card.pages.items())
        table = DefinitionTable(memory)
        with memory.transaction() as transaction:
            known = table.by_tar(TAR)
            if known is not None:
                table.remove(transaction, known.rsc_id)
            if state is not None:
                table.put(transaction, _in_state(table, transaction, state))
        card.pages.update(memory.take_changes())
        card.power_cycle()

    def subscribe(self) -> None:
        """Have the subscriber ask again, for a resource with an end that is still to come."""
        if self.state in {RELEASED, REFUSED}:
            self.row = self.row.but(state=SUBSCRIBED)
            self.terms["expires_at"] = int(self.market.card.now) + 100

    def is_agreed(self) -> bool:
        """Say whether books and module say the same of the resource."""
        said = {"free": "", "reserved": "in use", "loaded": "in use", "suspended": "in use"}
        known = {RESERVED: "in use", ACTIVE: "in use", SUBSCRIBED: "", RELEASED: "", REFUSED: ""}
        return said.get(self.in_module, self.in_module) == known.get(self.state, self.state)


def _in_state(table: DefinitionTable, transaction: Transaction, state: ResourceState) -> Definition:
    """Return a resource as a module has it in *state*, at the beginning of the zone."""
    definition = Definition(
        rsc_id=1,
        tar=TAR,
        service=SERVICE,
        supplier="bank",
        suite="p256",
        forms=(AGREE_THEN_SIGN,),
        supplier_public=KEY,
        supplier_digest=hashlib.sha256(KEY).digest(),
        start=table.allocate(2048),
        code_size=1024,
        data_size=1024,
        rights=frozenset({"hmac"}),
        expires_at=int(NOW) + 100,
        executions_left=2,
    )
    if state is ResourceState.RESERVED:
        return definition
    definition = replace(table.write_code(transaction, definition, probe()), version=1)
    if state in {ResourceState.LOADED, ResourceState.SUSPENDED}:
        return replace(definition, state=state)
    left = 0 if state is ResourceState.EXHAUSTED else 2
    return replace(definition, state=state, supplier_public=b"", executions_left=left)


def _to_exhausted(story: Story) -> None:
    for _ in range(2):
        story.use()
    assert story.audit() == []


def _to_expired(story: Story) -> None:
    story.announce(200)
    assert story.audit() == []


def _to_refused(story: Story) -> None:
    story.order("release")
    story.subscribe()
    story.terms["data_size"] = 1 << 20
    assert story.order("reserve") == "zone-full"
    del story.terms["data_size"]


PATHS: Final[dict[str, tuple[str | Callable[[Story], None], ...]]] = {
    SUBSCRIBED: (),
    RESERVED: ("reserve",),
    ACTIVE: ("reserve", "activate"),
    BLOCKED: ("reserve", "activate", "block"),
    EXHAUSTED: ("reserve", "activate", _to_exhausted),
    EXPIRED: ("reserve", "activate", _to_expired),
    RELEASED: ("reserve", "activate", "release"),
    REFUSED: ("reserve", _to_refused),
}
"""How the books come into each state, honestly."""


def story_in(state: str, **terms: Any) -> Story:
    """Return a story in which the books have come into a state, and the module with them."""
    story = Story(**terms)
    for way in PATHS[state]:
        if isinstance(way, str):
            assert story.order(way) == ""
        else:
            way(story)
    assert story.state == state
    assert story.is_agreed()
    return story


@pytest.mark.parametrize("state", PATHS)
def test_every_state_is_one_that_an_audit_finds_as_it_is(state: str) -> None:
    """Come by honestly, books and module agree, and an audit changes nothing."""
    story = story_in(state)
    assert story.audit() == []
    assert story.state == state


@pytest.mark.parametrize("mishap", [None, *(each for each in ResourceState if each != "free")], ids=str)
@pytest.mark.parametrize("state", PATHS)
def test_there_is_a_way_out_of_every_pair(state: str, mishap: ResourceState | None) -> None:
    """Whatever the books say and the module has: an audit, then a release, and all can begin anew."""
    story = story_in(state)
    story.put(mishap)
    faults = story.audit()
    assert faults or story.is_agreed()
    if story.in_module != "free" or story.state in HELD:
        assert story.order("release") == ""
        assert story.state == RELEASED
    assert story.in_module == "free"
    assert story.audit() == []
    story.subscribe()
    assert [story.order("reserve"), story.order("activate")] == ["", ""]
    assert story.audit() == []
    assert (story.state, story.in_module) == (ACTIVE, "reserved")


@pytest.mark.parametrize("mishap", [None, *(each for each in ResourceState if each != "free")], ids=str)
@pytest.mark.parametrize("state", sorted(HELD))
def test_a_release_needs_no_audit(state: str, mishap: ResourceState | None) -> None:
    """What the books hold can be given up at once, whatever the module has made of it."""
    story = story_in(state)
    story.put(mishap)
    assert story.order("release") == ""
    assert (story.state, story.in_module) == (RELEASED, "free")


def used_up(story: Story) -> None:
    """Use the resource as often as it was given for; nobody tells the operator."""
    for _ in range(2):
        story.use()


def outlived(story: Story) -> None:
    """Let its date pass, and tell the module so."""
    story.announce(200)


ENDS: Final[list[tuple[str, Callable[[Story], None], str, dict[str, str]]]] = [
    (ACTIVE, used_up, "deactivate", {"block": "block-when-exhausted", "unblock": "", "renew": ""}),
    (ACTIVE, outlived, "deactivate", {"block": "block-when-expired", "unblock": "", "renew": ""}),
    (
        BLOCKED,
        outlived,
        "deactivate",
        {"block": "", "unblock": "unblock-when-expired", "renew": "subscription-blocked"},
    ),
    (ACTIVE, used_up, "delete", {"block": "unknown-resource", "unblock": "", "renew": "unknown-resource"}),
    (ACTIVE, outlived, "delete", {"block": "unknown-resource", "renew": "unknown-resource"}),
    (
        BLOCKED,
        outlived,
        "delete",
        {"unblock": "unknown-resource", "renew": "subscription-blocked", "block": ""},
    ),
]
"""From a state of the books, what happens in the module, what the reservation wants then, and why orders
are refused afterwards, before anybody has audited."""


@pytest.mark.parametrize(
    ("state", "happens", "at_end", "reasons"),
    ENDS,
    ids=[f"{state}-{happens.__name__}-{at_end}" for state, happens, at_end, _ in ENDS],
)
def test_orders_for_what_has_ended_by_itself_say_why_not(
    state: str, happens: Callable[[Story], None], at_end: str, reasons: dict[str, str]
) -> None:
    """Refused with a reason, and the books stay; audited they know; then it is renewed, or it is gone."""
    for do, reason in reasons.items():
        story = story_in(state, at_end=at_end)
        happens(story)
        assert (do, story.order(do)) == (do, reason)
        assert story.state == (state if do != "renew" or reason else ACTIVE)
    story = story_in(state, at_end=at_end)
    happens(story)
    assert story.audit() == []
    assert story.is_agreed()
    if at_end == "deactivate":
        assert story.state in {EXPIRED, EXHAUSTED}
        assert story.order("renew") == ""
        assert (story.state, story.in_module in {"reserved", "loaded"}) == (ACTIVE, True)
    else:
        assert (story.state, story.in_module) == (RELEASED, "free")
    assert story.audit() == []


@pytest.mark.parametrize("ended", [EXPIRED, EXHAUSTED])
def test_what_has_ended_is_only_renewed_or_released(ended: str) -> None:
    """Every other order is refused, and its reason is the end; but a key may change in any state."""
    for do in ORDERS:
        story = story_in(ended)
        expected = (
            ""
            if do in {"renew", "release", "revoke-supplier", "roll-supplier-key"}
            else f"subscription-{ended}"
        )
        assert (do, story.order(do)) == (do, expected)


def test_a_date_that_has_passed_needs_another() -> None:
    """A renewal until a date that the operator itself said is over is refused by the module, in words."""
    story = story_in(EXPIRED)
    answered = story.ask("renew", Renew(tar=TAR, supplier_public=KEY, expires_at=int(NOW) + 1, executions=2))
    assert answered.reason == "already-expired"
    assert story.audit() == []


def test_a_suspended_resource_is_in_use_for_the_operator() -> None:
    """What only the handset's time says ends nothing; blocked and unblocked meanwhile, it is as it was."""
    story = story_in(ACTIVE)
    story.market.card.now += 200
    assert story.audit() == []
    assert (story.state, story.in_module) == (ACTIVE, "suspended")
    for do in ("roll-supplier-key", "block", "roll-supplier-key", "unblock", "renew"):
        assert story.order(do) == ""
        assert story.audit() == []
        assert story.is_agreed()


STEPS: Final = (*ORDERS, "audit", "use", "announce", "wait", "subscribe")
PLAY: Final[dict[str, Callable[[Story], object]]] = {
    "audit": Story.audit,
    "use": Story.use,
    "announce": lambda story: story.announce(40),
    "wait": lambda story: setattr(story.market.card, "now", story.market.card.now + 40),
    "subscribe": Story.subscribe,
}


@settings(max_examples=60, deadline=None)
@example(steps=["announce", "announce", "wait", "use"], at_end=AtEnd.DEACTIVATE)
@given(steps=st.lists(st.sampled_from(STEPS), max_size=24), at_end=st.sampled_from(AtEnd))
def test_an_honest_module_is_never_at_fault(steps: list[str], at_end: AtEnd) -> None:
    """Whatever is ordered, used and waited for, in any order: an audit finds no fault and they agree."""
    story = Story(at_end=at_end.value)
    for step in ("reserve", "activate", *steps):
        play = PLAY.get(step)
        found = play(story) if play else story.order(step)
        if step == "audit":
            assert found == []
            assert story.is_agreed()
    assert story.audit() == []
    assert story.is_agreed()
