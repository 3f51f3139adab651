"""Message codes on the air: a supplier's campaign, and roll-overs of its domain key meanwhile."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from agents.diffuser import Aerial, Diffuser
from agents.domain_airings import RenewalAirings
from agents.messages.orders import DomainRollOrder
from agents.role import Turns
from agents.store.registry import Registry
from agents.store.tables import SERVICES
from bus.bearers.cell_broadcast import Airtime, CellBroadcaster
from bus.topics import Broadcast
from tests.agents.role_kit import TRACE, Kit
from tests.bus.handset import Tally
from tests.transport.diffusion_kit import campaign, domain, renewal
from transport.cell_broadcast import Page, PageAssembler, packet_of
from transport.diffusion import MAX_PROGRAMME, RENEWAL_CODES, Coding, Scheme

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agents.role import Desk
    from bus.frame import Frame
    from transport.diffusion import CampaignPacket

CELL: Final = "cell"
SERVICE: Final = "points"
IDENTIFIER: Final = 0x1081
MANY: Final = 100
"""Packets of the campaign, those with the highest codes."""


class Broadcasts:
    """A supplier's campaign and roll-overs of one service, in a cell where all pages are heard."""

    def __init__(self, kit: Kit, desk: Desk) -> None:
        broadcaster = CellBroadcaster(
            desk.client,
            fleet=kit.fleet,
            source=desk.keys.name,
            clock=kit.clock,
            counters=kit.counters,
            rng=kit.rng("broadcast"),
            log=kit.log,
        )
        self.kit = kit
        self.desk = desk
        self.aerial = Aerial(broadcaster=broadcaster, cells={"city": (CELL,)}, repetitions=1, clock=kit.clock)
        self.pages: list[Page] = []
        self.heard = Tally()
        self.diffuser: Diffuser
        self.renewals: RenewalAirings

    async def open(self) -> None:
        """Open the supplier's store, which knows the service, and listen."""
        await self.desk.client.subscribe([Broadcast(fleet=self.kit.fleet, cell=CELL)], self._hear)
        store = await self.kit.store("bank", SERVICES.metadata)
        services = Registry(store, SERVICES)
        await services.put(
            {"service": SERVICE, "tar": bytes(3), "domain_key": bytes(40), "message_identifier": IDENTIFIER}
        )
        self.diffuser = Diffuser(self.desk, store, self.aerial)
        self.renewals = RenewalAirings(self.desk, store, self.diffuser, services=services, turns=Turns())
        await self.renewals.load()

    def _hear(self, frame: Frame, _topic: str) -> None:
        self.pages.append(Page.parse(frame.pdu))
        self.heard.add()

    async def load(self, packets: Iterable[CampaignPacket]) -> None:
        """Broadcast packets of a campaign."""
        airtime = Airtime(self.kit.clock, 0.0)
        for packet in packets:
            await self.diffuser.publish(
                packet, identifier=IDENTIFIER, update=1, cells=[CELL], trace=TRACE, airtime=airtime
            )

    async def roll(self, number: int, packets: Sequence[bytes]) -> None:
        """Broadcast a roll-over that has these packets."""
        said = DomainRollOrder(roll=number, groups=["city"])
        await asyncio.gather(*self.renewals.made(SERVICE, said, packets, TRACE))
        await self.renewals.broadcast(SERVICE, [CELL], TRACE)


async def test_a_long_campaign_and_a_roll_over_at_once(kit: Kit) -> None:
    """A phone that takes a later version for one puts all packets together, of the next roll-over too."""
    broadcasts = Broadcasts(kit, await kit.desk("bank"))
    await broadcasts.open()
    programme = random.Random(1).randbytes(MAX_PROGRAMME)
    made = campaign(programme, coding=Coding.measured(MAX_PROGRAMME, Scheme.RAPTORQ, domain().keys))
    first, second = renewal(4, modules=500), renewal(5, modules=20)
    assert len(first) > len(RENEWAL_CODES.codes) > len(second)
    await asyncio.gather(broadcasts.load(made.packets[-MANY:]), broadcasts.roll(1, first))
    await broadcasts.roll(2, second)
    await broadcasts.heard.until(kit.counters.snapshot()["bearers"]["cell-broadcast"]["sent"]["messages"])
    phone = PageAssembler(max_remembered=2048)
    contents = [phone.receive(page, 0.0) for page in broadcasts.pages]
    heard = [packet_of(content) for content in contents if content is not None]
    assert sorted(heard) == sorted([*(packet.octets for packet in made.packets[-MANY:]), *first, *second])
