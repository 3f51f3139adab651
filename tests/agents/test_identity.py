"""Who a role is: its keys, its certificate, and the directory of those that an authority vouches for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.errors import MessageRejected
from agents.handset.security_module.profile import LIGHT_SUITES
from agents.identity import VALIDITY_S, Directory, RoleKeys, certify, certify_module
from agents.randomness import make_rng
from transport.errors import CertificateRejected
from transport.security.certificates import Certificate, Role
from transport.security.suites import SUITES

NOW = 1_800_000_000.0
RNG = make_rng(1, "identity")
ROOT = RoleKeys.make(name="root", role=Role.AUTHORITY, suite="x25519", rng=RNG)
BANK = RoleKeys.make(name="bank", role=Role.SUPPLIER, suite="p256", rng=RNG)
OWN = certify(ROOT, issuer=ROOT, serial=1, now=NOW)
BANK_KEY = BANK.signing.public
OF_BANK = certify(BANK, issuer=ROOT, serial=2, now=NOW)


@pytest.mark.parametrize("suite", sorted(LIGHT_SUITES))
def test_keys_come_back_from_their_private_halves(suite: str) -> None:
    """What a store keeps of a role makes the same role again, in each suite."""
    made = RoleKeys.make(name="mno", role=Role.OPERATOR, suite=suite, rng=RNG)
    kept = RoleKeys.load(
        name="mno",
        role=Role.OPERATOR,
        suite=suite,
        signing=made.signing.private,
        sealing=made.sealing.private,
    )
    assert (kept.signing.public, kept.sealing.public) == (made.signing.public, made.sealing.public)
    assert (kept.name, kept.role, kept.suite) == (made.name, made.role, made.suite)


def test_private_keys_are_in_no_repr() -> None:
    """A role's keys may end in a traceback; the private halves do not."""
    for private in (BANK.signing.private, BANK.sealing.private):
        assert private.hex() not in repr(BANK)
        assert repr(private) not in repr(BANK)


def test_a_certificate_says_who_and_for_how_long() -> None:
    """Name, role, keys and issuer are the subject's; it holds from a day before for ten years."""
    assert (OF_BANK.subject, OF_BANK.role, OF_BANK.suite, OF_BANK.issuer, OF_BANK.serial) == (
        "bank",
        Role.SUPPLIER,
        "p256",
        "root",
        2,
    )
    assert (OF_BANK.signing_public, OF_BANK.sealing_public) == (BANK.signing.public, BANK.sealing.public)
    assert (OF_BANK.not_before, OF_BANK.not_after) == (int(NOW) - 86_400, int(NOW) + VALIDITY_S)


def test_a_directory_knows_whom_the_authority_certified_and_nobody_else() -> None:
    """Names are found, the authority's own among them; a stranger's is not."""
    directory = Directory(OWN, [OF_BANK], now=NOW)
    assert directory.authority == OWN
    assert directory.certificate("root") == OWN
    assert directory.certificate("bank") == OF_BANK
    with pytest.raises(MessageRejected, match="unknown-role"):
        directory.certificate("stranger")


def test_a_modules_key_is_believed_by_the_authoritys_certificate() -> None:
    """It says address, suite and key, and nothing to seal for; the directory checks it for one address."""
    key = SUITES["p256"].generate_signing_key(RNG)
    directory = Directory(OWN, [OF_BANK], now=NOW)
    octets = certify_module("8988", "p256", key.public, b"", issuer=ROOT, now=NOW).encode()
    certificate = directory.module(octets, "8988", now=NOW)
    assert (
        certificate.subject,
        certificate.suite,
        certificate.signing_public,
        certificate.sealing_public,
    ) == (
        "8988",
        "p256",
        key.public,
        b"",
    )
    with pytest.raises(CertificateRejected, match="wrong-subject"):
        directory.module(octets, "8999", now=NOW)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (OF_BANK.encode(), "wrong-role"),
        (
            certify_module("8988", "p256", BANK_KEY, b"", issuer=BANK, now=NOW).encode(),
            "wrong-issuer",
        ),
        (
            certify_module(
                "8988", "p256", BANK_KEY, b"", issuer=replace(BANK, name="root"), now=NOW
            ).encode(),
            "bad-signature",
        ),
        (
            certify_module("8988", "p256", BANK_KEY, b"", issuer=ROOT, now=0.0 + 86_400).encode(),
            "expired",
        ),
        (b"garbage", "malformed"),
    ],
    ids=["a-roles", "a-suppliers-word", "forged", "too-late", "garbage"],
)
def test_nothing_else_vouches_for_a_module(octets: bytes, reason: str) -> None:
    """A role's certificate, another's word, a forgery, one out of its time or garbage: rejected."""
    with pytest.raises(CertificateRejected, match=reason):
        Directory(OWN, [OF_BANK], now=NOW).module(octets, "8988", now=NOW)


@pytest.mark.parametrize(
    ("certificate", "now", "reason"),
    [
        (certify(BANK, issuer=BANK, serial=2, now=NOW), NOW, "wrong-issuer"),
        (replace(OF_BANK, issuer="root", signature=bytes(64)), NOW, "bad-signature"),
        (replace(OF_BANK, subject="shop"), NOW, "bad-signature"),
        (replace(OF_BANK, role=Role.OPERATOR), NOW, "bad-signature"),
        (certify(BANK, issuer=replace(BANK, name="root"), serial=2, now=NOW), NOW, "bad-signature"),
        (certify(BANK, issuer=ROOT, serial=2, now=NOW + 10 * 86_400), NOW, "not-yet-valid"),
        (certify(BANK, issuer=ROOT, serial=2, now=NOW - VALIDITY_S - 1), NOW, "expired"),
        (certify(BANK, issuer=ROOT, serial=1, now=NOW), NOW, "duplicate-subject"),
    ],
    ids=[
        "own-word",
        "no-signature",
        "other-name",
        "other-role",
        "authority-in-name-only",
        "too-early",
        "too-late",
        "twice",
    ],
)
def test_a_directory_takes_no_certificate_that_does_not_hold(
    certificate: Certificate, now: float, reason: str
) -> None:
    """A certificate of another issuer, altered, out of its time or of a taken name keeps a market shut."""
    others = [OF_BANK, certificate] if reason == "duplicate-subject" else [certificate]
    with pytest.raises(CertificateRejected, match=reason):
        Directory(OWN, others, now=now)
