"""What the config says of the air becomes the air's own values, the same in every process of a run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agents.fleet.config_air import AirTable, BearerTable
from agents.fleet.weather import broadcast_clock, clock_of, conditions_of, gate_of, presence_of
from bus.clock import Origin
from bus.frame import Bearer
from tests.agents.fleet_kit import fleet_config, surroundings
from transport.air import Conditions, Outage

if TYPE_CHECKING:
    from pathlib import Path

    from agents.fleet.surroundings import Surroundings
    from tests.agents.role_kit import Kit

PERSONALISE = """
[[step]]
do = "personalise"
"""
LOSSY = """
[air]
speed = "max"
[air.sms]
loss = 0.5
[air.bip]
loss = 0.3
[air.cell_broadcast]
loss = 0.7
"""
UNSEEDED = ("seed = 7\n", "")


def around(kit: Kit, directory: Path, text: str = LOSSY, **launch: Any) -> Surroundings:
    """Return the surroundings of a process of a fleet with this air."""
    edit = launch.pop("edit", ("", ""))
    shared = surroundings(kit, fleet_config(directory, text + PERSONALISE, edit=edit))
    return replace(shared, launch=replace(shared.launch, **launch))


async def fates(process: Surroundings, bearer: Bearer, key: str = "8988/up") -> list[bool]:
    """Return what becomes of the first PDUs of a lane."""
    async with gate_of(process) as gate:
        return [gate.carry(bearer, key, 100, lambda: None) for _ in range(64)]


def test_every_value_of_a_bearer_reaches_its_conditions() -> None:
    """By the same names, outages among them."""
    table = BearerTable.model_validate(
        {
            "loss": 0.125,
            "duplication": 0.25,
            "reordering": 0.5,
            "delay_s": 2.0,
            "spread": 0.75,
            "octets_per_s": 1000.0,
            "messages_per_s": 3.0,
            "outages": [{"every_s": 600.0, "lasts_s": 60.0, "first_s": 5.0}],
        }
    )
    assert conditions_of(table) == Conditions(
        loss=0.125,
        duplication=0.25,
        reordering=0.5,
        delay_s=2.0,
        spread=0.75,
        octets_per_s=1000.0,
        messages_per_s=3.0,
        outages=(Outage(every_s=600.0, lasts_s=60.0, first_s=5.0),),
    )


async def test_each_bearer_has_the_weather_of_its_table(kit: Kit, tmp_path: Path) -> None:
    """Reports go as short messages do; over TCP nothing is lost; the network's own frames meet no air."""
    process = around(kit, tmp_path)
    lost = {bearer: (await fates(process, bearer)).count(False) for bearer in Bearer}
    assert {bearer for bearer, count in lost.items() if count} == {
        Bearer.SMS,
        Bearer.REPORT,
        Bearer.CELL_BROADCAST,
        Bearer.BIP_UDP,
    }
    assert lost[Bearer.BIP_UDP] < lost[Bearer.SMS] < lost[Bearer.CELL_BROADCAST]


async def test_a_seeded_fleet_meets_the_same_weather_always(kit: Kit, tmp_path: Path) -> None:
    """Whatever the process, the launch and its key; another handset's is another."""
    first = await fates(around(kit, tmp_path), Bearer.SMS)
    again = around(kit, tmp_path, number=5, console_key=bytes(16))
    assert await fates(again, Bearer.SMS) == first
    assert await fates(again, Bearer.SMS, "8989/up") != first


async def test_a_fleet_without_a_seed_meets_the_weather_of_its_launch(kit: Kit, tmp_path: Path) -> None:
    """Its processes agree, as they share the launch's key; with another key nothing is as it was."""
    first = await fates(around(kit, tmp_path, edit=UNSEEDED), Bearer.SMS)
    assert await fates(around(kit, tmp_path, edit=UNSEEDED), Bearer.SMS) == first
    other = around(kit, tmp_path, edit=UNSEEDED, console_key=bytes(16))
    assert await fates(other, Bearer.SMS) != first


async def test_outages_count_from_the_first_launch(kit: Kit, tmp_path: Path) -> None:
    """All processes count from the moment that the state directory knows."""
    text = """
[air]
speed = 60.0
[air.sms]
outages = [{ every_s = 1e6, lasts_s = 1000.0, first_s = 5000.0 }]
"""
    now = kit.clock.now()
    before = around(kit, tmp_path, text, begun_s=now)
    amid = around(kit, tmp_path, text, begun_s=now - 5100.0)
    assert all(await fates(before, Bearer.SMS))
    assert not any(await fates(amid, Bearer.SMS))


def test_handsets_come_and_go_as_the_config_says(kit: Kit, tmp_path: Path) -> None:
    """Each at its own times, the same in any process; without an off-time a handset is always on."""
    edit = ('services = ["account", "loyalty"]', 'services = ["account"]\non_s = 600.0\noff_s = 300.0')
    process = around(kit, tmp_path, edit=edit, begun_s=1e9)
    again = around(kit, tmp_path, edit=edit, begun_s=1e9, console_key=bytes(16))
    city, coast = process.config.handsets
    at = [1e9 + 7.0 * number for number in range(1000)]

    def times(where: Surroundings, ua: str) -> list[bool]:
        presence = presence_of(where, city, ua)
        return [presence.is_on(moment) for moment in at]

    assert times(process, "8988") == times(again, "8988")
    assert times(process, "8988") != times(process, "8989")
    assert {True, False} == set(times(process, "8988"))
    assert times(process, "8988")[0]
    always = presence_of(process, coast, "8988")
    assert all(always.is_on(moment) for moment in at)


@pytest.mark.parametrize(("speed", "expected"), [("max", 1.0), (60.0, 60.0)], ids=str)
def test_the_clock_is_as_fast_as_the_config(speed: float | str, expected: float) -> None:
    """Where nothing waits for the air time passes as the world's; the origin is the launch's."""
    origin = Origin(real_s=1000.0, simulated_s=5000.0)
    clock = clock_of(AirTable.model_validate({"speed": speed}), origin)
    assert (clock.speed, clock.origin) == (expected, origin)


async def test_repetitions_do_not_wait_where_nothing_does(kit: Kit, tmp_path: Path) -> None:
    """With "max" a year's schedule is over at once; otherwise it goes by the run's clock."""
    impatient = broadcast_clock(around(kit, tmp_path))
    await asyncio.wait_for(impatient.sleep(31_536_000.0), 20)
    patient = around(kit, tmp_path, "[air]\nspeed = 60.0\n")
    assert broadcast_clock(patient) is patient.clock
