from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.security_kit import flipped, seeded
from transport.errors import CertificateRejected
from transport.security.certificates import Certificate, Role, issue, verify
from transport.security.chain import (
    MAX_CHAIN_OCTETS,
    MAX_DEPTH,
    MAY_ISSUE,
    Anchor,
    Incumbent,
    encode_chain,
    parse_chain,
    successor,
    verify_chain,
)
from transport.security.suites import ALL_SUITES, suite

if TYPE_CHECKING:
    from transport.security.suites import SigningKey

KIND = "x25519"
NOW = 1500


@cache
def key(name: str, kind: str = KIND) -> SigningKey:
    """Return the key that *name* has in suite *kind*."""
    return suite(kind).generate_signing_key(seeded(int.from_bytes(name.encode(), "big")))


def certified(subject: str, role: str, issuer: str, serial: int = 1, **changes: Any) -> Certificate:
    """Return *issuer*'s word on *subject*, but for *changes*; *signer* and *issuer_suite* say who signs."""
    kind, signer_kind = changes.pop("suite", KIND), changes.pop("issuer_suite", KIND)
    signer = changes.pop("signer", issuer)
    fields: dict[str, Any] = {
        "not_before": 1000,
        "not_after": 2000,
        "signing_public": key(subject, kind).public,
    }
    return issue(
        key(signer, signer_kind),
        issuer=issuer,
        serial=serial,
        subject=subject,
        role=role,
        suite=kind,
        **(fields | changes),
    )


ANCHOR = Anchor(name="root", suite=KIND, public=key("root").public)
OPERATOR = certified("mno", Role.OPERATOR, "root", 7)
SUPPLIER = certified("bank", Role.SUPPLIER, "mno", 3)
CHAIN = (OPERATOR, SUPPLIER)


def judge(chain: tuple[Certificate, ...], **changes: Any) -> Certificate:
    """Verify *chain* as the authority's word on the supplier, but for *changes*."""
    expected: dict[str, Any] = {"subject": "bank", "role": Role.SUPPLIER, "now": NOW}
    return verify_chain(chain, changes.pop("anchor", ANCHOR), **(expected | changes))


def refused(chain: tuple[Certificate, ...], **changes: Any) -> str:
    """Return the reason for which *chain* is refused."""
    with pytest.raises(CertificateRejected) as caught:
        judge(chain, **changes)
    return caught.value.reason


def test_authority_operator_supplier() -> None:
    """A supplier whom the verifier never met is believed by the authority's key alone, from the octets."""
    assert judge(parse_chain(encode_chain(CHAIN))) == SUPPLIER
    assert judge(CHAIN, issuer="mno", max_depth=2) == SUPPLIER


@pytest.mark.parametrize("below", ALL_SUITES)
@pytest.mark.parametrize("above", ALL_SUITES)
def test_each_link_may_have_a_suite_of_its_own(above: str, below: str) -> None:
    """Authority and operator sign in one suite and another, for a supplier of a third: the chain holds."""
    operator = certified("mno", Role.OPERATOR, "root", suite=below, issuer_suite=above)
    supplier = certified("bank", Role.SUPPLIER, "mno", suite=above, issuer_suite=below)
    chain = parse_chain(encode_chain((operator, supplier)))
    assert judge(chain, anchor=Anchor(name="root", suite=above, public=key("root", above).public)) == supplier


@pytest.mark.parametrize("role", Role)
def test_an_authority_vouches_for_every_role_but_its_own(role: Role) -> None:
    """One link from the anchor holds for each role that an authority may issue, and for no authority."""
    chain = (certified("someone", role, "root"),)
    if role is Role.AUTHORITY:
        assert refused(chain, subject="someone", role=role) == "may-not-issue"
    else:
        assert judge(chain, subject="someone", role=role) == chain[0]


@pytest.mark.parametrize("above", Role)
@pytest.mark.parametrize("below", Role)
def test_nobody_issues_what_the_table_does_not_list(above: Role, below: Role) -> None:
    """Of the 25 pairs of roles an anchor of the one vouches for the other only where the table says so."""
    anchor = replace(ANCHOR, role=above)
    chain = (certified("someone", below, "root"),)
    if below in MAY_ISSUE.get(above, ()):
        assert judge(chain, anchor=anchor, subject="someone", role=below) == chain[0]
    else:
        assert refused(chain, anchor=anchor, subject="someone", role=below) == "may-not-issue"


