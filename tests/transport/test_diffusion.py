from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.diffusion_kit import (
    DIGESTS,
    HEAD,
    PIECE,
    PLAIN,
    PROGRAMME,
    RAPTORQ,
    SIGNATURE,
    campaign,
    collector,
    deliver,
    domain,
    of_kind,
    programmes,
)
from tests.transport.security_kit import seeded, signing_key
from transport.air import Conditions, Lane
from transport.cell_broadcast import PAGE_OCTETS, PageAssembler, packet_of
from transport.diffusion import (
    MAX_PROGRAMME,
    Announced,
    Campaign,
    Coding,
    Collected,
    Collector,
    GivenUp,
    GivenUpReason,
    Scheme,
    SharedWork,
    Work,
    open_fragment,
)
from transport.errors import DiffusionRejected
from transport.security.domain_key import generate_asymmetric
from transport.security.suites import ALL_SUITES

if TYPE_CHECKING:
    from collections.abc import Callable

each_coding = pytest.mark.parametrize("coding", [PLAIN, RAPTORQ], ids=["plain", "raptorq"])


# From programme to programme


@each_coding
@pytest.mark.parametrize("kind", ALL_SUITES)
def test_a_programme_arrives(kind: str, coding: Coding) -> None:
    """In each suite a module announces a campaign once its manifest is proven, and collects the programme."""
    made = campaign(of=domain(kind), coding=coding)
    module = collector(domain(kind))
    events = deliver(module, made.cycle)
    assert [type(event) for event in events] == [Announced, Collected]
    assert {event.manifest for event in events} == {made.manifest}
    assert programmes(events) == [PROGRAMME]
    assert (module.newer_than, module.manifest, module.collected, module.octets) == (2, None, 0, 0)


@pytest.mark.parametrize("kind", ALL_SUITES)
def test_an_asymmetric_domain_key_serves_as_well(kind: str) -> None:
    """All modules hold the pair, so packets travel under keys derived from it."""
    of = domain(domain_key=generate_asymmetric(kind, seeded(9)))
    assert programmes(deliver(collector(of), campaign(of=of).cycle)) == [PROGRAMME]


@each_coding
@pytest.mark.parametrize("kind", ["x25519", "pq-hybrid"])
@pytest.mark.parametrize("seed", range(6))
def test_in_any_order(seed: int, kind: str, coding: Coding) -> None:
    """However packets are shuffled and repeated, the programme is collected once."""
    packets = list(campaign(of=domain(kind), coding=coding).packets) * 2
    random.Random(seed).shuffle(packets)
    assert programmes(deliver(collector(domain(kind)), packets)) == [PROGRAMME]


@each_coding
def test_pieces_alone_prove_nothing(coding: Coding) -> None:
    """Without the head all pieces give nothing; with it they do at once, though no digest was heard."""
    made, module = campaign(coding=coding), collector()
    assert deliver(module, of_kind(made, PIECE)) == []
    assert module.octets == sum(made.manifest.piece_length for _ in of_kind(made, PIECE))
    events = deliver(module, of_kind(made, HEAD))
    assert [type(event) for event in events] == [Announced, Collected]


def test_what_lacks_is_told() -> None:
    """While pieces lack a module says of which campaign, and how many it has."""
    made, module = campaign(), collector()
    pieces = of_kind(made, PIECE)
    deliver(module, [*of_kind(made, HEAD), *pieces[1:]])
    assert (module.manifest, module.collected) == (made.manifest, len(pieces) - 1)
    assert deliver(module, [*pieces[1:], *of_kind(made, HEAD)]) == []
    assert programmes(deliver(module, pieces[:1])) == [PROGRAMME]


def test_repair_pieces_stand_in_for_lost_ones() -> None:
    """With error correction a module that heard no piece of the programme itself collects it."""
    made, module = campaign(coding=RAPTORQ), collector()
    repair = of_kind(made, PIECE)[made.manifest.sources :]
    events = deliver(module, [*of_kind(made, HEAD), *repair])
    assert programmes(events) == [PROGRAMME]


