"""Power cuts at every write of every command that a module can be given, by whomever.

A module is a pure machine, so each command is filmed once, and played again to make sure that it is one; then
power is cut at each of its writes, and the module boots from what is left. It must be as it was before one of
the command's transactions or after it, and from each of these states whoever gave the command must come to
its end by giving it again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from agents.handset.security_module.allocation import AreaKind
from agents.handset.security_module.core import Identity, Turns
from agents.handset.security_module.definitions import Definition, DefinitionTable, ResourceState
from agents.handset.security_module.domain_renewal import RENEWED
from agents.handset.security_module.manager import ANNOUNCED
from agents.handset.security_module.medium import PAGE, Medium
from agents.handset.security_module.memory import SHEET, Memory, Record
from agents.handset.security_module.module import INS_TERMINAL_PROFILE, PROPRIETARY, SecurityModule
from agents.handset.security_module.operator_session import kept
from agents.messages.air import (
    MANAGER_TAR,
    Announce,
    Answer,
    Audit,
    Audited,
    Block,
    Compact,
    Invoke,
    LoadData,
    Release,
    Renew,
    RenewDomainKey,
    RollOperatorKey,
    Unblock,
)
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys
from agents.messages.signed import EVERYBODY, Purpose, Signed
from tests.agents import renewal_kit
from tests.agents.broadcast_kit import reservation
from tests.agents.module_kit import (
    NOW,
    SERVICE,
    TAR,
    Market,
    Replied,
    Supplier,
    certified,
    introduction,
    key_of,
    manage,
    probe,
)
from tests.agents.operator_session_kit import KeysetMarket
from tests.agents.power_kit import AFTER, Cut, FilmedMedium, cuts
from tests.agents.succession_kit import change, connect, generation, market_of
from transport import apdu
from transport.apdu import CommandApdu
from transport.cell_broadcast import GeographicScope, SerialNumber, split
from transport.diffusion import DataPart
from transport.secured_packet import CELL_BROADCAST, SecurityParameters, encode_command
from transport.security.domain_key import FIRST_TICKET
from transport.security.suites import SUITES
from transport.toolkit import Envelope, Tag

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = 7
END = int(NOW) + 600
FIRST, SECOND = (generation("p256", number) for number in range(2))
SHOP_TAR = bytes.fromhex("B20001")
FIRST_DK, NEXT_DK = (renewal_kit.key(number) for number in (1, 2))
WRAPPED = renewal_kit.wrapped(renewal_kit.reserved(), NEXT_DK)
PACKETS = renewal_kit.renewal(renewal_kit.reserved(), FIRST_DK, NEXT_DK)


class FilmedModule(SecurityModule):
    """A module that remembers each command that it was given, when, and what it said."""

    def __init__(self, medium: FilmedMedium) -> None:
        super().__init__(Memory(medium), rng=random.Random(SEED).randbytes)
        self.commands: list[tuple[bytes, float, bytes]] = []

    def process(self, command: bytes, now: float) -> bytes:
        """Take a command, and remember it."""
        response = super().process(command, now)
        self.commands.append((command, now, response))
        return response


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One command as it went without a cut: the images at the ends of its transactions, and every write."""

    market: Market
    medium: FilmedMedium
    commands: list[tuple[bytes, float, bytes]]

    @property
    def ends(self) -> list[bytes]:
        """The images before, between and after the transactions."""
        return self.medium.ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One command: how it comes to it, what is done, in how many transactions, and how it is done again.

    *again* is given the market, with the module as a cut left it, and how many of the transactions were done.
    None: the very same APDUs once more, which are answered with the same and leave the very same image.
    """

    before: Callable[[], Market]
    act: Callable[[Market], object]
    transactions: int
    again: Callable[[Market, Film, int], None] | None = None


def boot(left: bytes | Cut) -> tuple[FilmedModule, FilmedMedium]:
    """Return a module that boots from an image, or from what a cut left, and what it lies on."""
    medium = FilmedMedium(bytearray(left)) if isinstance(left, bytes) else left.medium()
    return FilmedModule(medium), medium


def film(story: Story) -> Film:
    """Do what the story tells, from a boot on."""
    market = story.before()
    module, medium = boot(market.card.image)
    market.card.module = module
    market.card.start()
    module.commands.clear()
    story.act(market)
    assert market.card.image == medium.image == medium.ends[-1]
    return Film(market=market, medium=medium, commands=list(module.commands))


def play(film: Film, module: SecurityModule) -> list[bytes]:
    """Give a module the APDUs of the film, once it is started; return what it says to them."""
    profile = CommandApdu(cla=PROPRIETARY, ins=INS_TERMINAL_PROFILE, data=film.market.card.terminal)
    module.process(profile.encode(), film.commands[0][1])
    return [module.process(command, now) for command, now, _ in film.commands]


def _sheets(image: bytes) -> dict[int, bytes]:
    """Return an image as a memory hands it out."""
    return {at // PAGE: image[at : at + SHEET * PAGE] for at in range(0, len(image), SHEET * PAGE)}


# --- what is done ---


def _with_keyset() -> KeysetMarket:
    market = KeysetMarket()
    market.personalise()
    return market


def _under_keyset() -> KeysetMarket:
    return _with_keyset().open()


def _shop() -> Supplier:
    return Supplier(suite="p256", name="shop", number="15550300", tar=SHOP_TAR, service="loyalty")


def _blank() -> Market:
    return Market()


def _reserved() -> Market:
    return Market().personalise().reserve()


def _connected() -> Market:
    return _reserved().connect()


def _personalised() -> Market:
    return Market().personalise()


def _served(**changes: Any) -> Market:
    market = Market().served(**changes)
    market.supplier.personalise(market.card, b"personal data")
    return market


def _blocked() -> Market:
    market = _served()
    market.command(Block(tar=TAR))
    return market


def _serving() -> Market:
    return connect(market_of(), FIRST).load()


def _not_serving() -> Market:
    market = _serving()
    market.command(Block(tar=TAR))
    return market


def _exhausted() -> Market:
    market = _served(executions=1)
    market.supplier.invoke(market.card)
    return market


def _suspended() -> Market:
    market = _served(expires_at=END)
    market.card.now = END + 1.0
    market.card.start()
    assert market.card.definition().state is ResourceState.SUSPENDED
    return market


def _fragmented() -> Market:
    """Return a market where the bank's resource has a gap below it that is smaller than itself."""
    market = Market().personalise()
    market.command(_shop().reserve(code_size=300, data_size=100))
    market.reserve().connect().load()
    market.supplier.invoke(market.card)
    market.command(Release(tar=SHOP_TAR))
    return market


