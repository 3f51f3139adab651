"""Diffusion: one broadcast brings an application to all modules of a domain.

What the room is for: from a programme to secured packets for cell broadcast, and from whichever of these a
module gets back to the programme, proven. It may import ``transport.errors``, ``transport.secured_packet``,
``transport.cell_broadcast``, ``transport.security``, and, lazily, the wheel ``raptorq`` of the extra
``fec``. It knows nothing of resources or suppliers' plans; ``now`` is an argument and nothing is random
here but what is drawn from a source that is handed in.

Theory of operation. Both sides bring the same :class:`Domain`: TAR, logic name, the supplier's public key,
and the domain key, of which KIc and KID are derived. A supplier makes a :class:`Campaign` and broadcasts the
pages of its packets in the order of its ``carousel``, as often as he likes. A module puts pages together
with its ``PageAssembler`` and hands packets to its :class:`Collector`, which answers with events: a campaign
is announced once its manifest is proven, and collected once its programme is.

Whom to believe. All modules of a domain have the domain key, so a packet under it proves only that somebody
of the domain made it. Origin is the supplier's signature (KPrFO) over a manifest: to whom, which version,
which programme by its SHA-256, how it is cut. All else hangs on the manifest by digests.

Decisions that cost an argument:

* *The manifest does not list the digests of all pieces.* Small packets lose least to a lost page, but a
  digest is a third of what a page carries: a manifest with all of them would be as long as the programme,
  and it is what has no error correction. So it lists the digests of the *parts of a list* of digests, and
  the list is sent seldom, because a module needs it only where somebody forged: else any pieces will do
  whose programme has the right SHA-256 (:mod:`transport.diffusion.collection`).
* *The head is one packet, whatever the suite.* Were it several, each of which a forger can make, they would
  have to be tried in combination; a signature that is too long is therefore sent in parts, by digest as well.
* *Fragments have no header.* What they are stands in CNTR, which names each packet for itself and for all
  time (:mod:`transport.diffusion.fragment`), so a page carries 48 octets of programme and not 40.
* *The counter is not checked.* A carousel repeats; freshness is the version in the manifest.

A domain's key is renewed by broadcast as well, packets of its next generation wrapped to each module that
remains: :mod:`transport.diffusion.renewal`, which shares the domain and nothing else with campaigns.

Nobody answers a broadcast. A manifest may ask some modules to report afterwards, each at its own moment
(:mod:`transport.diffusion.reporting`).

What it does not do: keep anyone who knows the domain key, or has a transmitter, from being a nuisance. Pages
carry no proof, so whoever transmits can spoil messages in the making; what is promised is bounded memory and
work, and that no programme comes out but the supplier's.
"""

from transport.diffusion.campaign import Campaign, CampaignPacket, Coding
from transport.diffusion.codes import CAMPAIGN_CODES, RENEWAL_CODES
from transport.diffusion.collection import MAX_COPIES
from transport.diffusion.collector import (
    MAX_OCTETS,
    Announced,
    Collected,
    Collector,
    Event,
    GivenUp,
    GivenUpReason,
    Known,
    Suspected,
    Unfit,
    Wanted,
)
from transport.diffusion.erasure import (
    MAX_PIECES,
    MAX_PROGRAMME,
    Scheme,
    is_available,
    make_pieces,
    recover,
)
from transport.diffusion.fragment import (
    MAX_CAMPAIGN,
    SPI,
    Domain,
    Fragment,
    FragmentKind,
    capacity,
    open_fragment,
    seal_fragment,
)
from transport.diffusion.manifest import (
    MAX_SHARE,
    MAX_VERSION,
    MAX_WITHIN_S,
    DataPart,
    Head,
    Manifest,
    digest,
    signed_octets,
)
from transport.diffusion.renewal import (
    RENEWAL_KEYSET,
    RenewalPacket,
    longest_wrapped,
    make_notice,
    make_renewal,
    renewal_keys,
    renewal_mark,
    take_renewal,
)
from transport.diffusion.reporting import (
    check_report,
    draw_delay_s,
    is_asked,
    is_in_sample,
    report_keys,
    seal_report,
)
from transport.diffusion.work import SharedWork, Work

__all__ = [
    "CAMPAIGN_CODES",
    "MAX_CAMPAIGN",
    "MAX_COPIES",
    "MAX_OCTETS",
    "MAX_PIECES",
    "MAX_PROGRAMME",
    "MAX_SHARE",
    "MAX_VERSION",
    "MAX_WITHIN_S",
    "RENEWAL_CODES",
    "RENEWAL_KEYSET",
    "SPI",
    "Announced",
    "Campaign",
    "CampaignPacket",
    "Coding",
    "Collected",
    "Collector",
    "DataPart",
    "Domain",
    "Event",
    "Fragment",
    "FragmentKind",
    "GivenUp",
    "GivenUpReason",
    "Head",
    "Known",
    "Manifest",
    "RenewalPacket",
    "Scheme",
    "SharedWork",
    "Suspected",
    "Unfit",
    "Wanted",
    "Work",
    "capacity",
    "check_report",
    "digest",
    "draw_delay_s",
    "is_asked",
    "is_available",
    "is_in_sample",
    "longest_wrapped",
    "make_notice",
    "make_pieces",
    "make_renewal",
    "open_fragment",
    "recover",
    "renewal_keys",
    "renewal_mark",
    "report_keys",
    "seal_fragment",
    "seal_report",
    "signed_octets",
    "take_renewal",
]
