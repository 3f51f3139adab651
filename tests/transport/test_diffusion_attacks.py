"""What one who is not the supplier can do to a module: nothing, but within bounds.

The forger of these tests is a module of the domain. He knows the domain key, so his packets open as
any do.
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.diffusion_kit import (
    DIGESTS,
    HEAD,
    OTHER_PROGRAMME,
    PIECE,
    PROGRAMME,
    RAPTORQ,
    SIGNATURE,
    attempt,
    campaign,
    collector,
    deliver,
    domain,
    forge,
    head_of,
    of_kind,
    programmes,
    refused,
)
from tests.transport.security_kit import flipped, signing_key
from transport.diffusion import (
    MAX_COPIES,
    Announced,
    Coding,
    Fragment,
    FragmentKind,
    GivenUp,
    GivenUpReason,
    Head,
    Suspected,
    Unfit,
    Wanted,
    digest,
    open_fragment,
    seal_fragment,
    signed_octets,
)
from transport.errors import DiffusionRejected, Rejected

if TYPE_CHECKING:
    from transport.diffusion import Campaign, Event

MADE = campaign()
REPAIRED = campaign(coding=RAPTORQ)
PIECES = {packet.number: open_fragment(packet.octets, domain()).data for packet in of_kind(REPAIRED, PIECE)}
FORGED = bytes(MADE.manifest.piece_length)
LISTED = campaign(coding=Coding(pages=2, list_pages=1))
each_made = pytest.mark.parametrize("made", [MADE, REPAIRED], ids=["plain", "raptorq"])


def data_of(made: Campaign, kind: FragmentKind, number: int = 0) -> bytes:
    """Return the data of a fragment of *made*."""
    return open_fragment(of_kind(made, kind)[number].octets, made.domain).data


# The manifest


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tar": b"\xb2\x01\x02"}, "wrong-tar"),
        ({"logic_name": b"weather"}, "wrong-logic-name"),
        ({"supplier": b"rival"}, "wrong-supplier"),
        ({"generation": 2}, "wrong-generation"),
        ({"campaign": 8}, "wrong-campaign"),
        ({"version": 1}, "stale"),
        ({"programme_length": 1999}, "bad-signature"),
        ({"version": 3}, "bad-signature"),
    ],
    ids=["tar", "logic-name", "supplier", "generation", "campaign", "old", "length", "version"],
)
def test_a_manifest_that_is_not_for_us(changes: dict[str, Any], reason: str) -> None:
    """Whom a manifest is for, and how new it is, is held against what the module knows."""
    module = collector(newer_than=1)
    signer = 2 if reason == "bad-signature" else 1
    assert refused(module, HEAD, 0, head_of(MADE.manifest, seed=signer, **changes)) == reason
    assert module.manifest is None
    assert programmes(deliver(module, MADE.cycle)) == [PROGRAMME]


@pytest.mark.parametrize("known", [2, 3])
def test_no_roll_back(known: int) -> None:
    """The version that a module has, and every older one, is refused."""
    with pytest.raises(DiffusionRejected, match="stale"):
        deliver(collector(newer_than=known), MADE.cycle)


@pytest.mark.parametrize("room", [{"max_programme": 1999}, {"max_octets": 2559}], ids=["resource", "memory"])
def test_a_programme_that_is_too_large(room: dict[str, Any]) -> None:
    """What the resource or the collector has no room for is told once, and none of it is collected."""
    module = collector(**room)
    assert deliver(module, [*MADE.cycle, *MADE.cycle]) == [Unfit(manifest=MADE.manifest, reason="too-large")]
    assert (module.manifest, module.octets) == (None, 0)


def test_what_is_too_large_is_known_for_it_only_once_it_is_proven() -> None:
    """One who knows the domain key cannot have a module say that the supplier's programme does not fit."""
    module = collector(max_programme=1999)
    assert refused(module, HEAD, 0, head_of(MADE.manifest, seed=2)) == "bad-signature"