def test_the_table_never_leads_back_up() -> None:
    """Every way through the table ends, within the depth that a chain may have: no path length is needed."""

    def depth(role: str) -> int:
        return max((1 + depth(below) for below in MAY_ISSUE.get(role, ())), default=0)

    assert max(depth(role) for role in Role) == 2 <= MAX_DEPTH


BAD_CHAINS: dict[str, tuple[str, tuple[Certificate, ...], dict[str, Any]]] = {
    "nothing": ("empty-chain", (), {}),
    "five certificates": ("too-deep", CHAIN + CHAIN + CHAIN[:1], {}),
    "more than the caller follows": ("too-deep", CHAIN, {"max_depth": 1}),
    "more than anybody follows": ("too-deep", CHAIN + CHAIN + CHAIN[:1], {"max_depth": 9}),
    "no issuer between": ("wrong-issuer", (SUPPLIER,), {}),
    "the wrong way round": ("wrong-issuer", CHAIN[::-1], {}),
    "another anchor": ("wrong-issuer", CHAIN, {"anchor": replace(ANCHOR, name="other")}),
    "another operator than asked for": ("wrong-issuer", CHAIN, {"issuer": "mvno"}),
    "self-signed": ("self-signed", (certified("bank", Role.SUPPLIER, "bank"),), {}),
    "the anchor's own certificate in front": (
        "self-signed",
        (certified("root", Role.AUTHORITY, "root"), *CHAIN),
        {},
    ),
    "self-signed in the authority's name": (
        "bad-signature",
        (certified("bank", Role.SUPPLIER, "root", signer="bank"),),
        {},
    ),
    "self-signed in the operator's name": (
        "bad-signature",
        (OPERATOR, certified("bank", Role.SUPPLIER, "mno", signer="bank")),
        {},
    ),
    "an operator made by an operator": (
        "may-not-issue",
        (OPERATOR, certified("mvno", Role.OPERATOR, "mno"), certified("bank", Role.SUPPLIER, "mvno")),
        {},
    ),
    "a module's key vouched for by an operator": (
        "may-not-issue",
        (OPERATOR, certified("8988211000000000018", Role.MODULE, "mno")),
        {"subject": "8988211000000000018", "role": Role.MODULE},
    ),
    "a supplier's word on a supplier": (
        "may-not-issue",
        (*CHAIN, certified("shop", Role.SUPPLIER, "bank")),
        {"subject": "shop"},
    ),
    "in the anchor's name": (
        "repeated-subject",
        (OPERATOR, certified("root", Role.SUPPLIER, "mno")),
        {"subject": "root"},
    ),
    "another role": ("wrong-role", (OPERATOR,), {"subject": "mno"}),
    "another subject": ("wrong-subject", CHAIN, {"subject": "shop"}),
    "a released supplier": ("revoked", CHAIN, {"revoked": {("mno", 3)}}),
    "a released operator": ("revoked", CHAIN, {"revoked": {("root", 7)}}),
    "expired": ("expired", (OPERATOR, certified("bank", Role.SUPPLIER, "mno", not_after=1499)), {}),
    "an operator that is expired": (
        "expired",
        (certified("mno", Role.OPERATOR, "root", not_after=1499), SUPPLIER),
        {},
    ),
    "not yet valid": (
        "not-yet-valid",
        (OPERATOR, certified("bank", Role.SUPPLIER, "mno", not_before=1501)),
        {},
    ),
    "a time that is no number": ("not-yet-valid", CHAIN, {"now": float("nan")}),
    "another anchor's key": ("bad-signature", CHAIN, {"anchor": replace(ANCHOR, public=key("mno").public)}),
    "an anchor's key that is none": ("bad-public-key", CHAIN, {"anchor": replace(ANCHOR, public=bytes(32))}),
    "an operator's key that is none": (
        "bad-public-key",
        (certified("mno", Role.OPERATOR, "root", signing_public=bytes(32)), SUPPLIER),
        {},
    ),
    "altered above": ("bad-signature", (replace(OPERATOR, serial=8), SUPPLIER), {}),
    "altered below": ("bad-signature", (OPERATOR, replace(SUPPLIER, not_after=2001)), {}),
}


@pytest.mark.parametrize(("reason", "chain", "changes"), BAD_CHAINS.values(), ids=BAD_CHAINS)
def test_a_chain_that_does_not_hold(
    reason: str, chain: tuple[Certificate, ...], changes: dict[str, Any]
) -> None:
    """A chain too long, broken, forged, out of time or of somebody else is refused with its reason."""
    assert refused(chain, **changes) == reason


