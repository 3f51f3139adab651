"""The personaliser: the factory that makes blank modules somebody's and tells the authority (PERS)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from agents.console import COMMAND, RESPONSE
from agents.errors import MessageRejected, Refusal, Unanswered
from agents.handset.security_module.personalisation import LAST_BLOCK
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys, Personalise
from agents.messages.inside import Done, MadeKeys, MakeKeys, Register
from agents.messages.signed import Signed
from agents.role import Role, Turns
from bus.frame import Bearer, Frame
from bus.topics import Contact, ContactReply
from transport import apdu
from transport.apdu import (
    INS_GET_DATA,
    INS_GET_RESPONSE,
    INS_STORE_DATA,
    INTERINDUSTRY,
    PROPRIETARY,
    CommandApdu,
    ResponseApdu,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.directory import Directory
    from agents.operator_sessions import SessionTerms
    from agents.role import Desk, Ordered
    from bus.frame import TraceContext

CONTACT_TIMEOUT_S: Final = 10.0
ATTEMPTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """What a module shall become: its group's own description."""

    operator: str
    operator_number: str
    suite: str
    memory: int
    suites: tuple[str, ...]
    """What its crypto module can do."""
    allocator: str = ""
    """Whom it shall obey in the operator's place, if anybody."""
    allocator_number: str = ""
    session: SessionTerms | None = None
    """What the operator's commands travel under; None: under no keyset."""
    takes_keys: bool = False
    """Whether the authority makes its key pairs, and not the module itself."""
    knows_operator: bool = True
    """Whether it is told its operator's public key, or waits for a certificate."""