def test_what_is_too_large_ends_nothing() -> None:
    """A later version without room leaves the one before, which is being collected, as it was."""
    module = collector(max_programme=2000)
    larger = campaign(bytes(2400), number=8, version=3)
    pieces = of_kind(MADE, PIECE)
    deliver(module, [*of_kind(MADE, HEAD), *pieces[:-1]])
    assert [type(event) for event in deliver(module, larger.packets[:1])] == [Unfit]
    assert programmes(deliver(module, pieces[-1:])) == [PROGRAMME]


def test_error_correction_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module without the wheel says so of a campaign that needs it, and takes plain ones."""
    monkeypatch.setitem(sys.modules, "raptorq", None)
    module = collector()
    assert deliver(module, REPAIRED.cycle) == [Unfit(manifest=REPAIRED.manifest, reason="no-fec")]
    assert programmes(deliver(module, campaign(number=8).cycle)) == [PROGRAMME]


@pytest.mark.parametrize("suite", ["p256", "pq-hybrid"])
def test_another_suite_than_the_suppliers(suite: str) -> None:
    """A head signed in another suite is refused by name."""
    assert refused(collector(), HEAD, 0, head_of(MADE.manifest, kind=suite)) == "wrong-suite"


def test_a_forged_head_is_forgotten() -> None:
    """After a head with a bad signature the honest one is taken, with the pieces held until then."""
    module = collector()
    deliver(module, of_kind(MADE, PIECE))
    head = data_of(MADE, HEAD)
    for at in range(len(head)):
        with pytest.raises(DiffusionRejected):
            forge(module, HEAD, 0, flipped(head, at))
    assert programmes(deliver(module, of_kind(MADE, HEAD))) == [PROGRAMME]


def test_one_who_is_not_the_supplier() -> None:
    """A whole campaign by a module that has the domain key, but not the supplier's key, gives nothing."""
    rogue = signing_key("x25519", 2)
    forged = campaign(OTHER_PROGRAMME, of=domain(supplier_public=rogue.public), signing_key=rogue, number=9)
    module = collector()
    taken = [attempt(module, packet.octets) for packet in [*forged.cycle, *MADE.cycle, *forged.cycle]]
    assert programmes(event for events, _ in taken for event in events) == [PROGRAMME]
    assert {reason for _, reason in taken} == {"", "bad-signature", "stale"}


# Pieces


@each_made
def test_a_forged_piece_is_refused_once_the_list_is_there(made: Campaign) -> None:
    """With the list of digests a forged piece is refused by itself and costs nothing."""
    module = collector()
    deliver(module, of_kind(made, HEAD, DIGESTS))
    for number in range(made.manifest.pieces):
        assert refused(module, PIECE, number, FORGED) == "forged"
    assert programmes(deliver(module, of_kind(made, PIECE))) == [PROGRAMME]


@each_made
def test_a_forged_piece_that_came_first(made: Campaign) -> None:
    """Without the list a forged piece spoils one attempt; then only listed pieces count, and they suffice."""
    module = collector()
    deliver(module, of_kind(made, HEAD))
    forge(module, PIECE, 0, FORGED)
    events = deliver(module, of_kind(made, PIECE))
    assert events == [Suspected(manifest=made.manifest)]
    assert programmes(deliver(module, of_kind(made, DIGESTS))) == [PROGRAMME]


def test_pieces_forged_before_the_head() -> None:
    """Pieces forged before the head came are forgotten when the list tells them from honest ones."""
    module = collector()
    for number in range(MADE.manifest.pieces):
        forge(module, PIECE, number, FORGED)
    events = deliver(module, MADE.packets)
    assert [type(event) for event in events][:2] == [Announced, Suspected]
    assert programmes(events) == [PROGRAMME]


def test_all_copies_forged() -> None:
    """Where forged copies took the room for a piece the honest one is taken only once the list is there."""
    module = collector()
    for copy in range(MAX_COPIES):
        forge(module, PIECE, 0, FORGED[:-1] + bytes([copy]))
    first = of_kind(MADE, PIECE)[0]
    with pytest.raises(DiffusionRejected, match="full"):
        deliver(module, [first])
    deliver(module, of_kind(MADE, HEAD))
    with pytest.raises(DiffusionRejected, match="full"):
        deliver(module, [first])
    assert Suspected(manifest=MADE.manifest) in deliver(module, of_kind(MADE, PIECE)[1:])
    deliver(module, of_kind(MADE, DIGESTS))
    assert programmes(deliver(module, [first])) == [PROGRAMME]


