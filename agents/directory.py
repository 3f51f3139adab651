"""Whom a role goes by: everybody's public keys, and on whose word.

A market has one directory. In it a role is entered at the launch, and a module's keys are judged whenever
somebody is told of them. There are two kinds, and whoever looks into one need not know which:

* By certificates: each role comes with its chain from the authority down, and by the one issuer that it has
  to be of (a supplier's operator, say), so that nobody else who may issue for suppliers can make another one
  of that name. Signatures are checked once, when a chain comes in. What may change, validity and revocation,
  is looked at whenever a role goes by it: a certificate that runs out during a run is of no more use.
* By keys alone, where the market has no certificates: what came over the channel that was authenticated
  already is pinned, and nothing runs out. Of a module's key there is only the word of who passed it on: an
  operator can pass a key of its own as a module's, and stand between that module and its suppliers.

Who vouches for a role can strike it, and nobody else can: what is struck is refused as ``revoked``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agents.errors import MessageRejected
from agents.identity import certify_module
from agents.messages.codec import decode, encode
from agents.messages.inside import PublicKeys
from agents.messages.signed import check_key
from transport.errors import CertificateRejected
from transport.security import certificates
from transport.security.certificates import Certificate
from transport.security.chain import Anchor, check_current, verify_chain
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from agents.identity import RoleKeys
    from bus.clock import Clock

DEPTH: Final = 2
"""Certificates in a chain: an operator's, and below it that of a supplier."""
REMEMBERED: Final = 4096
"""Modules' certificates that were verified and need not be again; the oldest gives way."""