def _personalise(market: Market) -> None:
    market.personalise()


def _personalise_given(market: Market) -> None:
    suite, rng = SUITES[market.module_suite], random.Random(SEED).randbytes
    signing, sealing = suite.generate_signing_key(rng), suite.generate_sealing_key(rng)
    market.personalise(private=signing.private, sealing_private=sealing.private)
    assert (market.public, market.sealing_public) == (signing.public, sealing.public)


def _stranger() -> Market:
    return Market().personalise(operator_public=b"")


def _roll(market: Market) -> None:
    new = key_of("new")
    _order(RollOperatorKey(suite=new.suite, public=new.public))(market)
    market.operator.key = new


def _introduce(market: Market) -> None:
    replied = manage(market.card, introduction(certified(key_of("new"), 9)))
    signed = decode(replied.data, Signed)
    signed.verify(purpose=Purpose.INTRODUCTION, suite=market.module_suite, public=market.public)
    assert decode(signed.body, Answer).reason == ""


def _order(command: object) -> Callable[[Market], None]:
    def act(market: Market) -> None:
        assert market.command(command).reason == ""

    return act


def _reserve(market: Market) -> None:
    market.reserve()


def _reserve_in_a_domain(market: Market) -> None:
    _order(reservation(market))(market)
    assert market.ticket != FIRST_TICKET


def _refused_in_a_domain(market: Market) -> None:
    before = market.ticket
    assert market.command(reservation(market)).reason == "resource-exists"
    assert market.ticket != before


def _refused(market: Market) -> None:
    assert market.command(market.supplier.reserve()).reason == "resource-exists"


def _unblock(market: Market) -> None:
    _order(Unblock(tar=TAR, supplier_public=market.supplier.key.public))(market)


def _renew(market: Market) -> None:
    public = market.supplier.key.public
    _order(Renew(tar=TAR, supplier_public=public, expires_at=END, executions=5))(market)


def _audit(market: Market) -> None:
    replied = manage(market.card, market.operator.signed(Audit(after=0)))
    signed = decode(replied.data, Signed)
    signed.verify(purpose=Purpose.ANSWER, suite=market.module_suite, public=market.public)
    assert decode(signed.body, Audited).complete


