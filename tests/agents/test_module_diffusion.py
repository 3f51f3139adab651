"""Global loading in the module: what a broadcast campaign brings, and what no broadcast can."""

from __future__ import annotations

import gc
import hashlib
import random
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.handset.security_module import diffusion
from agents.handset.security_module.diffusion import KNOWN, LOADED
from agents.handset.security_module.files import CBMID_ENTRIES
from agents.handset.security_module.life_cycle import ResourceState
from agents.messages.air import Block, Held, LoadApplication, Release, Unblock
from agents.messages.bearers import ANNOUNCEMENTS, GLOBAL_SERVICES
from tests.agents.broadcast_kit import IDENTIFIER, KEY, NAME, PLAIN
from tests.agents.broadcast_kit import campaign as _campaign
from tests.agents.broadcast_kit import hear as _hear
from tests.agents.broadcast_kit import pages as _pages
from tests.agents.broadcast_kit import reservation as _reservation
from tests.agents.module_kit import TAR, Market, Supplier, probe
from transport.apdu import SW_OK
from transport.cell_broadcast import CONTENT_OCTETS, GeographicScope, MessageFilter, SerialNumber, split
from transport.cell_broadcast.serial_number import MAX_CODE, MAX_UPDATE
from transport.diffusion import (
    MAX_COPIES,
    Campaign,
    DataPart,
    Domain,
    Fragment,
    FragmentKind,
    Work,
    seal_fragment,
)
from transport.security.domain_key import generate_symmetric
from transport.toolkit import Envelope
from transport.toolkit.tags import Tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agents.module_kit import Card
    from transport.cell_broadcast import Page

SELECT_USIM: Final = "00a4040c07a0000000871002"
SELECT_CBMID: Final = "00a4080c047fff6f48"


@pytest.fixture
def market() -> Market:
    """Return a market whose module holds a global service."""
    market = Market().personalise()
    market.supplier.logic_name = NAME
    assert market.command(_reservation(market)).reason == ""
    return market


def _wanted(card: Card) -> tuple[int, ...]:
    """Return what the terminal reads in EF.CBMID."""
    for command in (SELECT_USIM, SELECT_CBMID):
        assert card.transmit_octets(bytes.fromhex(command)).is_good
    read = card.transmit_octets(bytes.fromhex(f"00b00000{2 * CBMID_ENTRIES:02x}"))
    return MessageFilter.parse(read.data).identifiers


def _loaded(market: Market) -> tuple[int, int]:
    """Return the version and the length of the programme in the module."""
    definition = market.card.definition()
    return definition.version, definition.code_length


# --- what is taken ---


def test_one_broadcast_loads_the_application(market: Market) -> None:
    """Its pages in any order make a programme that runs, under the version that the supplier signed."""
    code = probe()
    pages = _pages(_campaign(market, code))
    random.Random(1).shuffle(pages)
    assert _hear(market, [*pages, *pages]) == []
    assert _loaded(market) == (1, len(code))
    # What is repeated of it is not even opened.
    assert {note.name for note in market.card.notes}.isdisjoint({KNOWN, "packet.refused"})
    assert market.card.use_menu(3, market.supplier.service, "00") != []
    market.card.power_cycle()
    assert _loaded(market) == (1, len(code))


def test_what_one_repetition_lost_a_later_one_brings(market: Market) -> None:
    """A third of the pages lost in each round: the rounds add up."""
    lost, pages = random.Random(2), _pages(_campaign(market, probe()))
    for _ in range(12):
        _hear(market, [page for page in pages if lost.random() > 1 / 3])
    assert _loaded(market)[0] == 1


def test_what_came_before_a_head_that_was_lost_is_taken_when_it_is_repeated(market: Market) -> None:
    """Also by a module that was collecting another version then, whose broadcast was cut short."""
    cut_short, campaign = _campaign(market, probe()), _campaign(market, probe(), version=2, number=2)
    _hear(market, _pages(cut_short)[: -cut_short.cycle[-2].pages - cut_short.cycle[-1].pages])
    pages = _pages(campaign)
    assert set(_hear(market, pages[campaign.cycle[0].pages :])) == {"other-campaign"}
    _hear(market, pages)
    assert _loaded(market)[0] == 2


