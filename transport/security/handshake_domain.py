"""The forms ``domain-symmetric`` and ``domain-asymmetric``: DK in place of the module's own key pair.

The flow is that of ``handshake_three``, with the key agreement of ``agree-then-sign``::

    symmetric
    m1  module to supplier   41 | suite | nonce 16 | share
    m2  supplier to module   42 | nonce 16 | share | supplier's signature | MAC
    m3  module to supplier   43 | MAC

    asymmetric
    m1  module to supplier   51 | suite | nonce 16 | share
    m2  supplier to module   52 | nonce 16 | share | supplier's signature | MAC
    m3  module to supplier   53 | signature under DK | MAC

    T1 = SHA-256(label | terms | DK's identity | supplier's key | m1 | m2 up to its signature)
    T2 = SHA-256(label | T1 | m2)
    secret    = symmetric: framed(label | shared secret | DK's key for handshakes)
                asymmetric: the shared secret
    keys      = HKDF(secret; a label for each, T1)
    signature = over (label with the role | T1 in m2, T2 in m3)
    MAC       = HMAC-SHA-256, first 16 octets, under that side's confirmation key,
                over (label with the role | T1 in m2, T2 in m3 | signature, empty where there is none)

DK's identity holds its kind and generation and, of an asymmetric one, suite and public key; of a symmetric
one a value derived from it that gives nothing of it away (``DomainKey.identity``). The terms of these forms
name the logic name beside the UA.

What they prove. To the module: that the supplier is there, by his own key KPrFO, for this resource and this
module. He signs in both kinds: DK alone would prove nothing, since every module has it. To the supplier: that
*a module of the domain* is there. Not which one: the UA is what that module says of itself, and whoever holds
DK (of an asymmetric one: the pair) can say any. Nothing may hang on it that must not be open to every module
of the domain, personal data least of all; for those there are the forms with the module's own keys.

Why they hold, against one who owns the network, opens as many sessions as he likes under keys of his own, and
may have the long-term keys of anyone but the two sides in question; one who holds DK is a module of the
domain. Assumed: as in ``agree-then-sign``, and that a symmetric DK is 32 octets that nobody can guess.

* *Agreement.* The module has keys only after a signature by the supplier's registered key over its own fresh
  nonce and share, its own idea of the terms, and this DK. The supplier has keys only after a proof by a
  holder of DK over his fresh nonce and share: symmetric, a MAC under a key that needs DK and the shared
  secret; asymmetric, a signature and such a MAC.
* *One who holds DK* passes for any module to the supplier (see above). He does not pass for the supplier to a
  module, and between the two he can neither read nor alter: the share in m2 is signed by the supplier over
  the share of m1, and without the secret of either share he has no keys. So modules of one domain that share
  DK do not share their sessions.
* *One who does not hold DK* gets a signed m2 and can make no m3.
* *Unknown key share, identity misbinding.* Logic name, both identities, DK and the supplier's key are under
  the supplier's signature and in the module's proof. A supplier who serves two domains cannot be led to take
  a module of the one for one of the other.
* *Key confirmation both ways, no key before proof, reflection, replay, splice, downgrade, degenerate shares,
  cross-protocol.* As in ``agree-then-sign``, word for word: the messages differ in m3 only. The two kinds are
  two forms with numbers and labels of their own, and DK says itself of which kind it is, so that neither can
  be taken for the other.
* *Forward secrecy.* The secret is an ephemeral agreement's; DK only joins it. One who gets DK and the
  supplier's key later opens no recorded session.

When a module of the domain is lost to an attacker, DK is, and what is left is what DK does not carry: the
supplier's signature. Renew the domain (``domain_key``) and bind nothing to its UAs.

``HandshakeRejected.reason`` is one of: unknown-message, wrong-form, out-of-order, wrong-suite, bad-length,
reflected, bad-share, bad-public-key, bad-signature, bad-confirmation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from transport.security.handshake_method import Agreement
from transport.security.terms import DOMAIN_ASYMMETRIC, DOMAIN_SYMMETRIC, INITIATOR, RESPONDER

if TYPE_CHECKING:
    from transport.security.domain_key import DomainKey
    from transport.security.keyset import KeySchedule
    from transport.security.suites import SigningKey


class _Domain(Agreement):
    """What both kinds have in common: DK stands for the initiator."""

    @property
    def _domain_key(self) -> DomainKey:
        assert self._credentials.domain_key is not None
        return self._credentials.domain_key

    def _keys_of(self, role: str) -> bytes:
        return self._domain_key.identity if role == INITIATOR else super()._keys_of(role)


class DomainSymmetric(_Domain):
    """One side of the form whose DK joins the key schedule."""

    form: ClassVar[str] = DOMAIN_SYMMETRIC
    signers: ClassVar[frozenset[str]] = frozenset({RESPONDER})

    def schedule(self, secret: bytes, transcript: bytes) -> KeySchedule:
        """See ``Method.schedule``; the secret needs DK too."""
        mixed = self._labelled("secret", secret, self._domain_key.derive("handshake"))
        return super().schedule(mixed, transcript)


class DomainAsymmetric(_Domain):
    """One side of the form whose DK signs."""

    form: ClassVar[str] = DOMAIN_ASYMMETRIC

    def _own_signing_key(self) -> SigningKey | None:
        return self._domain_key.signing_key if self.role == INITIATOR else super()._own_signing_key()

    def _peer_signing_public(self) -> tuple[str, bytes]:
        key = self._domain_key
        return (key.suite, key.public) if self.role == RESPONDER else super()._peer_signing_public()
