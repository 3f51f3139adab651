"""The next domain key in the module: by broadcast, or under the session; and every way not to get one.

The forger of these tests has a domain key and whatever was ever broadcast, and is not the supplier.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from agents.handset.security_module.diffusion import LOADED
from agents.handset.security_module.domain_renewal import KNOWN, RENEWED
from agents.messages.air import Block, DomainCall, Held, LoadApplication, RenewDomainKey
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import decode
from tests.agents.module_kit import SERVICE, TAR, UA, Market, Supplier, probe
from tests.agents.renewal_kit import (
    NAME,
    OTHER,
    answer,
    campaign,
    connect,
    domain,
    entry,
    hear,
    held,
    key,
    notice,
    renewal,
    reserved,
    sealing,
    wrapped,
)
from transport.apdu import SW_OK
from transport.cell_broadcast import GeographicScope, SerialNumber, split
from transport.diffusion import RENEWAL_KEYSET, SPI, open_fragment, renewal_keys, take_renewal
from transport.errors import PacketRejected, Rejected, SealRejected
from transport.secured_packet import CELL_BROADCAST, decode_command, encode_command
from transport.security.domain_key import MAX_GENERATION, DomainKey, generate_symmetric, unwrap
from transport.security.terms import AGREE_THEN_SIGN, DOMAIN_ASYMMETRIC, DOMAIN_SYMMETRIC
from transport.toolkit import Envelope
from transport.toolkit.tags import Tag

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST: Final = key(1)
NEXT: Final = key(2)
FORMS: Final = pytest.mark.parametrize("form", [AGREE_THEN_SIGN, DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC])


def _suite(market: Market) -> str:
    return market.supplier.suite


def _keys(market: Market, form: str) -> tuple[DomainKey, DomainKey]:
    return key(1, form, _suite(market)), key(2, form, _suite(market))


@pytest.fixture
def market() -> Market:
    """Return a market whose module holds a global service of the symmetric form."""
    return reserved(first=FIRST)


# --- what is taken, by broadcast ---


@FORMS
def test_a_broadcast_brings_the_next_key(form: str) -> None:
    """It takes the place of the former one, durably; the campaign after it loads, one under it does not."""
    market = reserved(form)
    first, new = _keys(market, form)
    assert hear(market, renewal(market, first, new)) == [RENEWED]
    assert held(market) == new
    market.card.power_cycle()
    assert held(market) == new
    former = campaign(market, first, probe())
    assert set(hear(market, [packet.octets for packet in former.cycle])) == {"checksum"}
    assert market.card.definition().version == 0
    market.card.power_cycle()
    later = campaign(market, new, probe())
    assert LOADED in hear(market, [packet.octets for packet in later.cycle])
    assert market.card.definition().version == 1


def test_the_key_comes_with_the_oldest_version_to_take(market: Market) -> None:
    """A module that missed a version by then takes no recorded broadcast of it under the next key."""
    hear(market, renewal(market, FIRST, NEXT, {UA: wrapped(market, replace(NEXT, oldest=3))}))
    assert held(market).oldest == 3


def test_what_was_collected_under_the_former_key_goes(market: Market) -> None:
    """Half a campaign, the next key, and the other half: nothing is loaded; the whole one is, under it."""
    former = [packet.octets for packet in campaign(market, FIRST, probe()).cycle]
    hear(market, former[: len(former) // 2])
    hear(market, renewal(market, FIRST, NEXT), update=1)
    hear(market, former[len(former) // 2 :])
    assert market.card.definition().version == 0


@FORMS
def test_whose_session_goes_on(form: str) -> None:
    """One that the module's own key proved does; one that the former domain key proved ends."""
    market = reserved(form)
    first, new = _keys(market, form)
    connect(market, first, form)
    hear(market, renewal(market, first, new))
    if form == AGREE_THEN_SIGN:
        assert market.supplier.result(market.card, Held()).reason == ""
    else:
        assert market.supplier.unheard(market.card, Held()) == "no-session"


def test_a_module_calls_by_the_key_that_it_has(market: Market) -> None:
    """Its call says which one that is; where its own key proves it, nothing is said of any."""
    for generation, current in enumerate((FIRST, NEXT), 1):
        call = connect(market, current)
        assert isinstance(call, DomainCall)
        assert call.generation == generation
        hear(market, renewal(market, FIRST, NEXT))
    connect(market, NEXT)
    assert market.supplier.result(market.card, Held()).reason == ""
    assert not isinstance(reserved(AGREE_THEN_SIGN).call(), DomainCall)


