"""The operator: alone reserves, blocks and releases resources in its subscribers' modules.

Every command to a module is signed for that module and the next counter, stored, and only then sent; one
module has at most one command under way. Whatever stops in between (the network, this process), the stored
octets are sent again first, and the module answers a repetition with its first answer: nothing is reserved
twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final

from agents.errors import MessageRejected, Refusal, Unheard
from agents.freshness import heard
from agents.messages.air import Answer, Block, OperatorCommand, Release, Reserve, Subscribe, Unblock
from agents.messages.codec import decode, encode, is_address
from agents.messages.inside import (
    Activate,
    Agree,
    Agreed,
    Done,
    LookUp,
    ModuleRecord,
    ResourceChanged,
)
from agents.messages.signed import Purpose, Signed, check_key, sign
from agents.role import Role, Turns
from agents.store.registry import Registry
from agents.store.tables import AGREEMENTS, COMMANDS, OPERATOR_MODULES, SUBSCRIPTIONS
from transport.errors import SignatureRejected
from transport.security import certificates
from transport.security.certificates import Certificate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.announcer import Announcer
    from agents.exchange import FromModule
    from agents.link import Question
    from agents.role import Desk, Ordered
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.frame import TraceContext

FIRST_TAR: Final = 0xA00001
"""The first agreed service's TAR; the next ones follow. From memory of TS 101 220 annex D: 000001 to AFFFFF
are the card issuer's to allocate, and our operator is the issuer."""

# A subscription's states, and what an order needs and makes of them. An order that finds its end already
# reached is done: the one that reached it may have been stopped before it could say so.
SUBSCRIBED, RESERVED, ACTIVE, BLOCKED, RELEASED, REFUSED = (
    "subscribed",
    "reserved",
    "active",
    "blocked",
    "released",
    "refused",
)
BEFORE: Final[Mapping[str, frozenset[str]]] = {
    "reserve": frozenset({SUBSCRIBED, REFUSED}),
    "activate": frozenset({RESERVED}),
    "block": frozenset({RESERVED, ACTIVE}),
    "unblock": frozenset({BLOCKED}),
    "release": frozenset({RESERVED, ACTIVE, BLOCKED}),
}
AFTER: Final[Mapping[str, str]] = {
    "reserve": RESERVED,
    "activate": ACTIVE,
    "block": BLOCKED,
    "unblock": ACTIVE,
    "release": RELEASED,
}
BEYOND: Final[Mapping[str, frozenset[str]]] = {
    "reserve": frozenset({RESERVED, ACTIVE, BLOCKED}),
    "activate": frozenset({ACTIVE}),
    "block": frozenset({BLOCKED}),
    "unblock": frozenset({ACTIVE}),
    "release": frozenset({RELEASED}),
}
"""Where a subscription already stands when the order has been carried out before."""


