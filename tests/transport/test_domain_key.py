from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.handshake_kit import LOGIC_NAME, TAR, UA, domain_key, person, positions, put
from tests.transport.security_kit import flipped, seeded
from transport.errors import SealRejected
from transport.security.domain_key import (
    FIRST_TICKET,
    OTHER_RESERVATION,
    TICKET_OCTETS,
    DomainKey,
    Kind,
    dump_octets,
    generate_asymmetric,
    generate_symmetric,
    generation_in,
    unwrap,
    wrap,
)
from transport.security.framing import framed
from transport.security.suites import ALL_SUITES, suite
from transport.security.terms import DOMAIN_ASYMMETRIC, DOMAIN_SYMMETRIC

if TYPE_CHECKING:
    from collections.abc import Callable

each_suite = pytest.mark.parametrize("kind", ALL_SUITES)
SHARED = domain_key(DOMAIN_SYMMETRIC, "x25519", generation=3)
PAIR = domain_key(DOMAIN_ASYMMETRIC, "x25519", generation=3)
EACH_KEY = [SHARED, *(domain_key(DOMAIN_ASYMMETRIC, kind, generation=3) for kind in ALL_SUITES)]
each_key = pytest.mark.parametrize("key", EACH_KEY, ids=["symmetric", *ALL_SUITES])
TICKET = b"occasion"
WHERE = {"ua": UA, "tar": TAR, "logic_name": LOGIC_NAME}


def wrapped(key: DomainKey, kind: str = "x25519", **changes: Any) -> bytes:
    """Return *key* wrapped to the module of suite *kind*, but for *changes*."""
    sealing = {"sealing_public": person(kind, "module").sealing.public, "sealing_suite": kind}
    return wrap(key, **(sealing | WHERE | changes))


def unwrapped(octets: bytes, kind: str = "x25519", name: str = "module", **changes: Any) -> DomainKey:
    """Return what module *name* finds in *octets*, but for *changes*."""
    return unwrap(octets, person(kind, name).sealing, **(WHERE | changes))


# The key itself


@each_key
def test_a_key_survives_storage(key: DomainKey) -> None:
    """A key loaded from its dump is the same key, and so is an asymmetric one's public half."""
    assert DomainKey.load(key.dump()) == key
    dated = replace(key, oldest=2**32 - 1)
    assert DomainKey.load(dated.dump()) == dated != key
    if key.kind is Kind.PAIR:
        half = key.public_half()
        assert DomainKey.load(half.dump()) == half
        assert (half.public, half.secret, half.identity) == (key.public, b"", key.identity)
        assert key.secret not in half.dump()


@each_key
def test_a_key_is_the_same_whatever_version_it_is_given_with(key: DomainKey) -> None:
    """The oldest version that a module shall take changes neither identity nor derived keys."""
    dated = replace(key, oldest=7)
    assert dated.identity == key.identity
    assert dated.derive_common("broadcast") == key.derive_common("broadcast")
    assert unwrapped(wrapped(dated)).oldest == 7


@each_key
def test_a_key_shows_nothing(key: DomainKey) -> None:
    """Neither the repr nor the identity of a key gives its secret away."""
    assert repr(key.secret)[2:-1] not in repr(key)
    assert key.secret.hex() not in repr(key)
    assert key.secret not in key.identity


def test_keys_are_made_of_the_random_source_alone() -> None:
    """The same randomness gives the same keys, other randomness others, and both count from generation 1."""
    makers: list[Callable[[int], DomainKey]] = [
        lambda seed: generate_symmetric(seeded(seed)),
        lambda seed: generate_asymmetric("x25519", seeded(seed)),
        lambda seed: generate_asymmetric("p256", seeded(seed)),
    ]
    for make in makers:
        assert make(1) == make(1) != make(2)
        assert make(1).generation == 1


