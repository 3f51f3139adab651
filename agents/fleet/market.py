"""Opens the roles of a market: their stores, keys, certificates, connections and desks.

One market is an authority with its personaliser, the operators that go by it, with their allocators if they
have any, and their suppliers. Each role has a database, a connection and randomness of its own. Enrolment
(who vouches for whose keys, see ``enrolment``, and who stands in whose place) is done here, out of band, as a
registration office would do it over the counter.

Who shares a house (see ``houses``) shares nothing else. An operator that is its own authority runs registry
and factory beside itself, in its suite, and they are roles like anybody's: with keys, a database and a name
of their own, asked over the inside road. That costs a question for each module, and buys three things. A
stolen operator's key registers no module, and is replaced by the authority's word. Modules and suppliers see
no difference, so that an authority can move out of the house, or into another's, without a module being
touched. And no rule has to ask which kind of operator it deals with. What such a house cannot give is a
second opinion: whoever runs it can name a key of its own as a module's.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time
from functools import partial
from typing import TYPE_CHECKING, Final

from agents.allocator import Allocator
from agents.allocators_hand import AllocatorsHand
from agents.announcer import Announcer
from agents.authority import Authority
from agents.diffuser import Aerial
from agents.enrolment import Enrolled, enrol
from agents.fleet.addresses import server_addresses
from agents.fleet.config_profile import profile_table
from agents.fleet.config_tables import Fec, KeyMaker, OperatorKey
from agents.fleet.config_updates import updates_of
from agents.fleet.desks import Desks
from agents.fleet.houses import allocator_of, authorities_of, authority_of, personalizer_of
from agents.fleet.key_files import role_keys
from agents.fleet.weather import broadcast_clock, conditions_of
from agents.handset.security_module.rights import rights_mask
from agents.offers import Offer
from agents.operator import Operator
from agents.operator_sessions import SessionTerms
from agents.personalizer import Personalizer, WorkOrder
from agents.store import tables
from agents.store.database import open_store
from agents.store.registry import Registry
from agents.supplier import Supplier
from bus.bearers.cell_broadcast import CellBroadcaster
from transport.cell_broadcast import PAGE_OCTETS, Schedule
from transport.security.certificates import Role as Certified
from transport.security.terms import AGREE_THEN_SIGN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AsyncExitStack

    from sqlalchemy import MetaData, Table

    from agents.directory import Directory
    from agents.fleet import config as configs
    from agents.fleet.surroundings import Surroundings
    from agents.role import Desk, Role

NO_LIMIT: Final = -1
_TABLES: Final[Mapping[Certified, tuple[MetaData, Table]]] = {
    Certified.AUTHORITY: (tables.AUTHORITY, tables.AUTHORITY_KEYS),
    Certified.PERSONALISER: (tables.PERSONALIZER, tables.PERSONALIZER_KEYS),
    Certified.OPERATOR: (tables.OPERATOR, tables.OPERATOR_KEYS),
    Certified.ALLOCATOR: (tables.ALLOCATOR, tables.ALLOCATOR_KEYS),
    Certified.SUPPLIER: (tables.SUPPLIER, tables.SUPPLIER_KEYS),
}
"""What each kind of role keeps, and where in it its own keys are."""


class _Under:
    """An authority, and everybody that a config has under it."""

    def __init__(self, config: configs.FleetConfig, authority: configs.Authority) -> None:
        self.authority = authority
        self.operators = [each for each in config.operators if authority_of(each) == authority.name]
        names = {each.name for each in self.operators}
        self.allocators = [each for each in config.allocators if each.operator in names]
        self.suppliers = [each for each in config.suppliers if each.operator in names]

    def subjects(self) -> Iterator[tuple[str, Certified, str, str]]:
        """Yield name, role, suite and issuer of each; the authority first, an issuer before its subjects."""
        root, suite = self.authority.name, self.authority.suite
        yield root, Certified.AUTHORITY, suite, root
        yield personalizer_of(root), Certified.PERSONALISER, suite, root
        for operator in self.operators:
            yield operator.name, Certified.OPERATOR, operator.suite, root
        for allocator in self.allocators:
            yield allocator.name, Certified.ALLOCATOR, allocator.suite, root
        for supplier in self.suppliers:
            issuer = supplier.operator if supplier.certified_by == "operator" else root
            yield supplier.name, Certified.SUPPLIER, supplier.suite, issuer


class Market:
    """Every role of a fleet, open and listening."""

    def __init__(self, around: Surroundings, stack: AsyncExitStack) -> None:
        self._around = around
        self._stack = stack
        self._servers = server_addresses(around.config)
        self._desks = Desks(around, stack)
        self.roles: dict[str, Role] = {}
        self.operators: list[Operator] = []

    async def open(self) -> None:
        """Open each authority's market; every role listens when this returns."""
        for authority in authorities_of(self._around.config):
            await self._open_under(authority)

    def campaigns_under_way(self) -> Mapping[str, bytes]:
        """Return the trace of each campaign that an earlier launch left on the air, by service."""
        suppliers = (role for role in self.roles.values() if isinstance(role, Supplier))
        return {name: trace for role in suppliers for name, trace in role.campaigns_under_way().items()}

    async def go_on(self) -> None:
        """Have suppliers go on with what an earlier launch left on the air; for when somebody listens."""
        for role in self.roles.values():
            if isinstance(role, Supplier):
                await role.go_on()

    async def _open_under(self, authority: configs.Authority) -> None:
        under = _Under(self._around.config, authority)
        root, *others = [await self._open_role(*subject) for subject in under.subjects()]
        directory = await enrol(root, others, clock=self._around.clock, by_certificate=authority.certificates)
        opened = {each.name: each for each in (root, *others)}
        await self._open_authority(under, root, opened[personalizer_of(authority.name)], directory)
        for allocator in under.allocators:
            await self._open_allocator(allocator, authority, opened[allocator.name], directory)
        for operator in under.operators:
            await self._open_operator(operator, under, opened[operator.name], directory)
        for supplier in under.suppliers:
            await self._open_supplier(supplier, opened[supplier.name], directory)

    async def _open_authority(
        self, under: _Under, root: Enrolled, factory: Enrolled, directory: Directory
    ) -> None:
        desk = await self._desks.open(root, directory)
        in_place_of = {each.name: each.operator for each in under.allocators}
        await self._listen(await Authority.open(desk, root.store, allocators=in_place_of))
        await self._listen(
            Personalizer(
                await self._desks.open(factory, directory),
                authority=root.name,
                directory=directory,
                work=self._work(under.operators),
            )
        )

    async def _open_allocator(
        self,
        allocator: configs.Allocator,
        authority: configs.Authority,
        opened: Enrolled,
        directory: Directory,
    ) -> None:
        desk = await self._desks.open(opened, directory, number=allocator.number)
        operator = next(each for each in self._around.config.operators if each.name == allocator.operator)
        await self._listen(
            await Allocator.open(
                desk,
                opened.store,
                operator=allocator.operator,
                authority=authority.name,
                announcer=self._announcer(allocator.operator, desk),
                session=session_of(operator),
            )
        )

    async def _open_operator(
        self, operator: configs.Operator, under: _Under, opened: Enrolled, directory: Directory
    ) -> None:
        desk = await self._desks.open(opened, directory, number=operator.number)
        in_place = allocator_of(self._around.config, operator.name)
        hand = AllocatorsHand(desk, in_place.name) if in_place else None
        role = await Operator.open(
            desk,
            opened.store,
            authority=under.authority.name,
            announcer=hand or self._announcer(operator.name, desk),
            hand=hand,
            suppliers=frozenset(each.name for each in under.suppliers if each.operator == operator.name),
            session=None if in_place else session_of(operator),
        )
        self.operators.append(role)
        await self._listen(role)

    async def _open_supplier(
        self, supplier: configs.Supplier, opened: Enrolled, directory: Directory
    ) -> None:
        server = self._servers[supplier.name]
        desk = await self._desks.open(opened, directory, number=supplier.number, server=server)
        await self._listen(
            await Supplier.open(
                desk,
                opened.store,
                operator=supplier.operator,
                number=supplier.number,
                offers=[self._offer(service) for service in supplier.services],
                server=server.encode(),
                aerial=self._aerial(supplier.operator, desk),
            )
        )

    async def _open_role(self, name: str, role: Certified, suite: str, issuer: str) -> Enrolled:
        metadata, table = _TABLES[role]
        store = await self._stack.enter_async_context(
            open_store(self._around.launch.database(name), metadata)
        )
        kept = Registry(store, table)
        await kept.load()
        keys = await role_keys(
            kept,
            name=name,
            role=role,
            suite=suite,
            brought=self._around.config.brought_keys(name),
            rng=self._around.rng(f"keys/{name}"),
        )
        return Enrolled(store=store, keys=keys, issuer=issuer)

    async def _listen(self, role: Role) -> None:
        self.roles[role.name] = role
        await role.start()

    def _announcer(self, operator: str, desk: Desk) -> Announcer:
        config = self._around.config
        table = config.air.cell_broadcast
        return Announcer(
            desk=desk,
            broadcaster=self._broadcaster(desk),
            cells=self._cells(operator),
            schedule=Schedule(period=table.period, count=table.repetitions),
            subscribers=sum(group.count for group in config.handsets if group.operator == operator),
        )

    def _aerial(self, operator: str, desk: Desk) -> Aerial:
        """Return what a supplier of *operator*'s broadcasts with, in that operator's cells."""
        table = self._around.config.air.cell_broadcast
        return Aerial(
            broadcaster=self._broadcaster(desk),
            cells=self._cells(operator),
            repetitions=table.repetitions,
            clock=broadcast_clock(self._around),
            page_s=conditions_of(table).transmission_s(PAGE_OCTETS),
            holders=partial(self._holders, operator),
            members={
                group.name: frozenset(self._around.config.group_addresses(group.name))
                for group in self._around.config.handsets
                if group.operator == operator
            },
        )

    def _holders(self, name: str, service: str) -> Mapping[str, int]:
        """Return how many modules with an active resource of *service* are in each cell of an operator's."""
        places = self._around.config.cells_by_address()
        operator = next(each for each in self.operators if each.name == name)
        return Counter(places[ua] for ua in operator.holders(service) if ua in places)

    def _broadcaster(self, desk: Desk) -> CellBroadcaster:
        around = self._around
        return CellBroadcaster(
            desk.client,
            fleet=desk.fleet,
            source=desk.keys.name,
            clock=broadcast_clock(around),
            counters=around.counters,
            rng=around.rng(f"broadcast/{desk.keys.name}"),
            log=desk.log,
        )

    def _cells(self, operator: str) -> Mapping[str, tuple[str, ...]]:
        """Return the cells of *operator*'s subscribers, by group."""
        groups = (group for group in self._around.config.handsets if group.operator == operator)
        return {group.name: group.cell_names for group in groups}

    def _work(self, operators: list[configs.Operator]) -> Mapping[str, WorkOrder]:
        config = self._around.config
        by_name = {operator.name: operator for operator in operators}
        allocators = {each.operator: each for each in config.allocators}
        return {
            ua: WorkOrder(
                operator=group.operator,
                operator_number=by_name[group.operator].number,
                suite=group.suite,
                memory=group.memory,
                suites=tuple(profile_table(config, group).profile().suites),
                takes_keys=group.keys is KeyMaker.AUTHORITY,
                knows_operator=group.operator_key is OperatorKey.PERSONALISED,
                **_in_place(allocators.get(group.operator)),
                session=session_of(by_name[group.operator]),
            )
            for group in config.handsets
            if group.operator in by_name
            for ua in config.group_addresses(group.name)
        }

    def _offer(self, service: configs.Service) -> Offer:
        return Offer(
            service=service.name,
            code=self._around.config.programme(service.name).code,
            backend=service.backend.value,
            code_size=service.code,
            data_size=service.data,
            rights=rights_mask(service.rights),
            expires_at=_end_of(service),
            executions=service.executions or NO_LIMIT,
            lifetime=service.lifetime_s or 0,
            at_end=service.at_end.value,
            bearers=service.bearers,
            protection=service.protection,
            forms=service.forms,
            dh_base=bytes.fromhex(service.dh_base),
            dh_modulus=bytes.fromhex(service.dh_modulus),
            logic_name=service.domain,
            custody=service.custody.value if service.domain else "",
            updates=updates_of(self._around.config, service.name),
            fec=service.fec is Fec.RAPTORQ,
        )


def _in_place(allocator: configs.Allocator | None) -> dict[str, str]:
    """Return what a work order says of who commands in the operator's place."""
    return {"allocator": allocator.name, "allocator_number": allocator.number} if allocator else {}


def session_of(operator: configs.Operator) -> SessionTerms | None:
    """Return what *operator*, or its allocator, makes sessions with modules with; None for no sessions."""
    if not operator.operator_session:
        return None
    return SessionTerms(
        form=operator.session_form or AGREE_THEN_SIGN,
        dh_base=bytes.fromhex(operator.dh_base),
        dh_modulus=bytes.fromhex(operator.dh_modulus),
    )


def _end_of(service: configs.Service) -> int:
    """Return the first second after the service's last day (UTC); 0 when it has none."""
    if service.expires is None:
        return 0
    return int(datetime.combine(service.expires, time.min, UTC).timestamp()) + 86_400