def _announce(time: int) -> Callable[[Market], None]:
    def act(market: Market) -> None:
        terms: dict[str, Any] = {"ua": EVERYBODY, "counter": 1, "purpose": Purpose.ANNOUNCEMENT}
        signed = market.operator.signed(Announce(time=time), **terms)
        packet = encode_command(
            spi=SecurityParameters(), tar=MANAGER_TAR, data=signed, dialect=CELL_BROADCAST
        )
        serial = SerialNumber(scope=GeographicScope.PLMN, code=1, update=0)
        for page in split(packet, serial, ANNOUNCEMENTS):
            market.card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))
        assert market.card.notes[-1].name == ANNOUNCED

    return act


def _connect(market: Market) -> None:
    market.connect()


def _open(market: Market) -> None:
    assert isinstance(market, KeysetMarket)
    market.open()


def _load(market: Market) -> None:
    market.load()


def _update(market: Market) -> None:
    assert market.supplier.load(market.card, _newer(), version=2).reason == ""


def _newer() -> bytes:
    return probe(more="(i32.store8 (i32.const 600) (i32.const 1))")


def _load_data(market: Market) -> None:
    assert market.supplier.result(market.card, LoadData(octets=b"other data")).reason == ""


def _invoke(market: Market) -> None:
    assert market.supplier.invoke(market.card).reason == ""


def _use(market: Market) -> None:
    assert market.card.use_menu(3, SERVICE, "00")[0].startswith("Result: ")


def _trap(market: Market) -> None:
    assert market.supplier.invoke(market.card, b"\x02").reason == "unreachable"


def _subscribe(market: Market) -> int:
    """Return the counter of the request."""
    market.card.use_menu(1, SERVICE)
    return decode(market.card.take_command()[1], Signed).counter


def _restore(market: Market) -> None:
    market.card.now = NOW  # the handset has its clock put right
    _announce(int(NOW))(market)


def _time_passes(market: Market) -> None:
    market.card.now = END + 1.0
    market.card.start()


def _in_domain() -> Market:
    market = renewal_kit.reserved()
    renewal_kit.connect(market, FIRST_DK)
    return market


def _hear_next(market: Market) -> None:
    assert renewal_kit.hear(market, PACKETS) == [RENEWED]


def _hear_again(market: Market) -> None:
    renewal_kit.hear(market, PACKETS, update=1)


def _loaded_in_domain() -> Market:
    market = renewal_kit.reserved()
    _hear_first(market)
    market.card.use_menu(3, market.supplier.service, "00")
    assert _runs(market) == 1
    return market


def _hear_first(market: Market, update: int = 0) -> None:
    campaign = renewal_kit.campaign(market, FIRST_DK, probe())
    renewal_kit.hear(market, [packet.octets for packet in campaign.cycle], update=update)


def _hear_newer(market: Market, update: int = 0, *, data_part: DataPart) -> None:
    values = {"version": 2, "number": 2, "data_part": data_part}
    campaign = renewal_kit.campaign(market, FIRST_DK, _newer(), **values)
    renewal_kit.hear(market, [packet.octets for packet in campaign.cycle], update=update)


def _take_next(market: Market) -> None:
    assert market.supplier.result(market.card, RenewDomainKey(octets=WRAPPED)).reason == ""
    assert renewal_kit.held(market) == NEXT_DK
    market.card.take_sent()  # where it took the key, it calls again by that


# --- how it is done again, from what a cut left: *done* of its transactions ---


def _personalise_again(market: Market, _film: Film, done: int) -> None:
    """Personalise what is blank still; else expect a refusal, and the same proof."""
    if done:
        response = market.card.store_data(encode(market.personal()))
        assert response.status == apdu.SW_INS_NOT_SUPPORTED
        possession = decode(market.card.get_data().data, Signed)
        public = decode(possession.body, ModuleKeys).signing
        possession.verify(purpose=Purpose.POSSESSION, suite=market.module_suite, public=public)
    else:
        market.personalise()
    assert market.reserve().connect().load().supplier.invoke(market.card).output == b"\x01\0"


def _open_again(market: Market, _film: Film, _done: int) -> None:
    """Sign another Connect: there is a session, under which a resource is reserved."""
    _open(market)
    _reserve(market)


def _under_keyset_again(market: Market, film: Film, _done: int) -> None:
    """Send the same command in a new packet: it is done once, and answered as it was or would have been."""
    assert isinstance(market, KeysetMarket)
    signed = market.operator.signed(market.supplier.reserve(), counter=1)
    response = market.exchange(market.packet(signed))
    answer = market.answer(Replied(status=response.status, data=response.data), counter=1)
    assert answer.reason == ""
    assert _resources(market.card.image) == _resources(film.ends[-1])


