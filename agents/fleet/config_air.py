"""The tables of ``[air]`` in a config: what the radio does to each bearer, and how patient its users are."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.fleet.config_types import MAX_SECONDS, Delay, Rate, Share, Speed


class Table(BaseModel):
    """A table of a config file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OutageTable(Table):
    """An entry of ``outages``: nothing passes for *lasts_s* seconds, every *every_s*, from *first_s* on."""

    every_s: Annotated[float, Field(strict=True, gt=0, le=MAX_SECONDS)]
    lasts_s: Annotated[float, Field(strict=True, gt=0, le=MAX_SECONDS)]
    first_s: Annotated[float, Field(strict=True, ge=0, le=MAX_SECONDS)] = 0.0


class BearerTable(Table):
    """What the air does to every message of a bearer, towards the handset and from it."""

    loss: Share = 0.0
    duplication: Share = 0.0
    reordering: Share = 0.0
    delay_s: Delay = 0.0
    """The median; delays are spread around it."""
    spread: Annotated[float, Field(strict=True, ge=0, le=3)] = 0.3
    """The standard deviation of a delay's logarithm (lognormal); 0: every delay is the same."""
    octets_per_s: Rate = None
    messages_per_s: Rate = None
    outages: Annotated[tuple[OutageTable, ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _outages_end(self) -> Self:
        for outage in self.outages:
            if outage.lasts_s >= outage.every_s:
                raise ValueError("outages: an outage must end before the next begins")
        return self


class SmsTable(BearerTable):
    """``[air.sms]``."""

    delay_s: Delay = 2.0
    messages_per_s: Rate = 1.0
    report_timeout_s: Annotated[float, Field(strict=True, gt=0, le=3600)] = 30.0
    """How long a part waits for its delivery report before it is sent again."""
    attempts: Annotated[int, Field(strict=True, ge=1, le=100)] = 4
    validity_s: Annotated[float, Field(strict=True, gt=0, le=MAX_SECONDS)] = 86400.0
    """How long a service centre keeps what it cannot deliver."""


class CellBroadcastTable(BearerTable):
    """``[air.cell_broadcast]``."""

    delay_s: Delay = 1.0
    messages_per_s: Rate = 0.531
    """A page takes a period of the channel, 1.883 s (TS 44.012)."""
    period: Annotated[int, Field(strict=True, ge=1, le=4095)] = 32
    """Between two repetitions of a message, in units of 1.883 s (TS 23.041)."""
    repetitions: Annotated[int, Field(strict=True, ge=1, le=65535)] = 1


class BipTable(BearerTable):
    """``[air.bip]``: both kinds of channel."""

    delay_s: Delay = 0.15
    octets_per_s: Rate = 5000.0
    response_timeout_s: Annotated[float, Field(strict=True, gt=0, le=3600)] = 60.0
    """How long a server waits for the response to a packet before it gives the link up."""
    retransmission_s: Annotated[float, Field(strict=True, gt=0, le=600)] = 3.0
    """How long CAT_TP waits for an acknowledgement."""


class AirTable(Table):
    """``[air]`` and its bearers."""

    speed: Speed = "max"
    """Simulated seconds in a second; ``max``: nothing waits for the air, but what it took is counted."""
    sms: SmsTable = SmsTable()
    cell_broadcast: CellBroadcastTable = CellBroadcastTable()
    bip: BipTable = BipTable()