def test_each_purpose_has_a_key_of_its_own() -> None:
    """Keys of two purposes, or of two domain keys, differ, and none is the domain key itself."""
    keys = [SHARED, domain_key(DOMAIN_SYMMETRIC, "p256")]
    derived = {key.derive(purpose) for key in keys for purpose in ("handshake", "identity", "broadcast")}
    assert len(derived) == 6
    assert derived.isdisjoint(key.secret for key in keys)
    assert len(SHARED.derive("broadcast", 16)) == 16


@each_key
def test_what_all_who_hold_the_secret_derive(key: DomainKey) -> None:
    """Keys in common differ by purpose and domain key, and come from a stored key alike."""
    common = key.derive_common("broadcast")
    others = {one.derive_common("broadcast") for one in EACH_KEY if one != key} | {key.derive_common("other")}
    assert common not in others
    assert len(others) == len(EACH_KEY)
    assert DomainKey.load(key.dump()).derive_common("broadcast") == common
    assert common not in key.secret
    assert len(key.derive_common("broadcast", 16)) == 16


def test_a_pair_signs() -> None:
    """What is signed with the pair verifies under its public half."""
    for kind in ALL_SUITES:
        key = domain_key(DOMAIN_ASYMMETRIC, kind)
        suite(kind).verify(key.public_half().public, b"message", key.signing_key.sign(b"message"))


def test_a_pair_is_loaded_once() -> None:
    """Made, loaded or put together by hand, a pair hands out one signing key however often it is asked."""
    made = domain_key(DOMAIN_ASYMMETRIC, "p256")
    for key in (made, DomainKey.load(made.dump()), replace(made)):
        assert key.signing_key is key.signing_key
        assert key == made


@pytest.mark.parametrize("kinds", [(), *((kind,) for kind in ALL_SUITES), tuple(ALL_SUITES)], ids=str)
def test_room_for_any_domain_key(kinds: tuple[str, ...]) -> None:
    """The room kept for a domain key is that of the longest there can be, and not an octet more."""
    keys = [SHARED, *(domain_key(DOMAIN_ASYMMETRIC, kind) for kind in kinds)]
    assert dump_octets(kinds) == max(len(key.dump()) for key in keys)


def test_keys_that_cannot_be() -> None:
    """Parts that do not fit each other, and uses that a kind is not for, raise ValueError."""
    mistakes: list[Callable[[], object]] = [
        lambda: replace(SHARED, generation=0),
        lambda: replace(SHARED, generation=2**32),
        lambda: replace(SHARED, oldest=-1),
        lambda: replace(SHARED, oldest=2**32),
        lambda: replace(SHARED, secret=bytes(31)),
        lambda: replace(SHARED, suite="x25519"),
        lambda: replace(PAIR, public=bytes(31)),
        lambda: replace(PAIR, secret=b""),
        lambda: replace(PAIR, suite="rot13"),
        lambda: replace(PAIR, kind=Kind.PUBLIC_HALF),
        lambda: SHARED.signing_key,
        lambda: PAIR.public_half().signing_key,
        lambda: PAIR.derive("handshake"),
        lambda: PAIR.public_half().derive_common("broadcast"),
        SHARED.public_half,
        lambda: wrapped(PAIR.public_half()),
        lambda: wrapped(SHARED, ticket=bytes(TICKET_OCTETS - 1)),
        lambda: generate_symmetric(lambda _: b"short"),
    ]
    for mistake in mistakes:
        with pytest.raises(ValueError, match=r"."):
            mistake()


@each_key
def test_octets_that_are_no_stored_key(key: DomainKey) -> None:
    """Cut, lengthened and relabelled dumps are no keys; the ValueError quotes nothing."""
    dump = key.dump()
    for octets in (*(dump[:end] for end in range(6)), dump[:-1], dump + b"\0", b"\0" + dump[1:]):
        with pytest.raises(ValueError, match=r".") as caught:
            DomainKey.load(octets)
        assert key.secret.hex() not in str(caught.value)
        assert repr(key.secret)[2:-1] not in str(caught.value)


