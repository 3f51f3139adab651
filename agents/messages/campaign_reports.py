"""What a module tells its supplier of a broadcast campaign, where the supplier asked for it.

It travels in a packet to the service's TAR, under keys of the domain (``transport.diffusion.reporting``),
which all modules of the domain have. So it is signed with KPrUS. What is signed is a ``Signed`` message of
which only the signature travels: supplier, address, TAR and context are known at both ends, and each octet
saved is one that a short message has room for.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgpack
from pydantic import Field

from agents.messages.codec import Reason, message
from agents.messages.signed import Purpose, Signed, sign
from transport.diffusion import MAX_CAMPAIGN, MAX_VERSION
from transport.security.domain_key import MAX_GENERATION

if TYPE_CHECKING:
    from transport.security.suites import SigningKey

MOST_OCTETS: Final = 4096
"""More than any suite's signature has."""


class Outcome(IntEnum):
    """What became of a campaign in a module; its word is its name in small letters."""

    LOADED = 1
    HELD = 2
    """It had that programme in that version by then."""
    REFUSED = 3
    """It was the supplier's, and could not be taken: the report's reason says why."""

    @property
    def word(self) -> str:
        """What it is called in logs and tables."""
        return self.name.lower()


class Said(NamedTuple):
    """What a report says, as it is signed together with the TAR."""

    generation: int
    campaign: int
    version: int
    outcome: int
    reason: str


@message(39)
class CampaignReport:
    """The module's word on one campaign. Signed with KPrUS."""

    generation: Annotated[int, Field(ge=1, le=MAX_GENERATION)]
    """Of the domain key that the campaign came under."""
    campaign: Annotated[int, Field(ge=1, le=MAX_CAMPAIGN)]
    version: Annotated[int, Field(ge=1, le=MAX_VERSION)]
    outcome: Annotated[int, Field(ge=min(Outcome), le=max(Outcome))]
    reason: Reason
    signature: Annotated[bytes, Field(min_length=64, max_length=MOST_OCTETS)]

    def verify(self, *, ua: str, supplier: str, tar: bytes, suite: str, public: bytes) -> None:
        """Check that module *ua*, whose key is *public*, says this to *supplier* of its resource *tar*.

        Raises SignatureRejected.
        """
        said = Said(self.generation, self.campaign, self.version, self.outcome, self.reason)
        signed = Signed(
            purpose=int(Purpose.CAMPAIGN_REPORT),
            target=supplier,
            counter=self.campaign,
            body=_body(tar, said),
            signer=ua,
            signature=self.signature,
        )
        signed.verify(purpose=Purpose.CAMPAIGN_REPORT, suite=suite, public=public)


def sign_report(said: Said, *, ua: str, supplier: str, tar: bytes, key: SigningKey) -> CampaignReport:
    """Return module *ua*'s report to *supplier* on its resource *tar*, signed with *key*, its KPrUS."""
    signed = sign(
        _body(tar, said),
        purpose=Purpose.CAMPAIGN_REPORT,
        target=supplier,
        counter=said.campaign,
        signer=ua,
        key=key,
    )
    return CampaignReport(**said._asdict(), signature=signed.signature)


def _body(tar: bytes, said: Said) -> bytes:
    packed: bytes = msgpack.packb([tar, *said])
    return packed