def test_who_is_revoked_is_one_certificate() -> None:
    """The serial of another issuer, or another serial of the same one, does not revoke."""
    assert judge(CHAIN, revoked={("root", 3), ("mno", 7), ("mno", 4), ("bank", 3)}) == SUPPLIER


def test_a_chain_holds_as_long_as_all_its_links() -> None:
    """A supplier's validity may begin before and end after its operator's: the chain holds where both do."""
    wide = certified("bank", Role.SUPPLIER, "mno", not_before=0, not_after=9999)
    assert judge((OPERATOR, wide), now=1000) == judge((OPERATOR, wide), now=2000) == wide
    assert refused((OPERATOR, wide), now=999) == "not-yet-valid"
    assert refused((OPERATOR, wide), now=2001) == "expired"


def test_one_name_from_two_operators() -> None:
    """An operator can certify another's supplier under his own key; naming the operator keeps them apart."""
    rival = certified("mvno", Role.OPERATOR, "root", 8)
    double = certified("bank", Role.SUPPLIER, "mvno", signing_public=key("mvno").public)
    assert judge((rival, double)).signing_public != SUPPLIER.signing_public
    assert refused((rival, double), issuer="mno") == "wrong-issuer"


def test_the_reason_is_the_first_that_needs_no_cryptography() -> None:
    """What a stranger sends costs no signature check unless names, roles and depth are in order."""
    forged = certified("bank", Role.SUPPLIER, "mvno", signer="bank")
    assert refused((replace(OPERATOR, serial=1), forged)) == "wrong-issuer"


def test_no_reason_shows_a_key() -> None:
    """What a refusal says names a certificate by serial and subject and shows nothing else of it."""
    for reason, chain, changes in BAD_CHAINS.values():
        with pytest.raises(CertificateRejected) as caught:
            judge(chain, **changes)
        assert str(caught.value).startswith(reason)
        assert len(str(caught.value)) < 120


def test_an_anchor_is_a_name_and_a_key() -> None:
    """An anchor made of a verified certificate believes what that subject issues; its repr shows no key."""
    anchor = Anchor.of(OPERATOR)
    assert judge((SUPPLIER,), anchor=anchor) == SUPPLIER
    assert (anchor.name, anchor.role, anchor.public) == ("mno", Role.OPERATOR, key("mno").public)
    assert "public" not in repr(anchor)


@pytest.mark.parametrize(
    "changes", [{"name": "no name"}, {"suite": "rot13"}, {"public": bytes(31)}], ids=lambda c: next(iter(c))
)
def test_an_anchor_refuses_to_exist_out_of_bounds(changes: dict[str, Any]) -> None:
    """A name, suite or length of key that there is not raises ValueError."""
    with pytest.raises(ValueError, match=r"anchor|suite"):
        replace(ANCHOR, **changes)


def packed(*parts: Any) -> bytes:
    """Return an array as msgpack has it."""
    return bytes(msgpack.packb(list(parts)))


BAD_OCTETS: dict[str, tuple[str, bytes]] = {
    "an octet too many": ("too-large", bytes(MAX_CHAIN_OCTETS + 1)),
    "none": ("malformed", b""),
    "nil": ("malformed", b"\xc0"),
    "a map": ("malformed", b"\x80"),
    "a number in it": ("malformed", packed(1)),
    "an array in it": ("malformed", packed(OPERATOR.encode(), [1])),
    "text in it": ("malformed", packed(OPERATOR.encode().hex())),
    "seventeen parts": ("malformed", packed(*[b""] * 17)),
    "arrays to the bottom": ("malformed", b"\x91" * MAX_CHAIN_OCTETS),
    "no part": ("empty-chain", b"\x90"),
    "five parts": ("too-deep", packed(*[OPERATOR.encode()] * 5)),
    "a longer length": ("not-canonical", b"\xdc\0\1" + packed(OPERATOR.encode())[1:]),
    "an empty part": ("malformed", packed(b"")),
    "an octet behind a part": ("malformed", packed(OPERATOR.encode() + b"\0")),
    "a longer serial": ("not-canonical", packed(OPERATOR.encode().replace(b"\x07", b"\xcc\x07", 1))),
}