@settings(deadline=None)
@given(octets=st.binary(max_size=80), kind=st.sampled_from([b"", b"\1", b"\2", b"\3"]))
def test_arbitrary_octets_are_no_key_or_load_as_themselves(octets: bytes, kind: bytes) -> None:
    """Arbitrary octets raise ValueError or are a key that is stored as the same octets."""
    with suppress(ValueError):
        assert DomainKey.load(kind + octets).dump() == kind + octets


# On its way to a module


@each_suite
@each_key
def test_a_wrapped_key_arrives(key: DomainKey, kind: str) -> None:
    """The module finds the key that was wrapped to it; wrapping twice gives other octets."""
    octets = wrapped(key, kind)
    assert unwrapped(octets, kind) == key
    assert wrapped(key, kind) != octets


@pytest.mark.parametrize(("kind", "lengths"), [("x25519", (95, 96)), ("p256", (128, 129))])
def test_how_long_a_wrapped_key_is(kind: str, lengths: tuple[int, int]) -> None:
    """Six octets of header, and a symmetric or a pair's dump sealed: 95 to 129 octets."""
    assert (len(wrapped(SHARED, kind)), len(wrapped(PAIR, kind))) == lengths


@each_suite
@each_key
def test_the_one_who_forwards_reads_nothing(key: DomainKey, kind: str) -> None:
    """No four octets of the secret are in what travels, and nobody else's key opens it."""
    octets = wrapped(key, kind)
    assert not any(key.secret[at : at + 4] in octets for at in range(len(key.secret) - 3))
    for name in ("supplier", "rogue"):
        with pytest.raises(SealRejected, match="cannot-open"):
            unwrapped(octets, kind, name)


@pytest.mark.parametrize(
    "changes",
    [{"ua": b"8988211000000000026"}, {"tar": b"\xb2\x01\x01"}, {"logic_name": b"weather"}],
    ids="-".join,
)
@each_suite
def test_a_key_is_for_one_module_and_resource(kind: str, changes: dict[str, Any]) -> None:
    """Another UA, TAR or logic name than it was wrapped for does not open it."""
    with pytest.raises(SealRejected, match="cannot-open"):
        unwrapped(wrapped(SHARED, kind), kind, **changes)
    assert unwrapped(wrapped(SHARED, kind, **changes), kind, **changes) == SHARED


@each_suite
@each_key
def test_a_key_is_for_one_reservation(key: DomainKey, kind: str) -> None:
    """It opens with the ticket that it was wrapped for, eight octets longer, and with no other one."""
    octets = wrapped(key, kind, ticket=TICKET)
    assert unwrapped(octets, kind, ticket=TICKET) == key
    assert len(octets) == len(wrapped(key, kind)) + TICKET_OCTETS
    for other in (FIRST_TICKET, TICKET[::-1]):
        with pytest.raises(SealRejected) as caught:
            unwrapped(octets, kind, ticket=other)
        assert caught.value.reason == OTHER_RESERVATION
        with pytest.raises(SealRejected, match="cannot-open"):
            unwrapped(put(octets, slice(6, 14), other), kind, ticket=other)


@each_suite
def test_a_reservation_and_a_renewal_are_two_things(kind: str) -> None:
    """What is wrapped with a ticket does not open without, nor the other way round, relabelled or not."""
    reserving, renewing = wrapped(SHARED, kind, ticket=TICKET), wrapped(SHARED, kind)
    relabelled = b"\1" + reserving[1:6] + reserving[14:]
    with_ticket = b"\2" + renewing[1:6] + TICKET + renewing[6:]
    for octets, ticket, reason in (
        (reserving, b"", "unknown-format"),
        (renewing, TICKET, "unknown-format"),
        (relabelled, b"", "cannot-open"),
        (with_ticket, TICKET, "cannot-open"),
        (reserving[:13], TICKET, "malformed"),
    ):
        with pytest.raises(SealRejected) as caught:
            unwrapped(octets, kind, ticket=ticket)
        assert caught.value.reason == reason


