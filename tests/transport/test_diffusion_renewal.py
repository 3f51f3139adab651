"""The next domain key by broadcast: who remains gets it, and nobody else gets anything by it or after it.

The forger of these tests is a module of the domain that was left out: it has the old domain key, all that is
broadcast, and its own sealing key.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.diffusion_kit import PROGRAMME, campaign, collector, deliver, domain, programmes
from tests.transport.security_kit import flipped, places, sealing_key, seeded, signing_key
from transport.cell_broadcast import GeographicScope, SerialNumber, split
from transport.diffusion import (
    RENEWAL_KEYSET,
    SPI,
    longest_wrapped,
    make_notice,
    make_renewal,
    open_fragment,
    renewal_keys,
    renewal_mark,
    take_renewal,
)
from transport.errors import PacketRejected, Rejected, SealRejected
from transport.secured_packet import CELL_BROADCAST, decode_command, encode_command, parse_header
from transport.security.domain_key import generate_asymmetric, generate_symmetric, unwrap, wrap
from transport.security.framing import framed
from transport.security.suites import suite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transport.diffusion import Domain, RenewalPacket
    from transport.security.domain_key import DomainKey

OLD: Final = domain()
NEXT: Final = generate_symmetric(seeded(4), generation=4)
MODULES: Final = {bytes([0x89, 0x88, number]): number for number in range(1, 31)}
LEFT_OUT: Final = bytes([0x89, 0x88, 30])
SOME: Final = bytes([0x89, 0x88, 5])


def sealing(ua: bytes, kind: str = "x25519") -> Any:
    """Return the sealing key of a module."""
    return sealing_key(kind, MODULES[ua])


def wrapped(ua: bytes, key: DomainKey = NEXT, *, of: Domain = OLD, kind: str = "x25519") -> bytes:
    """Return *key* wrapped to module *ua*."""
    public = sealing(ua, kind).public
    return wrap(key, sealing_public=public, sealing_suite=kind, ua=ua, tar=of.tar, logic_name=of.logic_name)


def renewal(of: Domain = OLD, key: DomainKey = NEXT, *, kind: str = "x25519", **changes: Any) -> Any:
    """Return the packets that bring *key* to all modules but the one that is left out."""
    keys = {ua: wrapped(ua, key, of=of, kind=kind) for ua in MODULES if ua != LEFT_OUT}
    return make_renewal(of, key.generation, keys, signing_key(of.supplier_suite), **changes)


MADE: Final[list[RenewalPacket]] = renewal()


def taken(packets: Iterable[RenewalPacket], ua: bytes, of: Domain = OLD, kind: str = "x25519") -> list[Any]:
    """Return the keys that module *ua* takes from *packets*."""
    keys = [take_renewal(packet.octets, of, sealing(ua, kind), ua=ua) for packet in packets]
    return [key for key in keys if key is not None]


def sealed(body: bytes, of: Domain = OLD, *, seed: int = 1, counter: int = 0) -> bytes:
    """Return *body* signed by the key of *seed* (1 is the supplier's), under what the domain key gives."""
    signed = framed("otafleet/1 domain key renewal", of.tar, of.logic_name, of.supplier, body)
    return under_keys(body + signing_key(of.supplier_suite, seed).sign(signed), of, counter=counter)


def under_keys(data: bytes, of: Domain = OLD, *, counter: int = 0, spi: Any = SPI) -> bytes:
    """Return a packet of *data* as anyone who has the domain key makes it."""
    return encode_command(
        spi=spi, tar=of.tar, data=data, counter=counter, keys=renewal_keys(of), dialect=CELL_BROADCAST
    )


def carried(packet: RenewalPacket, of: Domain = OLD) -> bytes:
    """Return what is in a packet, as anyone who has the domain key reads it."""
    return decode_command(packet.octets, renewal_keys(of), CELL_BROADCAST).data


def body_of(packet: RenewalPacket) -> bytes:
    """Return what is signed of a packet, for the key of 64 octets' signatures."""
    return carried(packet)[:-64]


def packet_of(ua: bytes, packets: Iterable[RenewalPacket] = MADE) -> RenewalPacket:
    """Return the packet that has the entry of module *ua*."""
    name = renewal_mark(ua, NEXT.generation)
    return next(packet for packet in packets if name in carried(packet))


def refused(packet: bytes, ua: bytes = SOME, of: Domain = OLD) -> str:
    """Return the reason for which a module refuses *packet*; fail if it does not."""
    try:
        key = take_renewal(packet, of, sealing(ua), ua=ua)
    except Rejected as rejection:
        return rejection.reason
    raise AssertionError(f"it was not refused: {key}")


def outcome(packet: bytes) -> str:
    """Return what module ``SOME`` makes of *packet*: "taken", "nothing", or the reason of its refusal."""
    try:
        key = take_renewal(packet, OLD, sealing(SOME), ua=SOME)
    except Rejected as rejection:
        return rejection.reason
    return "nothing" if key is None else "taken"


# Who remains


def test_each_module_that_remains_takes_the_next_key_once() -> None:
    """Of all packets exactly one brings a module its key, and it is the one that the supplier made."""
    assert {ua: taken(MADE, ua) for ua in MODULES if ua != LEFT_OUT} == {
        ua: [NEXT] for ua in MODULES if ua != LEFT_OUT
    }


@pytest.mark.parametrize("kind", ["p256", "x25519", "rsa-ffdh"])
def test_a_renewal_is_made_in_every_suite_that_one_packet_holds(kind: str) -> None:
    """Supplier and modules of these suites renew a domain by broadcast."""
    of = domain(kind)
    keys = {SOME: wrapped(SOME, of=of, kind=kind)}
    made = make_renewal(of, NEXT.generation, keys, signing_key(kind))
    assert taken(made, SOME, of, kind) == [NEXT]


def test_a_pair_is_renewed_as_a_symmetric_key_is() -> None:
    """A domain whose key is a pair has a secret in common as well, so its next pair goes the same way."""
    old, new = (generate_asymmetric("x25519", seeded(seed), generation=seed) for seed in (7, 8))
    of = domain(domain_key=old)
    made = make_renewal(of, 8, {SOME: wrapped(SOME, new, of=of)}, signing_key("x25519"))
    assert taken(made, SOME, of) == [new]


def test_a_renewal_may_skip_generations() -> None:
    """What counts is that the generation is above the old one: one never sent is skipped."""
    later = generate_symmetric(seeded(9), generation=9)
    assert taken(renewal(key=later), SOME) == [later]


def test_what_a_renewal_costs() -> None:
    """Ten modules share a broadcast of fifteen pages, and none of its packets is longer than that."""
    number = SerialNumber(scope=GeographicScope.PLMN, code=1)
    pages = [len(split(packet.octets, number, 0x1100)) for packet in MADE]
    assert [(packet.modules, page) for packet, page in zip(MADE, pages, strict=True)] == [
        (10, 15),
        (10, 15),
        (9, 13),
    ]


def test_packets_may_be_shorter() -> None:
    """On lossy air a packet of three pages comes through more often; it has the key of one module."""
    shorter = renewal(pages=3)
    assert [packet.modules for packet in shorter] == [1] * (len(MODULES) - 1)
    assert taken(shorter, SOME) == [NEXT]


# Who is left out


def test_who_is_left_out_finds_nothing() -> None:
    """The module that was left out reads all packets with the old key and has no entry in any."""
    assert taken(MADE, LEFT_OUT) == []


def test_the_wrap_of_another_module_opens_nothing() -> None:
    """With all wraps in hand the module that was left out opens none, under its own name or another's."""
    opened = []
    for ua in MODULES:
        if ua == LEFT_OUT:
            continue
        for name in (ua, LEFT_OUT):
            with pytest.raises(SealRejected) as refusal:
                opened.append(
                    unwrap(wrapped(ua), sealing(LEFT_OUT), ua=name, tar=OLD.tar, logic_name=OLD.logic_name)
                )
            assert refusal.value.reason == "cannot-open"
    assert opened == []


def test_after_a_renewal_the_old_key_opens_nothing() -> None:
    """A whole campaign under the next key comes to who remains, and gives who kept the old key nothing.

    Neither does anyone who derives all that the old key gives read one packet of it.
    """
    after = campaign(of=domain(domain_key=NEXT))
    remains, left_out = collector(domain(domain_key=taken(MADE, SOME)[0])), collector(OLD)
    assert programmes(deliver(remains, after.packets)) == [PROGRAMME]
    for packet in after.packets:
        with pytest.raises(PacketRejected) as refusal:
            left_out.receive(packet.octets, 0.0)
        assert refusal.value.reason == "checksum"
        for keys in (OLD.keys, renewal_keys(OLD)):
            with pytest.raises(PacketRejected):
                decode_command(packet.octets, keys, CELL_BROADCAST)
    assert (left_out.octets, left_out.manifest) == (0, None)


def test_the_old_key_does_not_read_the_renewal_after_the_next() -> None:
    """Who is left out once reads no later renewal either, not even who remains in it."""
    now = domain(domain_key=NEXT)
    later = renewal(now, generate_symmetric(seeded(5), generation=5))
    assert {refused(packet.octets, LEFT_OUT) for packet in later} == {"checksum"}


# What is refused


def test_a_renewal_that_the_supplier_did_not_sign_is_refused() -> None:
    """A module of the domain wraps a key of its own to another, whose public key it knows: to no avail."""
    forger = signing_key("x25519", 2)
    theirs = replace(OLD, supplier_public=forger.public)
    key = generate_symmetric(seeded(66), generation=4)
    made = make_renewal(theirs, 4, {SOME: wrapped(SOME, key)}, forger)
    assert [refused(packet.octets) for packet in made] == ["bad-signature"]


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (5, "stale"),
        (9, "stale"),
    ],
    ids=["one-after-it", "long-after"],
)
def test_an_older_renewal_that_comes_again_is_refused(at: int, reason: str) -> None:
    """Signed and whole, it is no news to a module of a later generation, even under its keys."""
    of = domain(domain_key=generate_symmetric(seeded(at), generation=at))
    assert refused(sealed(body_of(packet_of(SOME)), of), of=of) == reason


