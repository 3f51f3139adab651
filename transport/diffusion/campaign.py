"""A supplier's side: from a programme to the packets of a campaign, and the order in which to broadcast them.

The order is a cycle that is sent again and again. The head stands before every so many pages of pieces, for
without it nothing is believed and it has no error correction, only repetition; the list of digests, which
modules need only where somebody forged, stands at the end of a cycle. How much of what is best at which loss
was measured: ``tests/benchmarks/bench_diffusion.py``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from transport.cell_broadcast import CONTENT_OCTETS, MAX_PAGES, GeographicScope, Page, split
from transport.diffusion.codes import CAMPAIGN_CODES
from transport.diffusion.erasure import (
    MAX_PIECES,
    MAX_PROGRAMME,
    PIECE_UNIT,
    Scheme,
    make_pieces,
    source_pieces,
)
from transport.diffusion.fragment import Domain, Fragment, FragmentKind, capacity, seal_fragment
from transport.diffusion.manifest import (
    DIGEST_OCTETS,
    MAX_DIGESTS_IN_PART,
    MAX_PIECE,
    DataPart,
    Head,
    Manifest,
    digest,
    signed_octets,
)
from transport.errors import SignatureRejected
from transport.security.suites import suite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from transport.secured_packet import PacketKeys
    from transport.security.suites import SigningKey

MAX_REPAIR: Final = 4.0
_MOST_MEASURED: Final = 960  # pieces, so that head, signature and list of digests find message codes as well
_LEAST_REPAIR: Final = 0.75
_HEAD_SHARE: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """How a programme is cut and sent; ValueError for what cannot be.

    A packet with a piece has ``pages`` pages (1..15), one with a part of the list of digests at most
    ``list_pages``. There are ``repair`` times as many repair pieces as the programme has pieces (0..4, and
    none in the scheme PLAIN). The head is repeated after ``head_every`` pages of pieces, or after three times
    its own if that is more.
    """

    scheme: Scheme = Scheme.PLAIN
    pages: int = 2
    list_pages: int = MAX_PAGES
    repair: float = 1.5
    head_every: int = 24

    def __post_init__(self) -> None:
        for pages in (self.pages, self.list_pages):
            if not 1 <= pages <= MAX_PAGES:
                raise ValueError(f"a packet has 1 to {MAX_PAGES} pages, not {pages}")
        if not 0 <= self.repair <= MAX_REPAIR:
            raise ValueError(f"repair pieces are 0 to {MAX_REPAIR:g} times the programme's")
        if self.head_every < 1:
            raise ValueError("a head is repeated after one page at the earliest")

    def piece_length(self, keys: PacketKeys) -> int:
        """Return how long pieces are in packets under *keys*."""
        room = min(MAX_PIECE, capacity(self.pages, keys))
        return room - room % PIECE_UNIT

    def pieces(self, length: int, keys: PacketKeys) -> tuple[int, int]:
        """Return how many pieces a programme of *length* octets has, and how many repair pieces."""
        sources = source_pieces(length, self.piece_length(keys))
        return sources, 0 if self.scheme is Scheme.PLAIN else round(sources * self.repair)

    @classmethod
    def measured(cls, length: int, scheme: Scheme, keys: PacketKeys) -> Coding:
        """Return what was measured to be best for a programme of *length* octets.

        With error correction packets of one page, or of the fewest with which there are pieces enough left
        for repair: a lost page then spoils as little as possible. Without it packets of two pages, or more.
        ValueError for a programme that is too long, or none.
        """
        _check_length(length)
        fewest, least_repair = (1, _LEAST_REPAIR) if scheme is Scheme.RAPTORQ else (2, 0.0)
        sources = {
            pages: source_pieces(length, cls(pages=pages).piece_length(keys))
            for pages in range(fewest, MAX_PAGES + 1)
        }
        pages = next(pages for pages in sources if sources[pages] * (1 + least_repair) <= _MOST_MEASURED)
        repair = min(cls().repair, _MOST_MEASURED / sources[pages] - 1)
        return cls(scheme=scheme, pages=pages, repair=repair if scheme is Scheme.RAPTORQ else cls().repair)


class CampaignPacket(NamedTuple):
    """One packet to broadcast: which fragment it carries, and its octets; ``place`` is its number from 0."""

    place: int
    kind: FragmentKind
    number: int
    octets: bytes

    @property
    def pages(self) -> int:
        """How many pages it takes."""
        return -(-len(self.octets) // CONTENT_OCTETS)


class Campaign:
    """One version of a programme for all modules of *domain*, signed with *signing_key*.

    *number* is given once under a domain key and counts up, *version* is the application's. Making a campaign
    again, after a restart say, gives the same octets if the *signature* of the first time is handed in, which
    a suite may not make twice alike; then *signing_key* is not needed. Without a *coding* it is sent plain.
    Of the modules *report_share* in 255 report, spread over *report_within_s* seconds; nobody unless given.
    ValueError for what cannot be, which includes a programme too large for so many pages a packet.
    """

    def __init__(  # noqa: PLR0913 -- what its manifest says
        self,
        domain: Domain,
        programme: bytes,
        *,
        number: int,
        version: int,
        signing_key: SigningKey | None = None,
        signature: bytes = b"",
        data_part: DataPart = DataPart.KEEP,
        coding: Coding | None = None,
        report_share: int = 0,
        report_within_s: int = 0,
    ) -> None:
        self.domain = domain
        self.coding = coding or Coding.measured(len(programme), Scheme.PLAIN, domain.keys)
        pieces = _cut(programme, domain, self.coding)
        in_part = min(MAX_DIGESTS_IN_PART, capacity(self.coding.list_pages, domain.keys) // DIGEST_OCTETS)
        listed = [digest(piece) for piece in pieces]
        lists = [b"".join(listed[start : start + in_part]) for start in range(0, len(listed), in_part)]
        sources = source_pieces(len(programme), len(pieces[0]))
        self.manifest = Manifest(
            tar=domain.tar,
            logic_name=domain.logic_name,
            supplier=domain.supplier,
            generation=domain.domain_key.generation,
            version=version,
            campaign=number,
            data_part=data_part,
            programme_length=len(programme),
            programme_sha256=hashlib.sha256(programme).digest(),
            scheme=self.coding.scheme,
            piece_length=len(pieces[0]),
            repair=len(pieces) - sources,
            digests_in_part=in_part,
            digests=tuple(map(digest, lists)),
            report_share=report_share,
            report_within_s=report_within_s,
        )
        self.signature = signature or _sign(domain, self.manifest, signing_key)
        head, parts = _head(domain, self.manifest, self.signature)
        data = {
            FragmentKind.HEAD: [head.encode()],
            FragmentKind.SIGNATURE: parts,
            FragmentKind.DIGESTS: lists,
            FragmentKind.PIECE: pieces,
        }
        self.packets = _seal(domain, number, data)
        self.cycle = _cycle(self.packets, self.coding.head_every)

    @property
    def pages(self) -> int:
        """How many pages a cycle has."""
        return sum(packet.pages for packet in self.cycle)

    @property
    def repair_pages(self) -> int:
        """How many of them have repair pieces, which stand behind the programme's own."""
        return sum(
            packet.pages
            for packet in self.cycle
            if packet.kind is FragmentKind.PIECE and packet.number >= self.manifest.sources
        )

    def carousel(self, start: int = 0) -> Iterator[CampaignPacket]:
        """Yield the packets in their order, from the *start*-th on, without end."""
        return (self.cycle[place % len(self.cycle)] for place in count(start))

    def pages_of(self, packet: CampaignPacket, message_identifier: int) -> list[Page]:
        """Return the pages of *packet*, which are the same ones in each cycle.

        The message code is the packet's place and the update number the campaign's, so that a campaign's
        pages take the place of those of the one before. Who broadcasts one campaign several times, and wants
        it to be heard again by who has it, counts updates by itself.
        """
        serial = CAMPAIGN_CODES.serial(packet.place, GeographicScope.PLMN, rounds=self.manifest.campaign)
        return split(packet.octets, serial, message_identifier)


