"""The domain key (DK): what all modules that hold one global service have in common, and how it reaches them.

A *symmetric* DK is 32 octets; whoever has them can claim to be any module of the domain. An *asymmetric* DK
is a pair of keys of one suite: modules hold the pair and sign with it, the supplier needs its public half
only. Every use takes a key of its own, ``derive``, so that none of them can be turned against another; for
what is encrypted to all modules at once a pair has a secret in common as well, ``derive_common``.

How it travels, wrapped to one module's sealing key, through an operator who cannot read it::

    format 01 | suite of the module's sealing key | generation (4) | HPKE       to who has the one before
    format 02 | suite | generation (4) | ticket (8) | HPKE                      with a reservation
    (info = label | all that stands before | UA | TAR | logic name)

inside which stands what ``dump`` gives::

    kind 01 | generation (4) | oldest (4) | 32 octets               symmetric
    kind 02 | generation (4) | oldest (4) | suite | private key     asymmetric, the pair
    kind 03 | generation (4) | oldest (4) | suite | public key      its public half; never wrapped

*oldest* is the oldest version of the application that a module with this key takes from a broadcast. A module
that has loaded nothing yet knows of no version that was before; without this, whoever recorded the broadcast
of an old one could load it there. It is what the key is given with, and no part of what the key is: neither
identity nor derived keys change with it.

What the wrapping proves: that only the module with that sealing key reads DK, and that it was meant for this
UA, resource, logic name and generation, and with a ticket for one reservation alone. A module draws its
tickets: nobody foresees the next one, none returns, and each is used up by one reservation, whatever comes of
it. So what was wrapped for a reservation opens in no later one, when the module has forgotten what it held
and could not tell by itself that the key is an old one. The counter of the command would not do in its place:
who commands the module chooses it, and could have a key wrapped for each of those to come.

What it does not prove is who made it: HPKE's base mode has no sender. It comes inside a signed reservation,
and an operator who puts a DK of his own there gains nothing: a supplier signs with his own key in every form,
so that the stranger's DK opens no session, it only prevents one. One whom a module has told a former DK can
put that there, and the module takes what the supplier broadcast under it. Neither has it forward secrecy:
whoever gets the module's sealing key later reads the DK that it was sent.

A domain is renewed by a DK of a higher generation; ``newer_than`` refuses the return of an old one to a
module that has it still.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812 -- it is an exception, named in lower case there
from typing import TYPE_CHECKING, Final

from transport.errors import SealRejected
from transport.security.framing import framed
from transport.security.keyset import expand, extract
from transport.security.suite_base import draw
from transport.security.suites import SigningKey, suite, suite_by_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transport.security.suites import Rng, SealingKey

FORMAT: Final = 1
FORMAT_WITH_TICKET: Final = 2
TICKET_OCTETS: Final = 8
FIRST_TICKET: Final = bytes(TICKET_OCTETS)
"""What stands for the ticket of a module that has drawn none yet."""
SYMMETRIC_OCTETS: Final = 32
MAX_GENERATION: Final = 2**32 - 1
MAX_DUMP_OCTETS: Final = 512
"""More than ``DomainKey.dump`` gives in any suite."""
MAX_OLDEST: Final = 2**32 - 1
OTHER_RESERVATION: Final = "other-reservation"
"""The reason of a module that is given what was wrapped for another of its reservations."""
_HEAD: Final = Struct(">BII")
_PAIR_HEAD: Final = _HEAD.size + 1
_HEADER: Final = 6
_SIGNER: Final = "signing key"
_IDENTITY: Final = "identity"
_PAIR_SALT: Final = b"otafleet/1 domain key pair"
_WRAPPED: Final = "otafleet/1 domain key wrapped"


class Kind(IntEnum):
    """What a domain key is; the first octet of its dump."""

    SYMMETRIC = 1
    PAIR = 2
    PUBLIC_HALF = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainKey:
    """One DK; ``generation`` counts from 1. ValueError when its parts do not fit each other.

    ``suite`` and ``public`` are empty in a symmetric one; ``secret`` is empty in a public half, and in a pair
    what ``Suite.load_signing_key`` takes. ``oldest`` is a version, 0 = any.
    """

    kind: Kind
    generation: int
    suite: str = ""
    public: bytes = b""
    secret: bytes = field(default=b"", repr=False)
    oldest: int = 0
    _kept: dict[str, object] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What follows from the fields and takes long: a domain key serves every handshake of its domain."""

    def __post_init__(self) -> None:
        if not 1 <= self.generation <= MAX_GENERATION:
            raise ValueError(f"a domain key has a generation of 1..{MAX_GENERATION}, not {self.generation}")
        if not 0 <= self.oldest <= MAX_OLDEST:
            raise ValueError(f"the oldest version is 0..{MAX_OLDEST}, not {self.oldest}")
        if not _FITS[self.kind](self):
            raise ValueError(f"these are not the parts of a domain key that is {_IN_WORDS[self.kind]}")

    @property
    def signing_key(self) -> SigningKey:
        """What a module signs with; ValueError for a key that cannot sign."""
        if self.kind is not Kind.PAIR:
            raise ValueError(f"a domain key that is {_IN_WORDS[self.kind]} does not sign")
        key = self._kept.get(_SIGNER)
        if key is None:
            key = self._kept[_SIGNER] = suite(self.suite).load_signing_key(self.secret)
        assert isinstance(key, SigningKey)
        return key

    @property
    def identity(self) -> bytes:
        """What stands for this key in a transcript: another key or generation, other octets; no secret."""
        octets = self._kept.get(_IDENTITY)
        if octets is None:
            octets = self._kept[_IDENTITY] = self._identify()
        assert isinstance(octets, bytes)
        return octets

    def _identify(self) -> bytes:
        number = self.generation.to_bytes(4, "big")
        if self.kind is Kind.SYMMETRIC:
            return framed("otafleet/1 symmetric domain key", number, self.derive("identity"))
        return framed("otafleet/1 asymmetric domain key", number, self.suite.encode("ascii"), self.public)

    def derive(self, purpose: str, length: int = 32) -> bytes:
        """Return the key for one *purpose*; ValueError unless the domain key is symmetric."""
        if self.kind is not Kind.SYMMETRIC:
            raise ValueError(f"nothing is derived from a domain key that is {_IN_WORDS[self.kind]}")
        return expand(self.secret, framed("otafleet/1 domain key", purpose.encode("ascii")), length)

    @classmethod
    def of_pair(cls, key: SigningKey, *, generation: int = 1, oldest: int = 0) -> DomainKey:
        """Return the asymmetric domain key that signs with *key*."""
        made = cls(
            kind=Kind.PAIR,
            generation=generation,
            suite=key.suite,
            public=key.public,
            secret=key.private,
            oldest=oldest,
        )
        made._kept[_SIGNER] = key
        return made

    def derive_common(self, purpose: str, length: int = 32) -> bytes:
        """Return the key for one *purpose* that all who hold the secret share, be it symmetric or a pair.

        A pair's private octets are no uniform key, so they are extracted first, under a salt that serves this
        alone: what comes out tells nothing of the pair. ValueError for a public half.
        """
        if self.kind is Kind.SYMMETRIC:
            return self.derive(purpose, length)
        if self.kind is not Kind.PAIR:
            raise ValueError("a public half has no secret to derive from")
        root = extract(_PAIR_SALT, self.secret)
        named = (self.suite.encode("ascii"), purpose.encode("ascii"))
        return expand(root, framed("otafleet/1 domain key pair", *named), length)

    def public_half(self) -> DomainKey:
        """Return what a supplier needs of an asymmetric key: he cannot pose as a module with it."""
        return replace(self, kind=Kind.PUBLIC_HALF, secret=b"")

    def dump(self) -> bytes:
        """Return octets that ``load`` takes: secret, for a store as safe as keys must be."""
        head = _HEAD.pack(self.kind, self.generation, self.oldest)
        if self.kind is Kind.SYMMETRIC:
            return head + self.secret
        return head + bytes([suite(self.suite).wire_id]) + (self.secret or self.public)

    @classmethod
    def load(cls, octets: bytes) -> DomainKey:
        """Return the key that ``dump`` wrote; ValueError, which quotes nothing, when *octets* are none."""
        try:
            number, generation, oldest = _HEAD.unpack_from(octets)
            kind = Kind(number)
        except (ValueError, StructError):
            raise ValueError("a stored domain key begins with its kind") from None
        body = octets[_HEAD.size :]
        if kind is Kind.SYMMETRIC:
            return cls(kind=kind, generation=generation, secret=body, oldest=oldest)
        made = suite_by_id(body[0]) if body else None
        if made is None:
            raise ValueError("a stored asymmetric domain key names its suite")
        if kind is Kind.PUBLIC_HALF:
            return cls(kind=kind, generation=generation, suite=made.name, public=body[1:], oldest=oldest)
        return cls.of_pair(made.load_signing_key(body[1:]), generation=generation, oldest=oldest)