def test_a_notice_is_heard_by_who_has_the_key(market: Market) -> None:
    """However often, after a power cycle too; who has not got it reads nothing."""
    said = notice(market, FIRST, NEXT)
    assert hear(market, [said]) == ["checksum"]
    hear(market, renewal(market, FIRST, NEXT), update=1)
    assert hear(market, [said], update=2) == [KNOWN]
    market.card.power_cycle()
    assert hear(market, [said]) == [KNOWN]
    assert held(market) == NEXT


# --- what is taken, under the session ---


@FORMS
def test_the_next_key_under_the_session(form: str) -> None:
    """A session that the module's own key proved goes on; after another it calls again, by the next key."""
    market = reserved(form)
    first, new = _keys(market, form)
    connect(market, first, form)
    result = market.supplier.result(market.card, RenewDomainKey(octets=wrapped(market, new)))
    assert (result.reason, held(market)) == ("", new)
    assert [note.name for note in market.card.notes].count(RENEWED) == 1
    if form != AGREE_THEN_SIGN:
        number, data = market.card.take_command()
        call = decode(data, DomainCall)
        assert (number, call.generation) == (market.supplier.number, 2)
        answer(market, call, new, form)
    assert market.supplier.result(market.card, Held()).reason == ""


def test_said_twice_it_is_done_once() -> None:
    """A supplier that did not hear the answer says it again: it is done by then, and nothing changes."""
    market = reserved(AGREE_THEN_SIGN, FIRST)
    connect(market, FIRST, AGREE_THEN_SIGN)
    for _ in range(2):
        message = RenewDomainKey(octets=wrapped(market, NEXT))
        assert market.supplier.result(market.card, message).reason == ""
    assert [note.name for note in market.card.notes].count(RENEWED) == 1
    assert held(market) == NEXT


def test_who_calls_again_has_forgotten_what_was_on_its_way(market: Market) -> None:
    """A programme that the former session had begun to bring does not go on under the next one."""
    code = probe()
    connect(market, FIRST)
    begin = LoadApplication(version=1, total=len(code), offset=0, octets=code[:100])
    assert market.supplier.result(market.card, begin).reason == ""
    market.supplier.result(market.card, RenewDomainKey(octets=wrapped(market, NEXT)))
    answer(market, decode(market.card.take_command()[1], DomainCall), NEXT)
    rest = LoadApplication(version=1, total=len(code), offset=100, octets=code[100:200])
    assert market.supplier.result(market.card, rest).reason == "piece-of-another"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (lambda _market: b"", "malformed"),
        (lambda market: wrapped(market, NEXT)[:-1], "cannot-open"),
        (lambda market: wrapped(market, NEXT, OTHER), "cannot-open"),
        (lambda market: wrapped(market, NEXT, tar=b"\xb2\0\7"), "cannot-open"),
        (lambda market: wrapped(market, NEXT, logic_name=b"miles"), "cannot-open"),
        (lambda market: wrapped(market, key(2, DOMAIN_ASYMMETRIC)), "bad-domain-key"),
    ],
    ids=["nothing", "cut", "another-module", "another-resource", "another-domain", "pair"],
)
def test_what_is_no_next_key_under_the_session(
    market: Market, octets: Callable[[Market], bytes], reason: str
) -> None:
    """Not for this module, resource or domain, or of another kind: refused, and all stays as it was."""
    connect(market, FIRST)
    assert market.supplier.result(market.card, RenewDomainKey(octets=octets(market))).reason == reason
    assert held(market) == FIRST
    assert market.supplier.result(market.card, Held()).reason == ""


def test_no_older_key_comes_back_under_the_session() -> None:
    """A key that was left is refused; that a service which is not global has none is said."""
    market = reserved(AGREE_THEN_SIGN, NEXT)
    connect(market, NEXT, AGREE_THEN_SIGN)
    message = RenewDomainKey(octets=wrapped(market, FIRST))
    assert market.supplier.result(market.card, message).reason == "stale"
    assert held(market) == NEXT
    plain = Market().personalise().reserve().connect()
    message = RenewDomainKey(octets=wrapped(plain, NEXT))
    assert plain.supplier.result(plain.card, message).reason == "no-domain-key"