@pytest.mark.parametrize("part", DataPart)
def test_an_update_keeps_or_resets_the_data(market: Market, part: DataPart) -> None:
    """The manifest says what becomes of the data part; the programme changes in one transaction."""
    _hear(market, _pages(_campaign(market, probe())))
    market.connect()
    assert market.supplier.invoke(market.card).output == b"\x01\0"
    longer = probe(more="(drop (i32.const 1))")
    update = _campaign(market, longer, version=2, number=2, data_part=part)
    assert _hear(market, _pages(update)) == []
    assert _loaded(market) == (2, len(longer))
    expected = {DataPart.KEEP: b"\x02\0", DataPart.RESET: b"\x01\0"}
    assert market.supplier.invoke(market.card).output == expected[part]


@pytest.mark.parametrize("keep_data", [True, False], ids=["keep", "reset"])
def test_an_update_by_the_supplier_keeps_or_resets_the_data(market: Market, *, keep_data: bool) -> None:
    """As one by broadcast does: the piece that ends the programme says which."""
    _hear(market, _pages(_campaign(market, probe())))
    market.connect()
    assert market.supplier.invoke(market.card).output == b"\x01\0"
    longer = probe(more="(drop (i32.const 1))")
    load = LoadApplication(version=2, total=len(longer), offset=0, octets=longer, keep_data=keep_data)
    assert market.supplier.result(market.card, load).reason == ""
    assert _loaded(market) == (2, len(longer))
    assert market.supplier.invoke(market.card).output == (b"\x02\0" if keep_data else b"\x01\0")


def test_a_broadcast_of_what_is_there_is_known(market: Market) -> None:
    """After a power cycle the module notes each proven head of the very version it holds, and of no other."""
    campaign = _campaign(market, probe())
    _hear(market, _pages(campaign))
    for signer, expected in ((market.supplier.name, {KNOWN}), ("other", set())):
        market.card.power_cycle()
        before = len(market.card.notes)
        _hear(market, _pages(_campaign(market, probe(), supplier=signer.encode())))
        assert {note.name for note in market.card.notes[before:]} & {KNOWN, LOADED} == expected
    assert _loaded(market)[0] == 1


def test_a_supplier_can_ask_what_is_there(market: Market) -> None:
    """Under the session: no programme, then version and digest of what a broadcast brought."""
    market.connect()
    assert market.supplier.result(market.card, Held()).status == 0
    code = probe()
    _hear(market, _pages(_campaign(market, code)))
    held = market.supplier.result(market.card, Held())
    assert (held.status, held.output) == (1, hashlib.sha256(code).digest())


def test_a_module_listens_as_long_as_it_may_be_used(market: Market) -> None:
    """EF.CBMID names the service from its reservation on, but not while it is blocked, nor when released."""
    card, key = market.card, market.supplier.key.public
    assert _wanted(card) == (ANNOUNCEMENTS, IDENTIFIER)
    for command, expected in (
        (Block(tar=TAR), (ANNOUNCEMENTS,)),
        (Unblock(tar=TAR, supplier_public=key), (ANNOUNCEMENTS, IDENTIFIER)),
        (Release(tar=TAR), (ANNOUNCEMENTS,)),
    ):
        assert market.command(command).reason == ""
        assert _wanted(card) == expected
        card.power_cycle()
        assert _wanted(card) == expected


# --- what is refused ---


def test_an_older_version_loads_nothing(market: Market) -> None:
    """Replayed pages of an earlier campaign do not bring its programme back; nor does the same version."""
    first = _pages(_campaign(market, probe()))
    _hear(market, first)
    _hear(market, _pages(_campaign(market, probe(more="(drop (i32.const 1))"), version=2, number=2)))
    image = market.card.definition()
    market.card.power_cycle()
    assert "stale" in _hear(market, first)
    assert market.card.definition() == image


