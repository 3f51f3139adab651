"""Campaigns for tests of their report: none was broadcast."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from agents.fleet.arrivals import Arrival, Way
from agents.fleet.campaign_report import CampaignReport, Load, Sent

SENT: Final = Sent(
    scheme="raptorq",
    packets=250,
    pages=250,
    repair_pages=150,
    repetitions=2,
    cells=10,
    published=5000,
    lost=12_345,
    lost_by_all=12_345,
    load=Load(messages=5000, octets=440_000, air_s=9416.2),
)


def arrivals(
    told: int, *, untold: int = 0, before: int = 0, served: int = 0, without: int = 0
) -> tuple[Arrival, ...]:
    """Return so many modules' ways, in two cells in turn; each told half a second after the one before it."""
    ways = (
        *((Way.BROADCAST, place / 2) for place in range(1, told + 1)),
        *((Way.BROADCAST, None),) * untold,
        *((Way.BEFORE, None),) * before,
        *((Way.SERVED, None),) * served,
        *((Way.NONE, None),) * without,
    )
    return tuple(
        Arrival(ua=f"{number:019}", cell=f"city.{number % 2 + 1}", way=way, at_s=at_s)
        for number, (way, at_s) in enumerate(ways)
    )


CAMPAIGN: Final = CampaignReport(
    step=6,
    service="points",
    version=2,
    programme_octets=4096,
    targets=100,
    arrivals=arrivals(88, untold=2, served=25, without=5),
    time="simulated",
    clock="simulated",
    coverage=((10.0, 25), (20.0, 50), (40.0, 88)),
    sent=SENT,
    unicast=Load(messages=2970, octets=445_000, air_s=2970.0),
)


def campaign(**changes: Any) -> CampaignReport:
    """Return that of a hundred modules, of which 88 told, but for *changes*."""
    return replace(CAMPAIGN, **changes)