# --- what is refused, by broadcast ---


def _forged(market: Market) -> list[bytes]:
    forger = Supplier(suite=_suite(market), name="forger")
    return renewal(market, FIRST, generate_symmetric(bytes, generation=2), signer=forger.key)


def _older(market: Market) -> list[bytes]:
    return renewal(market, key(5), key(6))


def _swapped(market: Market) -> list[bytes]:
    """Return a renewal whose entry for this module is what was wrapped to the other one."""
    return renewal(market, FIRST, NEXT, {UA: wrapped(market, NEXT, OTHER)})


def _cut(market: Market) -> list[bytes]:
    """Return a renewal cut by one who has the domain key, at every seventh octet."""
    of = domain(market, FIRST)
    data = decode_command(renewal(market, FIRST, NEXT)[0], renewal_keys(of), CELL_BROADCAST).data
    return [_sealed(data[:end], market) for end in range(0, len(data), 7)]


def _mixed(market: Market) -> list[bytes]:
    """Return one renewal's head and signature around another one's entry."""
    of = domain(market, FIRST)
    ours, theirs = renewal(market, FIRST, NEXT), renewal(market, FIRST, key(3))
    data = decode_command(ours[0], renewal_keys(of), CELL_BROADCAST).data
    return [_sealed(data.replace(entry(ours[0], of, UA, 2), entry(theirs[0], of, UA, 3)), market)]


def _sealed(data: bytes, market: Market, current: DomainKey = FIRST) -> bytes:
    """Return a renewal's packet of *data*, as whoever has the domain key makes it."""
    keys = renewal_keys(domain(market, current))
    return encode_command(
        spi=SPI, tar=market.supplier.tar, data=data, counter=0, keys=keys, dialect=CELL_BROADCAST
    )


def _wrong_kind(market: Market) -> list[bytes]:
    return renewal(market, FIRST, key(2, DOMAIN_ASYMMETRIC))


@pytest.mark.parametrize(
    ("made", "reasons"),
    [
        (_forged, {"bad-signature"}),
        (_older, {"checksum"}),
        (lambda market: renewal(market, FIRST, key(3), logic_name=b"miles"), {"bad-signature"}),
        (lambda market: renewal(market, FIRST, key(3), supplier=b"rival"), {"bad-signature"}),
        (lambda market: renewal(market, key(1, seed=1), NEXT), {"checksum"}),
        (lambda market: renewal(market, replace(FIRST, generation=7), key(8)), {"wrong-generation"}),
        (_swapped, {"cannot-open"}),
        (_cut, {"malformed"}),
        (_mixed, {"bad-signature"}),
        (_wrong_kind, {"bad-domain-key"}),
    ],
    ids=[
        "signed-by-another",
        "of-other-generations",
        "another-logic-name",
        "another-supplier",
        "another-domain-key",
        "another-former-generation",
        "another-modules-wrap",
        "cut",
        "two-mixed",
        "another-kind",
    ],
)
def test_a_renewal_that_is_refused(
    market: Market, made: Callable[[Market], list[bytes]], reasons: set[str]
) -> None:
    """Refused with its reason and nothing is changed or kept; the supplier's own is taken after it."""
    image = market.card.image
    assert set(hear(market, made(market))) == reasons
    assert market.card.image == image
    assert hear(market, renewal(market, FIRST, NEXT), update=2) == [RENEWED]
    assert held(market) == NEXT


def test_a_pair_that_is_the_suppliers_own() -> None:
    """What it signs would be the supplier's word and the domain's at once: refused."""
    market = reserved(DOMAIN_ASYMMETRIC)
    pair = key(1, DOMAIN_ASYMMETRIC, _suite(market))
    own = DomainKey.of_pair(market.supplier.key, generation=2)
    assert hear(market, renewal(market, pair, own)) == ["bad-domain-key"]
    assert held(market) == pair