def test_a_fresh_module_takes_no_version_from_before_its_time() -> None:
    """The domain key comes with the oldest version to take: one recorded earlier loads nothing."""
    market = Market().personalise()
    assert market.command(_reservation(market, replace(KEY, oldest=3))).reason == ""
    more = "(drop (i32.const 1))"
    first = _pages(_campaign(market, probe()))
    second = _pages(_campaign(market, probe(more=more), version=2, number=2))
    assert set(_hear(market, [*first, *second])) == {"stale"}
    assert _loaded(market) == (0, 0)
    third = _pages(_campaign(market, probe(more=more * 2), version=3, number=3))
    assert _hear(market, third) == []
    assert _loaded(market)[0] == 3


def test_one_who_knows_the_domain_key_is_no_supplier(market: Market) -> None:
    """Signed with another key than KPrFO, a campaign under the domain key is refused; an honest one loads."""
    impostor = Supplier(suite=market.supplier.suite, name="impostor")
    domain = Domain(
        tar=TAR,
        logic_name=NAME.encode(),
        supplier=market.supplier.name.encode(),
        supplier_suite=impostor.suite,
        supplier_public=impostor.key.public,
        domain_key=KEY,
    )
    campaign = Campaign(domain, probe(), number=9, version=9, signing_key=impostor.key, coding=PLAIN)
    assert "bad-signature" in _hear(market, _pages(campaign))
    assert _loaded(market) == (0, 0)
    assert _hear(market, _pages(_campaign(market, probe()))) == []
    assert _loaded(market)[0] == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"domain_key": generate_symmetric(random.Random(62).randbytes)}, "checksum"),
        ({"domain_key": replace(KEY, generation=2)}, "wrong-generation"),
        ({"logic_name": b"miles"}, "wrong-logic-name"),
        ({"supplier": b"other"}, "wrong-supplier"),
    ],
    ids=["another-domain-key", "another-generation", "another-logic-name", "another-supplier"],
)
def test_another_domains_campaign_loads_nothing(market: Market, changes: dict[str, Any], reason: str) -> None:
    """What was made for another domain is refused with its reason, and the honest campaign loads after it."""
    noted = _hear(market, _pages(_campaign(market, probe(), number=5, **changes)))
    assert any(reason in one for one in noted), noted
    assert _loaded(market) == (0, 0)
    assert _hear(market, _pages(_campaign(market, probe()))) == []
    assert _loaded(market)[0] == 1


def test_a_campaign_comes_under_its_own_identifier(market: Market) -> None:
    """Pages of the service under the announcements' identifier, or of another TAR under its own: refused."""
    assert set(_hear(market, _pages(_campaign(market, probe()), ANNOUNCEMENTS))) == {"not-for-everybody"}
    other = _campaign(market, probe(), tar=b"\xb2\0\x07")
    assert set(_hear(market, _pages(other))) == {"not-for-everybody"}
    assert _loaded(market) == (0, 0)


def test_a_service_that_is_not_global_takes_no_broadcast() -> None:
    """It has no identifier to be heard under, and under another one nothing for its TAR is taken."""
    market = Market().personalise().reserve()
    assert _wanted(market.card) == (ANNOUNCEMENTS,)
    assert set(_hear(market, _pages(_campaign(market, probe()), ANNOUNCEMENTS))) == {"not-for-everybody"}


def test_a_programme_that_cannot_run_here_is_refused(market: Market) -> None:
    """Signed by the supplier, but with a right that the reservation did not grant: nothing is loaded."""
    code = probe(imports='(import "otafleet" "time" (func (result i64)))')
    assert _hear(market, _pages(_campaign(market, code)))
    assert _loaded(market) == (0, 0)
    assert market.card.definition().state is ResourceState.RESERVED


def test_a_programme_that_is_too_large_is_refused_by_its_manifest(market: Market) -> None:
    """Larger than the resource, it is noted once it is proven, and not a piece of it is collected."""
    large = probe(more="(drop (i32.const 1))" * 700)
    assert len(large) > market.card.definition().code_size
    assert "too-large" in _hear(market, _pages(_campaign(market, large)))
    assert _loaded(market) == (0, 0)


