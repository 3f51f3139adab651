from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.diffusion_kit import PLAIN, RAPTORQ, campaign, domain
from tests.transport.security_kit import flipped, seeded
from transport.cell_broadcast import CONTENT_OCTETS, MAX_PAGES
from transport.diffusion import (
    MAX_CAMPAIGN,
    SPI,
    DataPart,
    Fragment,
    FragmentKind,
    Head,
    Manifest,
    Scheme,
    capacity,
    digest,
    open_fragment,
    seal_fragment,
)
from transport.errors import DiffusionRejected, PacketRejected, Rejected
from transport.secured_packet import (
    CELL_BROADCAST,
    CounterMode,
    Integrity,
    SecurityParameters,
    encode_command,
    parse_header,
)
from transport.security.domain_key import generate_asymmetric, generate_symmetric
from transport.security.suites import ALL_SUITES

if TYPE_CHECKING:
    from collections.abc import Callable

DOMAIN = domain()
FRAGMENT = Fragment(7, FragmentKind.PIECE, 5, b"piece")
HEADS = {
    name: Head(
        suite=name,
        manifest=campaign().manifest,
        signature=bytes(ALL_SUITES[name].signature_length),
    )
    for name in ALL_SUITES
} | {"parts": Head(suite="pq-hybrid", manifest=campaign(coding=RAPTORQ).manifest, parts=(bytes(16),) * 3)}
each_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
BODY = HEADS["x25519"].manifest.encode()


# The packet


@pytest.mark.parametrize("kind", FragmentKind, ids=lambda kind: kind.name)
@pytest.mark.parametrize("data", [b"", b"x", bytes(1202)], ids=len)
@pytest.mark.parametrize(("number", "of"), [(0, 1), (4095, MAX_CAMPAIGN)], ids=["least", "most"])
def test_a_fragment_survives_its_packet(kind: FragmentKind, data: bytes, number: int, of: int) -> None:
    """Whatever fragment goes into a packet comes out of it, and its repr has none of its data."""
    fragment = Fragment(of, kind, number, data)
    assert open_fragment(seal_fragment(fragment, DOMAIN), DOMAIN) == fragment
    assert repr(fragment) == f"Fragment({of}, {kind.name}, {number}, {len(data)} octets)"


def test_repetition_is_the_same_octets() -> None:
    """The packet of a fragment is the same each time, so pages of all rounds add up."""
    assert seal_fragment(FRAGMENT, DOMAIN) == seal_fragment(FRAGMENT, DOMAIN)


def test_each_fragment_has_a_counter_of_its_own() -> None:
    """No two fragments of two campaigns share a counter, and none has the one that blocks a receiver."""
    made = [campaign(number=number, coding=RAPTORQ) for number in (1, 2, MAX_CAMPAIGN)]
    counters = [
        Fragment(one.manifest.campaign, packet.kind, packet.number, b"").counter
        for one in made
        for packet in one.packets
    ]
    assert len(set(counters)) == len(counters)
    assert max(counters) < 2**40 - 1