@pytest.mark.parametrize(("reason", "octets"), BAD_OCTETS.values(), ids=BAD_OCTETS)
def test_octets_that_are_no_chain(reason: str, octets: bytes) -> None:
    """Oversized, foreign, mistyped, empty, long and loosely encoded octets are refused with a reason."""
    with pytest.raises(CertificateRejected) as caught:
        parse_chain(octets)
    assert caught.value.reason == reason


def test_a_chain_comes_back_as_the_same_octets() -> None:
    """Chains of one to four certificates are parsed as themselves; fewer or more cannot be encoded."""
    for depth in range(1, MAX_DEPTH + 1):
        chain = (OPERATOR,) * depth
        octets = encode_chain(chain)
        assert parse_chain(octets) == chain
        assert encode_chain(parse_chain(octets)) == octets
    for depth in (0, MAX_DEPTH + 1):
        with pytest.raises(ValueError, match="1 to 4"):
            encode_chain((OPERATOR,) * depth)


def test_the_longest_chain_is_within_bounds() -> None:
    """Four certificates with the longest of names and signatures are no more octets than a parser takes."""
    for kind in ALL_SUITES.values():
        long = replace(
            OPERATOR,
            subject="s" * 64,
            issuer="i" * 64,
            suite=kind.name,
            signing_public=bytes(kind.signing_public_length),
            sealing_public=bytes(kind.sealing_public_length),
            signature=bytes(4096),
        )
        assert parse_chain(encode_chain((long,) * MAX_DEPTH)) == (long,) * MAX_DEPTH


def test_altered_or_cut_octets_never_verify() -> None:
    """One altered bit anywhere, a prefix, or an octet behind is refused in parsing or in verifying."""
    octets = encode_chain(CHAIN)
    altered = [flipped(octets, at) for at in range(len(octets))]
    for candidate in [*altered, *(octets[:end] for end in range(len(octets))), octets + b"\0"]:
        with pytest.raises(CertificateRejected):
            judge(parse_chain(candidate))


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=300), st.lists(st.binary(max_size=40), max_size=6).map(msgpack.packb)))
def test_arbitrary_octets(octets: bytes) -> None:
    """Arbitrary octets, and arrays of such, are rejected in kind, or encode to the same octets again."""
    with suppress(CertificateRejected):
        assert encode_chain(parse_chain(octets)) == octets


TIMES = [{"not_before": start, "not_after": end} for start, end in ((1000, 2000), (1000, 1499), (1501, 2000))]
LINKS = st.lists(
    st.builds(
        dict[str, Any],
        st.sampled_from(TIMES),
        subject=st.sampled_from(["mno", "bank", "root"]),
        role=st.sampled_from([Role.OPERATOR, Role.SUPPLIER, Role.AUTHORITY]),
        issuer=st.sampled_from(["root", "mno", "bank"]),
        signer=st.sampled_from(["root", "mno", "bank"]),
        serial=st.integers(1, 3),
    ),
    max_size=3,
)
NOTHING: frozenset[tuple[str, int]] = frozenset()


def believable(links: list[dict[str, Any]], revoked: frozenset[tuple[str, int]]) -> bool:
    """Say whether a verifier who believes root should believe the last of *links*, in one sentence."""
    names = ["root", *(link["subject"] for link in links)]
    roles = [Role.AUTHORITY, *(link["role"] for link in links)]
    return (
        len(links) > 0
        and len(set(names)) == len(names)
        and all(link["issuer"] == link["signer"] == name for link, name in zip(links, names, strict=False))
        and all((above, below) in ISSUED for above, below in pairwise(roles))
        and all(link["not_before"] <= NOW <= link["not_after"] for link in links)
        and all((link["issuer"], link["serial"]) not in revoked for link in links)
    )


ISSUED = {(Role.AUTHORITY, Role.OPERATOR), (Role.AUTHORITY, Role.SUPPLIER), (Role.OPERATOR, Role.SUPPLIER)}


def honest(depth: int) -> list[dict[str, Any]]:
    """Return the first *depth* links of a chain that holds."""
    rows = (("mno", Role.OPERATOR, "root", 1), ("bank", Role.SUPPLIER, "mno", 2))[:depth]
    return [
        {"subject": subject, "role": role, "issuer": issuer, "signer": issuer, "serial": serial} | TIMES[0]
        for subject, role, issuer, serial in rows
    ]