def test_as_many_pieces_as_needed_may_be_too_few() -> None:
    """Where as many pieces as the programme has do not suffice, one more brings it."""
    made = campaign(coding=replace(RAPTORQ, pages=3, repair=4.0))
    manifest, packets = made.manifest, of_kind(made, PIECE)
    pieces = [open_fragment(packet.octets, made.domain).data for packet in packets]
    rng = random.Random(5)
    orders = (rng.sample(range(len(pieces)), manifest.sources + 1) for _ in range(5000))
    poor = next(
        order
        for order in orders
        if Work(made.domain).recover(manifest, {number: pieces[number] for number in order[:-1]}) is None
    )
    module = collector()
    *few, last = [packets[number] for number in poor]
    assert programmes(deliver(module, [*of_kind(made, HEAD), *few])) == []
    assert module.collected == manifest.sources
    assert programmes(deliver(module, [last])) == [PROGRAMME]


@settings(deadline=None, max_examples=25)
@given(length=st.integers(1, 3000), pages=st.integers(1, 15), scheme=st.sampled_from(Scheme))
def test_programmes_of_all_lengths(length: int, pages: int, scheme: Scheme) -> None:
    """Any programme in packets of any number of pages arrives, each packet no longer than its pages."""
    programme = random.Random(length).randbytes(length)
    made = campaign(programme, coding=Coding(scheme=scheme, pages=pages, list_pages=pages))
    assert programmes(deliver(collector(), made.packets)) == [programme]
    assert max(packet.pages for packet in of_kind(made, PIECE)) <= pages


def test_an_aes_256_domain_with_the_pages_of_a_real_air() -> None:
    """Through pages, 30 % of them lost, and a module's own assembler the programme arrives."""
    of = domain(protection="aes-256", key_index=4)
    made = campaign(of=of, coding=Coding.measured(len(PROGRAMME), Scheme.RAPTORQ, of.keys))
    lane, assembler, module = Lane(Conditions(loss=0.3), b"seed", 0.0), PageAssembler(), collector(of)
    found: list[bytes] = []
    for packet in islice(made.carousel(), 1000):
        for page in made.pages_of(packet, 0x1080):
            content = assembler.receive(page, 0.0) if lane.carry(PAGE_OCTETS, 0.0) else None
            if content is not None:
                found += programmes(module.receive(packet_of(content), 0.0))
    assert found == [PROGRAMME]


# One campaign after the other


def test_the_next_version_follows() -> None:
    """After one version the next is collected, and the one before is refused, also under a new number."""
    module = collector()
    deliver(module, campaign().cycle)
    assert programmes(deliver(module, campaign(b"next", number=8, version=3).cycle)) == [b"next"]
    with pytest.raises(DiffusionRejected, match="stale"):
        deliver(module, campaign(number=9).cycle)


def test_a_later_campaign_supersedes() -> None:
    """A campaign of a higher version, or of the same in a later campaign, ends the one being collected."""
    module = collector()
    first = campaign()
    deliver(module, [*of_kind(first, HEAD), *of_kind(first, PIECE)[1:]])
    for number, version in ((8, 2), (9, 3)):
        before = module.manifest
        events = deliver(module, of_kind(campaign(number=number, version=version), HEAD))
        assert [type(event) for event in events] == [GivenUp, Announced]
        assert events[0] == GivenUp(manifest=before, reason=GivenUpReason.SUPERSEDED) if before else False
    for older in (first, campaign(number=8), campaign(number=10)):
        with pytest.raises(DiffusionRejected, match="other-campaign"):
            deliver(module, of_kind(older, HEAD))


def test_what_was_collected_is_not_collected_again() -> None:
    """Rounds that go on bring no events and are not held."""
    made, module = campaign(), collector()
    deliver(module, made.cycle)
    assert deliver(module, made.cycle) == []
    assert module.octets == 0


def test_a_campaign_that_is_heard_no_more_is_given_up() -> None:
    """A day after the last packet a campaign is given up and said so once, by whichever call comes first."""
    made, module = campaign(), collector(timeout_s=10)
    deliver(module, [*of_kind(made, HEAD), *of_kind(made, PIECE)[1:]], now=1.0)
    deliver(module, of_kind(made, HEAD), now=9.0)
    assert module.expire(18.9) == ()
    gone = GivenUp(manifest=made.manifest, reason=GivenUpReason.TIMED_OUT)
    with pytest.raises(DiffusionRejected):
        deliver(module, of_kind(campaign(number=8, version=0xFFFF, of=domain(logic_name=b"x")), HEAD), now=19)
    assert module.expire(20.0) == (gone,)
    assert deliver(module, of_kind(made, PIECE), now=20.0) == []
    assert module.octets
    assert module.expire(31.0) == ()
    assert module.octets == 0
    assert programmes(deliver(module, made.cycle, now=31.0)) == [PROGRAMME]


