"""What the config says of the air, as the air's own values: the gate of a process, the times of a handset.

All processes of a run count from the same moment and draw from the same seed, each lane its own: which
process hosts a handset changes nothing of what the air does to it.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

from bus.air import AirGate
from bus.clock import SystemClock
from bus.frame import Bearer
from transport.air import Conditions, Outage, Presence

if TYPE_CHECKING:
    from agents.fleet.config import Handsets
    from agents.fleet.config_air import AirTable, BearerTable
    from agents.fleet.surroundings import Surroundings
    from bus.clock import Clock, Origin

MAX: Final = "max"


def clock_of(air: AirTable, origin: Origin | None = None) -> SystemClock:
    """Return the run's clock: as fast as the config says, or the world's when nothing waits for the air."""
    return SystemClock(1.0 if air.speed == MAX else float(air.speed), origin=origin)


class _Impatient(SystemClock):
    """A clock whose owner does not wait: for repetitions of broadcasts, when nothing waits for the air."""

    async def sleep(self, delay_s: float) -> None:  # noqa: ARG002 -- however long it is
        """Let others have their turn."""
        await asyncio.sleep(0)


def broadcast_clock(around: Surroundings) -> Clock:
    """Return what the repetitions of broadcasts go by."""
    return _Impatient() if around.config.air.speed == MAX else around.clock


def conditions_of(table: BearerTable) -> Conditions:
    """Return what a bearer's table says, between antenna and handset."""
    return Conditions(
        loss=table.loss,
        duplication=table.duplication,
        reordering=table.reordering,
        delay_s=table.delay_s,
        spread=table.spread,
        octets_per_s=table.octets_per_s,
        messages_per_s=table.messages_per_s,
        outages=tuple(
            Outage(every_s=outage.every_s, lasts_s=outage.lasts_s, first_s=outage.first_s)
            for outage in table.outages
        ),
    )


def gate_of(around: Surroundings) -> AirGate:
    """Return the air of this process, to be entered."""
    air = around.config.air
    sms, bip = conditions_of(air.sms), conditions_of(air.bip)
    return AirGate(
        clock=around.clock,
        seed=_seed(around, "air"),
        conditions={
            Bearer.SMS: sms,
            Bearer.REPORT: sms,
            Bearer.CELL_BROADCAST: conditions_of(air.cell_broadcast),
            Bearer.BIP_TCP: bip,
            Bearer.BIP_UDP: bip,
        },
        counters=around.counters,
        log=around.log,
        wait=air.speed != MAX,
        epoch=around.launch.begun_s,
    )


def presence_of(around: Surroundings, group: Handsets, ua: str) -> Presence:
    """Return when the handset *ua* is on."""
    return Presence(group.on_s, group.off_s, _seed(around, f"presence/{ua}"), around.launch.begun_s)


def _seed(around: Surroundings, label: str) -> bytes:
    """Return the seed of one of the air's draws: the fleet's own, whatever the launch; else the launch's."""
    fleet = around.config.fleet
    if fleet.seed is None:
        return hashlib.sha256(around.launch.console_key + label.encode()).digest()
    return hashlib.sha256(f"otafleet air/{fleet.name}/{fleet.seed}/{label}".encode()).digest()
