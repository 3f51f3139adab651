"""Switches the handsets on: their modules booted from the store, their cells connected.

One process hosts all cells, or several share them (``crew``): then cell *k* of the fleet belongs to process
*k* mod *processes*. The modules' memory is in one database whoever writes it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from agents.fleet.config_profile import profile_table
from agents.fleet.figures import CrewFigures, Walk
from agents.fleet.resources import peak_mib
from agents.fleet.weather import gate_of, presence_of
from agents.handset.antenna import Antenna
from agents.handset.cell import Cell
from agents.handset.phone import Phone
from agents.handset.security_module.memory import Memory
from agents.handset.security_module.module import SecurityModule
from agents.handset.site import Site
from agents.store.database import open_store
from agents.store.pages import PageStore
from agents.store.tables import MODULES
from bus.frame import Bearer

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from agents.fleet.config_tables import Handsets
    from agents.fleet.surroundings import Surroundings
    from bus.client import BusClient
    from bus.counters import Snapshot
    from transport.security.suites import Rng

DATABASE: Final = "modules"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandsetSummary:
    """What became of the handsets of one process; *counts* is None when they count with everybody else."""

    states: dict[str, int]
    """How many resources are in which state, as the modules' DEF say."""
    dead_letters: int
    base_mib: float
    """The most memory that the process had held before it had handsets."""
    peak_mib: float
    counts: Snapshot | None = None


class Radio:
    """The cells of one process, and the handsets in them."""

    def __init__(
        self, around: Surroundings, stack: AsyncExitStack, *, share: int = 0, processes: int = 1
    ) -> None:
        self._around = around
        self._stack = stack
        self._cells = list(islice(around.config.cells(), share, None, processes))
        self._groups = {ua: group for group, _, addresses in self._cells for ua in addresses}
        self._rngs: dict[str, Rng] = {}
        self._base_mib = peak_mib()
        self.cells: list[Cell] = []
        self.walk = Walk(self.cells)
        self._pages: PageStore

    async def open(self) -> None:
        """Boot every module and attach its handset to its cell."""
        database = self._around.launch.database(DATABASE)
        store = await self._stack.enter_async_context(open_store(database, MODULES))
        self._pages = PageStore(store)
        images = await self._pages.load_all()
        gate = await self._stack.enter_async_context(gate_of(self._around))
        for group, name, addresses in self._cells:
            connection = self._around.client(f"cell.{name}", owner={"role": "handset"})
            client = await self._stack.enter_async_context(connection)
            log = self._around.log.bind(cell=name)
            antenna = await self._stack.enter_async_context(
                Antenna(client, gate, name=name, counters=self._around.counters, log=log)
            )
            site = self._site(group, name, client, antenna)
            cell = Cell(name, site)
            self.cells.append(cell)
            phones = [Phone(ua, self._power(ua, images.pop(ua, [])), site) for ua in addresses]
            presences = {ua: presence_of(self._around, group, ua) for ua in addresses if group.off_s}
            await cell.attach(phones, presences)

    async def summaries(self) -> list[HandsetSummary]:
        """Return the one summary that there is when our own process hosts the handsets."""
        return [self.summary()]

    async def figures(self) -> CrewFigures:
        """Return what our handsets come to at this moment; they count with everybody else."""
        return CrewFigures(handsets=[await self.walk.figures()])

    async def received(self) -> int:
        """Return how many pages our cells have received."""
        bearers = self._around.counters.snapshot()["bearers"]
        pages = bearers.get(Bearer.CELL_BROADCAST)
        return pages["received"]["messages"] if pages else 0

    def summary(self, *, counts: Snapshot | None = None) -> HandsetSummary:
        """Return what became of these handsets."""
        phones = [phone for cell in self.cells for phone in cell.phones.values()]
        states = Counter(
            definition.state.value for phone in phones for definition in phone.module.definitions.all()
        )
        return HandsetSummary(
            states=dict(states),
            dead_letters=sum(len(phone.dead_letters) for phone in phones),
            base_mib=self._base_mib,
            peak_mib=peak_mib(),
            counts=counts,
        )

    def _site(self, group: Handsets, name: str, client: BusClient, antenna: Antenna) -> Site:
        around = self._around
        return Site(
            fleet=around.config.fleet.name,
            client=client,
            antenna=antenna,
            console=around.console(f"cell.{name}"),
            pages=self._pages,
            boot=self._boot,
            clock=around.clock,
            counters=around.counters,
            log=around.log.bind(cell=name),
            group=around.group,
            terminal=group.terminal,
            capture=around.capture,
        )

    async def _boot(self, ua: str) -> SecurityModule:
        return self._power(ua, await self._pages.load(ua))

    def _power(self, ua: str, pages: list[tuple[int, bytes]]) -> SecurityModule:
        """Return the module at *ua* as it was last stored, or blank when it never was."""
        # One stream for each module as long as we run: a module that reboots must not draw the same again.
        rng = self._rngs.setdefault(ua, self._around.rng(f"module/{ua}"))
        if pages:
            return SecurityModule(Memory.from_pages(pages), rng=rng)
        group = self._groups[ua]
        profile = profile_table(self._around.config, group).profile()
        return SecurityModule.blank(group.memory, rng=rng, resources=group.resources, profile=profile)