@pytest.mark.parametrize("pages", range(1, MAX_PAGES + 1))
def test_capacity_is_what_fits(pages: int) -> None:
    """A fragment of that capacity takes so many pages, and one octet more takes more."""
    room = capacity(pages, DOMAIN.keys)
    for octets, expected in ((room, pages), (room + 1, pages + 1)):
        packet = seal_fragment(FRAGMENT._replace(data=bytes(octets)), DOMAIN)
        assert -(-len(packet) // CONTENT_OCTETS) == expected


@pytest.mark.parametrize("pages", [0, 16])
def test_no_packet_has_so_many_pages(pages: int) -> None:
    """None and sixteen pages are a mistake of our own."""
    with pytest.raises(ValueError, match="1 to 15 pages"):
        capacity(pages, DOMAIN.keys)


def test_altered_packets_are_refused() -> None:
    """Each octet of a packet altered, each prefix and a longer one are refused in kind."""
    packet = seal_fragment(FRAGMENT, DOMAIN)
    wrong = [flipped(packet, at) for at in range(len(packet))]
    wrong += [packet[:end] for end in range(len(packet))] + [packet + b"\0"]
    for octets in wrong:
        with pytest.raises(Rejected):
            open_fragment(octets, DOMAIN)


@pytest.mark.parametrize(
    "others",
    [
        {"domain_key": generate_symmetric(seeded(4), generation=3)},
        {"domain_key": generate_asymmetric("x25519", seeded(4))},
        {"protection": "aes-256"},
        {"key_index": 2},
    ],
    ids=["key", "pair", "protection", "index"],
)
def test_another_domain_opens_nothing(others: dict[str, Any]) -> None:
    """Another domain key, protection or index, and no packet opens, either way."""
    other = replace(DOMAIN, **others)
    for made, opening in ((DOMAIN, other), (other, DOMAIN)):
        with pytest.raises(PacketRejected):
            open_fragment(seal_fragment(FRAGMENT, made), opening)


def test_a_packet_for_another_resource() -> None:
    """The same domain key under another TAR is refused by that name."""
    packet = seal_fragment(FRAGMENT, replace(DOMAIN, tar=b"\xb2\x01\x02"))
    with pytest.raises(DiffusionRejected, match="wrong-tar"):
        open_fragment(packet, DOMAIN)


@pytest.mark.parametrize(
    "spi",
    [
        SecurityParameters(),
        SecurityParameters(integrity=Integrity.RC, counter=CounterMode.NO_CHECK),
        SecurityParameters(integrity=Integrity.CC, counter=CounterMode.NO_CHECK),
        SecurityParameters(ciphering=True, counter=CounterMode.NO_CHECK),
        SecurityParameters(ciphering=True, integrity=Integrity.CC, counter=CounterMode.HIGHER),
    ],
    ids=["nothing", "rc", "clear", "unchecked", "counter"],
)
def test_other_protection_is_refused(spi: SecurityParameters) -> None:
    """A packet that needs no keys, or fewer than a campaign's has, is not taken for one."""
    packet = encode_command(
        spi=spi, tar=DOMAIN.tar, data=b"x", counter=7 << 16, keys=DOMAIN.keys, dialect=CELL_BROADCAST
    )
    with pytest.raises(DiffusionRejected, match="unprotected"):
        open_fragment(packet, DOMAIN)


def test_an_unknown_kind_is_refused() -> None:
    """Kinds beyond the four are refused."""
    packet = encode_command(
        spi=SPI,
        tar=DOMAIN.tar,
        data=b"x",
        counter=7 << 16 | 4 << 12,
        keys=DOMAIN.keys,
        dialect=CELL_BROADCAST,
    )
    with pytest.raises(DiffusionRejected, match="unknown-kind"):
        open_fragment(packet, DOMAIN)


def test_what_stands_in_the_clear() -> None:
    """The header says: ciphered, CC, counter without replay check, no response; and names the keyset."""
    header = parse_header(seal_fragment(FRAGMENT, replace(DOMAIN, key_index=5)), CELL_BROADCAST)
    assert (header.spi.octets.hex(), header.kic, header.kid) == ("0e00", 0x52, 0x52)


@settings(deadline=None)
@given(octets=st.binary(max_size=200), real=st.booleans())
def test_arbitrary_octets_are_no_packet(octets: bytes, real: bool) -> None:  # noqa: FBT001 -- drawn
    """Arbitrary octets, also behind a real clear header, are refused in kind."""
    beginning = seal_fragment(FRAGMENT, DOMAIN)[2:10]
    packet = (len(octets) + 8).to_bytes(2, "big") + beginning + octets if real else octets
    with pytest.raises(Rejected):
        open_fragment(packet, DOMAIN)


# The manifest and its head


@pytest.mark.parametrize("coding", [PLAIN, RAPTORQ], ids=["plain", "raptorq"])
@pytest.mark.parametrize("data_part", DataPart, ids=lambda part: part.name)
def test_a_manifest_is_read_as_it_was_written(coding: Any, data_part: DataPart) -> None:
    """A manifest parsed from its octets is the same one."""
    manifest = campaign(coding=coding, data_part=data_part).manifest
    assert Manifest.parse(manifest.encode()) == manifest


@each_head
def test_a_head_is_read_as_it_was_written(head: Head) -> None:
    """A head parsed from its octets is the same one, with its signature or the digests of its parts."""
    assert Head.parse(head.encode()) == head


@each_head
def test_cut_and_lengthened_heads(head: Head) -> None:
    """Each prefix of a head, and octets behind its end, are refused."""
    octets = head.encode()
    for wrong in [*(octets[:end] for end in range(len(octets))), octets + b"\0", octets + bytes(16)]:
        with pytest.raises(DiffusionRejected):
            Head.parse(wrong)


def test_cut_and_lengthened_manifests() -> None:
    """Each prefix of a manifest, and octets or a digest behind its end, are refused."""
    for wrong in [*(BODY[:end] for end in range(len(BODY))), BODY + b"\0", BODY + bytes(16)]:
        with pytest.raises(DiffusionRejected):
            Manifest.parse(wrong)


FIELDS: dict[str, tuple[int, bytes, str]] = {
    "format": (0, b"\2", "unknown-format"),
    "generation": (4, bytes(4), "bad-field"),
    "version": (8, bytes(4), "bad-field"),
    "campaign": (12, bytes(3), "bad-field"),
    "data-part": (15, b"\2", "bad-field"),
    "no-programme": (16, bytes(4), "bad-field"),
    "long-programme": (16, (65_537).to_bytes(4, "big"), "bad-field"),
    "scheme": (52, b"\2", "bad-field"),
    "no-piece": (53, bytes(2), "bad-field"),
    "long-piece": (53, (1208).to_bytes(2, "big"), "bad-field"),
    "odd-piece": (53, (129).to_bytes(2, "big"), "bad-field"),
    "short-piece": (53, (8).to_bytes(2, "big"), "bad-field"),
    "repair-of-plain": (55, b"\0\1", "bad-field"),
    "too-many-pieces": (55, b"\xff\xff", "bad-field"),
    "no-digests": (57, b"\0", "bad-field"),
    "many-digests": (57, b"\x4c", "bad-field"),
    "few-digests": (57, b"\1", "bad-field"),
    "share-without-a-time": (58, b"\1\0\0", "bad-field"),
    "time-without-a-share": (58, b"\0\0\1", "bad-field"),
    "no-logic-name": (61, b"\0", "bad-field"),
    "long-logic-name": (61, b"\x41", "bad-field"),
}


@pytest.mark.parametrize(("at", "octets", "reason"), FIELDS.values(), ids=FIELDS)
def test_fields_that_cannot_be(at: int, octets: bytes, reason: str) -> None:
    """Each field of a manifest beyond its bounds is refused."""
    with pytest.raises(DiffusionRejected) as caught:
        Manifest.parse(BODY[:at] + octets + BODY[at + len(octets) :])
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("at", "octet", "reason"),
    [(0, 9, "unknown-suite"), (1, 1, "malformed"), (1, 17, "malformed"), (3, 0, "malformed")],
    ids=["suite", "a-part", "seventeen-parts", "length"],
)
def test_heads_that_cannot_be(at: int, octet: int, reason: str) -> None:
    """An unknown suite, and parts or lengths that do not add up, are refused."""
    octets = bytearray(HEADS["x25519"].encode())
    octets[at] = octet
    with pytest.raises(DiffusionRejected) as caught:
        Head.parse(bytes(octets))
    assert caught.value.reason == reason