# The supplier's side


@pytest.mark.parametrize("kind", ALL_SUITES)
def test_a_campaign_made_again_is_the_same_octets(kind: str) -> None:
    """With the first one's signature a campaign made again has its packets, without any private key."""
    made = campaign(of=domain(kind))
    again = campaign(of=domain(kind), signature=made.signature, signing_key=None)
    assert (again.packets, again.cycle) == (made.packets, made.cycle)


def test_a_carousel_goes_on_where_it_stood() -> None:
    """The carousel repeats the cycle, and begins at any place of it."""
    made = campaign()
    length = len(made.cycle)
    whole = list(islice(made.carousel(), 3 * length))
    assert whole == list(made.cycle) * 3
    assert list(islice(made.carousel(length + 2), 5)) == whole[length + 2 : length + 7]
    assert made.pages == sum(packet.pages for packet in made.cycle)


@pytest.mark.parametrize("coding", [PLAIN, RAPTORQ], ids=["plain", "raptorq"])
def test_repair_takes_pages_of_its_own(coding: Coding) -> None:
    """With error correction the pages of all pieces behind the programme's own, without it none."""
    made = campaign(coding=coding)
    repair = of_kind(made, PIECE)[made.manifest.sources :]
    assert len(repair) == made.manifest.repair
    assert made.repair_pages == sum(packet.pages for packet in repair)
    assert bool(made.repair_pages) == (coding is RAPTORQ)


@pytest.mark.parametrize("kind", ["x25519", "pq-hybrid"])
def test_the_head_is_repeated_among_the_pieces(kind: str) -> None:
    """Head and signature stand in front and again after so many pages, the list of digests at the end."""
    made = campaign(bytes(20_000), of=domain(kind), coding=replace(PLAIN, head_every=20))
    kinds = [packet.kind for packet in made.cycle]
    heads = [place for place, found in enumerate(kinds) if found is HEAD]
    own = sum(packet.pages for packet in made.packets if packet.kind in {HEAD, SIGNATURE})
    between = sum(packet.pages for packet in made.cycle[heads[0] : heads[1]]) - own
    assert heads[0] == 0
    assert max(20, 3 * own) <= between <= max(20, 3 * own) + 1
    assert kinds[-1] is DIGESTS
    assert sorted({(packet.kind, packet.number) for packet in made.cycle}) == sorted(
        (packet.kind, packet.number) for packet in made.packets
    )


def test_pages_are_told_apart() -> None:
    """Each packet has a message code of its own, and the next campaign's pages are newer versions of them."""
    made, after = campaign(number=15), campaign(number=16, version=3)
    codes = [made.pages_of(packet, 0x1080)[0].serial.code for packet in made.packets]
    assert codes == list(range(len(made.packets)))
    old, new = (one.pages_of(one.packets[0], 0x1080)[0].serial for one in (made, after))
    assert new.newer_than(old)