def test_a_renewal_of_another_generation_is_refused() -> None:
    """What the supplier signed in place of generation 3 does nothing to a module at generation 2."""
    of = domain(domain_key=generate_symmetric(seeded(2), generation=2))
    assert refused(sealed(body_of(packet_of(SOME)), of), of=of) == "wrong-generation"


def test_the_wrap_of_another_module_under_ones_own_mark_is_refused() -> None:
    """Not even the supplier can give a module what he wrapped to another."""
    made = make_renewal(OLD, 4, {SOME: wrapped(LEFT_OUT)}, signing_key("x25519"))
    assert refused(made[0].octets) == "cannot-open"


def test_entries_of_two_renewals_do_not_mix() -> None:
    """An entry of one renewal in the packet of another is not signed; a supplier who signs it is refused."""
    later = wrapped(SOME, generate_symmetric(seeded(5), generation=5))
    mixed = body_of(packet_of(SOME)).replace(wrapped_in(packet_of(SOME)), later)
    assert refused(sealed(mixed, seed=2)) == "bad-signature"
    assert refused(sealed(mixed)) == "wrong-generation"


def wrapped_in(packet: RenewalPacket) -> bytes:
    """Return the wrapped key that stands in *packet* for the module ``SOME``."""
    body = body_of(packet)
    at = body.index(renewal_mark(SOME, NEXT.generation)) + 8
    return body[at + 2 : at + 2 + int.from_bytes(body[at : at + 2], "big")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tar": b"\xb2\x01\x02"}, "wrong-tar"),
        ({"logic_name": b"weather"}, "bad-signature"),
        ({"supplier": b"rival"}, "bad-signature"),
        ({"domain_key": generate_symmetric(seeded(8), generation=3)}, "checksum"),
    ],
    ids=["another-tar", "another-logic-name", "another-supplier", "another-domain-key"],
)
def test_a_renewal_of_another_domain_is_refused(change: dict[str, Any], reason: str) -> None:
    """A packet holds in the domain that it was made for, and in no other."""
    assert refused(packet_of(SOME).octets, of=domain(**change)) == reason


