"""A handset serves its module: fetches what it asks for, does it, tells it how it went (TS 102 223 clause 6).

What each command takes is a row of one table. What only needs the person at the handset is in ``terminal``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.handset.security_module.files import CBMID_ENTRIES, USIM_AID
from agents.handset.terminal import Subscriber, answer
from bus import tracing
from bus.capture import Layer
from bus.errors import BrokerLost
from bus.frame import Bearer, Frame
from bus.topics import ShortMessageFrom
from transport.apdu import (
    INS_FETCH,
    INS_READ_BINARY,
    INS_SELECT,
    INS_TERMINAL_RESPONSE,
    INTERINDUSTRY,
    PROPRIETARY,
    CommandApdu,
)
from transport.cell_broadcast import MessageFilter
from transport.errors import Rejected
from transport.sms.tpdu import SmsSubmit
from transport.toolkit import CommandType, ProactiveCommand, TerminalResponse, TerminalResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agents.handset.channels import Channels
    from agents.handset.site import Site
    from agents.handset.slot import Slot
    from transport.apdu import ResponseApdu

MAX_PROACTIVE: Final = 1024
"""Proactive commands that one event may lead to; a module that never stops asking is told so no longer."""
SUBMIT_ATTEMPTS: Final = 8
SUBMIT_TIMEOUT_S: Final = 5.0
"""How long a handset waits for the network's word on a short message before it sends it again."""
_CBMID_PATH: Final = bytes.fromhex("7FFF6F48")
_SELECT_BY_NAME: Final = 0x04
_SELECT_FROM_MF: Final = 0x08
_NO_ANSWER: Final = 0x0C


class Serving:
    """One handset's service to its module."""

    def __init__(
        self, ua: str, site: Site, slot: Slot, channels: Channels, set_timer: Callable[[int, float], None]
    ) -> None:
        self.subscriber = Subscriber()
        self.filter = MessageFilter(identifiers=())
        """The broadcasts that the module wants."""
        self._ua = ua
        self._site = site
        self._slot = slot
        self._channels = channels
        self._set_timer = set_timer

    async def serve(self, response: ResponseApdu) -> bool:
        """Do what the module asks for, until it asks for nothing more; say whether all of it was sent."""
        all_sent = True
        for _ in range(MAX_PROACTIVE):
            length = response.proactive_length
            if length is None:
                return all_sent
            fetch = CommandApdu(cla=PROPRIETARY, ins=INS_FETCH, expected=length or 256)
            fetched = await self._slot.transmit(fetch.encode())
            command = ProactiveCommand.parse(fetched.data)
            done = await _PERFORM.get(command.type, Serving._ask_the_person)(self, command)
            if command.type is CommandType.SEND_SHORT_MESSAGE:
                all_sent = all_sent and done.result is TerminalResult.OK
            told = CommandApdu(cla=PROPRIETARY, ins=INS_TERMINAL_RESPONSE, data=done.encode())
            response = await self._slot.transmit(told.encode())
        self._site.log.warning("phone.stopped_serving", reason="too-many-proactive-commands")
        return all_sent

    async def read_filter(self) -> None:
        """Read from EF.CBMID which broadcasts the module wants (TS 31.102 clause 4.2.20)."""
        for p1, data in ((_SELECT_BY_NAME, USIM_AID), (_SELECT_FROM_MF, _CBMID_PATH)):
            select = CommandApdu(cla=INTERINDUSTRY, ins=INS_SELECT, p1=p1, p2=_NO_ANSWER, data=data)
            await self._slot.transmit(select.encode())
        read = CommandApdu(cla=INTERINDUSTRY, ins=INS_READ_BINARY, expected=2 * CBMID_ENTRIES)
        self.filter = MessageFilter.parse((await self._slot.transmit(read.encode())).data)

    async def _ask_the_person(self, command: ProactiveCommand) -> TerminalResponse:
        return answer(command, self.subscriber)

    async def _refresh(self, command: ProactiveCommand) -> TerminalResponse:
        await self.read_filter()
        return TerminalResponse.to(command)

    async def _use_channel(self, command: ProactiveCommand) -> TerminalResponse:
        return await self._channels.perform(command)

    async def _start_timer(self, command: ProactiveCommand) -> TerminalResponse:
        self._set_timer(command.timer, command.timer_value_s)
        return TerminalResponse.to(command, timer=command.timer)

    async def _send(self, command: ProactiveCommand) -> TerminalResponse:
        """Give the module's short message to the network, again while the network says nothing."""
        try:
            to = SmsSubmit.parse(command.tpdu).destination.digits
            topic = ShortMessageFrom(fleet=self._site.fleet, address=to)
            sent = await self._submit(topic, to, command.tpdu)
        except (Rejected, BrokerLost, ValueError) as failure:
            sent = False
            self._site.log.warning(
                "phone.not_sent", reason=getattr(failure, "reason", type(failure).__name__)
            )
        return answer(command, self.subscriber, sent=sent)

    async def _submit(self, topic: ShortMessageFrom, to: str, tpdu: bytes) -> bool:
        site = self._site
        reference = site.console.rng(8)
        for attempt in range(1, SUBMIT_ATTEMPTS + 1):
            if attempt > 1:
                site.counters.retried(Bearer.SMS)
            frame = Frame(
                bearer=Bearer.SMS,
                source=self._ua,
                destination=to,
                pdu=tpdu,
                reference=reference,
                trace=self._slot.trace,
                sent_at=site.clock.now(),
                attempt=attempt,
            )
            span = tracing.child(frame.trace)
            self._slot.record(Layer.SMS, tpdu, uplink=True, peer=to, trace=span)
            if await site.antenna.up(self._ua, topic, frame, span):
                return True
            await site.clock.sleep(SUBMIT_TIMEOUT_S)
        site.log.warning("phone.not_sent", reason="no-network")
        return False


_PERFORM: Final[Mapping[CommandType, Callable[[Serving, ProactiveCommand], Awaitable[TerminalResponse]]]] = {
    CommandType.SEND_SHORT_MESSAGE: Serving._send,  # noqa: SLF001 -- the class's own table
    CommandType.REFRESH: Serving._refresh,  # noqa: SLF001
    CommandType.TIMER_MANAGEMENT: Serving._start_timer,  # noqa: SLF001
    **dict.fromkeys(
        (
            CommandType.SET_UP_EVENT_LIST,
            CommandType.OPEN_CHANNEL,
            CommandType.CLOSE_CHANNEL,
            CommandType.SEND_DATA,
            CommandType.RECEIVE_DATA,
            CommandType.GET_CHANNEL_STATUS,
        ),
        Serving._use_channel,  # noqa: SLF001
    ),
}
