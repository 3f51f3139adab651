"""The form ``agree-then-sign``: key agreement first, then each side signs all that was said.

The flow is that of ``handshake_three``::

    m1  module to supplier   11 | suite | nonce 16 | share
    m2  supplier to module   12 | nonce 16 | share | signature | MAC
    m3  module to supplier   13 | signature | MAC

    T1 = SHA-256(label | terms | module's key | supplier's key | m1 | m2 up to its signature)
    T2 = SHA-256(label | T1 | m2)
    keys      = HKDF(shared secret; a label for each, T1)
    signature = each side's long-term key over (label with the role | T1 in m2, T2 in m3)
    MAC       = HMAC-SHA-256, first 16 octets, under that side's confirmation key,
                over (label with the role | T1 in m2, T2 in m3 | signature)

Why it holds, against one who owns the network, opens as many sessions as he likes under keys of his own,
and may have the long-term keys of anyone but the two sides in question. Assumed: signatures cannot be
forged, the gap Diffie-Hellman problem is hard in the suite's group (of a suite that encapsulates: its KEM
withstands chosen ciphertexts), HKDF is a random oracle, SHA-256 has no collisions, nonces of 16 octets do not
repeat.

* *Agreement.* A side has keys only after a signature by the peer's registered key over its own fresh nonce
  and share, its own idea of the terms, and its role. So the peer ran this form, in the other role, for this
  TAR, with us, with the same shares: the secrets are the same, and every run accepted has a run of its own
  on the other side.
* *Unknown key share, identity misbinding.* Both identities and both public keys are under both signatures.
  One who strips a signature and puts his own there, or who registers the other's public key under his own
  name, changes T1, and neither side can be led to hold a key that it takes to be shared with somebody else.
* *Key confirmation both ways.* A MAC under a key that only the secret gives stands in m2 and in m3, a
  different key for each side. Whoever signs has also shown that it has KS; a signing oracle alone passes
  neither check.
* *No key before proof.* ``keys`` is empty until signature and MAC have been checked, in this order; the
  module does not touch its ephemeral key for a share that is not signed. The supplier derives before m3
  comes, to make his MAC, but gives nothing out.
* *Reflection.* The messages of the two sides have different first octets, their signatures and MACs different
  labels and keys, identities and long-term keys must differ, and a share or nonce that comes back is refused.
* *Replay.* An old m1 gets a fresh m2 for which there is no m3. An old m2 or m3 signs another nonce and share.
* *Splice.* T2 holds the whole of m2, T1 the whole of m1: parts of two runs never make one that both accept.
* *Downgrade.* Nothing is chosen on the air. Suite and form are in T1 from each side's own terms, so the
  only effect of altering the suite octet in m1 is a refusal; it is there to give that refusal its name.
* *Degenerate shares.* Those that make the secret independent of us (X25519's all-zero results; points not
  on P-256; 0, 1 and M - 1 in a finite field) are refused by the suite; what is no ciphertext of a KEM gives a
  secret that nobody shares. Each side's keys also depend on its own nonce through T1.
* *Cross-protocol.* Every signed string starts with a label of its own; no certificate, sealed message or
  command is a handshake signature, nor one form's signature another's.
* *Forward secrecy.* Ephemeral keys and secrets are let go as soon as they are used (Python cannot wipe
  them). One who gets the long-term keys later opens no recorded session; one who gets a side's long-term
  key now can pose as that side but not, to that side, as another.

Not claimed: deniability, or hiding from an observer that two parties speak. When m3 is lost the module has
keys that the supplier has not: its first packet fails, and the module opens a new session, which costs no
security.

``HandshakeRejected.reason`` is one of: unknown-message, wrong-form, out-of-order, wrong-suite, bad-length,
reflected, bad-share, bad-public-key, bad-signature, bad-confirmation.
"""

from __future__ import annotations

from typing import ClassVar

from transport.security.handshake_method import Agreement
from transport.security.terms import AGREE_THEN_SIGN


class AgreeThenSign(Agreement):
    """One side of this form."""

    form: ClassVar[str] = AGREE_THEN_SIGN
