"""The domain key in a reservation: what a module takes, what it refuses, and what is left of it."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from agents import domains
from agents.handset.security_module import domain
from agents.handset.security_module.errors import TransitionRefused
from agents.messages.air import Release
from agents.messages.bearers import GLOBAL_SERVICES
from tests.agents.module_kit import TAR, UA, Market
from tests.agents.succession_kit import change, generation
from tests.transport.security_kit import flipped
from transport.security.domain_key import DomainKey, Kind, generate_asymmetric, generate_symmetric, wrap
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN, DOMAIN_ASYMMETRIC, DOMAIN_SYMMETRIC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME = "points"
SYMMETRIC = generate_symmetric(random.Random(101).randbytes)
PAIR = generate_asymmetric("p256", random.Random(2).randbytes)


def _wrapped(market: Market, key: DomainKey = SYMMETRIC, **changes: Any) -> bytes:
    """Return *key* as the supplier wraps it to the module, but for *changes*."""
    values: dict[str, Any] = {
        "sealing_public": market.sealing_public,
        "sealing_suite": market.module_suite,
        "ua": UA.encode(),
        "tar": TAR,
        "logic_name": NAME.encode(),
        "ticket": market.ticket,
    }
    return wrap(key, **(values | changes))


def _reserved(
    market: Market, octets: bytes, forms: Sequence[str] = (DOMAIN_SYMMETRIC,), **changes: Any
) -> str:
    """Reserve with the domain key in *octets*; return why the module refuses, empty when it does not."""
    values: dict[str, Any] = {"forms": list(forms), "logic_name": NAME, "domain_key": octets}
    values["message_identifier"] = GLOBAL_SERVICES[0]
    return market.command(market.supplier.reserve(**(values | changes))).reason


@pytest.fixture
def market() -> Market:
    """Return a market with a personalised module."""
    return Market().personalise()


def _stranger() -> bytes:
    return SUITES["x25519"].generate_sealing_key(random.Random(3).randbytes).public


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sealing_public": _stranger()}, "cannot-open"),
        ({"ua": b"8988211000000000019"}, "cannot-open"),
        ({"tar": b"\xb2\x00\x01"}, "cannot-open"),
        ({"logic_name": b"miles"}, "cannot-open"),
        ({"key": PAIR}, "bad-domain-key"),
    ],
    ids=["another-module", "another-address", "another-resource", "another-domain", "another-kind"],
)
def test_a_key_that_is_not_for_this_resource(market: Market, changes: dict[str, Any], reason: str) -> None:
    """Wrapped to another module, address, TAR or logic name, or of another kind: refused, nothing is kept."""
    assert _reserved(market, _wrapped(market, **changes)) == reason
    assert market.card.module.definitions.all() == []
    assert _reserved(market, _wrapped(market)) == ""


def test_every_octet_of_a_wrapped_key_counts(market: Market) -> None:
    """Altered anywhere, cut or longer, it is refused with a reason, and the next one is taken."""
    length = len(_wrapped(market))
    changes: list[Callable[[bytes], bytes]] = [
        *(partial(flipped, at=at) for at in range(length)),
        lambda octets: octets[:5],
        lambda octets: octets[:-1],
        lambda octets: octets + b"\0",
    ]
    # Each attempt uses up a ticket, so that each is wrapped for its own.
    reasons = {_reserved(market, change(_wrapped(market))) for change in changes}
    assert reasons == {
        *("unknown-format", "wrong-suite", "other-reservation", "cannot-open", "stale", "malformed"),
    }
    assert _reserved(market, _wrapped(market)) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"domain_key": b""}, "no-domain-key"),
        ({"domain_key": b"", "forms": [AGREE_THEN_SIGN]}, "no-domain-key"),
        ({"logic_name": ""}, "no-logic-name"),
        ({"logic_name": "", "domain_key": b""}, "no-domain-key"),
        ({"forms": [DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC]}, "bad-domain-key"),
    ],
    ids=["form-without-key", "name-without-key", "key-without-name", "form-without-both", "two-kinds"],
)
def test_logic_name_key_and_forms_go_together(market: Market, changes: dict[str, Any], reason: str) -> None:
    """A global service has a logic name and a domain key that all its forms can use; no other has either."""
    assert _reserved(market, _wrapped(market), **changes) == reason


def test_a_pair_that_is_the_suppliers_own(market: Market) -> None:
    """A pair that the supplier signs with himself proves neither side; of an unknown suite, nothing."""
    own = market.supplier.key
    pair = DomainKey(kind=Kind.PAIR, generation=1, suite=own.suite, public=own.public, secret=own.private)
    assert _reserved(market, _wrapped(market, pair), [DOMAIN_ASYMMETRIC]) == "bad-domain-key"
    foreign = generate_asymmetric("pq-hybrid", random.Random(4).randbytes)
    assert _reserved(market, _wrapped(market, foreign), [DOMAIN_ASYMMETRIC]) == "unsupported-suite"
    assert _reserved(market, _wrapped(market, PAIR), [DOMAIN_ASYMMETRIC]) == ""


def test_def_keeps_what_was_inside_and_a_release_forgets_it(market: Market) -> None:
    """DEF has the key as it was dumped; after a release no octet of the image is left of it."""
    assert _reserved(market, _wrapped(market)) == ""
    assert DomainKey.load(market.card.definition().domain_key) == SYMMETRIC
    assert SYMMETRIC.secret in market.card.image
    market.card.power_cycle()
    assert market.card.definition().logic_name == NAME
    assert SYMMETRIC.secret.hex() not in repr(market.card.definition())
    assert market.command(Release(tar=TAR)).reason == ""
    assert SYMMETRIC.secret not in market.card.image


@pytest.mark.parametrize(
    ("forms", "name", "key", "reason"),
    [
        ([AGREE_THEN_SIGN], NAME, b"", "no-domain-key"),
        ([DOMAIN_SYMMETRIC], "", SYMMETRIC.dump(), "no-logic-name"),
        ([DOMAIN_SYMMETRIC], NAME, PAIR.dump(), "bad-domain-key"),
        ([DOMAIN_ASYMMETRIC], NAME, PAIR.public_half().dump(), "bad-domain-key"),
        ([AGREE_THEN_SIGN], NAME, b"\x07", "bad-domain-key"),
    ],
    ids=["none", "no-name", "kind", "public-half", "garbage"],
)
def test_what_cannot_stand_in_def(forms: list[str], name: str, key: bytes, reason: str) -> None:
    """What a boot finds there and no reservation left is as much refused as in a reservation."""
    with pytest.raises(TransitionRefused, match=reason):
        domain.check(forms, name, key)


def test_a_domain_key_is_of_one_kind() -> None:
    """A pair where modules sign with it, else octets; what the supplier needs of a pair cannot sign."""
    rng = random.Random(5).randbytes
    assert domains.new_key([AGREE_THEN_SIGN], "x25519", rng).kind is Kind.SYMMETRIC
    pair = domains.new_key([AGREE_THEN_SIGN, DOMAIN_ASYMMETRIC], "x25519", rng)
    assert domains.for_supplier(pair).kind is Kind.PUBLIC_HALF
    assert domains.fits([DOMAIN_ASYMMETRIC, AGREE_THEN_SIGN], pair)
    assert not domains.fits([DOMAIN_SYMMETRIC], pair)
    assert not domains.one_kind([DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC])


def test_a_suppliers_next_key_is_not_the_domains(market: Market) -> None:
    """Nor may a roll-over make the domain's pair the supplier's own key: that is refused, another is not."""
    supplier = market.supplier
    pair = generate_asymmetric(supplier.suite, random.Random(6).randbytes)
    assert _reserved(market, _wrapped(market, pair), [DOMAIN_ASYMMETRIC]) == ""
    other = generation(supplier.suite, 1)
    first = replace(other, signing=supplier.key)
    for signing, reason in ((pair.signing_key, "bad-domain-key"), (other.signing, "")):
        assert market.command(change(first, replace(other, signing=signing))).reason == reason
    assert market.card.definition().supplier_public == other.signing.public