def test_a_blocked_resource_takes_nothing(market: Market) -> None:
    """The supplier's key is gone with the block: its pages are not even asked for, nor taken if they come."""
    assert market.command(Block(tar=TAR)).reason == ""
    pages = _pages(_campaign(market, probe()))
    response = market.card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=pages[0].encode()))
    assert response.status != SW_OK
    assert _loaded(market) == (0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"message_identifier": 0},
        {"message_identifier": ANNOUNCEMENTS},
        {"message_identifier": GLOBAL_SERVICES.stop},
        {"message_identifier": IDENTIFIER, "tar": b"\xb2\0\1", "service": "miles", "logic_name": "miles"},
        {"logic_name": "", "domain_key": b""},
    ],
    ids=["none", "the-announcements", "beyond", "another-services", "of-no-global-service"],
)
def test_an_identifier_that_cannot_be(changes: dict[str, Any]) -> None:
    """A global service has an identifier of its own among those for global services; no other has one."""
    market = Market().personalise()
    if "service" in changes:
        assert market.command(_reservation(market)).reason == ""
    assert market.command(_reservation(market, **changes)).reason == "bad-message-identifier"


def test_a_flood_of_campaigns_holds_no_more_than_its_bound(market: Market) -> None:
    """Campaign after campaign of one who knows the domain key, none signed by KPrFO: the honest one loads."""
    impostor = Supplier(suite=market.supplier.suite, name="impostor")
    pages = _pages(_campaign(market, probe()))
    domain = Domain(
        tar=TAR,
        logic_name=NAME.encode(),
        supplier=market.supplier.name.encode(),
        supplier_suite=impostor.suite,
        supplier_public=impostor.key.public,
        domain_key=KEY,
    )
    for number in range(2, 40):
        forged = Campaign(
            domain, probe(), number=number, version=number, signing_key=impostor.key, coding=PLAIN
        )
        _hear(market, _pages(forged)[-3:])
    assert _hear(market, pages) == []
    assert _loaded(market)[0] == 1


def test_a_forged_piece_costs_a_round_and_no_more(market: Market) -> None:
    """A piece that one of the domain put in spoils the first attempt; the list of digests tells it apart."""
    code = probe()
    campaign = _campaign(market, code)
    forged = next(packet for packet in campaign.packets if packet.kind is FragmentKind.PIECE)
    piece = Fragment(1, FragmentKind.PIECE, forged.number, bytes(campaign.manifest.piece_length))
    packet = forged._replace(octets=seal_fragment(piece, campaign.domain))
    _hear(market, campaign.pages_of(packet, IDENTIFIER))
    _hear(market, _pages(campaign))
    _hear(market, _pages(campaign))
    assert _loaded(market) == (1, len(code))
    assert market.card.definition().code_digest == hashlib.sha256(code).digest()


def _forged(made: Campaign, number: int, data: bytes, *, place: int, campaign: int = 0) -> list[Page]:
    """Return the pages of a piece by one who knows the domain key, under a serial number of its own."""
    fragment = Fragment(campaign or made.manifest.campaign, FragmentKind.PIECE, number, data)
    serial = SerialNumber(scope=GeographicScope.PLMN, code=MAX_CODE - place, update=MAX_UPDATE)
    return split(seal_fragment(fragment, made.domain), serial, IDENTIFIER)


def test_forged_copies_keep_no_piece_out(market: Market) -> None:
    """They take the room for a piece; once the list of digests shows them up, the honest one is taken."""
    campaign = _campaign(market, probe())
    for copy in range(MAX_COPIES):
        _hear(market, _forged(campaign, 0, bytes([copy]) * campaign.manifest.piece_length, place=copy))
    pages = _pages(campaign)
    assert campaign.cycle[-1].kind is FragmentKind.DIGESTS
    assert _hear(market, pages[: -campaign.cycle[-1].pages]) == ["full"]
    assert _hear(market, pages) == ["full"]
    assert _hear(market, pages) == []
    assert _loaded(market)[0] == 1


