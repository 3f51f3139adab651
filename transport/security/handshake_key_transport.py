"""The form ``key-transport``: each side seals a contribution to the other's public key and signs it.

The flow is that of ``handshake_three``; what is sealed is 32 octets drawn for this attempt::

    m1  module to supplier   21 | suite | nonce 16 | module's contribution, sealed to the supplier
    m2  supplier to module   22 | nonce 16 | supplier's contribution, sealed to the module | signature | MAC
    m3  module to supplier   23 | signature | MAC

    keys of a side = framed(label | its public key to verify with | its public key to seal to)
    T1 = SHA-256(label | terms | module's keys | supplier's keys | m1 | m2 up to its signature)
    T2 = SHA-256(label | T1 | m2)
    info of the sealing = label with the role | terms | module's keys | supplier's keys |
                          what has been said, up to the contribution
    keys      = HKDF(framed(label | module's contribution | supplier's contribution); a label for each, T1)
    signature = each side's long-term key over (label with the role | T1 in m2, T2 in m3)
    MAC       = HMAC-SHA-256, first 16 octets, under that side's confirmation key,
                over (label with the role | T1 in m2, T2 in m3 | signature)

Each side's keys, to sign and to open with, are of the suite that the terms give it; the terms' ``suite``
agrees on nothing here and is bound all the same. The module signs its contribution in m3 and not in m1: there
it also signs the supplier's nonce and contribution, which proves that it is there now, and m1 stays short.

Why it holds, against one who owns the network, opens as many sessions as he likes under keys of his own, and
may have the long-term keys of anyone but the two sides in question. Assumed: signatures cannot be forged,
sealing withstands chosen ciphertexts, HKDF is a random oracle, SHA-256 has no collisions, nonces of 16
octets do not repeat.

* *Agreement.* A side has keys only after a signature by the peer's registered key over its own fresh nonce
  and contribution, its own idea of the terms and its role. T1 holds both sealed contributions as they
  travelled, and what is sealed opens in one way only: the secrets are the same.
* *Secrecy.* The secret is known to one who made or opened both contributions. One who has the module's keys
  opens the supplier's and not the module's own; with the supplier's keys it is the other way round.
* *Unknown key share, identity misbinding.* Both identities and all four public keys are under both
  signatures and in the info of what is sealed: a contribution that a rogue passes on as his own does not
  open.
* *Key confirmation both ways.* As in ``agree-then-sign``: a MAC under a key that only the secret gives stands
  in m2 and in m3, so that whoever signs has also shown that he could open what was sealed to him.
* *No key before proof.* ``keys`` is empty until signature and MAC have been checked, in this order. The
  module does not use its private key on what is not signed. The supplier opens m1 before anybody has proven
  anything, which is why sealing must withstand chosen ciphertexts, and why a refusal does not say what about
  it failed; he gives out nothing but a contribution sealed to the module, and a MAC.
* *Reflection.* The messages of the two sides have different first octets, their signatures, MACs and infos
  different labels, identities and long-term keys must differ, and a nonce or contribution that comes back is
  refused.
* *Replay.* An old m1 gets a fresh m2 for which there is no m3. An old m2 or m3 signs another nonce.
* *Splice.* T2 holds the whole of m2, T1 the whole of m1; a contribution opens under its own nonce only.
* *Downgrade, cross-protocol.* As in ``agree-then-sign``: nothing is chosen on the air, every signed and every
  sealed string starts with a label of its own.
* *No forward secrecy.* One who records a session and later gets the private keys that *both* sides open
  with, reads it: a test does so. One side's keys are not enough, for each opens one contribution. This is the
  form for modules whose hardware seals but does not agree; where both are there, the others are better.

Not claimed: deniability, or hiding from an observer that two parties speak. When m3 is lost the module has
keys that the supplier has not, as in ``agree-then-sign``.

``HandshakeRejected.reason`` is one of: unknown-message, wrong-form, out-of-order, wrong-suite, bad-length,
reflected, cannot-open, bad-public-key, bad-signature, bad-confirmation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from transport.security.handshake_method import Method
from transport.security.suite_base import draw
from transport.security.suites import suite
from transport.security.terms import INITIATOR, KEY_TRANSPORT, RESPONDER

if TYPE_CHECKING:
    from transport.security.handshake_credentials import Credentials
    from transport.security.suites import Rng, SealingKey
    from transport.security.terms import Terms

CONTRIBUTION_OCTETS: Final = 32


class KeyTransport(Method):
    """One side of this form."""

    form: ClassVar[str] = KEY_TRANSPORT

    def __init__(self, terms: Terms, role: str, credentials: Credentials, rng: Rng) -> None:
        super().__init__(terms, role, credentials, rng)
        if self._sealing_key.public == credentials.peer_sealing_public:
            raise ValueError("both sides have the same sealing key")

    @property
    def _sealing_key(self) -> SealingKey:
        assert self._credentials.sealing_key is not None
        return self._credentials.sealing_key

    def _keys_of(self, role: str) -> bytes:
        own = role == self.role
        sealing = self._sealing_key.public if own else self._credentials.peer_sealing_public
        return self._labelled("keys", super()._keys_of(role), sealing)

    @property
    def offer_length(self) -> int:
        """The octets of a contribution sealed to the supplier."""
        return suite(self.terms.signing_suite(RESPONDER)).sealed_length(CONTRIBUTION_OCTETS)

    @property
    def answer_length(self) -> int:
        """The octets of a contribution sealed to the module."""
        return suite(self.terms.signing_suite(INITIATOR)).sealed_length(CONTRIBUTION_OCTETS)

    def _info(self, role: str, head: bytes) -> bytes:
        return self._labelled(f"{role} contributes", *self._bound, head)

    def _seal(self, head: bytes) -> tuple[bytes, bytes]:
        """Return a new contribution sealed to the peer, and in clear."""
        contribution = draw(self._rng, CONTRIBUTION_OCTETS)
        public, info = self._credentials.peer_sealing_public, self._info(self.role, head)
        return suite(self.terms.signing_suite(self.peer_role)).seal(public, contribution, info), contribution

    def _open(self, sealed: bytes, head: bytes) -> bytes:
        key = self._sealing_key
        return suite(key.suite).open(key, sealed, self._info(self.peer_role, head))

    def _secret(self, initiator: bytes, responder: bytes) -> bytes:
        return self._labelled("secret", initiator, responder)

    def offer(self, head: bytes) -> tuple[bytes, object]:
        """See ``Method.offer``; SealRejected("bad-public-key") when the supplier's registered key is none."""
        return self._seal(head)

    def answer(self, offer: bytes, *, offer_head: bytes, head: bytes) -> tuple[bytes, bytes]:
        """See ``Method.answer``; SealRejected: "cannot-open", "bad-public-key"."""
        theirs = self._open(offer, offer_head)
        sealed, ours = self._seal(head)
        return sealed, self._secret(theirs, ours)

    def finish(self, kept: object, answer: bytes, *, head: bytes) -> bytes:
        """See ``Method.finish``; SealRejected("cannot-open")."""
        assert isinstance(kept, bytes)
        return self._secret(kept, self._open(answer, head))
