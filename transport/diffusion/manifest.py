"""The manifest of a campaign, what the supplier signs, and the fragment it opens a campaign with.

::

    format 01 | TAR 3 | generation of DK 4 | version 4 | campaign 3 | data part 1 | programme: octets 4,
    SHA-256 32 | FEC scheme 1 | piece: octets 2 | repair pieces 2 | digests in a part 1 |
    report share 1 | report within 2 | 1 + logic name | 1 + supplier |
    digests 16 each, of the parts of the list of digests

The list has the digest of each piece in turn, in parts of so many; the last has the rest. A digest is the
first 16 octets of SHA-256: who knows the domain key and forges a piece has to find a second preimage of it.

Who is to report, and within how many seconds, is signed with the rest: one who knows the domain key cannot
have a whole domain answer at once, nor silence it (:mod:`transport.diffusion.reporting`).

The head is fragment 0 of its kind and one packet, always::

    suite 1 | signature parts 1 | manifest 2 + … | signature

A signature that is too long for that (``pq-hybrid``'s 3373 octets) comes in fragments of its own, and
digests of them stand in its place. So a head names all else by content, and of many heads that a forger sent
each asks for its own parts: there is nothing to be tried out in combination.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum
from hmac import compare_digest
from struct import Struct
from struct import error as StructError  # noqa: N812 -- it is an exception, named in lower case there
from typing import Final

from transport.diffusion.erasure import MAX_PIECES, MAX_PROGRAMME, PIECE_UNIT, Scheme, source_pieces
from transport.diffusion.fragment import MAX_CAMPAIGN, check_names
from transport.errors import DiffusionRejected
from transport.security.domain_key import MAX_GENERATION
from transport.security.framing import framed
from transport.security.suites import suite, suite_by_id

FORMAT: Final = 1
DIGEST_OCTETS: Final = 16
MAX_VERSION: Final = 2**32 - 1
MAX_PIECE: Final = 1200
MAX_DIGESTS_IN_PART: Final = MAX_PIECE // DIGEST_OCTETS
MAX_SIGNATURE_PARTS: Final = 16
MAX_SHARE: Final = 0xFF
MAX_WITHIN_S: Final = 0xFFFF

_FIXED: Final = Struct(">B3sII3sBI32sBHHBBH")
_HEAD: Final = Struct(">BBH")
_LABEL: Final = "otafleet/1 diffusion manifest"


class DataPart(IntEnum):
    """What becomes of a resource's data when its application is replaced."""

    KEEP = 0
    RESET = 1


def digest(octets: bytes) -> bytes:
    """Return the digest that stands for *octets*: the first half of SHA-256."""
    return hashlib.sha256(octets).digest()[:DIGEST_OCTETS]


