"""A handset serves its module: fetches what it asks for, does it, tells it how it went (TS 102 223 clause 6).

What each command takes is a row of one table. What only needs the person at the handset is in ``terminal``,
which says too what a handset of this kind can do; more than that it does not, whatever it is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.handset.start_up import Usim
from agents.handset.terminal import PROFILES, Subscriber, answer
from bus import tracing
from bus.capture import Layer
from bus.errors import BrokerLost
from bus.frame import Bearer, Frame
from bus.topics import ShortMessageFrom
from transport.apdu import INS_FETCH, INS_TERMINAL_RESPONSE, PROPRIETARY, CommandApdu
from transport.errors import Rejected
from transport.sms.tpdu import SmsSubmit
from transport.toolkit import CommandType, ProactiveCommand, TerminalResponse, TerminalResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agents.handset.channels import Channels
    from agents.handset.site import Site
    from agents.handset.slot import Slot
    from agents.handset.timers import Timers
    from transport.apdu import ResponseApdu

MAX_PROACTIVE: Final = 1024
"""Proactive commands that one event may lead to; a module that never stops asking is told so no longer."""
SUBMIT_ATTEMPTS: Final = 8
SUBMIT_TIMEOUT_S: Final = 5.0
"""How long a handset waits for the network's word on a short message before it sends it again."""


class Serving:
    """One handset's service to its module."""

    def __init__(self, ua: str, site: Site, slot: Slot, channels: Channels, timers: Timers) -> None:
        self.subscriber = Subscriber()
        self.is_started = False
        """Whether the module has been told what the handset can do, and its application is initialised."""
        self._ua = ua
        self._site = site
        self._slot = slot
        self._channels = channels
        self._timers = timers
        self._profile = PROFILES[site.terminal]
        self.usim = Usim(slot, self._profile)

    async def start(self) -> None:
        """Start the module, once, before anything else is brought to it."""
        if not self.is_started:
            await self.usim.start(self.serve)
            self.is_started = True

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
            done = await self._perform(command)
            if command.type is CommandType.SEND_SHORT_MESSAGE:
                all_sent = all_sent and done.result is TerminalResult.OK
            told = CommandApdu(cla=PROPRIETARY, ins=INS_TERMINAL_RESPONSE, data=done.encode())
            response = await self._slot.transmit(told.encode())
        self._site.log.warning("phone.stopped_serving", reason="too-many-proactive-commands")
        return all_sent

    async def _perform(self, command: ProactiveCommand) -> TerminalResponse:
        if self._profile.lack_for(command):
            return TerminalResponse.to(command, TerminalResult.BEYOND_CAPABILITIES)
        return await _PERFORM.get(command.type, Serving._ask_the_person)(self, command)

    async def _ask_the_person(self, command: ProactiveCommand) -> TerminalResponse:
        return answer(command, self.subscriber)

    async def _refresh(self, command: ProactiveCommand) -> TerminalResponse:
        await self.usim.refresh()
        return TerminalResponse.to(command)

    async def _use_channel(self, command: ProactiveCommand) -> TerminalResponse:
        return await self._channels.perform(command)

    async def _manage_timer(self, command: ProactiveCommand) -> TerminalResponse:
        return self._timers.perform(command)

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
    CommandType.TIMER_MANAGEMENT: Serving._manage_timer,  # noqa: SLF001
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
