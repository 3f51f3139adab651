"""A supplier, the modules of a domain, and one of them who forges, for the tests of transport/diffusion."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tests.transport.security_kit import sealing_key, seeded, signing_key
from transport.diffusion import (
    Campaign,
    Coding,
    Collected,
    Collector,
    Domain,
    Fragment,
    FragmentKind,
    Head,
    Scheme,
    Work,
    make_renewal,
    seal_fragment,
    signed_octets,
)
from transport.errors import DiffusionRejected
from transport.security.domain_key import generate_symmetric, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transport.diffusion import CampaignPacket, Event, Manifest

PROGRAMME: Final = random.Random(6).randbytes(2000)
OTHER_PROGRAMME: Final = random.Random(7).randbytes(2000)
PLAIN: Final = Coding(scheme=Scheme.PLAIN)
RAPTORQ: Final = Coding(scheme=Scheme.RAPTORQ)
HEAD, SIGNATURE, DIGESTS, PIECE = FragmentKind


@cache
def domain(kind: str = "x25519", **changes: Any) -> Domain:
    """Return the domain whose supplier signs in suite *kind*, but for *changes*."""
    fields: dict[str, Any] = {
        "tar": b"\xb2\x01\x01",
        "logic_name": b"news",
        "supplier": b"press",
        "supplier_suite": kind,
        "supplier_public": signing_key(kind).public,
        "domain_key": generate_symmetric(seeded(3), generation=3),
    }
    return Domain(**(fields | changes))


def campaign(
    programme: bytes = PROGRAMME, *, of: Domain | None = None, coding: Coding = PLAIN, **changes: Any
) -> Campaign:
    """Return campaign 7 with version 2 of *programme*, but for *changes*."""
    of = of or domain()
    fields: dict[str, Any] = {"number": 7, "version": 2, "signing_key": signing_key(of.supplier_suite)}
    return Campaign(of, programme, coding=coding, **(fields | changes))


def renewal(generation: int, *, modules: int) -> list[bytes]:
    """Return the packets that bring the next key to so many modules, which all open it with one key."""
    of, key, public = (
        domain(),
        generate_symmetric(seeded(4), generation=generation),
        sealing_key("x25519").public,
    )
    wrapped = {
        ua: wrap(
            key, sealing_public=public, sealing_suite="x25519", ua=ua, tar=of.tar, logic_name=of.logic_name
        )
        for ua in (b"8988%015d" % number for number in range(modules))
    }
    return [packet.octets for packet in make_renewal(of, generation, wrapped, signing_key("x25519"))]


def collector(of: Domain | None = None, **changes: Any) -> Collector:
    """Return a module's collector, but for *changes*."""
    return Collector(Work(of or domain()), **changes)


def of_kind(made: Campaign, *kinds: FragmentKind) -> list[CampaignPacket]:
    """Return the packets of *made* that carry fragments of *kinds*, each once."""
    return [packet for packet in made.packets if packet.kind in kinds]


def deliver(to: Collector, packets: Iterable[CampaignPacket], now: float = 0.0) -> list[Event]:
    """Hand *packets* to a module; return what came of it."""
    return [event for packet in packets for event in to.receive(packet.octets, now)]


def programmes(events: Iterable[Event]) -> list[bytes]:
    """Return the programmes that were collected."""
    return [event.programme for event in events if isinstance(event, Collected)]


def forge(
    to: Collector,
    kind: FragmentKind,
    number: int,
    data: bytes,
    *,
    campaign: int = 7,
    of: Domain | None = None,
    now: float = 0.0,
) -> list[Event]:
    """Hand a module what another one, who has the domain key as well, made; return what came of it."""
    packet = seal_fragment(Fragment(campaign, kind, number, data), of or domain())
    return list(to.receive(packet, now))


def refused(to: Collector, *args: Any, **options: Any) -> str:
    """Return the reason for which ``forge`` is refused; fail if it is not."""
    try:
        events = forge(to, *args, **options)
    except DiffusionRejected as rejection:
        return rejection.reason
    raise AssertionError(f"it was taken: {events}")


def attempt(to: Collector, packet: bytes) -> tuple[list[Event], str]:
    """Hand *packet* to a module; return what came of it, and the reason if it was refused, else nothing."""
    try:
        return list(to.receive(packet, 0.0)), ""
    except DiffusionRejected as rejection:
        return [], rejection.reason


def head_of(manifest: Manifest, *, kind: str = "x25519", seed: int = 1, **changes: Any) -> bytes:
    """Return the head of *manifest* but for *changes*, signed with the key of *seed*."""
    changed = replace(manifest, **changes)
    signature = signing_key(kind, seed).sign(signed_octets(kind, changed))
    return Head(suite=kind, manifest=changed, signature=signature).encode()
