"""A fragment: what one packet of a campaign carries, and the keys and the packet it travels under.

A fragment is named by the packet's CNTR, five octets that the packet ciphers and its CC covers::

    campaign (24 bits) | kind (4 bits) | number (12 bits)

so that the secured data is nothing but the fragment's octets. A campaign's number is given once in the life
of a domain key, and each fragment of a campaign has a name of its own: no counter ever stands for two
contents. Packets are repeated as the same octets, which is why their counter is available but not checked,
and why nobody who listens learns from a repetition. A supplier who broke that rule would not lose secrecy by
it, for the first block that is ciphered (from a zero initial vector) has the CC of all the packet in it;
modules would take the one content for a forgery of the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from transport.cell_broadcast import CONTENT_OCTETS, MAX_PAGES
from transport.errors import DiffusionRejected, PacketRejected, Rejected
from transport.secured_packet import (
    CELL_BROADCAST,
    CounterMode,
    Integrity,
    PacketKeys,
    ResponseStatus,
    SecurityParameters,
    encode_command,
    parse_header,
)
from transport.secured_packet.protection import unseal
from transport.security.keyset import DEFAULT_PROTECTION, PROTECTIONS
from transport.security.suites import suite

if TYPE_CHECKING:
    from transport.security.domain_key import DomainKey

MAX_CAMPAIGN: Final = 0xFF_FFFF
MAX_NUMBER: Final = 0xFFF
MAX_NAME: Final = 64
SPI: Final = SecurityParameters(counter=CounterMode.NO_CHECK, ciphering=True, integrity=Integrity.CC)
"""Ciphered, with a CC, a counter that is there and not checked, and no response."""

_KIND_SHIFT: Final = 12
_CAMPAIGN_SHIFT: Final = 16
_CLEAR: Final = 10  # CPL to TAR
_HIDDEN: Final = 6  # CNTR and PCNTR


class FragmentKind(IntEnum):
    """What a fragment is a piece of."""

    HEAD = 0
    SIGNATURE = 1
    DIGESTS = 2
    PIECE = 3


_KINDS: Final = dict(enumerate(FragmentKind))  # calling the enumeration would cost as much as all else here


# A tuple because of its rate: one is made of each packet.
class Fragment(NamedTuple):
    """One fragment: which *campaign* (1..16777215) it is of, its *kind*, *number* (0..4095) and *data*."""

    campaign: int
    kind: FragmentKind
    number: int
    data: bytes

    @property
    def counter(self) -> int:
        """The CNTR that names it."""
        return self.campaign << _CAMPAIGN_SHIFT | self.kind << _KIND_SHIFT | self.number

    def __repr__(self) -> str:
        """Say all but the data."""
        return f"Fragment({self.campaign}, {self.kind.name}, {self.number}, {len(self.data)} octets)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What supplier and modules of a global service know alike; ValueError when a part cannot be.

    ``supplier_public`` is KPuFO, a signing key of ``supplier_suite``. ``keys`` are KIc and KID as keyset
    ``key_index``, derived from the domain key under a label each; a public half of a pair gives none.
    ``clear`` are the octets from CHL to TAR, the same ones in each packet.
    """

    tar: bytes
    logic_name: bytes
    supplier: bytes
    supplier_suite: str
    supplier_public: bytes = field(repr=False)
    domain_key: DomainKey
    key_index: int = 1
    protection: str = DEFAULT_PROTECTION
    keys: PacketKeys = field(init=False, repr=False, compare=False)
    clear: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.tar) != 3:
            raise ValueError(f"a TAR is 3 octets, not {len(self.tar)}")
        check_names(self.logic_name, self.supplier)
        if len(self.supplier_public) != suite(self.supplier_suite).signing_public_length:
            raise ValueError(f"this is no public key of suite {self.supplier_suite}")
        keys = derive_keys(self.domain_key, "diffusion", self.key_index, self.protection)
        object.__setattr__(self, "keys", keys)
        empty = seal_fragment(Fragment(1, FragmentKind.HEAD, 0, b""), self)
        object.__setattr__(self, "clear", empty[CELL_BROADCAST.command.start(empty) : _CLEAR])


def check_names(logic_name: bytes, supplier: bytes) -> None:
    """Raise ValueError unless both names are 1 to 64 octets."""
    for what, name in (("logic name", logic_name), ("supplier's name", supplier)):
        if not 1 <= len(name) <= MAX_NAME:
            raise ValueError(f"a {what} is 1 to {MAX_NAME} octets, not {len(name)}")


def derive_keys(domain_key: DomainKey, use: str, index: int, protection: str) -> PacketKeys:
    """Return KIc and KID for one *use* of *domain_key* as keyset *index*; ValueError for a public half."""
    row = PROTECTIONS.get(protection)
    if row is None or row.legacy:
        raise ValueError(f"a campaign is not protected by {protection!r}")
    kic, kid = (
        domain_key.derive_common(f"{use} {name} {protection}", row.key_octets) for name in ("KIc", "KID")
    )
    return PacketKeys(
        index=index,
        cipher_key=kic,
        mac_key=kid,
        cc_length=row.cc_length,
        cipher_algorithm=row.cipher,
        mac_algorithm=row.mac,
    )


def capacity(pages: int, keys: PacketKeys) -> int:
    """Return how many octets a fragment has at most whose packet fits *pages* pages (1..15)."""
    if not 1 <= pages <= MAX_PAGES:
        raise ValueError(f"a packet has 1 to {MAX_PAGES} pages, not {pages}")
    ciphered = pages * CONTENT_OCTETS - _CLEAR
    return ciphered - ciphered % keys.cipher.block - _HIDDEN - keys.cc_length


def seal_fragment(fragment: Fragment, domain: Domain) -> bytes:
    """Return the packet of *fragment*."""
    return encode_command(
        spi=SPI,
        tar=domain.tar,
        data=fragment.data,
        counter=fragment.counter,
        keys=domain.keys,
        dialect=CELL_BROADCAST,
    )


def open_fragment(packet: bytes, domain: Domain) -> Fragment:
    """Return the fragment in *packet*, made by one who has the domain key.

    Raises PacketRejected for what is no packet under these keys; DiffusionRejected: "unprotected" for another
    SPI, "wrong-tar", "unknown-kind".
    """
    start = CELL_BROADCAST.command.start(packet)
    if packet[start:_CLEAR] != domain.clear:
        raise _not_ours(packet, domain)
    # all of a domain's packets begin alike, so there is no header to be read: that would take a third as long
    header, data = unseal(
        packet, _CLEAR, _HIDDEN, covered=b"", checksum=domain.keys.checksum, cipher=domain.keys.cipher
    )
    name = int.from_bytes(header, "big") >> 8
    kind = _KINDS.get(name >> _KIND_SHIFT & 0xF)
    if kind is None:
        raise DiffusionRejected("unknown-kind")
    return Fragment(name >> _CAMPAIGN_SHIFT, kind, name & MAX_NUMBER, data)


def _not_ours(packet: bytes, domain: Domain) -> Rejected:
    """Return the rejection of a packet whose clear header is not that of the domain."""
    header = parse_header(packet, CELL_BROADCAST)
    if header.tar != domain.tar:
        return DiffusionRejected("wrong-tar")
    if header.spi != SPI:
        return DiffusionRejected("unprotected", "not ciphered and checked as a campaign is")
    detail = f"KIc {header.kic:02X}, KID {header.kid:02X} or CHL is not the domain's"
    return PacketRejected(ResponseStatus.CIPHERING_ERROR, "keyset", detail)