def test_seventeen_parts_of_a_signature() -> None:
    """More than sixteen parts are refused, also where their digests are there."""
    with pytest.raises(DiffusionRejected, match="malformed"):
        Head.parse(replace(HEADS["parts"], parts=(bytes(16),) * 17).encode())


@settings(deadline=None)
@given(octets=st.binary(max_size=300), beginning=st.sampled_from([0, 1, 4, 58]))
def test_arbitrary_octets_are_no_head(octets: bytes, beginning: int) -> None:
    """Arbitrary octets, also behind the beginning of a head, are refused or encode to themselves again."""
    wrong = HEADS["x25519"].encode()[:beginning] + octets
    with suppress(DiffusionRejected):
        assert Head.parse(wrong).encode() == wrong


@settings(deadline=None)
@given(at=st.integers(0, len(BODY) - 1), octets=st.binary(min_size=1, max_size=8))
def test_a_manifest_has_one_spelling(at: int, octets: bytes) -> None:
    """A manifest with other octets in it is refused, or is one that encodes to those."""
    wrong = BODY[:at] + octets + BODY[at + len(octets) :]
    with suppress(DiffusionRejected):
        assert Manifest.parse(wrong).encode() == wrong


def test_manifests_that_we_do_not_write() -> None:
    """Fields that only our own code could get wrong are ValueErrors."""
    manifest = HEADS["x25519"].manifest
    mistakes: list[Callable[[], object]] = [
        lambda: replace(manifest, tar=bytes(2)),
        lambda: replace(manifest, programme_sha256=bytes(31)),
        lambda: replace(manifest, digests=(bytes(15),)),
        lambda: replace(manifest, repair=-1),
        lambda: replace(manifest, supplier=bytes(65)),
        lambda: replace(DOMAIN, tar=bytes(2)),
        lambda: replace(DOMAIN, logic_name=b""),
        lambda: replace(DOMAIN, supplier_public=bytes(31)),
        lambda: replace(DOMAIN, protection="des"),
        lambda: replace(DOMAIN, protection="rot13"),
        lambda: replace(DOMAIN, domain_key=generate_asymmetric("x25519", seeded(4)).public_half()),
    ]
    for mistake in mistakes:
        with pytest.raises(ValueError, match=r"."):
            mistake()


def test_which_pieces_a_part_of_the_list_is_about() -> None:
    """Parts follow each other; the last has the rest."""
    manifest = replace(
        campaign(coding=RAPTORQ).manifest, scheme=Scheme.RAPTORQ, digests_in_part=30, digests=(bytes(16),) * 2
    )
    assert (manifest.sources, manifest.pieces) == (16, 40)
    assert [manifest.in_part(part) for part in range(2)] == [range(30), range(30, 40)]


def test_a_digest_is_half_of_sha_256() -> None:
    """The digest of nothing is the first half of its SHA-256 (FIPS 180-4)."""
    assert digest(b"").hex() == "e3b0c44298fc1c149afbf4c8996fb924"