def test_a_renewal_comes_again(market: Market) -> None:
    """Played again, under the generation after it, or by one who wraps its octets anew: nothing goes back."""
    recorded = renewal(market, FIRST, NEXT)
    hear(market, recorded)
    assert set(hear(market, recorded, update=1)) == {"checksum"}
    third = key(3)
    assert hear(market, renewal(market, NEXT, third), update=2) == [RENEWED]
    assert set(hear(market, recorded, update=3)) == {"checksum"}
    data = decode_command(recorded[0], renewal_keys(domain(market, FIRST)), CELL_BROADCAST).data
    assert hear(market, [_sealed(data, market, third)], update=4) == ["stale"]
    assert held(market) == third


def test_a_renewal_comes_under_its_own_identifier(market: Market) -> None:
    """Under the announcements' identifier, or to a TAR that is no global service's, it does nothing."""
    assert set(hear(market, renewal(market, FIRST, NEXT), ANNOUNCEMENTS)) == {"not-for-everybody"}
    other = renewal(market, FIRST, NEXT, tar=b"\xb2\0\7")
    assert set(hear(market, other, update=1)) == {"not-for-everybody"}
    assert held(market) == FIRST


def test_a_blocked_module_hears_nothing(market: Market) -> None:
    """It does not listen to the service's identifier, and its terminal is told so if a page comes."""
    assert market.command(Block(tar=TAR)).reason == ""
    serial = SerialNumber(scope=GeographicScope.PLMN, code=0, update=0)
    (page, *_rest) = split(renewal(market, FIRST, NEXT)[0], serial, 0x1100)
    response = market.card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))
    assert response.status != SW_OK
    assert held(market) == FIRST


def test_a_flood_of_renewals_keeps_nothing(market: Market) -> None:
    """Of one who has the domain key: each is judged and forgotten, and the true one is taken after them."""
    image = market.card.image
    forger = Supplier(suite=_suite(market), name="forger")
    for generation in range(2, 40):
        new = generate_symmetric(bytes, generation=generation)
        noted = hear(market, renewal(market, FIRST, new, signer=forger.key), update=generation % 16)
        assert set(noted) == {"bad-signature"}
    highest = replace(NEXT, generation=MAX_GENERATION)
    assert hear(market, renewal(market, FIRST, highest, signer=forger.key)) == ["bad-signature"]
    assert market.card.image == image
    assert hear(market, renewal(market, FIRST, NEXT), update=15) == [RENEWED]


# --- who is left out ---


@FORMS
def test_who_is_left_out_gets_nothing_by_all_that_is_broadcast(form: str) -> None:
    """It hears the roll-over and the whole campaign after it, and has neither key nor programme.

    Nor does who holds the former key's octets, and all that was broadcast, get anything of it by hand.
    """
    market = reserved(form)
    first, new = _keys(market, form)
    rolled = renewal(market, first, new, {OTHER: wrapped(market, new, OTHER)})
    later = [packet.octets for packet in campaign(market, new, probe()).cycle]
    image = market.card.image
    assert hear(market, rolled) == []
    assert set(hear(market, [notice(market, first, new), *later], update=1)) == {"checksum"}
    assert market.card.image == image
    of = domain(market, first)
    assert take_renewal(rolled[0], of, sealing(UA), ua=UA.encode()) is None
    octets = entry(rolled[0], of, OTHER, 2)
    for ua in (UA, OTHER):
        with pytest.raises(SealRejected) as refusal:
            unwrap(
                octets,
                sealing(UA),
                ua=ua.encode(),
                tar=market.supplier.tar,
                logic_name=NAME.encode(),
            )
        assert refusal.value.reason == "cannot-open"
    for packet in later:
        for keys in (of.keys, renewal_keys(of), replace(of.keys, index=RENEWAL_KEYSET)):
            with pytest.raises(PacketRejected):
                decode_command(packet, keys, CELL_BROADCAST)
        with pytest.raises(Rejected):
            open_fragment(packet, of)
    # What they were all the time is what the other one, who remains, takes.
    assert take_renewal(rolled[0], of, sealing(OTHER), ua=OTHER.encode()) == new


def test_what_is_for_others_is_no_refusal(market: Market) -> None:
    """Of a renewal's packets one is a module's own; the others leave no trace in it."""
    packets = renewal(market, FIRST, NEXT, {OTHER: wrapped(market, NEXT, OTHER)})
    assert hear(market, packets) == []
    assert market.card.use_menu(3, SERVICE, "00") == ["Refused: invoke-when-reserved"]