def _in_a_domain_again(market: Market, film: Film, _done: int) -> None:
    """Give the very same APDUs: the same ticket is told. A boot has EF.CBMID read, so no REFRESH is asked."""
    for command, _now, _response in film.commands:
        market.card.transmit_octets(command)
    assert market.card.image == film.ends[-1]


def _connect_again(market: Market, _film: Film, _done: int) -> None:
    """Make another call and another handshake: there is a session that carries a programme."""
    assert market.connect().load().supplier.invoke(market.card).output[1:] == b"\0"


def _same_again(act: Callable[[Market], None]) -> Callable[[Market, Film, int], None]:
    """Return how a supplier says it again: in new packets; the resource is as it would have been."""

    def again(market: Market, film: Film, _done: int) -> None:
        act(market)
        assert _resources(market.card.image) == _resources(film.ends[-1])

    return again


def _take_next_again(market: Market, film: Film, done: int) -> None:
    """Expect a call by the key that is there, and give the next one again where it is not."""
    renewal_kit.connect(market, NEXT_DK if done else FIRST_DK)
    _take_next(market)
    assert _resources(market.card.image) == _resources(film.ends[-1])


def _run_again(market: Market, _film: Film, done: int) -> None:
    """Expect that a counted run was one, whether or not power let it come to its end."""
    assert (_left(market), _runs(market)) == (5 - (done > 0), int(done > 1))
    _invoke(market)
    assert (_left(market), _runs(market)) == (4 - (done > 0), 1 + (done > 1))


def _trap_again(market: Market, _film: Film, done: int) -> None:
    """Expect that a run which traps is counted too, and keeps nothing."""
    _trap(market)
    assert (_left(market), _runs(market)) == (4 - done, 0)


def _last_run_again(market: Market, _film: Film, done: int) -> None:
    """Expect that the last run, once counted, is over: there is no other one, and no supplier's key."""
    if not done:
        _invoke(market)
    assert market.supplier.unheard(market.card, Invoke(argument=b"\0")) == "exhausted"
    assert market.card.use_menu(3, SERVICE, "00") == ["Refused: exhausted"]
    definition = market.card.definition()
    assert (definition.state, definition.supplier_public, definition.session) == ("exhausted", b"", None)
    assert (_left(market), _runs(market)) == (0, int(done != 1))


def _only_run_again(market: Market, _film: Film, done: int) -> None:
    """Expect that a resource which ends with its last run is gone from the next command on."""
    if not done:
        _invoke(market)
    assert market.card.use_menu(3, SERVICE, "00") == ["Refused: unknown-resource"]
    assert market.card.module.definitions.all() == []


def _subscribe_again(market: Market, _film: Film, done: int) -> None:
    """Expect that no two requests have the same counter."""
    assert _subscribe(market) == done + 1