@pytest.mark.parametrize("scheme", Scheme, ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("length", [1, 4096, 20_000, MAX_PROGRAMME])
def test_the_measured_coding_fits(length: int, scheme: Scheme) -> None:
    """For a programme of any length there is a coding of the fewest pages a packet that can carry it."""
    keys = domain().keys
    coding = Coding.measured(length, scheme, keys)
    programme = random.Random(length).randbytes(length)
    made = campaign(programme, coding=coding)
    assert programmes(deliver(collector(max_octets=1 << 18), made.packets)) == [programme]
    least, repair = {Scheme.PLAIN: (2, 0.0), Scheme.RAPTORQ: (1, 0.75)}[scheme]
    fewer = replace(coding, pages=max(least, coding.pages - 1))
    assert coding.pages == least or fewer.pieces(length, keys)[0] * (1 + repair) > 960
    assert repair <= coding.repair <= 1.5


def test_without_a_coding_it_is_sent_plain() -> None:
    """Error correction is for who asks for it."""
    made = Campaign(domain(), PROGRAMME, number=1, version=1, signing_key=signing_key("x25519"))
    assert (made.coding, made.manifest.scheme) == (PLAIN, Scheme.PLAIN)


MISTAKES: dict[str, Callable[[], object]] = {
    "nothing": lambda: campaign(b""),
    "too-long": lambda: campaign(bytes(MAX_PROGRAMME + 1)),
    "nothing-measured": lambda: Coding.measured(0, Scheme.RAPTORQ, domain().keys),
    "too-long-measured": lambda: Coding.measured(MAX_PROGRAMME + 1, Scheme.PLAIN, domain().keys),
    "too-many-pieces": lambda: campaign(bytes(MAX_PROGRAMME), coding=replace(PLAIN, pages=1)),
    "too-many-lists": lambda: campaign(bytes(49_000), coding=replace(PLAIN, pages=1, list_pages=1)),
    "too-many-packets": lambda: campaign(bytes(49_000), coding=replace(PLAIN, pages=1)),
    "no-key": lambda: campaign(signing_key=None),
    "key-of-another-suite": lambda: campaign(signing_key=signing_key("p256")),
    "key-of-another": lambda: campaign(signing_key=signing_key("x25519", 2)),
    "signature-of-another": lambda: campaign(signature=bytes(64)),
    "no-pages": lambda: Coding(pages=0),
    "many-pages": lambda: Coding(list_pages=16),
    "much-repair": lambda: Coding(repair=4.1),
    "endless-heads": lambda: Coding(head_every=0),
    "collector-before": lambda: collector(newer_than=-1),
    "collector-of-nothing": lambda: collector(max_octets=0),
    "collector-without-resource": lambda: collector(max_programme=0),
    "collector-without-time": lambda: collector(timeout_s=0),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_of_our_own(mistake: Callable[[], object]) -> None:
    """What cannot be made is a ValueError with a sentence."""
    with pytest.raises(ValueError, match=r"[a-z]+ [a-z]+"):
        mistake()


# Shared work


class CountedWork(SharedWork):
    """Shared work, and how often it was asked for."""

    asked = 0

    @property
    def opener(self) -> Callable[[bytes], Any]:
        """Return what counts, then opens."""
        opener = super().opener

        def counted(packet: bytes) -> Any:
            self.asked += 1
            return opener(packet)

        return counted


@each_coding
def test_shared_work_gives_what_own_work_gives(coding: Coding) -> None:
    """Modules that share their work see the same events as those that do not, whatever each has lost."""
    made, shared = campaign(coding=coding), SharedWork(domain(), packets=8)
    rng = random.Random(3)
    for _ in range(20):
        heard = [packet for packet in islice(made.carousel(), 60) if rng.random() < 0.6]
        ours, theirs = Collector(shared), Collector(Work(domain()))
        assert deliver(ours, heard) == deliver(theirs, heard)
        assert (ours.octets, ours.collected) == (theirs.octets, theirs.collected)


def test_shared_work_shares_no_packets() -> None:
    """What one module heard is of no use to another one that did not hear it."""
    made, shared = campaign(), CountedWork(domain())
    assert programmes(deliver(Collector(shared), made.cycle)) == [PROGRAMME]
    other = Collector(shared)
    assert programmes(deliver(other, [*of_kind(made, HEAD), *of_kind(made, PIECE)[1:]])) == []
    assert shared.asked == len(made.cycle) + len(of_kind(made, HEAD, PIECE)) - 1


def test_refusals_are_not_shared() -> None:
    """A forged head is refused to each module anew, and leaves the honest one as good as before."""
    of, shared = domain(), SharedWork(domain())
    forged = campaign(
        of=replace(of, supplier_public=signing_key("x25519", 2).public), signing_key=signing_key("x25519", 2)
    )
    for _ in range(3):
        module = Collector(shared)
        with pytest.raises(DiffusionRejected, match="bad-signature"):
            deliver(module, of_kind(forged, HEAD))
        assert programmes(deliver(module, campaign().cycle)) == [PROGRAMME]
