"""A renewal: the next domain key (DK), broadcast to the modules of a domain that are to remain in it.

For each of them the new key is wrapped to the module's own sealing key (``domain_key.wrap``); a packet has as
many of these as it holds, and each packet is signed by the supplier (KPrFO), for itself::

    format 01 | suite of the signature 1 | generation 4 | new generation 4 |
    for each module: mark 8 | length 2 | wrapped key | signature

What is signed are these octets and, before them, TAR, logic name and supplier, which both sides know. The
packet names a keyset of its own in KIc and KID. A mark is the first half of a digest of the UA and the new
generation: by it a module finds its own entry, and who listens does not follow a module from one renewal to
the next. It is no secret: whoever has the domain key and guesses a UA sees whether it remains.

Decisions that cost an argument:

* *Each packet is signed*, with no manifest before it. A module needs one packet of all, so to wait for a
  manifest as well would lose more to lost pages than a signature takes. There is nothing to be collected, so
  nothing to be held, mixed or flooded: a packet is judged when it comes, and forgotten.
* *Packets are protected under the old key*, by a KIc and KID of their own. Secrecy does not need it, wraps
  are sealed; but who is not of the domain does not learn how many remain, and the CC turns his floods away
  before a signature costs anything. A module that missed a renewal cannot read the next one and has to be
  served. What one who knows the old key floods costs a signature check only if it has the module's own mark.
* *The counter numbers packets and is not checked.* Two renewals of one old key may share it: as in a campaign
  the first block that is ciphered has the CC of all the packet. Freshness is the generation.
* *The order of judgement*: the CC, the form, the generations, whether there is an entry for this module, the
  signature, and only then the module's private key.
* *A notice follows*: a packet without entries that says the same of the generations under the *new* key. A
  module that took the key cannot read the renewal when it comes again, and by the notice it has proven that
  the key it holds is the one that was announced. It costs whoever has that key one signature check, so a
  forger of the domain can cost it as many as he sends notices, as he can with a campaign's heads.

What it proves: the supplier gave this key to this module in place of just that generation. What it does not:
that others got theirs. Who is left out finds no entry, opens none of the others, and learns of the new key
nothing but its generation. A signature or wrapped key that one packet does not hold (``pq-hybrid``) is not
broadcast; such modules get the key when they are served.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from struct import Struct
from struct import error as StructError  # noqa: N812 -- it is an exception, named in lower case there
from typing import TYPE_CHECKING, Final

from transport.cell_broadcast import MAX_PAGES
from transport.diffusion.fragment import SPI, capacity
from transport.errors import DiffusionRejected, SignatureRejected
from transport.secured_packet import CELL_BROADCAST, decode_command, encode_command, parse_header
from transport.security.domain_key import MAX_GENERATION, unwrap
from transport.security.framing import framed
from transport.security.suites import suite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transport.diffusion.fragment import Domain
    from transport.secured_packet import PacketKeys
    from transport.security.domain_key import DomainKey
    from transport.security.suites import SealingKey, SigningKey

FORMAT: Final = 1
MARK_OCTETS: Final = 8
RENEWAL_KEYSET: Final = 15
"""The index of the keyset that renewals name, and campaigns do not: it tells the two apart in clear."""

_HEAD: Final = Struct(">BBII")
_ENTRY: Final = Struct(">8sH")
_SIGNED: Final = "otafleet/1 domain key renewal"
_MARKED: Final = "otafleet/1 domain key renewal mark"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalPacket:
    """One packet of a renewal, and how many modules find their key in it."""

    octets: bytes = field(repr=False)
    modules: int


def make_renewal(
    domain: Domain,
    generation: int,
    wrapped: Mapping[bytes, bytes],
    signing_key: SigningKey,
    *,
    pages: int = MAX_PAGES,
) -> list[RenewalPacket]:
    """Return packets of at most *pages* pages with the key of *generation*, *wrapped* by UA.

    They are for modules that hold *domain*'s key, the one before. ValueError for a generation that is not
    above it, for a key that is not the supplier's, and where not even one wrapped key fits into a packet.
    """
    if not domain.domain_key.generation < generation <= MAX_GENERATION:
        raise ValueError(f"generation {generation} does not come after {domain.domain_key.generation}")
    _check_supplier(domain, signing_key)
    room = capacity(pages, domain.keys) - _HEAD.size - suite(domain.supplier_suite).signature_length
    packets = []
    for number, entries in enumerate(_filled(generation, wrapped, room)):
        body = _head(domain, domain.domain_key.generation, generation) + b"".join(entries)
        octets = _sealed(body, domain, signing_key, counter=number)
        packets.append(RenewalPacket(octets=octets, modules=len(entries)))
    return packets


def make_notice(domain: Domain, former: int, signing_key: SigningKey) -> RenewalPacket:
    """Return the packet by which modules know that *domain*'s key took the place of generation *former*.

    ValueError for a generation that is not below it, and for a key that is not the supplier's.
    """
    generation = domain.domain_key.generation
    if not 1 <= former < generation:
        raise ValueError(f"generation {generation} does not come after {former}")
    _check_supplier(domain, signing_key)
    octets = _sealed(_head(domain, former, generation), domain, signing_key, counter=0)
    return RenewalPacket(octets=octets, modules=0)


def longest_wrapped(domain: Domain, *, pages: int = MAX_PAGES) -> int:
    """Return how long a wrapped key may be that a packet of *pages* pages holds; negative: not even none."""
    signature = suite(domain.supplier_suite).signature_length
    return capacity(pages, domain.keys) - _HEAD.size - _ENTRY.size - signature


def take_renewal(packet: bytes, domain: Domain, sealing_key: SealingKey, *, ua: bytes) -> DomainKey | None:
    """Return the key that *packet* brings module *ua* in place of *domain*'s; None if it brings it none.

    *domain*'s own, where the packet says that just this one is the newest.

    Raises PacketRejected for what is no packet under the domain's keys for renewals; DiffusionRejected:
    "wrong-tar", "unprotected", "malformed", "unknown-format", "wrong-suite", "stale", "wrong-generation",
    "bad-signature"; SealRejected as ``domain_key.unwrap``. Nothing is changed here, whatever comes.
    """
    data = _opened(packet, domain)
    end = len(data) - suite(domain.supplier_suite).signature_length
    if end < _HEAD.size:
        raise DiffusionRejected("malformed", "a renewal is cut")
    body = data[:end]
    generation = _judge(body, domain)
    is_there = generation == domain.domain_key.generation
    wrapped = b"" if is_there else _entry(body, renewal_mark(ua, generation))
    if wrapped is None:
        return None
    try:
        suite(domain.supplier_suite).verify(domain.supplier_public, _signed_octets(domain, body), data[end:])
    except SignatureRejected:
        raise DiffusionRejected("bad-signature", "a renewal is not the supplier's") from None
    if is_there:
        return domain.domain_key
    key = unwrap(
        wrapped,
        sealing_key,
        ua=ua,
        tar=domain.tar,
        logic_name=domain.logic_name,
        newer_than=domain.domain_key.generation,
    )
    if key.generation != generation:
        raise DiffusionRejected("wrong-generation", "what is wrapped is not what was announced")
    return key


def renewal_mark(ua: bytes, generation: int) -> bytes:
    """Return what module *ua* finds its entry by in the renewal to *generation*."""
    return hashlib.sha256(framed(_MARKED, generation.to_bytes(4, "big"), ua)).digest()[:MARK_OCTETS]


def renewal_keys(domain: Domain) -> PacketKeys:
    """Return KIc and KID for renewals: as a campaign's, under labels of their own."""
    kic, kid = (
        domain.domain_key.derive_common(f"renewal {name} {domain.protection}", len(domain.keys.cipher_key))
        for name in ("KIc", "KID")
    )
    return replace(domain.keys, index=RENEWAL_KEYSET, cipher_key=kic, mac_key=kid)