def test_what_gave_way_before_a_head_came_is_taken_when_it_is_repeated(market: Market) -> None:
    """Four packets of campaigns that are none push out the pieces whose head was lost, for one round."""
    campaign = _campaign(market, probe())
    pages = _pages(campaign)
    _hear(market, pages[campaign.cycle[0].pages :])
    for place in range(4):
        _hear(market, _forged(campaign, 0, b"x", place=place, campaign=100 + place))
    assert _hear(market, [*pages, *pages]) == []
    assert _loaded(market)[0] == 1


def _block_and_unblock(market: Market) -> None:
    assert market.command(Block(tar=TAR)).reason == ""
    assert market.command(Unblock(tar=TAR, supplier_public=market.supplier.key.public)).reason == ""


def _release_and_reserve(market: Market) -> None:
    assert market.command(Release(tar=TAR)).reason == ""
    assert market.command(_reservation(market)).reason == ""


def _serve_the_version_before(market: Market) -> None:
    code = probe()
    load = LoadApplication(version=1, total=len(code), offset=0, octets=code, keep_data=True)
    assert market.connect().supplier.result(market.card, load).reason == ""


@pytest.mark.parametrize(
    "happens",
    [_block_and_unblock, _release_and_reserve, _serve_the_version_before],
    ids=["blocked-and-unblocked", "released-and-reserved", "served-the-version-before"],
)
def test_what_was_collected_and_lost_is_taken_again(
    market: Market, happens: Callable[[Market], None]
) -> None:
    """A broadcast goes on while the resource becomes another: its pages count as if never heard."""
    campaign = _campaign(market, probe(more="(drop (i32.const 1))"), version=2, number=2)
    pages = _pages(campaign)
    _hear(market, pages[: -campaign.cycle[-1].pages - campaign.cycle[-2].pages])
    happens(market)
    assert _hear(market, pages) == []
    assert _loaded(market)[0] == 2


def _endless_pages(made: Campaign, number: int) -> list[Page]:
    """Return a page of a message that never becomes whole, each under another serial number."""
    serial = SerialNumber(
        scope=GeographicScope.PLMN, code=number % (MAX_CODE + 1), update=number % (MAX_UPDATE + 1)
    )
    octets = seal_fragment(Fragment(1, FragmentKind.PIECE, 0, bytes(1100)), made.domain)
    return split(octets, serial, IDENTIFIER)[number % 14 : number % 14 + 1]


def _endless_pieces(made: Campaign, number: int) -> list[Page]:
    """Return a piece of a campaign whose head never comes."""
    return _forged(made, number % 4096, number.to_bytes(128, "big"), place=number % 1024, campaign=900)


def _endless_copies(made: Campaign, number: int) -> list[Page]:
    """Return a piece of the campaign that is collected, each time with other octets."""
    data = number.to_bytes(made.manifest.piece_length, "big")
    return _forged(made, number % made.manifest.pieces, data, place=number % 1024)


@pytest.mark.parametrize(
    "of_number", [_endless_pages, _endless_pieces, _endless_copies], ids=["pages", "pieces", "copies"]
)
def test_a_flood_costs_bounded_memory(
    of_number: Callable[[Campaign, int], list[Page]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Endless serial numbers, pieces of no campaign, copies of each piece: more of them take no more room."""
    # What modules of a process share is not the module's, and has a bound of its own.
    monkeypatch.setattr(diffusion, "SharedWork", Work)
    key = generate_symmetric(random.Random(63).randbytes)
    market = Market().personalise()
    assert market.command(_reservation(market, key)).reason == ""
    made = _campaign(market, probe(more="(drop (i32.const 1))" * 60), domain_key=key)
    _hear(market, _pages(made)[: made.cycle[0].pages] if of_number is _endless_copies else [])

    def flow(numbers: range) -> int:
        for number in numbers:
            _hear(market, of_number(made, number))
        market.card.notes.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = flow(range(1100))  # as many serial numbers as there are, beyond what is remembered of them
        grown = flow(range(1100, 1700)) - before
    finally:
        tracemalloc.stop()
    # Half of what came, and more than caches and the interpreter's free lists waver by, which is some 32 KiB.
    assert grown < 600 * 2 * CONTENT_OCTETS
    _hear(market, [*_pages(made), *_pages(made)])
    assert _loaded(market)[0] == 1
