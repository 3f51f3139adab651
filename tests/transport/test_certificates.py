from __future__ import annotations

import tracemalloc
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.security_kit import flipped, sealing_key, seeded, signing_key
from transport.errors import CertificateRejected
from transport.security.certificates import Certificate, Role, issue, verify
from transport.security.suites import ALL_SUITES, suite

AUTHORITY = suite("p256").generate_signing_key(seeded(1))
ROGUE = suite("p256").generate_signing_key(seeded(2))
SUBJECT = suite("x25519").generate_signing_key(seeded(3))
SEALING = suite("x25519").generate_sealing_key(seeded(4))
GOOD = issue(
    AUTHORITY,
    issuer="root",
    serial=7,
    subject="op.one",
    role=Role.OPERATOR,
    suite="x25519",
    signing_public=SUBJECT.public,
    sealing_public=SEALING.public,
    not_before=1000,
    not_after=2000,
)


def judge(certificate: Certificate, **changes: Any) -> None:
    """Verify *certificate* as the authority's word on an operator, but for *changes*."""
    expected: dict[str, Any] = {
        "issuer_public": AUTHORITY.public,
        "issuer_suite": "p256",
        "issuer": "root",
        "role": Role.OPERATOR,
        "now": 1500.5,
    }
    verify(certificate, **(expected | changes))


def packed(**changes: Any) -> bytes:
    """Return the encoding of the good certificate with fields replaced by position."""
    values = msgpack.unpackb(GOOD.encode())
    for position, value in changes.items():
        values[int(position[1:])] = value
    return bytes(msgpack.packb(values))


def test_a_certificate_verifies_from_its_octets() -> None:
    """A certificate of one suite, issued under another, is parsed from its octets and holds."""
    parsed = Certificate.parse(GOOD.encode())
    assert parsed == GOOD
    judge(parsed)


@pytest.mark.parametrize("kind", ALL_SUITES)
@pytest.mark.parametrize("issuer", ALL_SUITES)
def test_every_pair_of_suites(issuer: str, kind: str) -> None:
    """Issuer and subject need not have the same suite; the longest keys and signatures have room."""
    certificate = issue(
        signing_key(issuer, 2),
        issuer="root",
        serial=7,
        subject="op.one",
        role=Role.OPERATOR,
        suite=kind,
        signing_public=signing_key(kind).public,
        sealing_public=sealing_key(kind).public,
        not_before=1000,
        not_after=2000,
    )
    parsed = Certificate.parse(certificate.encode())
    judge(parsed, issuer_public=signing_key(issuer, 2).public, issuer_suite=issuer)
    with pytest.raises(CertificateRejected, match="bad-signature"):
        judge(replace(parsed, serial=8), issuer_public=signing_key(issuer, 2).public, issuer_suite=issuer)


@pytest.mark.parametrize("now", [1000, 2000])
def test_both_ends_of_the_validity_are_inside(now: int) -> None:
    """A certificate holds in the first and in the last second that it names."""
    judge(GOOD, now=now)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issuer": "other"}, "wrong-issuer"),
        ({"role": "supplier"}, "wrong-role"),
        ({"now": 999.9}, "not-yet-valid"),
        ({"now": 2000.1}, "expired"),
        ({"now": float("nan")}, "not-yet-valid"),
        ({"issuer_public": ROGUE.public}, "bad-signature"),
        ({"issuer_public": b""}, "bad-public-key"),
    ],
)
def test_a_certificate_that_does_not_hold(changes: dict[str, Any], reason: str) -> None:
    """Another issuer, role, time or issuer's key is refused, each with its reason."""
    with pytest.raises(CertificateRejected) as caught:
        judge(GOOD, **changes)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "op.two"},
        {"serial": 8},
        {"not_before": 999},
        {"not_after": 2001},
        {"signing_public": ROGUE.public[1:]},
        {"sealing_public": b""},
        {"suite": "p256", "signing_public": AUTHORITY.public, "sealing_public": AUTHORITY.public},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_field_is_signed(changes: dict[str, Any]) -> None:
    """Altering any field of an issued certificate breaks its signature."""
    with pytest.raises(CertificateRejected, match="bad-signature"):
        judge(replace(GOOD, **changes))


def test_a_certificate_signed_by_its_own_subject_is_refused() -> None:
    """One who issues himself a certificate in the authority's name does not get past the authority's key."""
    forged = issue(
        SUBJECT,
        issuer="root",
        serial=7,
        subject="op.one",
        role="operator",
        suite="x25519",
        signing_public=SUBJECT.public,
        not_before=0,
        not_after=9999,
    )
    with pytest.raises(CertificateRejected, match="bad-signature"):
        judge(forged)


def test_altered_octets_never_verify() -> None:
    """One altered bit anywhere in the octets is refused in parsing or in verifying."""
    octets = GOOD.encode()
    for at in range(len(octets)):
        with pytest.raises(CertificateRejected):
            judge(Certificate.parse(flipped(octets, at)))