def _filled(generation: int, wrapped: Mapping[bytes, bytes], room: int) -> list[list[bytes]]:
    """Return the entries, by packet, in the order of their marks, which tells nothing of who is who."""
    packets: list[list[bytes]] = []
    left = 0
    for name, octets in sorted((renewal_mark(ua, generation), octets) for ua, octets in wrapped.items()):
        entry = _ENTRY.pack(name, len(octets)) + octets
        if len(entry) > room:
            raise ValueError(f"a wrapped key of {len(octets)} octets and a signature do not fit one packet")
        if len(entry) > left:
            packets.append([])
            left = room
        packets[-1].append(entry)
        left -= len(entry)
    return packets


def _head(domain: Domain, former: int, generation: int) -> bytes:
    return _HEAD.pack(FORMAT, suite(domain.supplier_suite).wire_id, former, generation)


def _check_supplier(domain: Domain, signing_key: SigningKey) -> None:
    if (signing_key.suite, signing_key.public) != (domain.supplier_suite, domain.supplier_public):
        raise ValueError("a renewal is signed with the supplier's key")


def _sealed(body: bytes, domain: Domain, signing_key: SigningKey, *, counter: int) -> bytes:
    return encode_command(
        spi=SPI,
        tar=domain.tar,
        data=body + signing_key.sign(_signed_octets(domain, body)),
        counter=counter,
        keys=renewal_keys(domain),
        dialect=CELL_BROADCAST,
    )


def _signed_octets(domain: Domain, body: bytes) -> bytes:
    return framed(_SIGNED, domain.tar, domain.logic_name, domain.supplier, body)


def _opened(packet: bytes, domain: Domain) -> bytes:
    """Return what *packet* carries, made by one who has the domain key."""
    header = parse_header(packet, CELL_BROADCAST)
    if header.tar != domain.tar:
        raise DiffusionRejected("wrong-tar")
    if header.spi != SPI:
        raise DiffusionRejected("unprotected", "not ciphered and checked as a renewal is")
    return decode_command(packet, renewal_keys(domain), CELL_BROADCAST).data


def _judge(body: bytes, domain: Domain) -> int:
    """Return the new generation; refuse what can be refused before any signature is looked at."""
    form, suite_id, old, new = _HEAD.unpack_from(body)
    current = domain.domain_key.generation
    faults = {
        "unknown-format": form != FORMAT,
        "wrong-suite": suite_id != suite(domain.supplier_suite).wire_id,
        "stale": new < current,
        "wrong-generation": new > current != old,
    }
    for reason, found in faults.items():
        if found:
            raise DiffusionRejected(reason, f"from generation {old} to {new}, at {current}")
    return int(new)


def _entry(body: bytes, own: bytes) -> bytes | None:
    """Return the wrapped key that stands under the mark *own*, if there is one."""
    at, found = _HEAD.size, None
    while at < len(body):
        try:
            name, length = _ENTRY.unpack_from(body, at)
        except StructError:
            raise DiffusionRejected("malformed", "an entry of a renewal is cut") from None
        start = at + _ENTRY.size
        at = start + length
        if at > len(body):
            raise DiffusionRejected("malformed", "an entry of a renewal is cut")
        if name == own and found is None:
            found = body[start:at]
    return found