def test_the_first_of_two_entries_counts_and_both_are_signed() -> None:
    """A mark that is there twice is no trouble: the first entry is taken."""
    body = body_of(make_renewal(OLD, 4, {SOME: wrapped(SOME)}, signing_key("x25519"))[0])
    twice = sealed(body + body[10:])
    assert take_renewal(twice, OLD, sealing(SOME), ua=SOME) == NEXT


def test_a_campaign_is_no_renewal_and_a_renewal_is_no_campaign() -> None:
    """Both come under one TAR and domain key, by keysets of their own: neither is opened as the other.

    The keyset's index stands in clear, so nobody need try; forged, it does not help.
    """
    for packet, index in ((campaign().packets[0].octets, OLD.key_index), (MADE[0].octets, RENEWAL_KEYSET)):
        assert parse_header(packet, CELL_BROADCAST).keyset == index
    assert {refused(packet.octets) for packet in campaign().packets} == {"kic"}
    as_renewals = replace(OLD, key_index=RENEWAL_KEYSET)
    assert {refused(packet.octets) for packet in campaign(of=as_renewals).packets} == {"checksum"}
    with pytest.raises(PacketRejected):
        open_fragment(MADE[0].octets, OLD)


def test_what_is_not_protected_as_a_renewal_is_refused() -> None:
    """A packet that is not ciphered is refused though its CC holds."""
    clear = under_keys(carried(packet_of(SOME)), spi=replace(SPI, ciphering=False))
    assert refused(clear) == "unprotected"