class Operator(Role):
    """One operator at its desk."""

    def __init__(
        self, desk: Desk, store: GroupCommit, *, authority: str, announcer: Announcer | None = None
    ) -> None:
        super().__init__(desk)
        self._authority = authority
        self._announcer = announcer
        self._agreements = Registry(store, AGREEMENTS)
        self._modules = Registry(store, OPERATOR_MODULES)
        self._subscriptions = Registry(store, SUBSCRIPTIONS)
        self._commands = Registry(store, COMMANDS)
        self._turns = Turns()

    @classmethod
    async def open(
        cls, desk: Desk, store: GroupCommit, *, authority: str, announcer: Announcer | None = None
    ) -> Operator:
        """Take up what *store* holds; *announcer* is for what all modules are told."""
        operator = cls(desk, store, authority=authority, announcer=announcer)
        for registry in (
            operator._agreements,
            operator._modules,
            operator._subscriptions,
            operator._commands,
        ):
            await registry.load()
        return operator

    def states(self) -> dict[str, int]:
        """Return how many subscriptions are in which state."""
        counts: dict[str, int] = {}
        for row in self._subscriptions.rows():
            counts[row["state"]] = counts.get(row["state"], 0) + 1
        return counts

    # AGREE -------------------------------------------------------------------------------------------------

    async def _agree(self, question: Question, message: Agree) -> Agreed:
        if question.role != certificates.Role.SUPPLIER:
            raise Refusal("not-a-supplier")
        known = self._agreements.get(message.service)
        if known is not None and known["supplier"] != question.sender:
            raise Refusal("service-of-another")
        check_key(message.suite, message.public)
        tar = known["tar"] if known else (FIRST_TAR + len(self._agreements)).to_bytes(3, "big")
        await self._agreements.put(
            {
                "service": message.service,
                "supplier": question.sender,
                "number": message.number,
                "suite": message.suite,
                "forms": " ".join(message.forms),
                "public_key": message.public,
                "tar": tar,
                "code_size": message.code_size,
                "data_size": message.data_size,
                "rights": message.rights,
                "expires_at": message.expires_at,
                "lifetime": message.lifetime,
                "executions": message.executions,
                "at_end": message.at_end,
                "bearers": " ".join(message.bearers),
                "server": message.server,
                "protection": message.protection,
                "agreed_at": self.desk.clock.now(),
            }
        )
        self.log.info("service.agreed", service=message.service, supplier=question.sender)
        return Agreed(service=message.service, tar=tar)

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
        module = await self._module(packet.ua, packet.trace)
        try:
            _verify(signed, Purpose.REQUEST, module)
        except MessageRejected as rejection:
            # Anybody's, and so nobody's: no event may tell that an order of the module's subscriber ended so.
            raise Unheard(rejection.reason) from None
        window = heard(signed.counter, module["request_counter"], module["request_window"])
        if window is None:
            raise Unheard("replayed")
        self._agreement(service)
        latest = max(signed.counter, module["request_counter"])
        changes = [self._modules.put(module.but(request_counter=latest, request_window=window))]
        known = self._subscriptions.get(packet.ua, service)
        if known is None or known["state"] in (RELEASED, REFUSED):
            changes.append(self._change(packet.ua, service, state=SUBSCRIBED, reason=""))
        # Handed over in the same step of the loop, they share a transaction.
        await asyncio.gather(*changes)
        return b""

    async def _module(self, ua: str, trace: TraceContext) -> Row:
        """Return what is known of a module; ask the authority for its key where that is nothing yet."""
        row = self._modules.get(ua)
        if row is None:
            found = await self.desk.link.ask(self._authority, LookUp(ua=ua), ModuleRecord, trace=trace)
            self.desk.directory.module(found.certificate, ua, now=self.desk.clock.now())
            await self._modules.put(
                {
                    "ua": ua,
                    "certificate": found.certificate,
                    "memory": found.memory,
                    "suites": " ".join(found.suites),
                    "command_counter": 0,
                    "request_counter": 0,
                    "request_window": 0,
                }
            )
            row = self._modules.get(ua)
            assert row is not None, "it was just put"
        return row

    # RES, REVOKE -------------------------------------------------------------------------------------------

    async def _reserve(self, ordered: Ordered) -> bytes:
        agreement = self._agreement(ordered.order.service)
        command = Reserve(
            tar=agreement["tar"],
            service=agreement["service"],
            supplier=agreement["supplier"],
            supplier_number=agreement["number"],
            suite=agreement["suite"],
            forms=agreement["forms"].split(),
            supplier_public=agreement["public_key"],
            code_size=agreement["code_size"],
            data_size=agreement["data_size"],
            rights=agreement["rights"],
            expires_at=agreement["expires_at"],
            executions=agreement["executions"],
            at_end=agreement["at_end"],
            bearers=agreement["bearers"].split(),
            server=agreement["server"],
            protection=agreement["protection"],
        )
        return await self._revise(ordered, command)

    async def _block(self, ordered: Ordered) -> bytes:
        return await self._revise(ordered, Block(tar=self._agreement(ordered.order.service)["tar"]))

    async def _unblock(self, ordered: Ordered) -> bytes:
        agreement = self._agreement(ordered.order.service)
        return await self._revise(
            ordered, Unblock(tar=agreement["tar"], supplier_public=agreement["public_key"])
        )

    async def _release(self, ordered: Ordered) -> bytes:
        return await self._revise(ordered, Release(tar=self._agreement(ordered.order.service)["tar"]))

    async def _revise(self, ordered: Ordered, command: OperatorCommand) -> bytes:
        """Have the module carry out *command*, then let the supplier know what became of its resource."""
        do, ua, service = ordered.order.do, ordered.order.ua, ordered.order.service
        async with self._turns.of(ua):
            module = await self._module(ua, ordered.trace)
            await self._settle(module, ordered.trace)
            if not self._is_done(do, ua, service):
                row = await self._sign(do, service, command, module)
                await self._send(row, module, ordered.trace)
                self._raise_if_refused(ua, service)
            if do in ("block", "unblock", "release"):
                await self._tell_supplier(do, ua, service, ordered.trace)
        return b""

    async def _tell_supplier(self, do: str, ua: str, service: str, trace: TraceContext) -> None:
        turn = self._subscription(ua, service)["turn"]
        changed = ResourceChanged(ua=ua, service=service, state=AFTER[do], turn=turn)
        await self.desk.link.ask(self._agreement(service)["supplier"], changed, Done, trace=trace)

    async def _settle(self, module: Row, trace: TraceContext) -> None:
        """Send a command again that was never answered: until it is, nobody knows how things stand."""
        waiting = self._commands.get(module["ua"])
        if waiting is not None:
            await self._send(waiting, module, trace)

    def _is_done(self, do: str, ua: str, service: str) -> bool:
        subscription = self._subscriptions.get(ua, service)
        state = subscription["state"] if subscription else "none"
        if state not in BEYOND[do] and state not in BEFORE[do]:
            raise Refusal(f"subscription-{state}")
        return state in BEYOND[do]

    def _raise_if_refused(self, ua: str, service: str) -> None:
        reason = self._subscription(ua, service)["reason"]
        if reason:
            raise Refusal(reason)

    async def _sign(self, do: str, service: str, command: OperatorCommand, module: Row) -> Row:
        """Sign *command* for the module's next counter; return it as it is stored, before it is sent."""
        current = self._modules.get(module["ua"]) or module
        counter = current["command_counter"] + 1
        signed = sign(
            encode(command),
            purpose=Purpose.COMMAND,
            target=module["ua"],
            counter=counter,
            signer=self.name,
            key=self.desk.keys.signing,
        )
        await self._commands.put(
            {
                "ua": module["ua"],
                "counter": counter,
                "kind": do,
                "service": service,
                "octets": encode(signed),
            }
        )
        row = self._commands.get(module["ua"])
        assert row is not None, "it was just put"
        return row

    async def _send(self, row: Row, module: Row, trace: TraceContext) -> None:
        """Send a stored command, check the module's signed answer, and keep what became of it."""
        exchange = self.desk.exchange
        assert exchange is not None, "an operator has a number"
        response = await exchange.manage(row["ua"], row["octets"], trace=trace)
        answer = self._check(decode(response, Signed), row, module)
        service, kind = row["service"], row["kind"]
        current = self._modules.get(row["ua"]) or module
        # Handed over in the same step of the loop, the three share a transaction.
        await asyncio.gather(
            self._modules.put(current.but(command_counter=row["counter"])),
            self._commands.remove(row["ua"]),
            self._change(row["ua"], service, **self._changes(row, answer)),
        )
        self.log.info("command.answered", do=kind, ua=row["ua"], service=service, reason=answer.reason)

    def _changes(self, row: Row, answer: Answer) -> dict[str, Any]:
        """Return what *answer* to the command in *row* changes about its subscription."""
        kind, turn = row["kind"], row["counter"]
        if answer.reason:
            # Things stay as they were, but for a subscription that never got its resource.
            return {"reason": answer.reason} | ({"state": REFUSED} if kind == "reserve" else {})
        changes = {"reason": "", "state": AFTER[kind], "rsc_id": answer.rsc_id, "turn": turn}
        if kind == "reserve":
            changes |= {"reserved_turn": turn, "activated": 0}
        elif kind == "unblock" and not self._subscription(row["ua"], row["service"])["activated"]:
            changes |= {"state": RESERVED}
        return changes

    def _check(self, signed: Signed, row: Row, module: Row) -> Answer:
        if (signed.signer, signed.target, signed.counter) != (row["ua"], self.name, row["counter"]):
            raise MessageRejected("answer-of-another")
        _verify(signed, Purpose.ANSWER, module)
        return decode(signed.body, Answer)

    # ACT ---------------------------------------------------------------------------------------------------

    async def _activate(self, ordered: Ordered) -> bytes:
        ua, service = ordered.order.ua, ordered.order.service
        agreement = self._agreement(service)
        async with self._turns.of(ua):
            module = await self._module(ua, ordered.trace)
            await self._settle(module, ordered.trace)
            if self._is_done("activate", ua, service):
                return b""
            subscription = self._subscription(ua, service)
            activate = Activate(
                ua=ua,
                service=service,
                certificate=module["certificate"],
                rsc_id=subscription["rsc_id"],
                tar=agreement["tar"],
                turn=subscription["reserved_turn"],
            )
            await self.desk.link.ask(agreement["supplier"], activate, Done, trace=ordered.trace)
            await self._change(ua, service, state=ACTIVE, activated=1)
        return b""

    async def _announce(self, ordered: Ordered) -> bytes:
        """Tell the modules of the groups that the order names, or of all, what time it is."""
        if self._announcer is None:
            raise Refusal("no-broadcast")
        await self._announcer.announce(ordered.order.argument.decode().split(), trace=ordered.trace)
        return b""

    # -------------------------------------------------------------------------------------------------------

    def _agreement(self, service: str) -> Row:
        row = self._agreements.get(service)
        if row is None:
            raise Refusal("unknown-service")
        return row

    def _subscription(self, ua: str, service: str) -> Row:
        row = self._subscriptions.get(ua, service)
        if row is None:
            raise Refusal("subscription-none")
        return row

    async def _change(self, ua: str, service: str, **changes: Any) -> None:
        """Change what is known of a subscription, and keep the rest."""
        known = self._subscriptions.get(ua, service)
        kept = dict(known) if known else dict.fromkeys(("rsc_id", "reserved_turn", "turn", "activated"), 0)
        names = {"ua": ua, "service": service, "changed_at": self.desk.clock.now()}
        await self._subscriptions.put(kept | changes | names)

    questions: ClassVar = {Agree: _agree}
    orders: ClassVar = {
        "reserve": _reserve,
        "activate": _activate,
        "block": _block,
        "unblock": _unblock,
        "release": _release,
        "announce": _announce,
    }


def _verify(signed: Signed, purpose: Purpose, module: Row) -> None:
    """Check that the module said this. Raises MessageRejected."""
    certificate = Certificate.parse(module["certificate"])
    try:
        signed.verify(purpose=purpose, suite=certificate.suite, public=certificate.signing_public)
    except SignatureRejected:
        raise MessageRejected("signature") from None