@each_suite
@each_key
def test_altered_octets_open_nothing(key: DomainKey, kind: str) -> None:
    """A bit turned anywhere, the generation included, is refused for what it is."""
    octets = wrapped(key, kind)
    reasons = {0: {"unknown-format"}, 1: {"wrong-suite"}}
    for at in positions(octets, slice(0, len(octets))):
        with pytest.raises(SealRejected) as caught:
            unwrapped(flipped(octets, at), kind)
        assert caught.value.reason in reasons.get(at, {"cannot-open"})


@each_suite
def test_cut_and_lengthened_octets(kind: str) -> None:
    """Every prefix, and octets behind the end, are refused."""
    octets = wrapped(SHARED, kind)
    for wrong in [*(octets[:end] for end in range(len(octets))), octets + b"\0"]:
        with pytest.raises(SealRejected) as caught:
            unwrapped(wrong, kind)
        assert caught.value.reason == ("malformed" if len(wrong) < 6 else "cannot-open")


@pytest.mark.parametrize(("ours", "theirs"), list(permutations(ALL_SUITES, 2)))
def test_a_key_for_another_suite(ours: str, theirs: str) -> None:
    """What was wrapped to a key of another suite is refused by name."""
    with pytest.raises(SealRejected, match="wrong-suite"):
        unwrapped(wrapped(SHARED, theirs), ours)


def test_an_old_key_does_not_come_back() -> None:
    """A module that has a generation takes only newer ones, and a generation cannot be written up."""
    octets = wrapped(SHARED)
    assert unwrapped(octets, newer_than=2) == SHARED
    for known in (3, 4):
        with pytest.raises(SealRejected, match="stale"):
            unwrapped(octets, newer_than=known)
    written_up = put(octets, slice(2, 6), (9).to_bytes(4, "big"))
    with pytest.raises(SealRejected, match="cannot-open"):
        unwrapped(written_up, newer_than=3)


@each_suite
@pytest.mark.parametrize(
    "inside",
    [b"", b"\1", bytes(37), PAIR.public_half().dump(), replace(SHARED, generation=4).dump()],
    ids=["empty", "cut", "unknown-kind", "public-half", "other-generation"],
)
def test_a_sender_who_wraps_something_else(kind: str, inside: bytes) -> None:
    """What opens and is no key of the generation that stands outside is refused."""
    header = bytes([1, suite(kind).wire_id, 0, 0, 0, 3])
    info = framed("otafleet/1 domain key wrapped", header, *WHERE.values())
    octets = header + suite(kind).seal(person(kind, "module").sealing.public, inside, info)
    with pytest.raises(SealRejected) as caught:
        unwrapped(octets, kind)
    assert caught.value.reason == "not-a-domain-key"


@each_suite
def test_wrapping_to_what_is_no_key(kind: str) -> None:
    """A module's registered key that is none is a rejection."""
    with pytest.raises(SealRejected, match="bad-public-key"):
        wrapped(SHARED, kind, sealing_public=bytes(suite(kind).sealing_public_length))


@settings(deadline=None)
@given(octets=st.binary(max_size=150), beginning=st.sampled_from([b"", b"\1", b"\1\1\0\0\0\1"]))
def test_arbitrary_octets_are_no_wrapped_key(octets: bytes, beginning: bytes) -> None:
    """Arbitrary octets are rejected in kind."""
    with pytest.raises(SealRejected):
        unwrapped(beginning + octets)


def test_the_generation_is_read_without_the_key() -> None:
    """A pair takes its time to load, and which generation it is stands in front."""
    for key in (SHARED, replace(SHARED, generation=7, oldest=3), PAIR):
        assert generation_in(key.dump()) == key.generation
    with pytest.raises(ValueError, match="begins with its kind"):
        generation_in(b"\1\0")