@pytest.mark.parametrize(
    ("at", "reason"), [(0, "unknown-format"), (1, "wrong-suite")], ids=["format", "suite"]
)
def test_a_form_that_is_not_known_is_refused(at: int, reason: str) -> None:
    """A format or a suite that the module does not go by is refused, signed or not."""
    assert refused(sealed(flipped(body_of(packet_of(SOME)), at))) == reason


def test_a_renewal_that_is_cut_is_refused() -> None:
    """Wherever one who knows the old key cuts a packet, it is refused or has nothing for the module."""
    whole = carried(packet_of(SOME))
    for end in (*range(80), *places(whole)):
        assert outcome(under_keys(whole[:end])) in {"malformed", "bad-signature", "nothing"}


def test_a_packet_that_is_changed_anywhere_is_refused() -> None:
    """On the air the CC or the header tells; inside, changed by one who has the old key, the signature."""
    packet = packet_of(SOME)
    for at in places(packet.octets):
        assert outcome(flipped(packet.octets, at)) not in {"nothing", "taken"}
    whole = carried(packet)
    inside = {outcome(under_keys(flipped(whole, at))) for at in places(whole)}
    assert "bad-signature" in inside
    assert "taken" not in inside


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_octets_are_refused_or_nothing(data: bytes) -> None:
    """One who has the old key and not the supplier's sends anything: a typed refusal, or no key."""
    for packet in (data, under_keys(data), sealed(data, seed=2)):
        assert outcome(packet) != "taken"


def test_a_flood_that_has_no_entry_for_a_module_costs_it_no_signature_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever does not name a module's mark has it check no signature, however much he sends."""
    checked: list[bytes] = []
    kind = type(suite("x25519"))
    real = kind.verify

    def counted(self: Any, public: bytes, message: bytes, signature: bytes) -> None:
        checked.append(hashlib.sha256(message).digest())
        real(self, public, message, signature)

    monkeypatch.setattr(kind, "verify", counted)
    for number in range(200):
        taken([replace(MADE[0], octets=sealed(body_of(MADE[0]), seed=2, counter=number))], LEFT_OUT)
    assert checked == []
    assert refused(sealed(body_of(packet_of(SOME)), seed=2)) == "bad-signature"
    assert len(checked) == 1