def generation_in(octets: bytes) -> int:
    """Return the generation of the key that ``dump`` wrote, without loading it; ValueError as ``load``."""
    try:
        return int(_HEAD.unpack_from(octets)[1])
    except StructError:
        raise ValueError("a stored domain key begins with its kind") from None


_IN_WORDS: Final = {
    Kind.SYMMETRIC: "symmetric",
    Kind.PAIR: "a pair",
    Kind.PUBLIC_HALF: "a public half",
}


def _has_public(key: DomainKey) -> bool:
    return len(key.public) == suite(key.suite).signing_public_length


_FITS: Final = {
    Kind.SYMMETRIC: lambda key: len(key.secret) == SYMMETRIC_OCTETS and not (key.suite or key.public),
    Kind.PAIR: lambda key: _has_public(key) and bool(key.secret),
    Kind.PUBLIC_HALF: lambda key: _has_public(key) and not key.secret,
}


def dump_octets(suites: Iterable[str]) -> int:
    """Return how long the dump of a domain key can be whose pair, if it is one, is of one of *suites*."""
    pairs = (_PAIR_HEAD + suite(name).signing_private_length for name in suites)
    return max((_HEAD.size + SYMMETRIC_OCTETS, *pairs))


def generate_symmetric(rng: Rng, *, generation: int = 1) -> DomainKey:
    """Return a new symmetric domain key; draws 32 octets."""
    return DomainKey(kind=Kind.SYMMETRIC, generation=generation, secret=draw(rng, SYMMETRIC_OCTETS))


