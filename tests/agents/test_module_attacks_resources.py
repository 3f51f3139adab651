"""Attacks on resources that are another's, or whose use has ended; on the sizes of areas; on the clock."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pytest
from wasmtime import wat2wasm

from agents.handset.security_module.life_cycle import ResourceState
from agents.handset.security_module.memory import Memory
from agents.handset.security_module.module import SecurityModule
from agents.handset.security_module.rights import rights_mask
from agents.messages.air import (
    Audit,
    Audited,
    Block,
    Invoke,
    LoadApplication,
    LoadData,
    Prove,
    Push,
    Release,
    Renew,
    Reserve,
    Unblock,
)
from agents.messages.bearers import GLOBAL_SERVICES
from agents.messages.codec import decode, encode
from agents.messages.signed import Signed
from tests.agents.attack_kit import (
    SHOP_TAR,
    altered,
    announce,
    besides_sessions,
    field,
    refused,
    shop,
    unheard,
    unproven,
)
from tests.agents.module_kit import NOW, SERVICE, TAR, UA, Market, Supplier, manage, probe
from transport.security.domain_key import generate_symmetric, wrap
from transport.security.terms import AGREE_THEN_SIGN, DOMAIN_SYMMETRIC, SIGN_THEN_AGREE

if TYPE_CHECKING:
    from collections.abc import Callable

END: Final = int(NOW) + 600
CODE: Final = probe(more="(nop)")
HALF: Final = len(CODE) // 2


def _half(*, second: bool) -> LoadApplication:
    octets, offset = (CODE[HALF:], HALF) if second else (CODE[:HALF], 0)
    return LoadApplication(version=2, total=len(CODE), offset=offset, octets=octets)


USES: Final[dict[str, object]] = {
    "the rest of an update": _half(second=True),
    "an update": _half(second=False),
    "personal data": LoadData(octets=b"late"),
    "a run": Invoke(argument=b"\0"),
    "a channel": Push(bearer="bip-tcp"),
}
"""What a supplier does with a resource under a session."""


def _block(market: Market, tar: bytes) -> None:
    assert market.command(Block(tar=tar)).reason == ""


def _suspend(market: Market, _tar: bytes) -> None:
    market.card.now = END + 0.0
    market.card.start()


def _expire(market: Market, _tar: bytes) -> None:
    announce(market, END, counter=1)


def _exhaust(market: Market, tar: bytes) -> None:
    definition = market.card.definition(tar)
    for _ in range(definition.executions_left):
        market.card.use_menu(3, definition.service, "00")


def _release(market: Market, tar: bytes) -> None:
    assert market.command(Release(tar=tar)).reason == ""


ENDS: Final[dict[str, tuple[Callable[[Market, bytes], None], str, dict[str, Any]]]] = {
    "blocked": (_block, "blocked", {}),
    "suspended": (_suspend, "expired", {}),
    "expired": (_expire, "expired", {}),
    "exhausted": (_exhaust, "exhausted", {}),
    "deleted": (_exhaust, "unknown-resource", {"at_end": "delete"}),
    "released": (_release, "unknown-resource", {}),
}
"""How a resource ends, what its supplier is refused for then, and what has to be reserved for that."""
_LIMITS: Final[dict[str, Any]] = {"expires_at": END, "executions": 2}


# --- another's, or nobody's any more ---


@pytest.mark.parametrize("state", ["reserved", "loaded", *ENDS])
@pytest.mark.parametrize("use", USES)
def test_nothing_reaches_another_ones_resource(state: str, use: str) -> None:
    """Under its own session a supplier reaches no resource but its own, in whatever state that is."""
    end, reason, changes = ENDS.get(state, (None, "checksum" if state == "loaded" else "no-session", {}))
    market, other = Market().served(), shop()
    assert market.command(other.reserve(**(_LIMITS | changes))).reason == ""
    if state != "reserved":
        market.connect(other)
        assert other.load(market.card, probe()).reason == ""
    if end is not None:
        end(market, SHOP_TAR)
    if state == "suspended":
        reason = "checksum"  # the session is still there, and not his
    packet = market.supplier.packet(USES[use], tar=SHOP_TAR)
    assert unheard(market, market.supplier, packet) == reason
    assert market.supplier.invoke(market.card).reason == ""


@pytest.mark.parametrize("state", ENDS)
@pytest.mark.parametrize("use", USES)
def test_a_resource_that_ended_takes_nothing(state: str, use: str) -> None:
    """A session that was open when its resource ended serves for nothing, not to finish what was begun."""
    end, reason, changes = ENDS[state]
    market = Market().served(**(_LIMITS | changes))
    assert market.supplier.result(market.card, _half(second=False)).reason == ""
    end(market, TAR)
    before = market.card.image
    if state == "suspended":
        # By the handset's word alone no session is lost: the supplier is told, and his packet counts.
        assert market.supplier.result(market.card, USES[use]).reason == reason
        assert besides_sessions(market.card.image) == besides_sessions(before)
    else:
        assert unheard(market, market.supplier, market.supplier.packet(USES[use])) == reason
    assert market.card.use_menu(3, SERVICE, "00") == [f"Refused: {reason}"]
    assert market.card.use_menu(2, SERVICE) == [f"Refused: {reason}"]


def _unblock(market: Market) -> None:
    assert market.command(Unblock(tar=TAR, supplier_public=market.supplier.key.public)).reason == ""


def _renew(market: Market) -> None:
    command = Renew(tar=TAR, supplier_public=market.supplier.key.public, expires_at=0, executions=-1)
    assert market.command(command).reason == ""


def _restore(market: Market) -> None:
    announce(market, int(NOW), counter=1)


def _reserve(market: Market) -> None:
    market.reserve(**_LIMITS)


BACK: Final[dict[str, tuple[str, Callable[[Market], None], str]]] = {
    "unblocked": ("blocked", _unblock, "no-session"),
    "renewed after its date": ("expired", _renew, "no-session"),
    "renewed while suspended": ("suspended", _renew, "counter"),
    "restored": ("suspended", _restore, "counter"),
    "renewed after its last run": ("exhausted", _renew, "no-session"),
    "reserved again after its end": ("deleted", _reserve, "no-session"),
    "reserved again after a release": ("released", _reserve, "no-session"),
}
"""How a resource comes back, from where, and why what was recorded before is refused then."""


@pytest.mark.parametrize("how", BACK)
def test_nothing_recorded_comes_back_to_life(how: str) -> None:
    """With the same key given back no packet of before does anything, and no call of before is answered.

    After a new session it is all the same, and what was half loaded is not completed.
    """
    state, give_back, reason = BACK[how]
    end, _, changes = ENDS[state]
    market = Market().served(**(_LIMITS | changes))
    recorded = [market.supplier.packet(use) for name, use in USES.items() if name != "a run"]
    for packet in recorded[1:]:
        market.card.download(packet, sender=market.supplier.number)
    responder = market.supplier.responder(UA, market.module_suite, market.public)
    proof = responder.receive(market.call().opening)
    assert proof is not None
    end(market, TAR)
    market.card.now = NOW
    give_back(market)
    for packet in recorded:
        assert unheard(market, market.supplier, packet) == reason
    assert unproven(market, encode(Prove(tar=TAR, proof=proof))) == "no-open-call"
    rest = USES["the rest of an update"]
    if reason == "counter":  # the session is still there, what was begun under it is not
        assert market.supplier.result(market.card, rest).reason == "piece-of-another"
    market.connect()
    for packet in recorded:
        assert unheard(market, market.supplier, packet) == "checksum"
    assert market.supplier.result(market.card, rest).reason == "piece-of-another"


def test_a_reservation_is_not_replayed_after_a_release() -> None:
    """What the operator has taken back it alone gives again: the old reservation is an old turn."""
    market = Market().personalise()
    reservation = market.operator.signed(market.supplier.reserve())
    assert market.answer(manage(market.card, reservation)).reason == ""
    release = market.operator.signed(Release(tar=TAR))
    assert market.answer(manage(market.card, release)).reason == ""
    before = market.card.image
    assert market.answer(manage(market.card, reservation), counter=1).reason == "replayed"
    assert market.answer(manage(market.card, release)).reason == ""  # a repetition, with its own answer
    market.card.power_cycle()
    assert market.answer(manage(market.card, reservation), counter=1).reason == "replayed"
    assert market.card.image == before


# --- DEF overlap by crafted sizes ---

IMPOSSIBLE: Final = (-1, -(1 << 31), -(1 << 63), 4 * 1024 * 1024 + 1, *(1 << bits for bits in (31, 32, 63)))
SIZES: Final = [
    *(("code_size", size, "bad-field") for size in (0, *IMPOSSIBLE, (1 << 64) - 1)),
    *(("data_size", size, "bad-field") for size in (*IMPOSSIBLE, (1 << 64) - 1)),
    *((name, 4 * 1024 * 1024, "zone-full") for name in ("code_size", "data_size")),
    *(
        (name, size, "bad-field")
        for name in ("code_size", "data_size")
        for size in (None, True, 1.0, b"\x01")
    ),
]


@pytest.mark.parametrize(
    ("name", "size", "reason"), SIZES, ids=[f"{name}={size!r}" for name, size, _ in SIZES]
)
def test_a_size_that_cannot_be(name: str, size: object, reason: str) -> None:
    """Negative, nothing, huge, beyond any register, or no number: refused before anything is divided."""
    market = Market().served()
    command = shop().reserve()
    assert refused(market, altered(command, field(Reserve, name), size)) == reason
    assert market.supplier.invoke(market.card).reason == ""


def _areas(market: Market) -> list[tuple[int, int]]:
    return sorted((each.start, each.end) for each in market.card.module.definitions.all())


def test_an_octet_too_many() -> None:
    """What fills the zone to its last octet, or a gap between neighbours, fits; one octet more does not."""
    market = Market().personalise()
    free = market.card.module.definitions.free_octets()
    for code, data in ((free, 1), (1, free), (free + 1, 0)):
        assert refused(market, market.supplier.reserve(code_size=code, data_size=data)) == "zone-full"
    assert market.command(market.supplier.reserve(code_size=1, data_size=free - 1)).reason == ""
    assert market.card.definition().end == market.size
    assert refused(market, shop().reserve(code_size=1, data_size=0)) == "zone-full"
    assert market.command(Release(tar=TAR)).reason == ""
    tars = [bytes((0xB2, 1, number)) for number in range(3)]
    for tar in tars:
        command = market.supplier.reserve(tar=tar, service=tar.hex(), code_size=100, data_size=200)
        assert market.command(command).reason == ""
    assert market.command(Release(tar=tars[1])).reason == ""
    market.command(shop().reserve(code_size=1, data_size=market.card.module.definitions.largest_free() - 1))
    assert refused(market, market.supplier.reserve(code_size=101, data_size=200)) == "zone-full"
    assert market.command(market.supplier.reserve(code_size=99, data_size=201)).reason == ""
    areas = _areas(market)
    assert all(one_end == other for (_, one_end), (other, _) in pairwise(areas))
    assert areas[-1][1] == market.size
    one_more = market.supplier.reserve(tar=b"\xb2\2\0", service="x", code_size=1, data_size=0)
    assert refused(market, one_more) == "zone-full"


# --- the clock ---

CLOCK: Final = bytes(
    wat2wasm(
        """(module
        (import "otafleet" "time" (func $time (result i64)))
        (import "otafleet" "output_write" (func $output_write (param i32 i32)))
        (memory (export "memory") 8 8 (pagesize 1))
        (func $tell (result i32)
          (i64.store (i32.const 0) (call $time))
          (call $output_write (i32.const 0) (i32.const 8))
          (i32.const 0))
        (export "personalise" (func $tell))
        (export "invoke" (func $tell)))"""
    )
)


def _timed(**changes: Any) -> Market:
    terms = {"rights": rights_mask({"time"})} | changes
    return Market().personalise().reserve(**terms).connect().load(CLOCK)


def _told(output: bytes) -> int:
    return int.from_bytes(output, "little")


@pytest.mark.parametrize("entry", ["personalise", "invoke"])
def test_an_application_never_sees_the_time_go_back(entry: str) -> None:
    """What an application was told of the time stays so over power cuts, whichever of its entries asked."""
    market = _timed()
    market.card.now = NOW + 5000
    message = LoadData(octets=b"") if entry == "personalise" else Invoke(argument=b"")
    first = market.supplier.result(market.card, message)
    market.card.power_cycle()
    market.card.now = NOW
    assert _told(first.output) == int(NOW) + 5000
    assert _told(market.supplier.invoke(market.card).output) == int(NOW) + 5000


def _time(market: Market) -> int:
    """Return what the module takes for the time, as it tells its operator."""
    replied = manage(market.card, market.operator.signed(Audit(after=0)))
    return decode(decode(replied.data, Signed).body, Audited).time


def test_a_clock_that_lies_is_put_right() -> None:
    """Set forward, a clock can stop a resource until the operator's time comes, and nothing more.

    Key, session, data and executions are all as they were; set back, it does nothing at all.
    """
    market = Market().served(**_LIMITS)
    before = besides_sessions(market.card.image)
    for now in (NOW - 10_000, 0.0):
        market.card.now = now
        market.card.start()
        assert besides_sessions(market.card.image) == before
    market.card.now = NOW + 1e9
    assert market.supplier.invoke(market.card).reason == "expired"
    market.card.power_cycle()
    market.card.now = NOW
    assert market.supplier.invoke(market.card).reason == "expired"
    announce(market, int(NOW), counter=1)
    assert besides_sessions(market.card.image) == before
    assert market.supplier.invoke(market.card).reason == ""


BEYOND: Final = {
    "the year 65347": 2e12,
    "beyond 64 bits": 1e19,
    "beyond any date": 1e300,
    "infinite": math.inf,
    "infinitely early": -math.inf,
    "long before": -1e30,
    "no number": math.nan,
}


@pytest.mark.parametrize("now", BEYOND.values(), ids=BEYOND)
def test_a_clock_beyond_all_times(now: float) -> None:
    """Whatever a handset says of the time, every command gets its answer, and the operator puts it right."""
    market = _timed(expires_at=END)
    market.card.now = now
    is_late = now > END
    result = market.supplier.invoke(market.card)
    assert result.reason == ("expired" if is_late else "")
    assert market.card.use_menu(3, SERVICE, "00")[0].startswith("Refused: expired" if is_late else "Result: ")
    # Until now it is the time that it was when the module was made somebody's.
    assert _time(market) == ((1 << 40) - 1 if is_late else int(NOW))
    announce(market, int(NOW) + 1, counter=1)
    assert market.card.definition().state is ResourceState.LOADED
    market.card.now = NOW + 2
    assert _told(market.supplier.invoke(market.card).output) == int(NOW) + 2


# --- a record that would outgrow its slot ---


def _named(market: Market, octets: int) -> Reserve:
    """Return a reservation of a global service with long values, and so many octets of logic name."""
    name = "x" * octets
    wrapped = wrap(
        generate_symmetric(random.Random(9).randbytes),
        sealing_public=market.sealing_public,
        sealing_suite=market.module_suite,
        ua=UA.encode(),
        tar=TAR,
        logic_name=name.encode(),
        ticket=market.ticket,
    )
    supplier = Supplier(suite="p256", protection="aes-256")
    return supplier.reserve(
        forms=[AGREE_THEN_SIGN, SIGN_THEN_AGREE, DOMAIN_SYMMETRIC],
        supplier_number="1" * 20,
        bearers=["sms", "bip-tcp", "bip-udp"],
        server=bytes(8),
        logic_name=name,
        domain_key=wrapped,
        message_identifier=GLOBAL_SERVICES[0],
        expires_at=END,
        executions=2,
    )


def _narrow() -> Market:
    """Return a market whose module has slots of 512 octets: fewer than its profile asks for."""
    market = Market()
    memory = Memory.format(market.size, slot_size=512)
    market.card.module = SecurityModule(memory, rng=random.Random(1).randbytes)
    market.card.pages = dict(market.card.module.take_changes())
    market.card.start()
    return market.personalise()


def _refused_with(market: Market, command: Reserve) -> str:
    """Return why a reservation is refused; one that is taken is released again."""
    reason = market.command(command).reason
    if not reason:
        _release(market, TAR)
    return reason


def test_what_is_reserved_never_outgrows_its_slot() -> None:
    """The longest reservation that is taken lives its whole life; one octet more is refused to begin with."""
    market = _narrow()
    market.supplier.protection, market.supplier.number = "aes-256", "1" * 20
    refusals = [_refused_with(market, _named(market, octets)) for octets in range(1, 33)]
    longest = refusals.index("record-too-large")
    assert 0 < longest < 32
    assert refusals == [""] * longest + ["record-too-large"] * (32 - longest)
    assert market.command(_named(market, longest)).reason == ""
    market.supplier.logic_name = "x" * longest
    market.connect().load()
    market.supplier.load(market.card, CODE, version=(1 << 32) - 1)
    market.supplier.counter = (1 << 40) - 4
    assert market.supplier.invoke(market.card).reason == ""
    _suspend(market, TAR)
    assert market.card.use_menu(3, SERVICE, "00") == ["Refused: expired"]
    key = market.supplier.key.public
    latest = Renew(tar=TAR, supplier_public=key, expires_at=(1 << 40) - 1, executions=(1 << 31) - 1)
    assert market.command(latest).reason == ""
    assert market.supplier.invoke(market.card).reason == ""
    market.card.now = 1e15
    assert market.card.use_menu(3, SERVICE, "00") == ["Refused: expired"]
    announce(market, (1 << 40) - 1, counter=1)
    assert market.card.definition().state is ResourceState.EXPIRED
    market.card.power_cycle()