class Personalizer(Role):
    """One factory; *work* says for each address what its module shall become."""

    def __init__(
        self, desk: Desk, *, authority: str, directory: Directory, work: Mapping[str, WorkOrder]
    ) -> None:
        super().__init__(desk)
        self._authority = authority
        self._directory = directory
        self._work_orders = work
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._turns = Turns()

    async def start(self) -> None:
        """Listen to the machines that hold the modules, too."""
        topic = ContactReply(fleet=self.desk.fleet, agent=self.name)
        await self.desk.client.subscribe([topic], self._replied)
        await super().start()

    async def _personalise(self, ordered: Ordered) -> bytes:
        ua = ordered.order.ua
        work = self._work_orders.get(ua)
        if work is None:
            raise Refusal("unknown-module")
        async with self._turns.of(ua):
            await self._make(ua, work, ordered.trace)
        return b""

    async def _make(self, ua: str, work: WorkOrder, trace: TraceContext) -> None:
        """Personalise the module, unless it is already, and tell the authority what it is now."""
        octets = await self._made(ua, trace) if work.takes_keys else None
        if octets is None:
            message = self._message(ua, work)
            if work.takes_keys:
                question = MakeKeys(ua=ua, suite=work.suite)
                made = await self.desk.link.ask(self._authority, question, MadeKeys, trace=trace)
                message = replace(message, private=made.private, sealing_private=made.sealing_private)
            octets = await self._store(ua, encode(message), trace)
        # The register is told what the module itself signed; the factory vouches for where it comes from.
        keys = decode(decode(octets, Signed).body, ModuleKeys)
        register = Register(
            ua=ua,
            suite=work.suite,
            public=keys.signing,
            sealing=keys.sealing,
            memory=work.memory,
            operator=work.operator,
            suites=list(work.suites),
            possession=octets,
        )
        await self.desk.link.ask(self._authority, register, Done, trace=trace)

    def _message(self, ua: str, work: WorkOrder) -> Personalise:
        authority = self._directory.party(self._authority)
        operator = self._directory.party(work.operator)
        commander = self._directory.party(work.allocator) if work.allocator else operator
        return Personalise(
            ua=ua,
            suite=work.suite,
            authority=authority.name,
            authority_suite=authority.suite,
            authority_public=authority.signing_public,
            operator=operator.name,
            operator_number=work.operator_number,
            operator_suite=commander.suite,
            operator_public=commander.signing_public if work.knows_operator else b"",
            operator_serial=commander.serial if work.knows_operator else 0,
            allocator=work.allocator,
            allocator_number=work.allocator_number,
            session_form=work.session.form if work.session else "",
            dh_base=work.session.dh_base if work.session else b"",
            dh_modulus=work.session.dh_modulus if work.session else b"",
        )

    async def _made(self, ua: str, trace: TraceContext) -> bytes | None:
        """Return the signed public key of a module that is personalised already, None for a blank one."""
        response = await self._transmit(
            ua, CommandApdu(cla=PROPRIETARY, ins=INS_GET_DATA, expected=256), trace
        )
        if response.status == apdu.SW_CONDITIONS_NOT_SATISFIED:
            return None
        return await self._whole(ua, response, trace)

    async def _store(self, ua: str, message: bytes, trace: TraceContext) -> bytes:
        """Personalise the module, unless it is already; return its signed public key."""
        blocks = [message[at : at + apdu.MAX_DATA] for at in range(0, len(message), apdu.MAX_DATA)]
        response = ResponseApdu()
        for number, block in enumerate(blocks):
            last = LAST_BLOCK if number == len(blocks) - 1 else 0
            command = CommandApdu(
                cla=PROPRIETARY, ins=INS_STORE_DATA, p1=last, p2=number, data=block, expected=256
            )
            response = await self._transmit(ua, command, trace)
            if not response.is_good:
                break
        if response.status == apdu.SW_INS_NOT_SUPPORTED:
            # A run that was stopped between the module and the register left it so.
            command = CommandApdu(cla=PROPRIETARY, ins=INS_GET_DATA, expected=256)
            response = await self._transmit(ua, command, trace)
        return await self._whole(ua, response, trace)

    async def _whole(self, ua: str, response: ResponseApdu, trace: TraceContext) -> bytes:
        """Return all that a good response brings. Raises Refusal for another."""
        octets = response.data
        while response.remaining is not None:
            command = CommandApdu(cla=INTERINDUSTRY, ins=INS_GET_RESPONSE, expected=response.remaining)
            response = await self._transmit(ua, command, trace)
            octets += response.data
        if not response.is_good:
            raise Refusal(f"status-word-{response.status:04x}")
        return octets

    async def _transmit(self, ua: str, command: CommandApdu, trace: TraceContext) -> ResponseApdu:
        reference = self.desk.rng(8)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[reference] = future
        try:
            for attempt in range(1, ATTEMPTS + 1):
                await self._send(ua, command, reference, trace, attempt)
                done, _ = await asyncio.wait([future], timeout=CONTACT_TIMEOUT_S)
                if done:
                    return ResponseApdu.parse(future.result())
                self.desk.counters.retried(Bearer.CONTACT)
        finally:
            del self._waiting[reference]
        raise Unanswered(ua)

    async def _send(
        self, ua: str, command: CommandApdu, reference: bytes, trace: TraceContext, attempt: int
    ) -> None:
        frame = Frame(
            bearer=Bearer.CONTACT,
            source=self.name,
            destination=ua,
            pdu=self.desk.console.wrap(
                self.desk.console.contact(COMMAND),
                command.encode(),
                to=ua,
                reference=reference,
                trace=trace,
            ),
            reference=reference,
            trace=trace,
            sent_at=self.desk.clock.now(),
            attempt=attempt,
        )
        await self.desk.client.publish(Contact(fleet=self.desk.fleet, ua=ua), frame)

    def _replied(self, frame: Frame, _topic: str) -> None:
        reason = "unexpected-contact-reply"
        future = self._waiting.get(frame.reference)
        if future is not None and not future.done():
            try:
                console = self.desk.console
                future.set_result(console.unwrap(console.contact(RESPONSE), frame, to=self.name))
            except MessageRejected as rejection:
                reason = rejection.reason
            else:
                return
        self.desk.counters.dropped(reason)
        self.log.warning("contact.dropped", source=frame.source, reason=reason)

    orders: ClassVar = {"personalise": _personalise}