def test_the_sure_way_part_by_part() -> None:
    """Once forged, pieces count as their part of the list comes, and the last part brings the programme."""
    module = collector()
    deliver(module, of_kind(LISTED, HEAD))
    forge(module, PIECE, 0, FORGED)
    deliver(module, of_kind(LISTED, PIECE))
    counts = []
    lists = of_kind(LISTED, DIGESTS)
    for packet in lists[:-1]:
        deliver(module, [packet])
        counts.append(module.collected)
    assert counts == [3, 6, 9, 12, 15][: len(counts)]
    assert programmes(deliver(module, lists[-1:])) == [PROGRAMME]


def test_after_the_list_suspicion_is_over_at_once() -> None:
    """With some of the list at hand and forged pieces elsewhere, honest pieces under the list still serve."""
    module = collector()
    deliver(module, [*of_kind(REPAIRED, HEAD), *of_kind(REPAIRED, DIGESTS)[:1]])
    covered = REPAIRED.manifest.in_part(0)
    assert len(covered) >= REPAIRED.manifest.sources
    assert programmes(deliver(module, [of_kind(REPAIRED, PIECE)[number] for number in covered])) == [
        PROGRAMME
    ]


def test_enough_sure_pieces_beside_a_forged_one() -> None:
    """The attempt that fails by a forged piece is followed at once by one with the listed pieces alone."""
    made = campaign(coding=Coding(scheme=RAPTORQ.scheme, pages=2, list_pages=5, repair=1.5))
    module = collector()
    pieces, sources = of_kind(made, PIECE), made.manifest.sources
    listed = made.manifest.in_part(0)
    assert len(listed) < made.manifest.pieces
    deliver(module, [*of_kind(made, HEAD), *of_kind(made, DIGESTS)[:1]])
    assert forge(module, PIECE, listed.stop, FORGED) == []
    deliver(module, pieces[: sources - 1])
    assert module.manifest == made.manifest
    assert programmes(deliver(module, pieces[sources - 1 : sources + 3])) == [PROGRAMME]


@pytest.mark.parametrize(
    ("kind", "number", "data", "reason"),
    [
        (PIECE, MADE.manifest.pieces, FORGED, "out-of-range"),
        (PIECE, 4095, FORGED, "out-of-range"),
        (PIECE, 0, FORGED[1:], "length"),
        (PIECE, 0, FORGED + b"\0", "length"),
        (PIECE, 0, b"", "length"),
        (DIGESTS, 1, FORGED, "out-of-range"),
        (DIGESTS, 0, FORGED, "forged"),
        (DIGESTS, 0, b"", "forged"),
        (HEAD, 0, b"", "malformed"),
    ],
    ids=["beyond", "far-beyond", "short", "long", "empty", "no-part", "part", "no-list", "no-head"],
)
def test_fragments_that_cannot_be(kind: FragmentKind, number: int, data: bytes, reason: str) -> None:
    """What a proven manifest knows nothing of is refused, and changes nothing."""
    module = collector()
    deliver(module, of_kind(MADE, HEAD))
    assert refused(module, kind, number, data) == reason
    assert module.octets == 0


def test_pages_of_two_campaigns_mixed() -> None:
    """Pieces of another campaign of the supplier's own are refused, under their name and under this one's."""
    other = campaign(OTHER_PROGRAMME, number=6, version=1)
    module = collector()
    deliver(module, of_kind(MADE, HEAD, DIGESTS))
    for packet in of_kind(other, DIGESTS, PIECE):
        with pytest.raises(DiffusionRejected, match="other-campaign"):
            deliver(module, [packet])
        fragment = open_fragment(packet.octets, domain())
        assert refused(module, fragment.kind, fragment.number, fragment.data) == "forged"
    assert programmes(deliver(module, of_kind(MADE, PIECE))) == [PROGRAMME]