def test_cut_or_lengthened_octets_are_malformed() -> None:
    """Every prefix of a certificate, and a certificate with an octet behind it, is malformed."""
    octets = GOOD.encode()
    for candidate in [*(octets[:end] for end in range(len(octets))), octets + b"\0"]:
        with pytest.raises(CertificateRejected, match="malformed"):
            Certificate.parse(candidate)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (bytes(8193), "too-large"),
        (b"\x80", "malformed"),
        (b"\x93\1\2\3", "malformed"),
        (b"\x91" * 2000, "malformed"),
        (packed(_0=2), "unknown-format"),
        (packed(_0=True), "unknown-format"),
        (packed(_4=99), "unknown-suite"),
        (packed(_4="x25519"), "unknown-suite"),
        (packed(_1=True), "bad-field"),
        (packed(_1=-1), "bad-field"),
        (packed(_2="not a name"), "bad-field"),
        (packed(_2=b"op.one"), "bad-field"),
        (packed(_3="king"), "bad-field"),
        (packed(_3=[]), "bad-field"),
        (packed(_5=bytes(31)), "bad-field"),
        (packed(_5="a" * 32), "bad-field"),
        (packed(_6=bytes(31)), "bad-field"),
        (packed(_7=""), "bad-field"),
        (packed(_8=1.5), "bad-field"),
        (packed(_8=2001), "bad-field"),
        (packed(_9=2**40), "bad-field"),
        (packed(_10=b""), "bad-field"),
        (GOOD.encode().replace(b"\x07", b"\xcc\x07", 1), "not-canonical"),
    ],
)
def test_octets_that_are_no_certificate(octets: bytes, reason: str) -> None:
    """Oversized, foreign, mistyped, out-of-bounds and loosely encoded octets are refused with a reason."""
    with pytest.raises(CertificateRejected) as caught:
        Certificate.parse(octets)
    assert caught.value.reason == reason


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_octets(octets: bytes) -> None:
    """Arbitrary octets are rejected in kind, or are a certificate that encodes to the same octets."""
    with suppress(CertificateRejected):
        assert Certificate.parse(octets).encode() == octets


@settings(deadline=None)
@given(
    name=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    role=st.sampled_from(list(Role)),
    kind=st.sampled_from(list(ALL_SUITES)),
    serial=st.integers(0, 2**64 - 1),
    times=st.tuples(st.integers(0, 2**40 - 1), st.integers(0, 2**40 - 1)),
)
def test_encoding_again_gives_the_same_octets(
    name: str, role: str, kind: str, serial: int, times: tuple[int, int]
) -> None:
    """Any certificate within bounds is parsed from its octets as itself."""
    certificate = issue(
        AUTHORITY,
        issuer=name,
        serial=serial,
        subject=name,
        role=role,
        suite=kind,
        signing_public=bytes(suite(kind).signing_public_length),
        not_before=min(times),
        not_after=max(times),
    )
    octets = certificate.encode()
    assert Certificate.parse(octets) == certificate
    assert Certificate.parse(octets).encode() == octets


HOSTILE = {
    "arrays in arrays": b"\x91" * 8192,
    "wide arrays in arrays": b"\xdc\0\x10" * 2730,
    "an array of 2^32": b"\xdd\xff\xff\xff\xff",
    "an array of 2^31": b"\xdd\x7f\xff\xff\xff",
    "an array of 2^16 nils": b"\xdc\xff\xff" + b"\xc0" * 8189,
    "a map of 2^32": b"\xdf\xff\xff\xff\xff",
    "maps in arrays": b"\x91\x81" * 4096,
    "octets of 2^32": b"\xc6\xff\xff\xff\xff",
    "text of 2^32": b"\xdb\xff\xff\xff\xff",
    "text that is none": b"\x91\xa2\xc3\x28",
    "an extension": packed(_2=msgpack.ExtType(1, b"x")),
    "an extension of 2^32": b"\xc9\xff\xff\xff\xff\1",
    "a time stamp": packed(_8=msgpack.Timestamp(1000)),
    "a map for a name": packed(_2={"a": 1}),
    "what msgpack never uses": b"\xc1" * 8192,
}


@pytest.mark.parametrize("octets", HOSTILE.values(), ids=HOSTILE)
def test_hostile_octets_cost_next_to_nothing(octets: bytes) -> None:
    """Deep nesting, lengths of gigabytes and types that no certificate has are refused in little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(CertificateRejected, match="malformed"):
            Certificate.parse(octets)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(max_size=8),
        st.binary(max_size=40),
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.integers(0, 10), VALUES)
def test_any_value_in_any_field(position: int, value: object) -> None:
    """Whatever stands in a field is refused in kind, or is a certificate that encodes to the same octets."""
    octets = packed(**{f"_{position}": value})
    with suppress(CertificateRejected):
        assert Certificate.parse(octets).encode() == octets


def test_what_is_shown_of_a_certificate() -> None:
    """Its repr has names, serial and times and no octet of keys or signature, so that it stays one line."""
    assert repr(GOOD) == (
        "Certificate(subject='op.one', role=<Role.OPERATOR: 'operator'>, suite='x25519', issuer='root', "
        "serial=7, not_before=1000, not_after=2000)"
    )


@pytest.mark.parametrize("position", range(11))
def test_a_refusal_quotes_nothing(position: int) -> None:
    """What is said of a bad field names the field and not its octets, whatever somebody put there."""
    marked = [b"MARKED" * 9, "MARKED " * 9, ["MARKED"], "MARKED"]
    said = []
    for value in marked:
        with pytest.raises(CertificateRejected) as caught:
            judge(Certificate.parse(packed(**{f"_{position}": value})))
        said.append(str(caught.value))
    assert not any("MARKED" in words for words in said)


def test_a_certificate_refuses_to_exist_out_of_bounds() -> None:
    """Our own code cannot make a certificate of a role, suite or time that there is not."""
    for changes in ({"role": "king"}, {"suite": "rot13"}, {"not_before": 3000}):
        with pytest.raises(ValueError, match=r"role|suite|begins"):
            replace(GOOD, **changes)
