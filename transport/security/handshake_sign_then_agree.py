"""The form ``sign-then-agree``: each side proves who it is, and only then they agree on a key, bound to that.

The flow is that of ``handshake_five``::

    m1  module to supplier   31 | suite | nonce 16
    m2  supplier to module   32 | nonce 16 | signature
    m3  module to supplier   33 | share | signature
    m4  supplier to module   34 | share | signature | MAC
    m5  module to supplier   35 | MAC

    T1 = SHA-256(label | terms | module's key | supplier's key | m1 | m2 up to its signature)
    T2 = SHA-256(label | T1 | m2 | m3 up to its signature)
    T3 = SHA-256(label | T2 | m3 | m4 up to its signature)
    T4 = SHA-256(label | T3 | m4)
    keys      = HKDF(shared secret; a label for each, T3)
    signature = in m2 the supplier's over (label "responder signs" | T1), in m3 the module's over
                (label "initiator signs" | T2), in m4 the supplier's over (label "responder agrees" | T3)
    MAC       = HMAC-SHA-256, first 16 octets, under that side's confirmation key,
                over (label with the role | T3 in m4, T4 in m5 | signature, empty in m5)

The supplier signs twice. Signatures over nonces alone would prove who is there but not whose share it is that
comes after them: one in the middle could let them pass and put in shares of his own. The module, who has seen
the supplier's signature when it makes its share, signs nonces and share at once; the supplier signs the
nonces in m2 and his share in m4.

What it is for: neither side makes a share or computes a secret for one who has not proven himself in this
very attempt. Where agreement is dear (a module's big numbers, a supplier under a flood of calls) this is what
the longer road pays for.

Why it holds, against one who owns the network, opens as many sessions as he likes under keys of his own,
and may have the long-term keys of anyone but the two sides in question. Assumed: signatures cannot be
forged, the gap Diffie-Hellman problem is hard in the suite's group (of a suite that encapsulates: its KEM
withstands chosen ciphertexts), HKDF is a random oracle, SHA-256 has no collisions, nonces of 16 octets do not
repeat.

* *Mutual authentication first.* The module goes on only after the supplier's signature over its fresh nonce;
  the supplier only after the module's over his. Both signatures hold the terms, both identities, both keys
  and both nonces, under labels of their own.
* *Agreement bound to it.* Each Ti holds the one before and all that has been said since. The module's
  signature covers its share, the supplier's second one both shares; so a side has keys only after a signature
  by the peer's registered key over its own fresh nonce and share: the secrets are the same, and every run
  accepted has a run of its own on the other side.
* *Unknown key share, identity misbinding.* T1 holds both identities and both public keys, and every later
  hash holds T1.
* *Key confirmation both ways.* A MAC under a key that only the secret gives stands in m4 and in m5, a
  different key for each side.
* *No key before proof.* The module has keys after m4, when signature and MAC have been checked, in this
  order; the supplier after m5, although m3 was signed: only m5 shows that the module has come to the same
  keys.
* *Reflection.* The messages of the two sides have different first octets, their signatures and MACs different
  labels and keys, identities and long-term keys must differ, and a nonce or share that comes back is refused.
* *Replay.* An old m1 gets a signature over a fresh nonce, which makes no session. An old m2 or m3 signs
  another nonce, an old m4 another share, an old m5 is a MAC under other keys.
* *Splice.* T4 holds all that was said: parts of two runs never make one that both accept. The supplier's two
  signatures have different labels, so that neither stands in for the other.
* *Downgrade, degenerate shares, cross-protocol.* As in ``agree-then-sign``.
* *A signing oracle.* Whoever sends m1 gets the supplier's signature. What is signed is a hash under a label
  of this form, over a nonce of the signer: of use nowhere else.
* *Forward secrecy.* Ephemeral keys and secrets are let go as soon as they are used. One who gets the
  long-term keys later opens no recorded session.

Not claimed: deniability, or hiding from an observer that two parties speak. When m5 is lost the module has
keys that the supplier has not: its first packet fails, and the module opens a new session, which costs no
security.

``HandshakeRejected.reason`` is one of: unknown-message, wrong-form, out-of-order, wrong-suite, bad-length,
reflected, bad-share, bad-public-key, bad-signature, bad-confirmation.
"""

from __future__ import annotations

from typing import ClassVar

from transport.security.handshake_method import Agreement
from transport.security.terms import SIGN_THEN_AGREE


class SignThenAgree(Agreement):
    """One side of this form."""

    form: ClassVar[str] = SIGN_THEN_AGREE