@settings(deadline=None)
@given(
    links=st.one_of(
        LINKS, st.integers(0, 2).flatmap(lambda depth: LINKS.map(lambda more: honest(depth) + more))
    ),
    revoked=st.sampled_from([NOTHING, NOTHING, frozenset({("root", 1)}), frozenset({("mno", 2)})]),
)
def test_a_chain_holds_if_and_only_if_it_should(
    links: list[dict[str, Any]], revoked: frozenset[tuple[str, int]]
) -> None:
    """Of arbitrary links, with an honest beginning or none, those are believed that one sentence lets be."""
    chain = tuple(certified(**link) for link in links)
    target = links[-1] if links else {"subject": "bank", "role": Role.SUPPLIER}
    try:
        judge(chain, subject=target["subject"], role=target["role"], revoked=revoked)
    except CertificateRejected:
        assert not believable(links, revoked)
    else:
        assert believable(links, revoked)


NEXT = certified("mno", Role.OPERATOR, "root", 8, signing_public=key("new").public)
FIRST = Incumbent(subject="mno", issuer="root")


def test_an_operators_key_comes_by_certificate() -> None:
    """A module personalised without its operator's key takes it from a certificate of its authority."""
    certificate = successor(FIRST, (OPERATOR,), ANCHOR, now=NOW)
    assert certificate.signing_public == key("mno").public
    assert Incumbent.of(certificate) == Incumbent(subject="mno", issuer="root", serial=7)


def test_an_operators_key_rolls_over_and_never_back() -> None:
    """A later certificate takes the place of the present one; the same or an older one then does not."""
    present = Incumbent.of(successor(Incumbent.of(OPERATOR), (NEXT,), ANCHOR, now=NOW))
    assert present.serial == 8
    for old in (NEXT, OPERATOR):
        with pytest.raises(CertificateRejected, match="not-newer"):
            successor(present, (old,), ANCHOR, now=NOW)


def test_a_suppliers_key_rolls_over_through_the_operator() -> None:
    """The same rule follows a chain: the operator's later word on its supplier is taken."""
    later = certified("bank", Role.SUPPLIER, "mno", 4, signing_public=key("new").public)
    assert successor(Incumbent.of(SUPPLIER), (OPERATOR, later), ANCHOR, now=NOW) == later


@pytest.mark.parametrize(
    ("reason", "chain", "changes"),
    [
        ("wrong-subject", (certified("mvno", Role.OPERATOR, "root", 9),), {}),
        ("wrong-role", (certified("mno", Role.SUPPLIER, "root", 9),), {}),
        ("wrong-issuer", (certified("mno", Role.OPERATOR, "other", 9),), {}),
        ("self-signed", (certified("mno", Role.OPERATOR, "mno", 9),), {}),
        ("bad-signature", (certified("mno", Role.OPERATOR, "root", 9, signer="mno"),), {}),
        ("expired", (certified("mno", Role.OPERATOR, "root", 9, not_after=1499),), {}),
        ("not-yet-valid", (certified("mno", Role.OPERATOR, "root", 9, not_before=1501),), {}),
        ("not-newer", (certified("mno", Role.OPERATOR, "root", 7),), {}),
        ("revoked", (NEXT,), {"revoked": {("root", 8)}}),
        ("empty-chain", (), {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_succeed(reason: str, chain: tuple[Certificate, ...], changes: dict[str, Any]) -> None:
    """Another name, role or issuer, a forgery, a certificate out of time, revoked or not later is refused."""
    with pytest.raises(CertificateRejected) as caught:
        successor(Incumbent.of(OPERATOR), chain, ANCHOR, now=NOW, **changes)
    assert caught.value.reason == reason


def test_serials_of_another_issuer_count_for_nothing() -> None:
    """A higher serial from an operator does not replace what the authority itself said of a supplier."""
    direct = certified("bank", Role.SUPPLIER, "root", 2)
    with pytest.raises(CertificateRejected, match="wrong-issuer"):
        successor(Incumbent.of(direct), CHAIN, ANCHOR, now=NOW)


def test_a_chain_is_as_good_as_its_single_links() -> None:
    """Each link of a chain that holds also holds by itself, under the key that the one before vouches for."""
    for certificate, above in zip(CHAIN, (ANCHOR, Anchor.of(OPERATOR)), strict=True):
        verify(
            certificate,
            issuer_public=above.public,
            issuer_suite=above.suite,
            issuer=above.name,
            role=certificate.role,
            now=NOW,
        )
