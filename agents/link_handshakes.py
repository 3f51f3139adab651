"""How two roles make a secure connection: the handshake between supplier and module, in other hands.

The asker opens it, the other answers; each goes by the other's public keys, as the directory has them, and by
nothing that comes over the wire. The suite that agrees is that of the other's keys, as a module agrees in its
supplier's; the form is the config's.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agents.link_session import LINK_TAR, Session
from agents.messages.link import LABEL_OCTETS
from transport.errors import CertificateRejected
from transport.security.certificates import Role
from transport.security.handshake import Credentials, State, initiator, responder
from transport.security.suite_base import draw
from transport.security.terms import Terms

if TYPE_CHECKING:
    from agents.directory import Directory, Party
    from agents.identity import RoleKeys
    from agents.link_ways import LinkForms
    from transport.security.handshake import Side
    from transport.security.suites import Rng


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at session *label* with *peer*, and where it stands."""

    label: bytes
    peer: Party
    side: Side
    made_at: float
    heard: bytes | None = field(default=None, repr=False)
    """The last message of the other side that was good."""
    said: bytes = field(default=b"", repr=False)
    """What was said to that, or to begin with."""

    @property
    def is_done(self) -> bool:
        """Whether the other side has proven itself: there are keys."""
        return self.side.state is State.ESTABLISHED

    def hear(self, octets: bytes) -> Attempt:
        """Return the attempt after a message of the other side; the same one for what it just heard.

        Raises HandshakeRejected, and then this attempt is what it was: anybody may have sent that.
        """
        if octets == self.heard:
            return self
        side = copy(self.side)
        said = side.receive(octets)
        return replace(self, side=side, heard=octets, said=said or b"")

    def session(self, *, asks: bool) -> Session:
        """Return what came of it."""
        return Session(label=self.label, peer=self.peer, keys=self.side.keys, asks=asks)


class Handshakes:
    """One role's part in handshakes with all others."""

    def __init__(self, *, keys: RoleKeys, directory: Directory, forms: LinkForms, rng: Rng) -> None:
        self._keys = keys
        self._directory = directory
        self._forms = forms
        self._rng = rng

    def peer(self, name: str) -> Party:
        """Return whom to shake hands with.

        Raises MessageRejected ("unknown-role"), or CertificateRejected: as ``Directory.party`` has it, and
        "wrong-role", "same-key", "no-sealing-key".
        """
        peer, own = self._directory.party(name), self._keys
        faults = {
            # Modules are not on the inside road, whoever certified them.
            "wrong-role": peer.role == Role.MODULE,
            "same-key": peer.signing_public == own.signing.public
            or peer.sealing_public == own.sealing.public,
            "no-sealing-key": not peer.sealing_public,
        }
        for reason, found in faults.items():
            if found:
                raise CertificateRejected(reason, name)
        return peer

    def begin(self, peer: Party, now: float) -> Attempt:
        """Return an attempt of our own; ``said`` opens it. Raises Rejected if there can be none."""
        side = initiator(*self._terms(peer, asks=True), self._rng)
        label = draw(self._rng, LABEL_OCTETS)
        return Attempt(label=label, peer=peer, side=side, made_at=now, said=side.start())

    def await_opening(self, label: bytes, peer: Party, now: float) -> Attempt:
        """Return our part in an attempt of *peer*'s. Raises Rejected if there can be none."""
        side = responder(*self._terms(peer, asks=False), self._rng)
        return Attempt(label=label, peer=peer, side=side, made_at=now)

    def _terms(self, peer: Party, *, asks: bool) -> tuple[Terms, Credentials]:
        own = self._keys
        form = self._forms.between(own.name, peer.name)
        ours, theirs = (own.name, own.suite), (peer.name, peer.suite)
        (asker, asker_suite), (other, other_suite) = (ours, theirs) if asks else (theirs, ours)
        terms = Terms(
            suite=other_suite,
            form=form,
            initiator=asker.encode(),
            responder=other.encode(),
            tar=LINK_TAR,
            initiator_suite=asker_suite,
            responder_suite=other_suite,
        )
        credentials = Credentials(
            signing_key=own.signing,
            sealing_key=own.sealing,
            peer_signing_public=peer.signing_public,
            peer_sealing_public=peer.sealing_public,
        )
        return terms, credentials