def _check_length(length: int) -> None:
    if not 1 <= length <= MAX_PROGRAMME:
        raise ValueError(f"a programme has 1 to {MAX_PROGRAMME} octets, not {length}")


def _cut(programme: bytes, domain: Domain, coding: Coding) -> tuple[bytes, ...]:
    """Return the pieces of *programme*, as long as *coding*'s pages have room for."""
    _check_length(len(programme))
    sources, repair = coding.pieces(len(programme), domain.keys)
    if sources + repair > MAX_PIECES:
        raise ValueError(
            f"{len(programme)} octets in packets of {coding.pages} pages are {sources + repair} pieces, more"
            f" than {MAX_PIECES}: take more pages a packet or fewer repair pieces"
        )
    return make_pieces(programme, coding.piece_length(domain.keys), repair, coding.scheme)


def _sign(domain: Domain, manifest: Manifest, signing_key: SigningKey | None) -> bytes:
    if signing_key is None or signing_key.suite != domain.supplier_suite:
        raise ValueError(f"a campaign is signed by a key of suite {domain.supplier_suite}")
    return signing_key.sign(signed_octets(domain.supplier_suite, manifest))


def _head(domain: Domain, manifest: Manifest, signature: bytes) -> tuple[Head, list[bytes]]:
    """Return the head of a campaign, and the parts of its signature if that does not fit one packet."""
    signed = signed_octets(domain.supplier_suite, manifest)
    try:
        suite(domain.supplier_suite).verify(domain.supplier_public, signed, signature)
    except SignatureRejected:
        raise ValueError("this is no signature of the domain's supplier over this campaign") from None
    whole = Head(suite=domain.supplier_suite, manifest=manifest, signature=signature)
    room = capacity(MAX_PAGES, domain.keys)
    if len(whole.encode()) <= room:
        return whole, []
    parts = [signature[start : start + room] for start in range(0, len(signature), room)]
    head = Head(suite=domain.supplier_suite, manifest=manifest, parts=tuple(map(digest, parts)))
    if len(head.encode()) > room:
        raise ValueError("the list of digests has too many parts for a head: take more pages for each")
    return head, parts