def test_a_recorded_campaign_does_not_come_back() -> None:
    """All packets of the version before, played again among those of the new one, change nothing."""
    module = collector(newer_than=1)
    old = campaign(OTHER_PROGRAMME, number=6, version=1)
    mixed = [packet for pair in zip(old.cycle, MADE.cycle, strict=True) for packet in pair]
    taken = [attempt(module, packet.octets) for packet in mixed]
    assert programmes(event for events, _ in taken for event in events) == [PROGRAMME]
    assert {reason for _, reason in taken} == {"", "stale", "other-campaign"}


def test_what_the_supplier_signed_is_not_what_he_sends() -> None:
    """A supplier whose listed pieces are not the programme that he signed is given up for good."""
    head = head_of(MADE.manifest, programme_sha256=bytes(32))
    module = collector()
    forge(module, HEAD, 0, head)
    events = deliver(module, of_kind(MADE, DIGESTS, PIECE))
    manifest = replace(MADE.manifest, programme_sha256=bytes(32))
    assert events == [GivenUp(manifest=manifest, reason=GivenUpReason.WRONG_PROGRAMME)]
    assert forge(module, HEAD, 0, head) == []
    assert (module.octets, module.manifest) == (0, None)


def test_a_list_that_the_supplier_signed_and_that_is_none() -> None:
    """A listed part of the list that is not as long as it must be ends the campaign as well."""
    module = collector()
    forge(module, HEAD, 0, head_of(MADE.manifest, digests=(digest(b"none"),)))
    events = forge(module, DIGESTS, 0, b"none")
    assert [(type(event), module.octets) for event in events] == [(GivenUp, 0)]


# A signature in parts


PQ = campaign(of=domain("pq-hybrid"))


def test_a_signature_in_parts_before_and_after_its_head() -> None:
    """Parts are found whether they came before the head or after it."""
    parts = of_kind(PQ, SIGNATURE)
    assert len(parts) == 3
    for order in (
        parts + of_kind(PQ, HEAD),
        of_kind(PQ, HEAD) + parts,
        [parts[0], *of_kind(PQ, HEAD), *parts],
    ):
        module = collector(domain("pq-hybrid"))
        events: list[Event] = deliver(module, order)
        assert [type(event) for event in events] == [Announced]


def pq_head(signature: bytes, *, cut: int = 1202, **changes: Any) -> tuple[bytes, list[bytes]]:
    """Return the head of the campaign of PQ, but for *changes*, with *signature* in parts, and the parts."""
    parts = [signature[start : start + cut] for start in range(0, len(signature), cut)]
    manifest = replace(PQ.manifest, **changes)
    return Head(suite="pq-hybrid", manifest=manifest, parts=tuple(map(digest, parts))).encode(), parts


def test_a_forged_signature_in_parts() -> None:
    """A signature in parts that does not verify is forgotten when its last part comes."""
    of = domain("pq-hybrid")
    module = collector(of)
    head, parts = pq_head(bytes(3373))
    forge(module, HEAD, 0, head, of=of)
    forge(module, HEAD, 0, head, of=of)
    assert [forge(module, SIGNATURE, number, part, of=of) for number, part in enumerate(parts[:2])] == [
        [],
        [],
    ]
    assert refused(module, SIGNATURE, 2, parts[2], of=of) == "bad-signature"
    assert module.octets == 0
    assert programmes(deliver(module, PQ.cycle)) == [PROGRAMME]


def test_parts_that_are_longer_than_a_signature() -> None:
    """A forged head cannot ask for more octets than a signature of the suite has."""
    of = domain("pq-hybrid")
    module = collector(of)
    head, parts = pq_head(bytes(16 * 1202))
    forge(module, HEAD, 0, head, of=of)
    before = module.octets
    for number, part in enumerate(parts):
        forge(module, SIGNATURE, number, part, of=of)
    taken = len(parts[0]) * 2
    assert taken <= 3373 < taken + len(parts[0])
    # what the head may not have is kept as any fragment of a campaign that is not proven: four copies at most
    assert module.octets == before + taken + sum(map(len, parts[2:]))
    deliver(module, of_kind(PQ, HEAD, SIGNATURE))
    assert module.octets == 0


