"""The air, from a role's side: send a module a secured packet, get its response packet.

Over short messages the response comes back in the delivery report of the last part, or, when it does not fit
there, the report says "more time" (status 08) or "response will follow by SMS-SUBMIT" (0B) and the module
sends it by itself. Over a channel (bearer independent protocol) it comes back on the channel. Which bearer to
take is the caller's choice; one that fails is a typed error, and the next one can be tried.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from agents.errors import PacketRefused, Unanswered
from agents.messages.air import MANAGER_TAR
from agents.messages.bearers import CHANNEL_BEARERS, SMS
from bus.errors import DeliveryFailed
from bus.frame import Bearer
from bus.topics import ShortMessageFrom
from transport.errors import PacketRejected, Rejected
from transport.secured_packet import (
    BLOCKED_COUNTER,
    CommandPacket,
    CounterMode,
    Integrity,
    PorDemand,
    ResponseStatus,
    SecurityParameters,
    decode_command,
    decode_response,
    encode_command,
    parse_header,
)
from transport.secured_packet import SMS as SMS_DIALECT
from transport.sms.user_data import IEI_COMMAND_PACKET, IEI_RESPONSE_PACKET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from bus.bearers.bip import BipServer, FromLink
    from bus.bearers.sms import SmsSender
    from bus.bearers.sms_receiver import ReceivedPacket, SmsReceiver
    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import Frame, TraceContext
    from transport.secured_packet import Dialect, PacketKeys, ResponsePacket
    from transport.security.keyset import SessionKeys

UNSECURED: Final = SecurityParameters(counter=CounterMode.NO_CHECK, por=PorDemand.ALWAYS)
"""For the resource manager, whose commands prove themselves: the counter is checked by nobody but us, who
know by it which packet a response is to."""
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
_MOST_FOLLOWING: Final = 32
"""Responses to commands to one TAR of a module that wait to be looked at: those to others come there too."""
_TICKS_PER_S: Final = 100
_DIALECTS: Final[Mapping[str, Dialect]] = {
    SMS: SMS_DIALECT,
    **{name: bearer.dialect for name, bearer in CHANNEL_BEARERS.items()},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FromModule:
    """A command packet that a handset sent to this role, with the trace and the bearer it came under."""

    ua: str
    packet: CommandPacket
    trace: TraceContext
    bearer: str = SMS

    @property
    def label(self) -> str:
        """What work on it is called."""
        return f"packet over {self.bearer}"


class _Sent(NamedTuple):
    """A command packet on its way: to which module and resource, and what its response must look like."""

    ua: str
    tar: bytes
    counter: int
    packet: bytes
    spi: SecurityParameters
    keys: PacketKeys | None
    bearer: str


class Exchange:
    """One role's number, and its server on the packet network: packets out to modules and in from them."""

    def __init__(  # noqa: PLR0913 -- what it is given to work with
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
        server: BipServer | None = None,
    ) -> None:
        self._client = client
        self._server = server
        self._topic = ShortMessageFrom(fleet=fleet, address=number)
        self._sender = sender
        self._receiver = receiver
        self._clock = clock
        self._counters = counters
        self._log = log
        self._deliver: Callable[[FromModule], None] | None = None
        self._keys_of: Callable[[bytes], PacketKeys | None] = lambda _tar: None
        # Time never goes back, so a launch does not begin where the one before it was.
        self._counter = int(clock.now() * _TICKS_PER_S)
        self._following: dict[tuple[str, bytes], list[asyncio.Queue[bytes]]] = {}
        """Who waits for a promised response, by module and TAR: under keys one tells no more of itself."""

    def open_with(self, keys_of: Callable[[bytes], PacketKeys | None]) -> None:
        """Open packets that modules send by themselves under keys with those that *keys_of* has for a TAR."""
        self._keys_of = keys_of

    async def start(self, deliver: Callable[[FromModule], None]) -> None:
        """Listen to the number and to delivery reports; packets go to *deliver*, which must not wait."""
        self._deliver = deliver
        await self._sender.start()
        if self._server is not None:
            await self._server.start(self._from_link)
        await self._client.subscribe([self._topic], self._received)

    async def manage(self, ua: str, data: bytes, *, trace: TraceContext, bearer: str = SMS) -> bytes:
        """Send *data* to the resource manager of module *ua*; return the data of its response.

        Raises PacketRefused with the status if the module refused the packet, Unanswered if it sent no
        response, DeliveryFailed if the network could not deliver.
        """
        self._counter = counter = (self._counter + 1) % BLOCKED_COUNTER
        packet = encode_command(
            spi=UNSECURED, tar=MANAGER_TAR, data=data, counter=counter, dialect=_DIALECTS[bearer]
        )
        sent = _Sent(ua, MANAGER_TAR, counter, packet, UNSECURED, None, bearer)
        return (await self._send(sent, trace)).data

    async def command(
        self,
        ua: str,
        tar: bytes,
        data: bytes,
        *,
        keys: SessionKeys,
        counter: int,
        trace: TraceContext,
        bearer: str = SMS,
    ) -> bytes:
        """Send *data* to resource *tar* under the session's *keys*; return the data of its response.

        Raises as ``manage`` does, and PacketRejected for a response that does not hold.
        """
        packet = encode_command(
            spi=SECURED,
            tar=tar,
            data=data,
            counter=counter,
            keys=keys.to_module,
            dialect=_DIALECTS[bearer],
        )
        sent = _Sent(ua, tar, counter, packet, SECURED, keys.from_module, bearer)
        return (await self._send(sent, trace)).data

    def has_link(self, ua: str, bearer: str) -> bool:
        """Whether module *ua* has a channel open to us over *bearer*."""
        return self._server is not None and self._server.has_link(ua, Bearer(bearer))

    async def wait_link(self, ua: str, bearer: str) -> bool:
        """Wait until module *ua* has opened a channel over *bearer*, for as long as a server is patient."""
        return self._server is not None and await self._server.wait_link(ua, Bearer(bearer))

    async def hang_up(self, ua: str, bearer: str) -> None:
        """Close the channel of module *ua* over *bearer*, if there is one: nothing is left to say."""
        if bearer in CHANNEL_BEARERS and self._server is not None:
            await self._server.hang_up(ua, Bearer(bearer))

    async def _send(self, sent: _Sent, trace: TraceContext) -> ResponsePacket:
        if sent.bearer == SMS:
            response = await self._by_short_message(sent, trace)
        else:
            response = await self._by_channel(sent, trace)
        if response.status is not ResponseStatus.POR_OK:
            raise PacketRefused(response.status.reason, proven=response.proven)
        if response.counter != sent.counter:
            raise PacketRefused("response-of-another-command", proven=response.proven)
        return response

    async def _by_channel(self, sent: _Sent, trace: TraceContext) -> ResponsePacket:
        if self._server is None:
            raise DeliveryFailed("no-link", sent.ua, 1, 1)
        octets = await self._server.request(sent.packet, ua=sent.ua, bearer=Bearer(sent.bearer), trace=trace)
        return decode_response(octets, spi=sent.spi, keys=sent.keys, dialect=_DIALECTS[sent.bearer])

    async def _by_short_message(self, sent: _Sent, trace: TraceContext) -> ResponsePacket:
        following: asyncio.Queue[bytes] = asyncio.Queue(_MOST_FOLLOWING)
        name = (sent.ua, sent.tar)
        self._following.setdefault(name, []).append(following)
        try:
            receipt = await self._sender.send(sent.packet, to_ua=sent.ua, trace=trace)
            if receipt.response is None:
                raise Unanswered(sent.ua)
            response = decode_response(receipt.response, spi=sent.spi, keys=sent.keys)
            if response.status in _FOLLOWS:
                response = await self._promised(following, sent)
        finally:
            self._following[name].remove(following)
            if not self._following[name]:
                del self._following[name]
        return response

    async def _promised(self, following: asyncio.Queue[bytes], sent: _Sent) -> ResponsePacket:
        """Return the response that was promised; what comes under its name and does not hold is not it."""
        try:
            async with self._clock.timeout(RESPONSE_TIMEOUT_S):
                while True:
                    try:
                        response = decode_response(await following.get(), spi=sent.spi, keys=sent.keys)
                    except PacketRejected as rejection:
                        self._counters.dropped(rejection.reason)
                        continue
                    if response.counter == sent.counter and (response.proven or sent.keys is None):
                        return response
        except TimeoutError:
            raise Unanswered(sent.ua) from None

    def _from_link(self, came: FromLink) -> None:
        try:
            packet = self._opened(came.packet, _DIALECTS[came.bearer])
        except Rejected as rejection:
            self._counters.dropped(rejection.reason)
            self._log.warning("exchange.dropped", ua=came.ua, bearer=came.bearer, reason=rejection.reason)
            return
        assert self._deliver is not None, "frames come after start()"
        self._deliver(FromModule(ua=came.ua, packet=packet, trace=came.trace, bearer=str(came.bearer)))

    def _opened(self, octets: bytes, dialect: Dialect) -> CommandPacket:
        """Return the command packet in *octets*: most come bare, and prove themselves inside."""
        header = parse_header(octets, dialect)
        return decode_command(octets, self._keys_of(header.tar) if header.keyset else None, dialect)

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
            for following in self._following.get((received.ua, payload[3:6]), ()):
                if not following.full():
                    following.put_nowait(payload)
            return
        if IEI_COMMAND_PACKET not in elements:
            raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "not-a-packet")
        packet = self._opened(payload, SMS_DIALECT)
        assert self._deliver is not None, "frames come after start()"
        self._deliver(FromModule(ua=received.ua, packet=packet, trace=trace))
