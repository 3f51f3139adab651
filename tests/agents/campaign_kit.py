"""Campaigns for tests of their report: none was broadcast."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

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
CAMPAIGN: Final = CampaignReport(
    step=6,
    service="points",
    version=2,
    programme_octets=4096,
    targets=100,
    modules=120,
    by_broadcast=90,
    untold=2,
    had_before=0,
    one_by_one=25,
    time="simulated",
    coverage=((10.0, 25), (20.0, 50), (40.0, 88)),
    sent=SENT,
    unicast=Load(messages=2970, octets=445_000, air_s=2970.0),
)


def campaign(**changes: Any) -> CampaignReport:
    """Return that of a hundred modules, of which 88 told, but for *changes*."""
    return replace(CAMPAIGN, **changes)