def test_a_flood_of_heads_that_wait() -> None:
    """Of heads that wait for their signature the last four are held; the honest one is proven when heard."""
    of = domain("pq-hybrid")
    module = collector(of)
    for version in range(2, 60):
        head, parts = pq_head(bytes([version]) * 3373, version=version)
        forge(module, HEAD, 0, head, of=of)
        forge(module, SIGNATURE, 0, parts[0], of=of)
        assert module.octets <= 4 * (len(head) + 3373)
    assert programmes(deliver(module, PQ.cycle)) == [PROGRAMME]


def test_a_head_that_waited_too_long() -> None:
    """A head whose signature completes after its version was collected is refused: it has become old."""
    of = domain("pq-hybrid")
    module = collector(of)
    again = campaign(of=of, number=8)
    deliver(module, [*of_kind(again, HEAD), *of_kind(again, SIGNATURE)[:2]])
    assert programmes(deliver(module, PQ.cycle)) == [PROGRAMME]
    with pytest.raises(DiffusionRejected, match="stale"):
        deliver(module, of_kind(again, SIGNATURE)[2:])
    assert module.octets == 0


def test_parts_of_nobodys_signature() -> None:
    """While a campaign is collected, parts of a signature that no head asks for are refused."""
    of = domain("pq-hybrid")
    module = collector(of)
    deliver(module, of_kind(PQ, HEAD, SIGNATURE))
    assert deliver(module, of_kind(PQ, SIGNATURE)) == []
    assert refused(module, SIGNATURE, 0, b"part", campaign=8, of=of) == "other-campaign"


# Floods


@pytest.mark.parametrize("max_octets", [4096, 1 << 17], ids=["small", "default"])
def test_a_flood_of_campaigns(max_octets: int) -> None:
    """Endless campaigns with endless pieces are held within the bound, and one honest round comes through."""
    module = collector(max_octets=max_octets)
    rng = random.Random(1)
    for number in range(8, 400):
        for _ in range(3):
            fragment = Fragment(number, PIECE, rng.randrange(4096), rng.randbytes(1200))
            assert attempt(module, seal_fragment(fragment, domain()))[1] in {"", "full"}
            assert module.octets <= max_octets
    assert programmes(deliver(module, MADE.cycle)) == [PROGRAMME]


def test_what_has_no_room_pushes_nothing_out() -> None:
    """A fragment that is too large for a campaign's share makes no older campaign give way."""
    module = collector(max_octets=4096)
    for number in range(8, 12):
        forge(module, PIECE, 0, FORGED, campaign=number)
    before = module.octets
    assert refused(module, PIECE, 0, bytes(1200), campaign=12) == "full"
    assert module.octets == before == 4 * len(FORGED)


def test_a_flood_does_not_push_out_a_proven_campaign() -> None:
    """Between any two packets of the campaign being collected others may come without end."""
    module, number = collector(), 8
    events: list[Event] = []
    for packet in MADE.cycle:
        events += module.receive(packet.octets, 0.0)
        for _ in range(20):
            if module.manifest is not None:
                assert refused(module, PIECE, number % 4096, FORGED, campaign=number) == "other-campaign"
            number += 1
    assert programmes(events) == [PROGRAMME]


def test_what_had_no_room_is_wanted_again() -> None:
    """Once the list has shown up the copies that took its room, and once a head is proven after a flood."""
    module, wanted = collector(), Wanted(manifest=MADE.manifest)
    for copy in range(MAX_COPIES):
        forge(module, PIECE, 0, FORGED[:-1] + bytes([copy]))
    assert attempt(module, of_kind(MADE, PIECE)[0].octets)[1] == "full"
    assert deliver(module, of_kind(MADE, HEAD)) == [Announced(manifest=MADE.manifest), wanted]
    assert deliver(module, of_kind(MADE, DIGESTS)) == []  # nothing was refused since
    assert attempt(module, seal_fragment(Fragment(8, PIECE, 0, FORGED), domain()))[1] == "other-campaign"
    assert deliver(module, of_kind(MADE, DIGESTS)) == [wanted]