# The notice that follows


RENEWED: Final = domain(domain_key=NEXT)
NOTICE: Final = make_notice(RENEWED, OLD.domain_key.generation, signing_key("x25519"))


def test_a_notice_proves_that_the_key_is_the_one_that_was_announced() -> None:
    """Who took the key has that proven, however often, and gets no other by it; who did not reads nothing."""
    assert taken([NOTICE, NOTICE], SOME, RENEWED) == [NEXT, NEXT]
    assert refused(NOTICE.octets) == "checksum"
    assert NOTICE.modules == 0
    number = SerialNumber(scope=GeographicScope.PLMN, code=1)
    assert len(split(NOTICE.octets, number, 0x1100)) == 2


def test_a_renewal_under_the_key_that_it_brought_is_a_notice() -> None:
    """One of the domain who wraps a renewal's octets in the new key's packet tells nobody anything new."""
    assert taken([replace(NOTICE, octets=sealed(body_of(packet_of(SOME)), RENEWED))], SOME, RENEWED) == [NEXT]


def test_a_notice_that_the_supplier_did_not_sign_is_refused() -> None:
    """One of the domain says that its own key is the newest: nobody believes it."""
    assert refused(sealed(carried(NOTICE, RENEWED)[:-64], RENEWED, seed=2), of=RENEWED) == "bad-signature"


def test_a_notice_comes_after_a_generation() -> None:
    """A supplier's own mistakes are said before anything is sent."""
    for former in (0, 4, 5):
        with pytest.raises(ValueError, match="does not come after"):
            make_notice(RENEWED, former, signing_key("x25519"))
    with pytest.raises(ValueError, match="signed with the supplier's key"):
        make_notice(RENEWED, 3, signing_key("x25519", 2))


# What a supplier cannot make


@pytest.mark.parametrize("generation", [0, 3, 2**32], ids=["none", "the-same", "too-high"])
def test_a_renewal_goes_to_a_later_generation(generation: int) -> None:
    """A supplier's own mistake is said before anything is sent."""
    with pytest.raises(ValueError, match="does not come after 3"):
        make_renewal(OLD, generation, {}, signing_key("x25519"))


def test_a_renewal_is_signed_with_the_supplier_s_key() -> None:
    """Another key than the domain knows would make a renewal that nobody takes."""
    with pytest.raises(ValueError, match="signed with the supplier's key"):
        make_renewal(OLD, 4, {}, signing_key("x25519", 2))


@pytest.mark.parametrize("kind", ["pq-hybrid"])
def test_what_one_packet_does_not_hold_is_said(kind: str) -> None:
    """A signature of 3373 octets is longer than a broadcast; its modules have to be served instead."""
    assert longest_wrapped(domain(kind)) < 0
    with pytest.raises(ValueError, match="do not fit one packet"):
        make_renewal(domain(kind), 4, {SOME: wrapped(SOME)}, signing_key(kind))


def test_nobody_remains() -> None:
    """A renewal for no module at all has no packets."""
    assert make_renewal(OLD, 4, {}, signing_key("x25519")) == []


def test_the_longest_wrapped_key_fits() -> None:
    """What is said to fit does, to the octet."""
    for pages in (3, 15):
        longest = longest_wrapped(OLD, pages=pages)
        assert len(make_renewal(OLD, 4, {SOME: bytes(longest)}, signing_key("x25519"), pages=pages)) == 1
        with pytest.raises(ValueError, match="do not fit one packet"):
            make_renewal(OLD, 4, {SOME: bytes(longest + 1)}, signing_key("x25519"), pages=pages)