@dataclass(frozen=True, slots=True)
class _Verified:
    """A chain whose signatures hold, when all of it is valid, and the keys of its last subject."""

    chain: Sequence[Certificate]
    subject: str
    keys: PublicKeys
    begins: int
    ends: int

    @classmethod
    def of(cls, chain: Sequence[Certificate]) -> _Verified:
        """Return what is to be remembered of a chain that was verified."""
        begins, ends = max(one.not_before for one in chain), min(one.not_after for one in chain)
        return cls(tuple(chain), chain[-1].subject, _keys_of(chain[-1]), begins, ends)

    def check(self, now: float, revoked: AbstractSet[tuple[str, int]]) -> None:
        """Raise CertificateRejected unless every link holds now."""
        # This is asked with every message: the reason is looked for only where there is one.
        if revoked or not self.begins <= now <= self.ends:
            check_current(self.chain, now=now, revoked=revoked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """What a directory says of a role: its public keys, and who vouches for it."""

    name: str
    role: str
    issuer: str
    suite: str
    signing_public: bytes = field(repr=False)
    sealing_public: bytes = field(repr=False)
    serial: int = 0
    """Of the certificate that says so; 0 where none does."""

    @classmethod
    def certified(cls, certificate: Certificate) -> Party:
        """Return the subject of a certificate."""
        return cls(
            name=certificate.subject,
            role=certificate.role,
            issuer=certificate.issuer,
            suite=certificate.suite,
            signing_public=certificate.signing_public,
            sealing_public=certificate.sealing_public,
            serial=certificate.serial,
        )

    @classmethod
    def known(cls, keys: RoleKeys, *, issuer: str) -> Party:
        """Return the public half of a role's own keys."""
        return cls(
            name=keys.name,
            role=keys.role,
            issuer=issuer,
            suite=keys.suite,
            signing_public=keys.signing.public,
            sealing_public=keys.sealing.public,
        )


class Directory(ABC):
    """The public keys of a market's roles and modules."""

    def __init__(self) -> None:
        self._parties: dict[str, Party] = {}

    def introduced(self, name: str) -> Party:
        """Return who was entered as *name*, whatever has become of that: to open what it says, and to say no.

        Raises MessageRejected (``unknown-role``) for a name that nobody vouched for.
        """
        party = self._parties.get(name)
        if party is None:
            raise MessageRejected("unknown-role")
        return party

    @abstractmethod
    def party(self, name: str) -> Party:
        """Return who *name* is as of now. Raises as ``introduced``, and CertificateRejected."""

    @abstractmethod
    def revoke(self, name: str, *, by: str) -> None:
        """Strike *name*, if it is *by* that vouched for it."""

    @abstractmethod
    def vouch(self, ua: str, keys: PublicKeys, *, issuer: RoleKeys, now: float) -> bytes:
        """Return what the authority gives out of a module's keys."""

    @abstractmethod
    def module(self, octets: bytes, ua: str) -> PublicKeys:
        """Return module *ua*'s keys, which the authority gave out in *octets*. Raises Rejected."""

    def _enter(self, party: Party) -> None:
        if party.name in self._parties:
            raise CertificateRejected("duplicate-subject", party.name)
        self._parties[party.name] = party


class CertificateDirectory(Directory):
    """Everybody by certificate; *clock* says when one has run out."""

    def __init__(self, authority: Certificate, *, clock: Clock) -> None:
        """Take the authority, the anchor of all chains, by its own word. Raises CertificateRejected."""
        super().__init__()
        self._clock = clock
        self._anchor = Anchor.of(authority)
        self._revoked: set[tuple[str, int]] = set()
        self._modules: dict[bytes, _Verified] = {}
        certificates.verify(
            authority,
            issuer_public=authority.signing_public,
            issuer_suite=authority.suite,
            issuer=authority.subject,
            role=certificates.Role.AUTHORITY,
            now=clock.now(),
        )
        self._verified = {authority.subject: _Verified.of((authority,))}
        self._enter(Party.certified(authority))

    def enter(self, chain: Sequence[Certificate], *, role: str, issuer: str) -> None:
        """Enter the last subject of *chain*, in *role*, by *issuer*'s word. Raises CertificateRejected."""
        certificate = verify_chain(
            chain,
            self._anchor,
            subject=chain[-1].subject if chain else "",
            role=role,
            issuer=issuer,
            now=self._clock.now(),
            revoked=self._revoked,
            max_depth=DEPTH,
        )
        self._enter(Party.certified(certificate))
        self._verified[certificate.subject] = _Verified.of(chain)

    def party(self, name: str) -> Party:
        """Return who *name* is, by every certificate of its chain as of now."""
        party = self.introduced(name)
        self._verified[name].check(self._clock.now(), self._revoked)
        return party

    def revoke(self, name: str, *, by: str) -> None:
        """Revoke the certificate by which *name* was entered, if *by* issued it."""
        known = self._verified.get(name)
        if known is not None and known.chain[-1].issuer == by:
            self._revoked.add((by, known.chain[-1].serial))

    def vouch(self, ua: str, keys: PublicKeys, *, issuer: RoleKeys, now: float) -> bytes:
        """Return a certificate of the module's keys."""
        certificate = certify_module(
            ua, keys.suite, keys.signing_public, keys.sealing_public, issuer=issuer, now=now
        )
        return certificate.encode()

    def module(self, octets: bytes, ua: str) -> PublicKeys:
        """Return the keys in the module's certificate, which holds now."""
        known, now = self._modules.get(octets), self._clock.now()
        if known is None or known.subject != ua:
            certificate = verify_chain(
                (Certificate.parse(octets),),
                self._anchor,
                subject=ua,
                role=certificates.Role.MODULE,
                now=now,
                revoked=self._revoked,
                max_depth=1,
            )
            while len(self._modules) >= REMEMBERED:
                del self._modules[next(iter(self._modules))]
            known = self._modules[octets] = _Verified.of((certificate,))
        known.check(now, self._revoked)
        return known.keys


class KeyDirectory(Directory):
    """Everybody by the keys that came over an authenticated channel."""

    def __init__(self) -> None:
        super().__init__()
        self._struck: set[str] = set()

    def enter(self, keys: RoleKeys, *, issuer: str) -> None:
        """Pin the public keys of a role whom *issuer* introduced. Raises CertificateRejected."""
        self._enter(Party.known(keys, issuer=issuer))

    def party(self, name: str) -> Party:
        """Return who *name* is, unless who introduced it has struck it."""
        party = self.introduced(name)
        if name in self._struck:
            raise CertificateRejected("revoked", name)
        return party

    def revoke(self, name: str, *, by: str) -> None:
        """Strike a role, if *by* introduced it."""
        known = self._parties.get(name)
        if known is not None and known.issuer == by:
            self._struck.add(name)

    def vouch(self, ua: str, keys: PublicKeys, *, issuer: RoleKeys, now: float) -> bytes:  # noqa: ARG002 -- bare keys say neither
        """Return the module's bare keys."""
        return encode(keys)

    def module(self, octets: bytes, ua: str) -> PublicKeys:  # noqa: ARG002 -- whose they are, the channel says
        """Return the module's bare keys, which are keys of their suite."""
        keys = decode(octets, PublicKeys)
        check_key(keys.suite, keys.signing_public)
        if len(keys.sealing_public) not in {0, SUITES[keys.suite].sealing_public_length}:
            raise MessageRejected("bad-public-key")
        return keys


def keys_in(octets: bytes) -> PublicKeys:
    """Return the keys that *octets* of either kind are about, which a directory judged before."""
    try:
        return _keys_of(Certificate.parse(octets))
    except CertificateRejected:
        return decode(octets, PublicKeys)


def _keys_of(certificate: Certificate) -> PublicKeys:
    return PublicKeys(
        suite=certificate.suite,
        signing_public=certificate.signing_public,
        sealing_public=certificate.sealing_public,
    )
