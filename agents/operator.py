"""The operator: alone reserves, blocks, renews and releases resources in its subscribers' modules.

Its rules are here; what it knows of subscriptions is in ``subscriptions``, how it speaks to modules in
``commands``, and what it makes of their word on themselves in ``audits``. One module has at most one command
under way, and an order that is given again finds what the one before it did.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from agents import operator_keys
from agents.agreements import Agreements
from agents.audits import MISMATCH, Zone, compare
from agents.commands import Commands, verify
from agents.errors import MessageRejected, Refusal, Unheard
from agents.freshness import heard
from agents.messages.air import Block, Compact, Release, Subscribe, Unblock
from agents.messages.codec import decode, is_address
from agents.messages.inside import Activate, Agree, Agreed, Done
from agents.messages.signed import Purpose, Signed
from agents.reservations import reserve
from agents.revocations import Revocations
from agents.role import Role, Turns
from agents.subscriptions import (
    ACTIVE,
    REFUSED,
    RELEASED,
    SUBSCRIBED,
    TOLD,
    Renewal,
    Subscriptions,
    after_answer,
    news_of,
)
from agents.supplier_keys import roll_in

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from agents.commands import Answered
    from agents.exchange import FromModule
    from agents.hands import Hand, Voice
    from agents.link import Question
    from agents.messages.air import OperatorCommand
    from agents.operator_sessions import SessionTerms
    from agents.role import Desk, Ordered
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.frame import TraceContext


class Operator(Role):
    """One operator at its desk."""

    def __init__(
        self,
        desk: Desk,
        store: GroupCommit,
        *,
        authority: str,
        announcer: Voice | None = None,
        hand: Hand | None = None,
        suppliers: Container[str] | None = None,
        session: SessionTerms | None = None,
    ) -> None:
        super().__init__(desk)
        self._announcer = announcer
        self._revocations = Revocations(desk, store)
        self._agreements = Agreements(desk, store, self._revocations, suppliers=suppliers)
        self._subscriptions = Subscriptions(store, desk.clock)
        self._commands = Commands(
            desk, store, authority=authority, keep=self._keep, hand=hand, session=session
        )
        self._turns = Turns()

    @classmethod
    async def open(
        cls,
        desk: Desk,
        store: GroupCommit,
        *,
        authority: str,
        announcer: Voice | None = None,
        hand: Hand | None = None,
        suppliers: Container[str] | None = None,
        session: SessionTerms | None = None,
    ) -> Operator:
        """Take up what *store* holds; *announcer* is for what all modules are told, *hand* for each alone.

        *suppliers* are those it deals with; without, every one that its authority certified. With *session*
        commands travel under a keyset.
        """
        operator = cls(
            desk,
            store,
            authority=authority,
            announcer=announcer,
            hand=hand,
            suppliers=suppliers,
            session=session,
        )
        await operator._agreements.load()
        await operator._revocations.load()
        await operator._subscriptions.load()
        await operator._commands.load()
        return operator

    def states(self) -> dict[str, int]:
        """Return how many subscriptions are in which state."""
        return self._subscriptions.states()

    def holders(self, service: str) -> list[str]:
        """Return the addresses of the modules in which a service's resource is active."""
        return self._subscriptions.holders(service)

    def zones(self) -> list[Zone]:
        """Return what the last audit of each module that was audited said of its memory."""
        audited = (row for row in self._commands.modules.rows() if row["audited_at"])
        return [Zone(row["free"], row["largest_free"]) for row in audited]

    # AGREE -------------------------------------------------------------------------------------------------

    async def _agree(self, question: Question, message: Agree) -> Agreed:
        return await self._agreements.agree(question, message)

    # SUB ---------------------------------------------------------------------------------------------------

    async def from_module(self, packet: FromModule) -> None:
        """Take a subscription, signed with KPrUS."""
        signed = decode(packet.packet.data, Signed)
        if signed.target != self.name or signed.signer != packet.ua or not is_address(packet.ua):
            raise MessageRejected("meant-for-another")
        service = decode(signed.body, Subscribe).service
        async with self._turns.of(packet.ua):
            await self.ended(
                "subscribe", packet.ua, service, packet.trace, self._subscribe(packet, signed, service)
            )

    async def _subscribe(self, packet: FromModule, signed: Signed, service: str) -> bytes:
        module = await self._commands.module(packet.ua, packet.trace)
        try:
            verify(signed, Purpose.REQUEST, module)
        except MessageRejected as rejection:
            # Anybody's, and so nobody's: no event may tell that an order of the module's subscriber ended so.
            raise Unheard(rejection.reason) from None
        window = heard(signed.counter, module["request_counter"], module["request_window"])
        if window is None:
            raise Unheard("replayed")
        self._agreements.of(service, "subscribe")
        latest = max(signed.counter, module["request_counter"])
        changes = [self._commands.modules.put(module.but(request_counter=latest, request_window=window))]
        known = self._subscriptions.get(packet.ua, service)
        if known is None or known["state"] in (RELEASED, REFUSED):
            changes.append(self._subscriptions.change(packet.ua, service, state=SUBSCRIBED, reason=""))
        # Handed over in the same step of the loop, they share a transaction.
        await asyncio.gather(*changes)
        return b""

    # RES, REVOKE -------------------------------------------------------------------------------------------

    async def _reserve(self, ordered: Ordered) -> bytes:
        ua, service, trace = ordered.order.ua, ordered.order.service, ordered.trace
        self._agreements.of(service, "reserve")
        async with self._turns.of(ua):
            await self._commands.settle(ua, trace)
            if not self._subscriptions.is_done("reserve", ua, service):
                # As it is now: what was waited for may have changed it.
                agreement = self._agreements.of(service, "reserve")
                # A supplier that has yet to hear of a release would take this for the resource that it has.
                await self._catch_up(ua, self._subscriptions.of(ua, [service]), trace)
                await reserve(self._commands, agreement, ua, self.desk.link, self.desk.clock, trace)
        return b""

    async def _block(self, ordered: Ordered) -> bytes:
        return await self._revise(ordered, lambda agreement, _public: Block(tar=agreement["tar"]))

    async def _unblock(self, ordered: Ordered) -> bytes:
        return await self._revise(
            ordered, lambda agreement, public: Unblock(tar=agreement["tar"], supplier_public=public)
        )

    async def _renew(self, ordered: Ordered) -> bytes:
        """Give a resource other limits from now on: the order's, and as agreed where it names none."""
        renewal, now = Renewal.parse(ordered.order.argument), self.desk.clock.now()
        return await self._revise(ordered, lambda agreement, public: renewal.command(agreement, public, now))

    async def _release(self, ordered: Ordered) -> bytes:
        return await self._revise(ordered, lambda agreement, _public: Release(tar=agreement["tar"]))

    async def _revoke(self, ordered: Ordered) -> bytes:
        """Deal with a supplier no more, and release its resource."""
        agreement = self._agreements.rows.get(ordered.order.service)
        await self._revocations.carry_out(ordered.order, agreement)
        return await self._release(ordered) if agreement else b""

    async def _roll(self, ordered: Ordered) -> bytes:
        """Have the module go by its supplier's next key; the order's argument is the roll-over's number."""
        do, ua, service, trace = ordered.order.do, ordered.order.ua, ordered.order.service, ordered.trace
        agreement = self._agreements.of(service, do)
        async with self._turns.of(ua):
            await self._commands.settle(ua, trace)
            self._subscriptions.is_done(do, ua, service)
            subscription = self._subscriptions.require(ua, service)
            roll = roll_in(ordered.order.argument)
            command = await self._agreements.keys.succeed(agreement, subscription, roll, trace)
            if command is not None:
                await self._commands.carry_out(do, ua, service, command, trace)
            await self._tell_supplier(ua, service, trace)
        return b""

    async def _revise(self, ordered: Ordered, command: Callable[[Row, bytes], OperatorCommand]) -> bytes:
        """Have the module carry out a command, then let the supplier know what became of its resource.

        *command* makes it of the agreement and of the key by which the module knows the supplier, once it is
        sure how things stand.
        """
        do, ua, service = ordered.order.do, ordered.order.ua, ordered.order.service
        self._agreements.of(service)
        async with self._turns.of(ua):
            await self._commands.settle(ua, ordered.trace)
            if not self._subscriptions.is_done(do, ua, service):
                agreement = self._agreements.of(service, do)
                public = self._agreements.keys.of(agreement, self._subscriptions.get(ua, service))
                made = command(agreement, public)
                await self._commands.carry_out(do, ua, service, made, ordered.trace)
            if do in TOLD:
                await self._tell_supplier(ua, service, ordered.trace)
        return b""

    async def _keep(self, answered: Answered) -> None:
        """Keep what a module's answer changes about its subscription; some commands are about none."""
        ua, service = answered.ua, answered.service
        if not service:
            return
        known = self._subscriptions.get(ua, service)
        changes = after_answer(
            answered.do,
            answered.command,
            turn=answered.turn,
            reason=answered.reason,
            rsc_id=getattr(answered.answer, "rsc_id", 0),
            activated=bool(known and known["activated"]),
        )
        await self._subscriptions.change(ua, service, **changes)

    async def _tell_supplier(self, ua: str, service: str, trace: TraceContext) -> None:
        row, supplier = self._subscriptions.require(ua, service), self._agreements.of(service)["supplier"]
        if not self._revocations.has(supplier):
            await self.desk.link.ask(supplier, news_of(row), Done, trace=trace)
        await self._subscriptions.change(ua, service, told=row["turn"])

    # COMPACT, AUDIT ----------------------------------------------------------------------------------------

    async def _compact(self, ordered: Ordered) -> bytes:
        """Have a module put its resources together; what is free is then in one piece."""
        ua = ordered.order.ua
        async with self._turns.of(ua):
            await self._commands.settle(ua, ordered.trace)
            await self._commands.carry_out("compact", ua, "", Compact(), ordered.trace)
        return b""

    async def _audit(self, ordered: Ordered) -> bytes:
        """Ask a module what it holds; take over what has ended by itself, and let the suppliers know.

        Raises Refusal (``audit-mismatch``) when it is not as we left it: the log says what. A release gets
        the operator out of that.
        """
        ua, trace = ordered.order.ua, ordered.trace
        async with self._turns.of(ua):
            await self._commands.settle(ua, trace)
            reading = await self._commands.read_definitions(ua, trace)
            known = self._subscriptions.of(ua, (row["service"] for row in self._agreements.rows.rows()))
            module = await self._commands.module(ua, trace)
            findings = compare(
                reading,
                memory=module["memory"],
                now=self.desk.clock.now(),
                agreements={row["tar"]: row for row in self._agreements.rows.rows()},
                subscriptions=known,
            )
            zone = {"free": reading.figures.free, "largest_free": reading.figures.largest_free}
            await asyncio.gather(
                self._commands.modules.put(module.but(audited_at=self.desk.clock.now(), **zone)),
                *(
                    self._subscriptions.change(ua, service, state=state, turn=reading.turn)
                    for service, state in findings.states.items()
                ),
            )
            self.log.info("module.audited", ua=ua, resources=len(reading.entries), **zone)
            for service, state in findings.states.items():
                self.log.info("subscription.changed", ua=ua, service=service, state=state)
            await self._catch_up(ua, known, trace)
        for fault in findings.faults:
            self.log.warning("audit.mismatch", ua=ua, **fault._asdict())
        if findings.faults:
            raise Refusal(MISMATCH)
        return b""

    async def _catch_up(self, ua: str, services: Iterable[str], trace: TraceContext) -> None:
        """Tell the suppliers of module *ua*'s resources what they have not been told yet."""
        for service in services:
            row = self._subscriptions.require(ua, service)
            if row["activated"] and row["told"] < row["turn"]:
                await self._tell_supplier(ua, service, trace)

    # ACT ---------------------------------------------------------------------------------------------------

    async def _activate(self, ordered: Ordered) -> bytes:
        ua, service = ordered.order.ua, ordered.order.service
        agreement = self._agreements.of(service, "activate")
        async with self._turns.of(ua):
            module = await self._commands.module(ua, ordered.trace)
            await self._commands.settle(ua, ordered.trace)
            if self._subscriptions.is_done("activate", ua, service):
                return b""
            subscription = self._subscriptions.require(ua, service)
            activate = Activate(
                ua=ua,
                service=service,
                certificate=module["certificate"],
                rsc_id=subscription["rsc_id"],
                tar=agreement["tar"],
                turn=subscription["reserved_turn"],
                supplier_digest=subscription["supplier_digest"],
            )
            await self.desk.link.ask(agreement["supplier"], activate, Done, trace=ordered.trace)
            await self._subscriptions.change(
                ua, service, state=ACTIVE, activated=1, told=subscription["turn"]
            )
        return b""

    async def _announce(self, ordered: Ordered) -> bytes:
        """Tell the modules of the groups that the order names, or of all, what time it is."""
        if self._announcer is None:
            raise Refusal("no-broadcast")
        groups = ordered.order.argument.decode().split()
        await self._announcer.announce(groups, keys=self._commands.keys.in_use, trace=ordered.trace)
        return b""

    async def _change_key(self, ordered: Ordered) -> bytes:
        """Have a module go by another key of ours: the rules are ``operator_keys``'."""
        async with self._turns.of(ordered.order.ua):
            await operator_keys.RULES[ordered.order.do](self._commands, ordered)
        return b""

    # -------------------------------------------------------------------------------------------------------

    questions: ClassVar = {Agree: _agree}
    orders: ClassVar = {
        "reserve": _reserve,
        "activate": _activate,
        "block": _block,
        "unblock": _unblock,
        "renew": _renew,
        "release": _release,
        "compact": _compact,
        "audit": _audit,
        "revoke-supplier": _revoke,
        "roll-supplier-key": _roll,
        "announce": _announce,
        operator_keys.ROLL: _change_key,
        operator_keys.INTRODUCE: _change_key,
    }
