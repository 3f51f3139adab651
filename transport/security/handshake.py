"""The forms of secure connection between a module, who opens it, and a supplier, who answers.

Every form is walked in the same way, so that nobody who uses one asks which it is::

    side = initiator(terms, credentials, rng)     side = responder(terms, credentials, rng)
    m1 = side.start()                             answer = side.receive(message)
    answer = side.receive(message)                side.state, side.keys
    side.state, side.keys

``receive`` returns what to send back, or None when there is nothing left to say. ``keys`` are there as soon
as ``state`` is ESTABLISHED: on the module's side with its last message, on the supplier's when he has it.

What the forms have in common: mutual authentication; key confirmation both ways; suite, form, the suites of
both sides' keys, both identities, TAR, keyset index, protection, Diffie-Hellman parameters, logic name and
both nonces in the transcript; keys of their own for each direction; no keys before proof; nothing chosen on
the air. How each does it, and why it holds, stands at the top of its room.

    form                secret from      module proves itself by   supplier by     forward secret
    agree-then-sign     agreement        its own key               his own key     yes
    key-transport       two sealed       its own key               his own key     no
    sign-then-agree     agreement        its own key, beforehand   his, likewise   yes
    domain-symmetric    agreement, DK    DK: "one of the domain"   his own key     yes
    domain-asymmetric   agreement        DK: "one of the domain"   his own key     yes

Octets of each message, where both sides' keys are of the suite that agrees; and how many short messages it
takes to bring all of them as the data of packets of their own, each with 16 octets of header and no checksum:

    form               suite              m1    m2    m3    m4    m5   octets   short messages
    agree-then-sign    x25519             50   129    81     -     -      260                4
    agree-then-sign    p256               51   130    81     -     -      262                4
    agree-then-sign    rsa-ffdh          402   801   401     -     -     1604               15
    agree-then-sign    rsa-2048-ffdh     274   545   273     -     -     1092               11
    agree-then-sign    pq-hybrid        1234  4526  3390     -     -     9150               70
    key-transport      x25519             98   177    81     -     -      356                4
    key-transport      p256              131   210    81     -     -      422                5
    key-transport      rsa-ffdh          450   849   401     -     -     1700               15
    key-transport      rsa-2048-ffdh     322   593   273     -     -     1188               11
    key-transport      pq-hybrid        1186  4574  3390     -     -     9150               70
    sign-then-agree    x25519             18    81    97   113    17      326                5
    sign-then-agree    p256               18    81    98   114    17      328                5
    sign-then-agree    rsa-ffdh           18   401   769   785    17     1990               18
    sign-then-agree    rsa-2048-ffdh      18   273   513   529    17     1350               14
    sign-then-agree    pq-hybrid          18  3390  4590  4510    17    12525               97
    domain-symmetric   x25519             50   129    17     -     -      196                4
    domain-symmetric   p256               51   130    17     -     -      198                4
    domain-symmetric   rsa-ffdh          402   801    17     -     -     1220               12
    domain-symmetric   rsa-2048-ffdh     274   545    17     -     -      836                9
    domain-symmetric   pq-hybrid        1234  4526    17     -     -     5777               45
    domain-asymmetric  x25519             50   129    81     -     -      260                4
    domain-asymmetric  p256               51   130    81     -     -      262                4
    domain-asymmetric  rsa-ffdh          402   801   401     -     -     1604               15
    domain-asymmetric  rsa-2048-ffdh     274   545   273     -     -     1092               11
    domain-asymmetric  pq-hybrid        1234  4526  3390     -     -     9150               70

Not here: an end to the session before. A new session's keys take the place of the old one's when ``keys`` is
there and not sooner, or an unproven m1 would end a session; that is the session layer's to do, and it also
says when a half-finished attempt gives way. There are no retransmissions either: the same octets may be sent
again by whoever carries them, and who must not lose an attempt to a stray message lets a copy of the side
judge it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from transport.security.handshake_agree_then_sign import AgreeThenSign
from transport.security.handshake_credentials import NEEDS, Credentials
from transport.security.handshake_domain import DomainAsymmetric, DomainSymmetric
from transport.security.handshake_five import FiveInitiator, FiveResponder
from transport.security.handshake_key_transport import KeyTransport
from transport.security.handshake_side import Side
from transport.security.handshake_sign_then_agree import SignThenAgree
from transport.security.handshake_states import State
from transport.security.handshake_three import ThreeInitiator, ThreeResponder
from transport.security.terms import FORM_NUMBERS, INITIATOR, KEY_TRANSPORT, RESPONDER, Terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transport.security.handshake_method import Method
    from transport.security.suites import Rng

__all__ = [
    "FORWARD_SECRET",
    "NEEDS",
    "Credentials",
    "Side",
    "State",
    "initiator",
    "responder",
]


class _Form(NamedTuple):
    """What makes up a form: its method, and the flow that each side walks with it."""

    method: type[Method]
    initiator: type[Side]
    responder: type[Side]


_FORMS: Final[Mapping[str, _Form]] = MappingProxyType(
    {
        method.form: _Form(method, opening, answering)
        for method, opening, answering in (
            (AgreeThenSign, ThreeInitiator, ThreeResponder),
            (KeyTransport, ThreeInitiator, ThreeResponder),
            (SignThenAgree, FiveInitiator, FiveResponder),
            (DomainSymmetric, ThreeInitiator, ThreeResponder),
            (DomainAsymmetric, ThreeInitiator, ThreeResponder),
        )
    }
)
FORWARD_SECRET: Final = frozenset(FORM_NUMBERS) - {KEY_TRANSPORT}
"""The forms whose recorded sessions stay closed to one who gets all long-term keys, and DK, later."""


def initiator(terms: Terms, credentials: Credentials, rng: Rng) -> Side:
    """Return the module's side of one attempt; ValueError when *credentials* are lacking or do not fit."""
    form = _FORMS[terms.form]
    return form.initiator(form.method(terms, INITIATOR, credentials, rng))


def responder(terms: Terms, credentials: Credentials, rng: Rng) -> Side:
    """Return the supplier's side of one attempt; ValueError when *credentials* are lacking or do not fit."""
    form = _FORMS[terms.form]
    return form.responder(form.method(terms, RESPONDER, credentials, rng))