def is_digest_of(expected: bytes, octets: bytes) -> bool:
    """Whether *expected* is the digest of *octets*."""
    return compare_digest(expected, digest(octets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a campaign brings, to whom, and how; ValueError for what cannot be.

    Of the modules ``report_share`` in 255 tell the supplier what became of it, spread over
    ``report_within_s``; both are 0 where nobody is asked.
    """

    tar: bytes
    logic_name: bytes
    supplier: bytes
    generation: int
    version: int
    campaign: int
    data_part: DataPart
    programme_length: int
    programme_sha256: bytes = field(repr=False)
    scheme: Scheme
    piece_length: int
    repair: int
    digests_in_part: int
    digests: tuple[bytes, ...] = field(repr=False)
    report_share: int = 0
    report_within_s: int = 0

    def __post_init__(self) -> None:
        check_names(self.logic_name, self.supplier)
        for what, number, top in (
            ("generation", self.generation, MAX_GENERATION),
            ("version", self.version, MAX_VERSION),
            ("campaign", self.campaign, MAX_CAMPAIGN),
            ("programme's length", self.programme_length, MAX_PROGRAMME),
            ("piece's length", self.piece_length, MAX_PIECE),
            ("number of digests in a part", self.digests_in_part, MAX_DIGESTS_IN_PART),
        ):
            if not 1 <= number <= top:
                raise ValueError(f"a {what} is 1..{top}, not {number}")
        self._check_pieces()
        self._check_reports()

    def _check_pieces(self) -> None:
        if self.piece_length % PIECE_UNIT:
            raise ValueError(f"a piece has whole units of {PIECE_UNIT} octets, not {self.piece_length}")
        if self.repair < 0 or self.pieces > MAX_PIECES:
            raise ValueError(f"a campaign has at most {MAX_PIECES} pieces, not {self.pieces}")
        if self.repair and self.scheme is Scheme.PLAIN:
            raise ValueError("there are no repair pieces without forward error correction")
        lengths = (len(self.tar), len(self.programme_sha256), *map(len, self.digests))
        if lengths != (3, 32, *[DIGEST_OCTETS] * -(-self.pieces // self.digests_in_part)):
            raise ValueError("a TAR, a SHA-256 or the digests are not of their length or number")

    def _check_reports(self) -> None:
        if not (0 <= self.report_share <= MAX_SHARE and 0 <= self.report_within_s <= MAX_WITHIN_S):
            raise ValueError(f"a share is of {MAX_SHARE}, and reports come within {MAX_WITHIN_S} s")
        if bool(self.report_share) is not bool(self.report_within_s):
            raise ValueError("who is asked to report has a time for it, and else there is none")

    @property
    def sources(self) -> int:
        """How many pieces the programme has."""
        return source_pieces(self.programme_length, self.piece_length)

    @property
    def pieces(self) -> int:
        """How many pieces there are, repair pieces among them."""
        return self.sources + self.repair

    def in_part(self, part: int) -> range:
        """Return the indices of the pieces whose digests are in that *part* of the list."""
        return range(self.pieces)[part * self.digests_in_part : (part + 1) * self.digests_in_part]

    def encode(self) -> bytes:
        """Return the octets that are signed."""
        fixed = _FIXED.pack(
            FORMAT,
            self.tar,
            self.generation,
            self.version,
            self.campaign.to_bytes(3, "big"),
            self.data_part,
            self.programme_length,
            self.programme_sha256,
            self.scheme,
            self.piece_length,
            self.repair,
            self.digests_in_part,
            self.report_share,
            self.report_within_s,
        )
        names = b"".join(bytes([len(name)]) + name for name in (self.logic_name, self.supplier))
        return fixed + names + b"".join(self.digests)

    @classmethod
    def parse(cls, octets: bytes) -> Manifest:
        """Return the manifest that *octets* encode, proven by nothing yet.

        Raises DiffusionRejected: "unknown-format", "malformed", "bad-field".
        """
        if octets[:1] != bytes([FORMAT]):
            raise DiffusionRejected("unknown-format")
        try:
            fixed = _FIXED.unpack_from(octets)
        except StructError:
            raise DiffusionRejected("malformed", "a manifest is cut") from None
        _, tar, generation, version, campaign, data, length, sha, *cut, share, within_s = fixed
        scheme, piece, repair, in_part = cut
        logic_name, at = _name(octets, _FIXED.size)
        supplier, at = _name(octets, at)
        try:
            return cls(
                tar=tar,
                logic_name=logic_name,
                supplier=supplier,
                generation=generation,
                version=version,
                campaign=int.from_bytes(campaign, "big"),
                data_part=DataPart(data),
                programme_length=length,
                programme_sha256=sha,
                scheme=Scheme(scheme),
                piece_length=piece,
                repair=repair,
                digests_in_part=in_part,
                report_share=share,
                report_within_s=within_s,
                digests=tuple(
                    octets[start : start + DIGEST_OCTETS] for start in range(at, len(octets), DIGEST_OCTETS)
                ),
            )
        except ValueError as error:
            raise DiffusionRejected("bad-field", str(error)) from None


def _name(octets: bytes, at: int) -> tuple[bytes, int]:
    """Return the name that stands *at* after its length, and where it ends."""
    end = at + 1 + int.from_bytes(octets[at : at + 1], "big")
    return octets[at + 1 : end], end


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The manifest with its signature by ``suite``'s key, or the digests of the signature's parts."""

    suite: str
    manifest: Manifest
    signature: bytes = field(default=b"", repr=False)
    parts: tuple[bytes, ...] = field(default=(), repr=False)

    def encode(self) -> bytes:
        """Return the data of the fragment."""
        body = self.manifest.encode()
        fixed = _HEAD.pack(suite(self.suite).wire_id, len(self.parts), len(body))
        return fixed + body + self.signature + b"".join(self.parts)

    @classmethod
    def parse(cls, octets: bytes) -> Head:
        """Return the head that *octets* encode, proven by nothing yet.

        Raises DiffusionRejected: "malformed", "unknown-suite", and what ``Manifest.parse`` does.
        """
        if len(octets) < _HEAD.size:
            raise DiffusionRejected("malformed", "a head is cut")
        suite_id, parts, length = _HEAD.unpack_from(octets)
        kind = suite_by_id(suite_id)
        if kind is None:
            raise DiffusionRejected("unknown-suite")
        end = _HEAD.size + length
        rest = octets[end:]
        if parts > MAX_SIGNATURE_PARTS or len(rest) != (parts * DIGEST_OCTETS or kind.signature_length):
            raise DiffusionRejected("malformed", "neither a signature nor the digests of its parts")
        digests = tuple(
            rest[start : start + DIGEST_OCTETS] for start in range(0, parts * DIGEST_OCTETS, DIGEST_OCTETS)
        )
        manifest = Manifest.parse(octets[_HEAD.size : end])
        return cls(suite=kind.name, manifest=manifest, signature=b"" if parts else rest, parts=digests)


def signed_octets(suite_name: str, manifest: Manifest) -> bytes:
    """Return what is signed of *manifest* by a key of that suite."""
    return framed(_LABEL, bytes([suite(suite_name).wire_id]), manifest.encode())