def generate_asymmetric(suite_name: str, rng: Rng, *, generation: int = 1) -> DomainKey:
    """Return a new asymmetric domain key, made in *suite_name* of *rng*'s octets alone."""
    return DomainKey.of_pair(suite(suite_name).generate_signing_key(rng), generation=generation)


def wrap(
    key: DomainKey,
    *,
    sealing_public: bytes,
    sealing_suite: str,
    ua: bytes,
    tar: bytes,
    logic_name: bytes,
    ticket: bytes = b"",
) -> bytes:
    """Return *key* for module *ua* alone, which knows the resource as *tar* and *logic_name*.

    With *ticket* for the reservation that uses it up; without, for a module that has the key before this one.
    Raises ValueError for a public half, which is of no use to a module, and for what is no ticket;
    SealRejected("bad-public-key").
    """
    if key.kind is Kind.PUBLIC_HALF:
        raise ValueError("a module needs more than the public half of a domain key")
    if len(ticket) not in {0, TICKET_OCTETS}:
        raise ValueError(f"a ticket is {TICKET_OCTETS} octets, not {len(ticket)}")
    made = suite(sealing_suite)
    header = bytes([_format(ticket), made.wire_id]) + key.generation.to_bytes(4, "big") + ticket
    return header + made.seal(sealing_public, key.dump(), framed(_WRAPPED, header, ua, tar, logic_name))


def unwrap(
    octets: bytes,
    sealing_key: SealingKey,
    *,
    ua: bytes,
    tar: bytes,
    logic_name: bytes,
    newer_than: int = 0,
    ticket: bytes = b"",
) -> DomainKey:
    """Return the domain key wrapped to this module, of a generation above *newer_than*.

    With *ticket* it is the one for the reservation that uses it up, without one for who has the key before.
    Raises SealRejected: "malformed", "unknown-format", "wrong-suite", "other-reservation", "stale",
    "cannot-open", and "not-a-domain-key" for a sender who wrapped something else.
    """
    end = _HEADER + len(ticket)
    if len(octets) < end:
        raise SealRejected("malformed", "shorter than its header")
    if octets[0] != _format(ticket):
        raise SealRejected("unknown-format")
    made = suite(sealing_key.suite)
    if octets[1] != made.wire_id:
        raise SealRejected("wrong-suite")
    if octets[_HEADER:end] != ticket:
        raise SealRejected(OTHER_RESERVATION)
    generation = int.from_bytes(octets[2:_HEADER], "big")
    if generation <= newer_than:
        raise SealRejected("stale", f"generation {generation} is not above {newer_than}")
    info = framed(_WRAPPED, octets[:end], ua, tar, logic_name)
    opened = made.open(sealing_key, octets[end:], info)
    try:
        key = DomainKey.load(opened)
    except ValueError:
        raise SealRejected("not-a-domain-key") from None
    if key.kind is Kind.PUBLIC_HALF or key.generation != generation:
        raise SealRejected("not-a-domain-key")
    return key


def _format(ticket: bytes) -> int:
    return FORMAT_WITH_TICKET if ticket else FORMAT
