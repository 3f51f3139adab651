"""Reports on a campaign: whom a manifest asks, how they spread, and the packet that a report travels in."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.transport.diffusion_kit import campaign, domain
from tests.transport.security_kit import flipped, seeded
from transport.diffusion import (
    MAX_SHARE,
    MAX_WITHIN_S,
    SPI,
    Manifest,
    check_report,
    draw_delay_s,
    is_asked,
    report_keys,
    seal_report,
)
from transport.errors import DiffusionRejected, PacketRejected
from transport.secured_packet import SecurityParameters, decode_command, encode_command
from transport.security.domain_key import generate_asymmetric, generate_symmetric

if TYPE_CHECKING:
    from transport.security.domain_key import DomainKey

TAR: Final = b"\xb2\x01\x01"
MANIFEST: Final = campaign(report_share=64, report_within_s=600).manifest
ADDRESSES: Final = [f"{number:019d}" for number in range(2000)]
KEYS: Final = report_keys(domain().domain_key)
WITHIN_S, BINS, MODULES = 600, 10, 200


def _asked(manifest: Manifest) -> set[str]:
    return {ua for ua in ADDRESSES if is_asked(manifest, ua)}


# The manifest


def test_a_manifest_says_who_reports_and_when() -> None:
    """Both stand in its octets, and nobody is asked unless it says so."""
    assert Manifest.parse(MANIFEST.encode()) == MANIFEST
    assert (MANIFEST.report_share, MANIFEST.report_within_s) == (64, 600)
    assert _asked(campaign().manifest) == set()


@pytest.mark.parametrize(
    ("share", "within_s"),
    [(1, 0), (0, 1), (-1, 1), (MAX_SHARE + 1, 1), (1, -1), (1, MAX_WITHIN_S + 1)],
    ids=["no-time", "nobody", "less-than-nobody", "more-than-all", "past", "too-long"],
)
def test_what_no_manifest_asks_for(share: int, within_s: int) -> None:
    """A share has a time and a time has a share, both within their fields."""
    with pytest.raises(ValueError, match=r"a share is of|who is asked"):
        replace(MANIFEST, report_share=share, report_within_s=within_s)


# The sample


@pytest.mark.parametrize("share", [1, 64, 128, MAX_SHARE])
def test_so_many_modules_are_asked(share: int) -> None:
    """Of 2,000 modules the share reports, within five standard deviations; of 255 in 255 all do."""
    expected = len(ADDRESSES) * share / MAX_SHARE
    deviation = (expected * (1 - share / MAX_SHARE)) ** 0.5
    asked = _asked(replace(MANIFEST, report_share=share))
    assert abs(len(asked) - expected) <= 5 * deviation


def test_whoever_is_asked_for_less_is_asked_for_more() -> None:
    """A larger share of one campaign has all modules of a smaller one, and more."""
    shares = [_asked(replace(MANIFEST, report_share=share)) for share in (16, 32, 64, 128)]
    assert all(fewer < more for fewer, more in pairwise(shares))


@pytest.mark.parametrize("changes", [{"campaign": 8}, {"generation": 4}, {"tar": b"\xb2\x01\x02"}], ids=str)
def test_another_campaign_asks_others(changes: dict[str, Any]) -> None:
    """Of two samples of a quarter a sixteenth is in both, within five deviations: they are independent."""
    both = _asked(MANIFEST) & _asked(replace(MANIFEST, **changes))
    expected = len(ADDRESSES) * (64 / MAX_SHARE) ** 2
    assert abs(len(both) - expected) <= 5 * expected**0.5


# The moment


def test_reports_spread_over_their_time() -> None:
    """Of 200 reports none of ten bins has more than 41.

    A bin has 20 on average and a standard deviation of 4.2 (200 draws of one in ten). 41 is five of these
    away, which one seed in tens of thousands would pass; this one is fixed.
    """
    rng = seeded(1)
    delays = [draw_delay_s(WITHIN_S, rng) for _ in range(MODULES)]
    assert min(delays) >= 1
    assert max(delays) <= WITHIN_S
    bins = [sum(delay - 1 in part for delay in delays) for part in _parts()]
    assert sum(bins) == MODULES
    assert max(bins) <= 41


def _parts() -> list[range]:
    width = WITHIN_S // BINS
    return [range(start, start + width) for start in range(0, WITHIN_S, width)]


@pytest.mark.parametrize("within_s", [1, 2, MAX_WITHIN_S])
def test_every_second_of_the_time_can_be_drawn(within_s: int) -> None:
    """From the first to the last, whatever the source of chance gives, and never none."""
    assert draw_delay_s(within_s, bytes) == 1
    assert draw_delay_s(within_s, lambda length: (within_s - 1).to_bytes(length, "big")) == within_s


# The packet


@pytest.mark.parametrize(
    "key",
    [domain().domain_key, generate_asymmetric("x25519", seeded(4))],
    ids=["symmetric", "pair"],
)
def test_a_report_survives_its_packet(key: DomainKey) -> None:
    """What goes in comes out under the domain's key, of either kind; only the TAR is seen on the way."""
    keys = report_keys(key)
    octets = seal_report(b"version 2", tar=TAR, keys=keys)
    packet = decode_command(octets, keys)
    check_report(packet)
    assert (packet.tar, packet.data) == (TAR, b"version 2")
    assert b"version 2" not in octets


def test_another_domain_opens_no_report() -> None:
    """Nor does anything of the campaign's own: a report travels under keys for this use alone."""
    octets = seal_report(b"version 2", tar=TAR, keys=KEYS)
    others = (report_keys(generate_symmetric(seeded(5))), domain().keys)
    for keys in others:
        with pytest.raises(PacketRejected):
            decode_command(octets, keys)


def test_altered_reports_are_refused() -> None:
    """Each octet altered, each prefix and a longer one."""
    octets = seal_report(b"version 2", tar=TAR, keys=KEYS)
    for wrong in [*(flipped(octets, at) for at in range(len(octets))), octets[:-1], octets + b"\0"]:
        with pytest.raises((PacketRejected, DiffusionRejected)):
            check_report(decode_command(wrong, KEYS))


@pytest.mark.parametrize("spi", [SecurityParameters(), replace(SPI, ciphering=False)], ids=["clear", "open"])
def test_a_report_in_clear_is_none(spi: SecurityParameters) -> None:
    """Not ciphered, or not checked, it is refused by that name, whatever is in it."""
    octets = encode_command(spi=spi, tar=TAR, data=b"version 2", keys=KEYS)
    with pytest.raises(DiffusionRejected, match="unprotected"):
        check_report(decode_command(octets, KEYS))
