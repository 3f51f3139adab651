"""The supplier: alone uses the resources it was given, over a channel that the operator cannot read.

A handset's call begins it (SER, ``calls``): supplier and module prove themselves to each other, then the
supplier loads what the module lacks: the programme, then personal data. What it has done is stored before it
goes on, and a packet's counter before the packet leaves, so that after a stop no counter is used twice and
nothing is loaded twice. Packets go over the bearers that the service names, in their order: when one fails,
the next is tried.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from agents import campaigns, domains
from agents.backends import BACKENDS
from agents.calls import Calls, Superseded
from agents.campaigns import Campaigns, Terms
from agents.diffuser import Diffuser
from agents.domain_rolls import DomainRolls
from agents.errors import Refusal
from agents.loading import Loading
from agents.messages.air import Call, DomainCall, Invoke
from agents.messages.campaign_reports import CampaignReport
from agents.messages.codec import decode
from agents.messages.inside import (
    Activate,
    Agreed,
    Done,
    NextSupplierKey,
    ResourceChanged,
    SupplierKey,
    WrapDomainKey,
    WrappedDomainKey,
)
from agents.messages.orders import DomainRollOrder
from agents.module_reports import ModuleReports
from agents.role import Role, Turns
from agents.store.registry import Registry
from agents.store.tables import RESOURCES, SERVICES
from agents.supplier_keys import KeyRing
from agents.usage import ACTIVE, BARS, READY, RELEASED, Usage, Use
from transport.security import certificates

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from agents.airings import Airing, Airings
    from agents.diffuser import Aerial
    from agents.exchange import FromModule
    from agents.link import Question
    from agents.offers import Offer
    from agents.role import Desk, Ordered
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.frame import TraceContext


class Supplier(Role):
    """One supplier at its desk."""

    def __init__(
        self,
        desk: Desk,
        store: GroupCommit,
        *,
        operator: str,
        number: str,
        offers: Iterable[Offer],
        server: bytes = b"",
        aerial: Aerial | None = None,
    ) -> None:
        super().__init__(desk)
        self._server = server
        self._operator = operator
        self._number = number
        self._offers = {offer.service: offer for offer in offers}
        self._resources = Registry(store, RESOURCES)
        self._services = Registry(store, SERVICES)
        self._ring = KeyRing(desk, store)
        self._turns = Turns()
        self._usage = Usage(desk, self._resources, self._turns)
        self._diffuser = Diffuser(desk, store, aerial)
        self._reports = ModuleReports(
            desk,
            store,
            self._resources,
            self._services,
            self._diffuser,
            told=self._has_reported,
        )
        self._campaigns = Campaigns(
            desk,
            store,
            self._diffuser,
            terms=self._terms,
            reports=self._reports,
            under_way=self.under_way,
        )
        self._loading = Loading(desk, self._usage, self._resources, self._diffuser)
        self._rolls = DomainRolls(
            desk,
            store,
            self._diffuser,
            services=self._services,
            resources=self._resources,
        )
        self._calls = Calls(
            desk,
            self._usage,
            self._turns,
            resources=self._resources,
            services=self._services,
            ring=self._ring,
            rolls=self._rolls,
            loading=self._loading,
            use=lambda packet, tar: self._use(packet.ua, tar, packet.trace, came_over=packet.bearer),
            offer=self._offer,
        )

    @classmethod
    async def open(
        cls,
        desk: Desk,
        store: GroupCommit,
        *,
        operator: str,
        number: str,
        offers: Iterable[Offer],
        server: bytes = b"",
        aerial: Aerial | None = None,
    ) -> Supplier:
        """Take up what *store* holds; *server* is where modules find this supplier on the packet network.

        *aerial* is what it broadcasts with.
        """
        supplier = cls(
            desk, store, operator=operator, number=number, offers=offers, server=server, aerial=aerial
        )
        await supplier._resources.load()
        await supplier._services.load()
        await supplier._ring.load()
        await supplier._diffuser.load()
        await supplier._reports.load()
        await supplier._campaigns.load()
        await supplier._rolls.load()
        return supplier

    # AGREE -------------------------------------------------------------------------------------------------

    async def _agree(self, ordered: Ordered) -> bytes:
        offer = self._offer(ordered.order.service)
        keys = self._ring.newest(offer.service)
        agree = offer.terms(keys, number=self._number, server=self._server)
        agreed = await self.desk.link.ask(self._operator, agree, Agreed, trace=ordered.trace)
        known = self._services.get(offer.service)
        domain_key = agreed.domain_key
        if offer.custody == domains.BY_SUPPLIER:
            kept = known["domain_key"] if known else b""
            domain_key = kept or domains.new_key(offer.forms, agree.suite, self.desk.rng).dump()
        await self._services.put(
            {
                "service": offer.service,
                "tar": agreed.tar,
                "domain_key": domain_key,
                "message_identifier": agreed.message_identifier,
            }
        )
        return b""

    async def _wrap_domain_key(self, question: Question, message: WrapDomainKey) -> WrappedDomainKey:
        """Wrap a global service's domain key to a module, whose keys the authority vouches for."""
        self._check_operator(question)
        return await self._rolls.wrap(self._offer(message.service), message)

    # ACT, and what the operator tells of its resources -----------------------------------------------------

    async def _activate(self, question: Question, message: Activate) -> Done:
        self._check_operator(question)
        offer = self._offer(message.service)
        known = self._resources.get(message.ua, message.tar)
        if known is not None and message.turn <= known["reserved_turn"]:
            await self._resources.settled()
            return Done()
        module = self.desk.directory.module(message.certificate, message.ua)
        keys = self._ring.known_as(offer.service, message.supplier_digest)
        if module.signing_public == keys.signing.public:
            raise Refusal("bad-public-key")
        await self._resources.put(
            {
                "ua": message.ua,
                "tar": message.tar,
                "service": offer.service,
                "rsc_id": message.rsc_id,
                "module_suite": module.suite,
                "module_public": module.signing_public,
                "module_sealing": module.sealing_public,
                "supplier_digest": message.supplier_digest,
                "state": ACTIVE,
                "reserved_turn": message.turn,
                "turn": message.turn,
                "barred": "",
                "session": None,
                "counter": 0,
                "personal": BACKENDS[offer.backend].personal_data(self.desk.rng),
                "version": 0,
                "changed_at": self.desk.clock.now(),
            }
        )
        self.log.info("resource.activated", ua=message.ua, service=message.service)
        return Done()

    async def _resource_changed(self, question: Question, message: ResourceChanged) -> Done:
        self._check_operator(question)
        row = self._find(message.ua, message.service)
        if row is None:
            # Never given to us; but we may have been asked to wrap a domain key for it.
            await self._rolls.changed(message, None)
        if row is None or message.turn <= row["turn"]:
            await self._resources.settled()
            return Done()
        changes: dict[str, Any] = {"turn": message.turn, "supplier_digest": message.supplier_digest}
        # What takes a resource out of use takes its session too, and so does another key of ours; what was
        # loaded is only lost by a release. One that was in use all the time, and has been renewed, still has
        # its session.
        is_same_key = message.supplier_digest == row["supplier_digest"]
        if message.state != ACTIVE or row["barred"] or not is_same_key:
            changes |= {"session": None, "counter": 0}
        if message.state == RELEASED:
            changes |= {"state": RELEASED, "barred": ""}
        elif message.state in BARS:
            changes |= {"barred": BARS[message.state]}
        else:
            raise Refusal("unknown-state")
        if message.state != RELEASED:
            self._ring.known_as(message.service, message.supplier_digest)
        await asyncio.gather(self._resources.put(row.but(**changes)), self._rolls.changed(message, row))
        self.log.info("resource.changed", ua=message.ua, service=message.service, state=message.state)
        return Done()

    async def _next_key(self, question: Question, message: NextSupplierKey) -> SupplierKey:
        """Say by which key a service's modules shall know us, and endorse it with the one that they have."""
        self._check_operator(question)
        offer, service = self._offer(message.service), self._services.get(message.service)
        return await self._ring.succeed(message, offer.forms, service, self._resources.rows())

    def _find(self, ua: str, service: str) -> Row | None:
        """Return the resource of *service* in module *ua*, if it was ever activated."""
        known = self._services.get(service)
        return self._resources.get(ua, known["tar"]) if known else None

    def _check_operator(self, question: Question) -> None:
        if question.role != certificates.Role.OPERATOR or question.sender != self._operator:
            raise Refusal("not-my-operator")

    # SER ---------------------------------------------------------------------------------------------------

    async def from_module(self, packet: FromModule) -> None:
        """Take a handset's call, or a module's report on a campaign."""
        message: Call | DomainCall | CampaignReport = decode(
            packet.packet.data, Call, DomainCall, CampaignReport
        )
        await self.packets[type(message)](self, packet, message)

    def _has_reported(self, service: str) -> None:
        self._campaigns.news(service)

    async def _reported(self, packet: FromModule, report: CampaignReport) -> None:
        await self._reports.take(packet, report)

    async def _called(self, packet: FromModule, call: Call | DomainCall) -> None:
        """Serve who calls; report what comes of it under the service's name."""
        service = next((row["service"] for row in self._services.rows() if row["tar"] == call.tar), None)
        if service is None:
            raise Refusal("unknown-resource")
        try:
            await self.ended("serve", packet.ua, service, packet.trace, self._calls.serve(packet, call))
        except Superseded:
            self.log.info("call.superseded", service=service)

    # use ---------------------------------------------------------------------------------------------------

    async def _invoke(self, ordered: Ordered) -> bytes:
        known = self._find(ordered.order.ua, ordered.order.service)
        if known is None:
            raise Refusal("unknown-resource")
        async with self._usage.line(known["ua"]), self._turns.of((known["ua"], known["tar"])):
            use = self._use(known["ua"], known["tar"], ordered.trace)
            row = self._usage.row(use)
            if row["state"] != READY:
                raise Refusal("not-loaded")
            offer = self._offer(row["service"])
            self._rolls.check(offer, use.ua)
            backend = BACKENDS[offer.backend]
            argument = ordered.order.argument or backend.argument(self.desk.rng)
            result = await self._usage.command(use, Invoke(argument=argument))
        if not backend.holds(row["personal"], argument, result.output):
            raise Refusal("wrong-answer")
        return result.output

    # GLOBAL ------------------------------------------------------------------------------------------------

    def _terms(self, service: str) -> Terms:
        offer, known = self._offer(service), self._services.get(service)
        if known is None:
            raise Refusal("unknown-service")
        return Terms(offer, known, self._ring.newest(service))

    async def go_on(self) -> None:
        """Go on with the campaigns and roll-overs that an earlier launch left under way."""
        await self._campaigns.go_on()
        self._rolls.airings.go_on()

    def campaigns_under_way(self) -> Mapping[str, bytes]:
        """Return the trace of each campaign that is not over, by service."""
        return self._campaigns.under_way()

    def on_air(self) -> list[Airing]:
        """Return how far the campaigns are that are not over."""
        return self._campaigns.on_air()

    def campaign_states(self) -> Mapping[tuple[str, int], tuple[str, str]]:
        """Return state and reason of each service's last campaign, by service and version."""
        return self._campaigns.states()

    @property
    def lost_letters(self) -> int:
        """How many messages were given up here; campaigns and roll-overs have mailboxes of their own."""
        return super().lost_letters + self._campaigns.lost_letters + len(self._rolls.airings.dead_letters)

    async def _about_campaign(self, ordered: Ordered) -> bytes:
        """Load a global service's application in all modules that hear it, or say how that is to go on."""
        return await self._campaigns.obey(ordered)

    async def _roll_domain_key(self, ordered: Ordered) -> bytes:
        """Give the modules of a global service its next domain key, but for those that are to be left out."""
        offer = self._offer(ordered.order.service)
        said = decode(ordered.order.argument, DomainRollOrder)
        if self._campaigns.is_under_way(offer.service):
            # What is on the air is under the key that is replaced: who has the next one would not take it.
            raise Refusal("campaign-running")
        await self._rolls.roll(offer, self._ring.newest(offer.service), said, trace=ordered.trace)
        return b""

    @property
    def reports(self) -> ModuleReports:
        """What modules reported of that."""
        return self._reports

    @property
    def airings(self) -> Airings:
        """What was broadcast, and what modules that were served had of it."""
        return self._diffuser.airings

    # -------------------------------------------------------------------------------------------------------

    def _use(self, ua: str, tar: bytes, trace: TraceContext, *, came_over: str = "") -> Use:
        """Begin to use a resource. Raises Refusal for one that is not, or no longer, to be used."""
        row = self._resources.get(ua, tar)
        if row is None:
            raise Refusal("unknown-resource")
        agreed = self._offer(row["service"]).bearers
        # What the module calls over works now; it comes first.
        bearers = tuple(sorted(agreed, key=lambda bearer: bearer != came_over))
        use = Use(ua, tar, row["reserved_turn"], trace, bearers)
        self._usage.row(use)
        return use

    def _offer(self, service: str) -> Offer:
        offer = self._offers.get(service)
        if offer is None:
            raise Refusal("unknown-service")
        return offer

    questions: ClassVar = {
        Activate: _activate,
        ResourceChanged: _resource_changed,
        WrapDomainKey: _wrap_domain_key,
        NextSupplierKey: _next_key,
    }
    packets: ClassVar[Mapping[type[Any], Callable[[Any, FromModule, Any], Awaitable[None]]]] = {
        Call: _called,
        DomainCall: _called,
        CampaignReport: _reported,
    }
    """By class of what a module sends: what to do with it."""
    orders: ClassVar = {
        **dict.fromkeys(campaigns.ORDERS, _about_campaign),
        "agree": _agree,
        "invoke": _invoke,
        "roll-domain-key": _roll_domain_key,
    }