@pytest.mark.parametrize("is_pushed_out", [True, False], ids=["pushed-out", "timed-out"])
def test_what_gave_way_is_wanted_again(*, is_pushed_out: bool) -> None:
    """Pieces of a campaign whose head was not heard went to others, or were given up after a day."""
    module = collector()
    deliver(module, of_kind(MADE, PIECE)[:3])
    if is_pushed_out:
        for number in range(8, 12):
            forge(module, PIECE, 0, FORGED, campaign=number)
    events = deliver(module, of_kind(MADE, HEAD), 24 * 3600.0)
    assert events == [Announced(manifest=MADE.manifest), Wanted(manifest=MADE.manifest)]
    assert module.collected == 0


def test_a_head_that_gave_way_is_wanted_again() -> None:
    """Each head that pushes another one out, before its signature was whole, has all offered again."""
    of = domain("pq-hybrid")
    module = collector(of)
    assert deliver(module, of_kind(PQ, HEAD)) == []
    for version in range(3, 6):
        assert forge(module, HEAD, 0, pq_head(bytes(3373), version=version)[0], of=of) == []
    for version in range(6, 9):
        events = forge(module, HEAD, 0, pq_head(bytes(3373), version=version)[0], of=of)
        assert [type(event) for event in events] == [Wanted]
    assert programmes(deliver(module, PQ.cycle)) == [PROGRAMME]


def test_a_flood_of_copies_before_the_list() -> None:
    """Of each piece four copies are held at most, of all what the bound allows, and none once listed."""
    module = collector(max_octets=4096)
    deliver(module, of_kind(MADE, HEAD))
    rng = random.Random(2)
    for _ in range(500):
        number = rng.randrange(1, MADE.manifest.pieces)
        packet = seal_fragment(Fragment(7, PIECE, number, rng.randbytes(len(FORGED))), domain())
        assert attempt(module, packet)[1] in {"", "full"}
    assert 4096 - len(FORGED) < module.octets <= 4096
    deliver(module, of_kind(MADE, DIGESTS))
    assert module.octets == MADE.manifest.pieces * 16
    assert programmes(deliver(module, MADE.cycle)) == [PROGRAMME]


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(FragmentKind),
            st.integers(0, 20),
            st.integers(6, 8),
            st.binary(max_size=40) | st.sampled_from([FORGED, *PIECES.values()]),
        ),
        max_size=40,
    )
)
def test_no_sequence_of_forgeries_makes_a_programme(forgeries: list[tuple[Any, int, int, bytes]]) -> None:
    """Whatever a forger sends, and wherever among honest packets, only the supplier's programme comes out."""
    module = collector(max_octets=1 << 16)
    events: list[Event] = []
    honest = list(REPAIRED.cycle)
    for place in range(max(len(honest), len(forgeries))):
        for packet in honest[place : place + 1]:
            events += attempt(module, packet.octets)[0]
        for kind, number, of, data in forgeries[place : place + 1]:
            events += attempt(module, seal_fragment(Fragment(of, kind, number, data), domain()))[0]
        assert module.octets <= (1 << 16) + 16 * 1023
    events += [event for packet in honest for event in attempt(module, packet.octets)[0]]
    assert programmes(events) == [PROGRAMME]


@settings(deadline=None)
@given(octets=st.binary(max_size=120))
def test_arbitrary_octets_change_nothing(octets: bytes) -> None:
    """Arbitrary octets are refused in kind and leave nothing behind."""
    module = collector()
    with pytest.raises(Rejected):
        module.receive(octets, 0.0)
    assert module.octets == 0


def test_a_signature_over_something_else() -> None:
    """The supplier's signature of a manifest says in which suite it is: no other octets carry it."""
    one, other = (signed_octets(kind, MADE.manifest) for kind in ("x25519", "p256"))
    assert one != other
    assert MADE.manifest.encode() in one
