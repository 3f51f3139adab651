"""The air, from a role's side: send a module a secured packet, get its response packet.

The response comes back in the delivery report of the last part, or, when it does not fit there, the report
says "response will follow by SMS-SUBMIT" (status 0B) or "more time" (08) and the module sends it by itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agents.errors import PacketRefused, Unanswered
from agents.messages.air import MANAGER_TAR
from bus.topics import ShortMessageFrom
from transport.errors import PacketRejected, Rejected
from transport.secured_packet import (
    CommandPacket,
    CounterMode,
    Integrity,
    PorDemand,
    ResponseStatus,
    SecurityParameters,
    decode_command,
    decode_response,
    encode_command,
)
from transport.sms.user_data import IEI_COMMAND_PACKET, IEI_RESPONSE_PACKET

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from bus.bearers.sms import ReceivedPacket, SmsReceiver, SmsSender
    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import Frame, TraceContext
    from transport.secured_packet import PacketKeys, ResponsePacket
    from transport.security.keyset import SessionKeys

UNSECURED: Final = SecurityParameters(por=PorDemand.ALWAYS)
"""For the resource manager, whose commands prove themselves."""
SECURED: Final = SecurityParameters(
    counter=CounterMode.HIGHER,
    ciphering=True,
    integrity=Integrity.CC,
    por=PorDemand.ALWAYS,
    por_integrity=Integrity.CC,
    por_ciphering=True,
)
"""For a resource: the minimum security level it demands, and the response protected alike."""
_FOLLOWS: Final = frozenset({ResponseStatus.MORE_TIME, ResponseStatus.RESPONSE_BY_SMS_SUBMIT})
RESPONSE_TIMEOUT_S: Final = 60.0
_MOST_FOLLOWING: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FromModule:
    """A command packet that a handset sent to this role's number, with the trace it came under."""

    ua: str
    packet: CommandPacket
    trace: TraceContext


class Exchange:
    """One role's number on the network: packets out to modules and in from them."""

    def __init__(
        self,
        client: BusClient,
        *,
        fleet: str,
        number: str,
        sender: SmsSender,
        receiver: SmsReceiver,
        clock: Clock,
        counters: Counters,
        log: FilteringBoundLogger,
    ) -> None:
        self._client = client
        self._topic = ShortMessageFrom(fleet=fleet, address=number)
        self._sender = sender
        self._receiver = receiver
        self._clock = clock
        self._counters = counters
        self._log = log
        self._deliver: Callable[[FromModule], None] | None = None
        self._following: dict[tuple[str, bytes], asyncio.Queue[bytes]] = {}

    async def start(self, deliver: Callable[[FromModule], None]) -> None:
        """Listen to the number and to delivery reports; packets go to *deliver*, which must not wait."""
        self._deliver = deliver
        await self._sender.start()
        await self._client.subscribe([self._topic], self._received)

    async def manage(self, ua: str, data: bytes, *, trace: TraceContext) -> bytes:
        """Send *data* to the resource manager of module *ua*; return the data of its response.

        Raises PacketRefused with the status if the module refused the packet, Unanswered if it sent no
        response, DeliveryFailed if the network could not deliver.
        """
        packet = encode_command(spi=UNSECURED, tar=MANAGER_TAR, data=data)
        return (await self._send(ua, MANAGER_TAR, packet, UNSECURED, None, trace)).data

    async def command(
        self, ua: str, tar: bytes, data: bytes, *, keys: SessionKeys, counter: int, trace: TraceContext
    ) -> bytes:
        """Send *data* to resource *tar* under the session's *keys*; return the data of its response.

        Raises as ``manage`` does, and PacketRejected for a response that does not hold.
        """
        packet = encode_command(spi=SECURED, tar=tar, data=data, counter=counter, keys=keys.to_module)
        response = await self._send(ua, tar, packet, SECURED, keys.from_module, trace)
        if response.counter != counter:
            raise PacketRefused("response-of-another-command")
        return response.data

    async def _send(
        self,
        ua: str,
        tar: bytes,
        packet: bytes,
        spi: SecurityParameters,
        keys: PacketKeys | None,
        trace: TraceContext,
    ) -> ResponsePacket:
        following: asyncio.Queue[bytes] = asyncio.Queue(_MOST_FOLLOWING)
        self._following[ua, tar] = following
        try:
            receipt = await self._sender.send(packet, to_ua=ua, trace=trace)
            if receipt.response is None:
                raise Unanswered(ua)
            response = decode_response(receipt.response, spi=spi, keys=keys)
            if response.status in _FOLLOWS:
                response = await self._promised(following, ua, spi, keys, response.counter)
        finally:
            if self._following.get((ua, tar)) is following:
                del self._following[ua, tar]
        if response.status is not ResponseStatus.POR_OK:
            reason = response.status.name.lower().replace("_", "-")
            raise PacketRefused(reason, proven=response.proven)
        return response

    async def _promised(
        self,
        following: asyncio.Queue[bytes],
        ua: str,
        spi: SecurityParameters,
        keys: PacketKeys | None,
        counter: int,
    ) -> ResponsePacket:
        """Return the response that was promised; what comes under its name and does not hold is not it."""
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT_S):
                while True:
                    try:
                        response = decode_response(await following.get(), spi=spi, keys=keys)
                    except PacketRejected as rejection:
                        self._counters.dropped(rejection.reason)
                        continue
                    if response.counter == counter and (response.proven or keys is None):
                        return response
        except TimeoutError:
            raise Unanswered(ua) from None

    def _received(self, frame: Frame, topic: str) -> None:
        try:
            received = self._receiver.receive(frame, self._clock.now())
            if received is not None:
                self._take(received, frame.trace)
        except Rejected as rejection:
            self._counters.dropped(rejection.reason)
            self._log.warning("exchange.dropped", topic=topic, ua=frame.source, reason=rejection.reason)

    def _take(self, received: ReceivedPacket, trace: TraceContext) -> None:
        elements = {element.iei for element in received.user_data.header}
        payload = received.user_data.payload
        if IEI_RESPONSE_PACKET in elements:
            # RPL 2, RHL 1, then the TAR: which command this response was promised to.
            following = self._following.get((received.ua, payload[3:6]))
            if following is not None and not following.full():
                following.put_nowait(payload)
            return
        if IEI_COMMAND_PACKET not in elements:
            raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "not-a-packet")
        packet = decode_command(payload)
        assert self._deliver is not None, "frames come after start()"
        self._deliver(FromModule(ua=received.ua, packet=packet, trace=trace))
