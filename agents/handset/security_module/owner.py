"""Whose word the module takes: how its operator's public key comes, and how another one takes its place.

A key comes at PERS, or with a certificate that the authority signs (``introduce``), whose own key the module
has from PERS. Another takes its place in two ways. The operator rolls it (``roll``), by a command signed with
the key that goes; or the authority says so, by a later certificate, which needs no word of the old key: that
is how one that was lost or stolen is replaced.

A certificate is public and stays valid, so an old key must not come back by its old certificate. Of one that
came before the latest, the serial says so. Of a key that a roll did away with it does not: its certificate
may well be later than the one that this module knows of. So the module remembers the keys that it was rolled
away from until a later certificate comes, than which theirs are all older. It remembers so many and no more;
then it is rolled no further (``certificate-due``) before it is introduced again.

Whoever had a stolen key may have used up the counters of what an operator says, and may have a session. With
a key that a certificate brings the counters begin anew, as what the old key signed proves nothing under the
new one, and the session ends. The last command alone stays known by its digest, so that its operator, who may
not have heard the answer, does not have it done twice by signing it again. A roll leaves the session as it
is: under it the operator learns what became of the roll.

A module that obeys an allocator in its operator's place has the allocator's key, and keeps it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agents.errors import Unproven
from agents.handset.security_module import operator_session
from agents.handset.security_module.core import LEFT_OCTETS, MAX_LEFT
from agents.handset.security_module.errors import ModuleError, TransitionRefused
from agents.handset.security_module.life_cycle import ModuleEvent, module_transition
from agents.messages.air import OK, Answer
from agents.messages.codec import MAX_COUNTER, encode
from agents.messages.signed import Purpose, check_key
from transport.errors import CertificateRejected, Rejected, SignatureRejected
from transport.security.chain import Anchor, Incumbent, parse_chain, successor
from transport.security.suites import SUITES, suite_for

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core, Identity
    from agents.handset.security_module.memory import Transaction
    from agents.messages.air import IntroduceOperator, RollOperatorKey
    from transport.security.certificates import Certificate

NOT_NEWER: Final = "not-newer"


def roll(core: Core, transaction: Transaction, command: RollOperatorKey) -> Answer:
    """Go by another key of the operator's from now on; the command was proven with the one that goes."""
    identity = core.owner()
    if identity.allocator:
        raise TransitionRefused("allocated")
    _check_new(core, command.suite, command.public)
    if command.public == identity.operator_public:
        raise TransitionRefused("same-key")
    if len(identity.operator_left) >= LEFT_OCTETS * MAX_LEFT:
        raise TransitionRefused("certificate-due")
    rolled = replace(
        identity,
        operator_suite=command.suite,
        operator_public=command.public,
        operator_left=identity.operator_left + _mark(identity.operator_public),
    )
    core.keep_identity(transaction, rolled)
    return Answer(reason=OK, rsc_id=0)


def introduce(core: Core, message: IntroduceOperator, now: float) -> bytes:
    """Go by the key in the operator's certificate, if the authority signed it and it is later than the last.

    Returns the module's signed word on it; the same again for the certificate that it goes by. Raises
    Unproven for what does not prove that the authority vouches for this operator, now, or is no news.
    """
    try:
        module_transition(core.state, ModuleEvent.INTRODUCE)
    except TransitionRefused as refusal:
        raise Unproven(refusal.reason) from None
    certificate, is_news = _believed(core.owner(), message.chain, now)
    reason = OK
    if is_news:
        try:
            _take(core, certificate, now)
        except (ModuleError, Rejected) as refusal:
            reason = refusal.reason
            core.note("manager.refused", reason=reason)
    body = encode(Answer(reason=reason, rsc_id=0))
    return core.sign(
        body, purpose=Purpose.INTRODUCTION, target=certificate.subject, counter=certificate.serial
    )


def check(identity: Identity) -> None:
    """Raise Rejected unless the operator's key, and what is remembered of it, is as this file leaves it."""
    if identity.operator_public:
        check_key(identity.operator_suite, identity.operator_public)
    elif (
        identity.operator_suite not in SUITES
        or identity.operator_serial
        or identity.operator_left
        or identity.allocator
    ):
        raise Rejected("bad-operator-key")
    if len(identity.operator_left) % LEFT_OCTETS:
        raise Rejected("bad-operator-key")


def _believed(identity: Identity, octets: bytes, now: float) -> tuple[Certificate, bool]:
    """Return the certificate at the end of a chain that the authority vouches for, and whether it is news."""
    if identity.allocator:
        raise Unproven("allocated")
    anchor = Anchor(name=identity.authority, suite=identity.authority_suite, public=identity.authority_public)
    incumbent = Incumbent(
        subject=identity.operator, issuer=identity.authority, serial=identity.operator_serial
    )
    chain: tuple[Certificate, ...] = ()
    try:
        chain = parse_chain(octets)
        certificate = successor(incumbent, chain, anchor, now=now)
    except CertificateRejected as rejection:
        # Of all reasons this is the last one looked at: in everything else the chain holds.
        if rejection.reason == NOT_NEWER and _is_known(identity, chain[-1]):
            return chain[-1], False
        raise Unproven(rejection.reason) from None
    if certificate.serial > MAX_COUNTER:
        raise Unproven("serial-too-high")
    return certificate, True


def _is_known(identity: Identity, certificate: Certificate) -> bool:
    known = (identity.operator_serial, identity.operator_suite, identity.operator_public)
    return (certificate.serial, certificate.suite, certificate.signing_public) == known


def _take(core: Core, certificate: Certificate, now: float) -> None:
    _check_new(core, certificate.suite, certificate.signing_public)
    identity = core.owner()
    introduced = replace(
        identity,
        operator_suite=certificate.suite,
        operator_public=certificate.signing_public,
        operator_serial=certificate.serial,
        operator_left=b"",
    )
    with core.memory.transaction() as transaction:
        core.keep_identity(transaction, introduced)
        if certificate.signing_public != identity.operator_public:
            core.keep_turns(transaction, replace(core.turns, command=0, announcement=0, connection=0))
            operator_session.end(core, transaction)
        core.claim_time(transaction, now)
    core.note("manager.introduced")


def _check_new(core: Core, suite: str, public: bytes) -> None:
    """Raise TransitionRefused, or Rejected, for a key that cannot be the operator's, or is not any more."""
    identity, profile = core.owner(), core.profile
    check_key(suite, public)
    for holds, reason in (
        (suite in profile.suites, "unsupported-suite"),
        (len(public) <= profile.key, "key-too-long"),
        (public not in {identity.public, identity.authority_public}, "bad-public-key"),
        (_mark(public) not in _left(identity), "left-key"),
    ):
        if not holds:
            raise TransitionRefused(reason)
    _check_usable(suite, public)
    if identity.session_form:
        suite_for(suite, identity.dh_base, identity.dh_modulus)


def _check_usable(suite: str, public: bytes) -> None:
    """Raise SignatureRejected for octets that no signature could ever verify with."""
    kind = SUITES[suite]
    try:
        kind.verify(public, b"", bytes(kind.signature_length))
    except SignatureRejected as rejection:
        if rejection.reason != "bad-signature":
            raise


def _mark(public: bytes) -> bytes:
    return hashlib.sha256(public).digest()[:LEFT_OCTETS]


def _left(identity: Identity) -> set[bytes]:
    left = identity.operator_left
    return {left[at : at + LEFT_OCTETS] for at in range(0, len(left), LEFT_OCTETS)}