STORIES: dict[str, Story] = {
    "personalise": Story(before=_blank, act=_personalise, transactions=1, again=_personalise_again),
    "subscribe": Story(before=_personalised, act=_subscribe, transactions=1, again=_subscribe_again),
    "reserve": Story(before=_personalised, act=_reserve, transactions=1),
    "reserve in a domain": Story(
        before=_personalised, act=_reserve_in_a_domain, transactions=1, again=_in_a_domain_again
    ),
    "a refused reservation in a domain": Story(
        before=renewal_kit.reserved, act=_refused_in_a_domain, transactions=1
    ),
    "release from a domain": Story(
        before=renewal_kit.reserved,
        act=_order(Release(tar=TAR)),
        transactions=1,
        again=_in_a_domain_again,
    ),
    "a refused command": Story(before=_served, act=_refused, transactions=1),
    "block": Story(before=_served, act=_order(Block(tar=TAR)), transactions=1),
    "unblock": Story(before=_blocked, act=_unblock, transactions=1),
    "renew": Story(before=_served, act=_renew, transactions=1),
    "renew the exhausted": Story(before=_exhausted, act=_renew, transactions=1),
    "release": Story(before=_served, act=_order(Release(tar=TAR)), transactions=1),
    "change the supplier's key": Story(before=_serving, act=_order(change(FIRST, SECOND)), transactions=1),
    "change the key of what is blocked": Story(
        before=_not_serving, act=_order(change(FIRST, SECOND)), transactions=1
    ),
    "release the blocked": Story(before=_blocked, act=_order(Release(tar=TAR)), transactions=1),
    "compact": Story(before=_fragmented, act=_order(Compact()), transactions=1),
    "audit": Story(before=_served, act=_audit, transactions=1),
    "announce": Story(before=_served, act=_announce(int(NOW)), transactions=1),
    "expire": Story(before=partial(_served, expires_at=END), act=_announce(END), transactions=1),
    "expire and delete": Story(
        before=partial(_served, expires_at=END, at_end="delete"), act=_announce(END), transactions=1
    ),
    "suspend": Story(before=partial(_served, expires_at=END), act=_time_passes, transactions=1),
    "restore": Story(before=_suspended, act=_restore, transactions=1),
    "call and prove": Story(before=_reserved, act=_connect, transactions=1, again=_connect_again),
    "call and prove anew": Story(before=_served, act=_connect, transactions=1, again=_connect_again),
    "personalise with keys that were made for it": Story(
        before=_blank, act=_personalise_given, transactions=1, again=_personalise_again
    ),
    "roll the operator's key": Story(before=_served, act=_roll, transactions=1),
    "introduce the operator": Story(before=_stranger, act=_introduce, transactions=1),
    "introduce another key": Story(before=_served, act=_introduce, transactions=1),
    "introduce another key under a keyset": Story(before=_under_keyset, act=_introduce, transactions=1),
    "connect with the operator": Story(before=_with_keyset, act=_open, transactions=2, again=_open_again),
    "connect with the operator anew": Story(
        before=_under_keyset, act=_open, transactions=2, again=_open_again
    ),
    "a command under the keyset": Story(
        before=_under_keyset, act=_reserve, transactions=2, again=_under_keyset_again
    ),
    "load": Story(before=_connected, act=_load, transactions=2, again=_same_again(_load)),
    "update": Story(before=_served, act=_update, transactions=2, again=_same_again(_update)),
    "load data": Story(before=_served, act=_load_data, transactions=1, again=_same_again(_load_data)),
    "invoke": Story(before=partial(_served, executions=5), act=_invoke, transactions=2, again=_run_again),
    "use": Story(before=partial(_served, executions=5), act=_use, transactions=2, again=_run_again),
    "trap": Story(before=partial(_served, executions=5), act=_trap, transactions=1, again=_trap_again),
    "last run": Story(
        before=partial(_served, executions=1), act=_invoke, transactions=2, again=_last_run_again
    ),
    "last run and delete": Story(
        before=partial(_served, executions=1, at_end="delete"),
        act=_invoke,
        transactions=2,
        again=_only_run_again,
    ),
    "load by broadcast": Story(
        before=renewal_kit.reserved,
        act=_hear_first,
        transactions=1,
        again=_same_again(partial(_hear_first, update=1)),
    ),
    "update by broadcast": Story(
        before=_loaded_in_domain,
        act=partial(_hear_newer, data_part=DataPart.KEEP),
        transactions=1,
        again=_same_again(partial(_hear_newer, update=1, data_part=DataPart.KEEP)),
    ),
    "update by broadcast that begins the data anew": Story(
        before=_loaded_in_domain,
        act=partial(_hear_newer, data_part=DataPart.RESET),
        transactions=1,
        again=_same_again(partial(_hear_newer, update=1, data_part=DataPart.RESET)),
    ),
    "next domain key by broadcast": Story(
        before=renewal_kit.reserved, act=_hear_next, transactions=1, again=_same_again(_hear_again)
    ),
    "next domain key under the session": Story(
        before=_in_domain, act=_take_next, transactions=1, again=_take_next_again
    ),
}


# --- what must hold ---


def _left(market: Market) -> int:
    return market.card.definition().executions_left


def _runs(market: Market) -> int:
    """Return how many runs the application itself has counted in its data."""
    return market.card.module.definitions.read_data(market.card.definition())[0]


def _turns(image: bytes) -> Turns:
    octets = Memory.boot(image).get_record(Record.COUNTERS)
    return decode(octets, Turns) if octets else Turns()


def _operator_key(image: bytes) -> bytes:
    octets = Memory.boot(image).get_record(Record.IDENTITY)
    return decode(octets, Identity).operator_public if octets else b""


def _resources(image: bytes) -> list[tuple[Definition, bytes, bytes]]:
    """Return each resource but for its session's counters, its programme, and its data."""
    table = DefinitionTable(Memory.boot(image))
    return [
        (replace(each, session=None), table.read_code(each), table.read_data(each)) for each in table.all()
    ]


