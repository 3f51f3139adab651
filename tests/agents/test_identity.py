"""Who a role is: its keys and its certificate."""

from __future__ import annotations

import pytest

from agents.handset.security_module.profile import LIGHT_SUITES
from agents.identity import VALIDITY_S, RoleKeys, certify
from agents.randomness import make_rng
from transport.security.certificates import Role

NOW = 1_800_000_000.0
RNG = make_rng(1, "identity")
ROOT = RoleKeys.make(name="root", role=Role.AUTHORITY, suite="x25519", rng=RNG)
BANK = RoleKeys.make(name="bank", role=Role.SUPPLIER, suite="p256", rng=RNG)
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
