"""What supplier and modules say alike of reports on a campaign: who is asked, when, and under which keys.

A broadcast is answered by nobody. Where the manifest asks for it, some modules report afterwards what became
of it, each at a moment of its own. ``agents.messages.campaign_reports`` has what they say.

*Who is asked* is a hash over the campaign and the module's address, and no throw of the module's own dice,
which would have served for the share alone. Whoever is asked twice says the same: a module that lost power
and hears the campaign again is not given another chance, which would make the sample larger than was
ordered. And the supplier knows by the same hash of whom it may expect a report, so that one which never comes
says something too. The campaign is hashed with it: each has a sample of its own.

*When* is chance, drawn anew each time: nobody need know it, and where two modules meet once they shall not
meet again.

*Under which keys*: the domain's, each for this use alone. They keep from the network who has which version,
and whatever comes from outside the domain from costing its supplier a signature. They prove no origin, for
all modules of the domain have them: that is a signature inside, with the module's own key. No counter is
needed, for reports are freshened by their campaign, and the first block that is ciphered (from a zero initial
vector) has the CC over all of the packet in it: other contents are other octets throughout.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from transport.diffusion.fragment import SPI, derive_keys
from transport.diffusion.manifest import MAX_SHARE
from transport.errors import DiffusionRejected
from transport.secured_packet import encode_command
from transport.security.framing import framed
from transport.security.keyset import DEFAULT_PROTECTION
from transport.security.suite_base import draw

if TYPE_CHECKING:
    from transport.diffusion.manifest import Manifest
    from transport.secured_packet import CommandPacket, PacketKeys
    from transport.security.domain_key import DomainKey
    from transport.security.suites import Rng

_SAMPLE: Final = "otafleet/1 campaign report sample"
_KEYSET: Final = 1
_NUMBER: Final = 4


def is_asked(manifest: Manifest, ua: str) -> bool:
    """Whether module *ua* is one of those that report on the campaign of *manifest*."""
    return is_in_sample(
        ua,
        tar=manifest.tar,
        generation=manifest.generation,
        campaign=manifest.campaign,
        share=manifest.report_share,
    )


def is_in_sample(ua: str, *, tar: bytes, generation: int, campaign: int, share: int) -> bool:
    """Whether module *ua* is one of *share* in 255 that report on a campaign, told by its numbers."""
    if not share:
        return False
    fields = (tar, *(number.to_bytes(4, "big") for number in (generation, campaign)), ua.encode("ascii"))
    number = int.from_bytes(hashlib.sha256(framed(_SAMPLE, *fields)).digest()[:_NUMBER], "big")
    return number * MAX_SHARE >> 8 * _NUMBER < share


def draw_delay_s(within_s: int, rng: Rng) -> int:
    """Return after how many seconds to report, 1 to *within_s*, each as likely as any other."""
    # Of 2**32 numbers, no second gets one in 65,536 more than another.
    return 1 + int.from_bytes(draw(rng, _NUMBER), "big") % within_s


def report_keys(domain_key: DomainKey) -> PacketKeys:
    """Return the keys of reports in the domain of *domain_key*; ValueError for a public half."""
    return derive_keys(domain_key, "report", _KEYSET, DEFAULT_PROTECTION)


def seal_report(data: bytes, *, tar: bytes, keys: PacketKeys) -> bytes:
    """Return the packet of a report on the service whose TAR it is."""
    return encode_command(spi=SPI, tar=tar, data=data, keys=keys)


def check_report(packet: CommandPacket) -> None:
    """Raise DiffusionRejected (``unprotected``) unless *packet* came as ``seal_report`` makes it."""
    if packet.spi != SPI:
        raise DiffusionRejected("unprotected", "a report is ciphered and checked under the domain's keys")