def _check_sound(image: bytes, supplier_public: bytes) -> None:
    """Expect zeros in what is free, and a supplier's key where DEF says so or nowhere."""
    table = DefinitionTable(Memory.boot(image))
    for area in table.layout():
        assert area.kind is not AreaKind.FREE or not any(image[area.start : area.end])
    known = any(each.supplier_public == supplier_public for each in table.all())
    assert (supplier_public in image) is known


def _check_never_back(name: str, before: bytes, after: bytes) -> None:
    """Expect that no counter goes back, and that nobody but the operator gives executions.

    With another key of the operator's its own begin anew: under that one nothing old proves anything.
    """
    earlier, later = _turns(before), _turns(after)
    counters = {"command", "request", "announcement", "signed", "connection"}
    is_another = _operator_key(before) != _operator_key(after) and name.startswith("introduce")
    if is_another:
        counters -= {"command", "announcement", "connection"}
    for counter in counters:
        assert getattr(earlier, counter) <= getattr(later, counter)
    one, other = (kept(Memory.boot(image)) for image in (before, after))
    if one is not None and is_another:
        assert other is None
    elif one is not None:
        assert other is not None
        assert one.received_counter <= other.received_counter or one.keys != other.keys
    known = {each.tar: each for each in DefinitionTable(Memory.boot(after)).all()}
    for was in DefinitionTable(Memory.boot(before)).all():
        now = known.get(was.tar)
        if now is None:
            continue
        assert was.version <= now.version
        assert was.executions_left >= now.executions_left or name.startswith("renew")
        if was.session and now.session and was.session.keys == now.session.keys:
            assert was.session.received_counter <= now.session.received_counter
            assert was.session.sent_counter <= now.session.sent_counter


@pytest.fixture(scope="module", params=STORIES)
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of a story."""
    return str(request.param)


@pytest.fixture(scope="module")
def filmed(name: str) -> Film:
    """Return its film."""
    return film(STORIES[name])


def test_a_command_is_so_many_transactions(name: str, filmed: Film) -> None:
    """One, or for a run two, or for a programme one for each piece; nothing goes back in any of them."""
    assert len(filmed.ends) == STORIES[name].transactions + 1
    for image in filmed.ends:
        _check_sound(image, filmed.market.supplier.key.public)
    for before, after in pairwise(filmed.ends):
        _check_never_back(name, before, after)


def test_the_film_is_all_that_happens(filmed: Film) -> None:
    """Played again, a module says the same and writes the same: a cut that it learns nothing of is a cut."""
    module, medium = boot(filmed.ends[0])
    assert play(filmed, module) == [response for _, _, response in filmed.commands]
    assert medium.writes == filmed.medium.writes
    left = Medium(bytearray(filmed.ends[0]))
    for write in medium.writes:
        left.write(*write)
    assert left.image == filmed.ends[-1]


def test_a_cut_at_any_write_leaves_a_state_before_or_after(filmed: Film) -> None:
    """Before, after and in the middle of each write, and of each write of the boot that mends what was cut.

    The module boots, no transaction is half done, and none that was done is undone.
    """
    place = 0
    for cut in cuts(filmed.ends[0], {}, filmed.medium.writes, seed=SEED):
        _module, medium = boot(cut)
        done = filmed.ends.index(bytes(medium.image))
        assert done - place in (0, 1), (cut.write, cut.how)
        assert not medium.journal
        if cut.how == AFTER:
            place = done
            for second in cuts(cut.image, cut.journal, medium.writes, seed=cut.write):
                assert bytes(Memory(second.medium())) == filmed.ends[done], (cut.write, second.write)
    assert place == len(filmed.ends) - 1


def test_from_each_state_the_command_comes_to_its_end(name: str, filmed: Film) -> None:
    """Given again, as it was or as its sender gives it anew, it ends as it would have without the cut."""
    story, market = STORIES[name], filmed.market
    for done, image in enumerate(filmed.ends):
        module, medium = boot(image)
        if story.again is None:
            assert play(filmed, module) == [response for _, _, response in filmed.commands]
            assert medium.image == filmed.ends[-1]
        else:
            market.card.pages = _sheets(image)
            market.card.module = module
            market.card.start()
            story.again(market, filmed, done)
        _check_sound(bytes(medium.image), market.supplier.key.public)
        _check_never_back(name, image, bytes(medium.image))