def _seal(
    domain: Domain, campaign: int, data: Mapping[FragmentKind, Sequence[bytes]]
) -> tuple[CampaignPacket, ...]:
    fragments = [
        Fragment(campaign, kind, number, octets)
        for kind, several in data.items()
        for number, octets in enumerate(several)
    ]
    most = len(CAMPAIGN_CODES.codes)
    if len(fragments) > most:
        raise ValueError(f"a campaign of {len(fragments)} packets has more than {most} message codes")
    return tuple(
        CampaignPacket(place, fragment.kind, fragment.number, seal_fragment(fragment, domain))
        for place, fragment in enumerate(fragments)
    )


def _cycle(packets: tuple[CampaignPacket, ...], head_every: int) -> tuple[CampaignPacket, ...]:
    heads = [packet for packet in packets if packet.kind in {FragmentKind.HEAD, FragmentKind.SIGNATURE}]
    cycle: list[CampaignPacket] = []
    head_every = since = max(head_every, _HEAD_SHARE * sum(packet.pages for packet in heads))
    for packet in packets:
        if packet.kind is not FragmentKind.PIECE:
            continue
        if since >= head_every:
            cycle += heads
            since = 0
        cycle.append(packet)
        since += packet.pages
    return (*cycle, *(packet for packet in packets if packet.kind is FragmentKind.DIGESTS))
