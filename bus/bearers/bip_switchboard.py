"""Who is connected to a server of the bearer independent protocol, and what becomes of what handsets send it.

The switchboard answers what the network below the channels carries, ``LinkPdu`` in frames: it takes
connections (TCP) and CAT_TP connections (UDP), checks that who calls is who the frame says, and sorts
packets. What a handset sends cannot make it raise, wait, or hold more than a bounded amount.

A module has one open link a bearer. A new one takes the place of the old one, which was lost without a word:
over TCP at once; over UDP, where an old SYN may come late, when the CAT_TP connection stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from bus import tracing
from bus.bearers.bip_lines import CatTpLine, StreamLine
from bus.bearers.bip_links import MAX_CHANNELS, BipLink, Links, Timekeeper
from bus.bearers.bip_outbox import Outbox
from bus.errors import MailboxFull
from bus.frame import Bearer, Frame
from bus.topics import BipDown
from transport.bip.link import LinkKind, LinkPdu
from transport.cat_tp import CatTpConnection, Flags, Pdu, ResetReason, refuse
from transport.errors import BipRejected, Rejected
from transport.iccid import iccid_octets
from transport.secured_packet import (
    COMMAND_IDENTIFIER,
    IDENTIFICATION_IDENTIFIER,
    RESPONSE_IDENTIFIER,
    TCP,
    parse_identification,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from bus.bearers.bip import BipSettings
    from bus.bearers.bip_lines import Line
    from bus.bearers.bip_outbox import Lane
    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import TraceContext

_REFERENCE_LENGTH: Final = 8
_MAX_LEAVING: Final = 512  # links that are over, of which something waits to be sent
_MAX_REFUSALS: Final = 256  # that wait to be sent; who is refused may ask again
_MAX_DATAGRAMS: Final = 1024  # of one link that wait to be sent; UDP promises nothing
_TAR: Final = slice(1, 4)  # behind RHL
# Nothing is wrong with these: what was delivered twice, or overtaken by the end of its connection.
_USUAL: Final = frozenset({"duplicate", "segment-repeated", "no-such-connection"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the server listens; ValueError for what is no port."""

    tcp: int
    udp: int

    def __post_init__(self) -> None:
        if not (0 < self.tcp <= 0xFFFF and 0 < self.udp <= 0xFFFF):
            raise ValueError(f"ports are 1..65535, not {self.tcp} and {self.udp}")

    def of(self, bearer: Bearer) -> int:
        """Return the port for *bearer*."""
        return self.tcp if bearer is Bearer.BIP_TCP else self.udp


class Switchboard:
    """All links of the server at *address*.

    *opened* is called for each new one, *command* for each command packet; neither may wait.
    """

    def __init__(  # noqa: PLR0913 -- what the server is given, and two calls back to it
        self,
        client: BusClient,
        *,
        fleet: str,
        address: str,
        ports: Ports,
        settings: BipSettings,
        clock: Clock,
        rng: Callable[[int], bytes],
        counters: Counters,
        log: FilteringBoundLogger,
        opened: Callable[[BipLink], None],
        command: Callable[[BipLink, bytes], None],
    ) -> None:
        self._fleet = fleet
        self._address = address
        self._ports = ports
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._counters = counters
        self._log = log
        self._opened = opened
        self._command = command
        self._outbox = Outbox(client, name=f"bip[{address}]", counters=counters, log=log)
        self._refusals = self._outbox.lane(limit=_MAX_REFUSALS)
        self._links = Links()
        self._timekeeper = Timekeeper(
            self._links, clock=clock, idle_s=settings.idle_s, ring=self._ring, idle=self._idle
        )

    async def keep_time(self) -> None:
        """Do what time brings, until cancelled."""
        await self._timekeeper.run()

    async def close(self) -> None:
        """Hang up on everybody; for ``link_timeout_s`` the broker may be away."""
        for link in self._links:
            self.end(link, "server-closed")
        try:
            async with self._clock.timeout(self._settings.link_timeout_s):
                await self._outbox.drain()
        except TimeoutError:
            self._log.warning("bip.not_hung_up", bearer="bip")
        await self._outbox.close()

    def open_link(self, ua: str, bearer: Bearer | None) -> BipLink | None:
        """Return the open link of module *ua* over *bearer*, or over any: the one that was used last."""
        return self._links.open_link(ua, bearer)

    def send(self, link: BipLink, packet: bytes, trace: TraceContext) -> None:
        """Send *packet*, which fits, over *link*, which is not over."""
        link.trace = trace
        link.line.send(packet, self._clock.now())
        self._tell("packet_sent", link, octets=len(packet))
        self._use(link)
        self._conclude(link)

    def end(self, link: BipLink, reason: str) -> None:
        """Hang up, if *link* is not over yet."""
        if not link.over:
            link.line.hang_up(self._clock.now())
            self._post(link)
            self._forget(link, reason)

    def receive(self, frame: Frame) -> None:
        """Take what a handset sent; nothing of it raises."""
        try:
            self._take(frame)
        except Rejected as rejection:
            self._drop(rejection.reason, frame)

    # ---- what handsets send ----

    def _take(self, frame: Frame) -> None:
        if frame.bearer not in (Bearer.BIP_TCP, Bearer.BIP_UDP):
            raise BipRejected("wrong-bearer")
        pdu = LinkPdu.parse(frame.pdu)
        if (pdu.kind is LinkKind.DATAGRAM) is not (frame.bearer is Bearer.BIP_UDP):
            raise BipRejected("wrong-kind")
        self._check_port(frame, pdu)
        link = self._links.get(frame.bearer, frame.source, pdu.connection)
        if pdu.kind is LinkKind.OPEN:
            self._accept(frame, pdu, link)
        elif pdu.kind is LinkKind.DATAGRAM:
            self._feed(link or self._admit(frame, pdu), frame, pdu)
        elif link is not None:
            self._feed(link, frame, pdu)
        else:
            self._answer(frame, pdu, _TO_STRANGERS.get(pdu.kind))
            raise BipRejected("no-such-connection")

    def _check_port(self, frame: Frame, pdu: LinkPdu) -> None:
        if pdu.port != self._ports.of(frame.bearer):
            self._answer(frame, pdu, _TO_STRANGERS.get(pdu.kind))
            raise BipRejected("wrong-port")

    def _feed(self, link: BipLink, frame: Frame, pdu: LinkPdu) -> None:
        link.trace = frame.trace
        packets: list[bytes] = []
        try:
            packets = link.line.take(pdu, self._clock.now())
        except Rejected as rejection:
            self._drop(rejection.reason, frame)
        self._use(link)
        try:
            for packet in packets:
                if not link.over:  # else one before it was not of the module that the frame says
                    self._hear(link, packet, frame)
        finally:
            self._conclude(link)

    def _hear(self, link: BipLink, packet: bytes, frame: Frame) -> None:
        self._tell("packet_received", link, octets=len(packet))
        try:
            hear = _HEARERS.get(packet[0])
            if hear is None:
                raise BipRejected("identifier")
            hear(self, link, packet)
        except Rejected as rejection:
            self._drop(rejection.reason, frame)
        except MailboxFull:
            self._drop("mailbox-full", frame)

    def _hear_command(self, link: BipLink, packet: bytes) -> None:
        self._command(link, packet)

    def _hear_response(self, link: BipLink, packet: bytes) -> None:
        if not link.answer(_tar_of_response(packet), packet):
            raise BipRejected("unexpected-response")

    def _hear_identification(self, link: BipLink, packet: bytes) -> None:
        if parse_identification(packet).ua != _identification(link.ua):
            self.end(link, "identification")
            raise BipRejected("identification")

    # ---- links come and go ----

    def _accept(self, frame: Frame, pdu: LinkPdu, known: BipLink | None) -> None:
        """Take a TCP connection, or refuse it."""
        if known is not None and known.reference == frame.reference:
            raise BipRejected("duplicate")
        if self._is_overrun:
            self._refuse_crowd(frame, pdu)
        if known is not None:
            # The handset began anew: a CLOSE would reach the new connection of that number.
            known.lane.discard()
            self._forget(known, "replaced")
        for lost in self._links.of(Bearer.BIP_TCP, frame.source):
            self.end(lost, "replaced")
        if len(self._links) >= self._settings.max_links:
            self._refuse_crowd(frame, pdu)
        line = StreamLine(pdu.connection, pdu.port, segment=self._settings.segment_octets)
        link = self._add(frame, line, self._outbox.lane())
        self._use(link)
        self._conclude(link)

    def _refuse_crowd(self, frame: Frame, pdu: LinkPdu) -> NoReturn:
        self._answer(frame, pdu, LinkKind.REFUSE)
        raise BipRejected("crowded")

    @property
    def _is_overrun(self) -> bool:
        """Whether links are replaced faster than what is left to say over those before can be sent."""
        return len(self._outbox.tasks) > len(self._links) + _MAX_LEAVING

    def _admit(self, frame: Frame, pdu: LinkPdu) -> BipLink:
        """Return a link that listens to the SYN in *pdu*. Raises Rejected for others, and answers by RST."""
        objection = self._objection(Pdu.parse(pdu.payload), frame.source)
        if objection is not None:
            reason, reset = objection
            answer = refuse(pdu.payload, reset)
            if answer is not None:
                self._answer(frame, pdu, LinkKind.DATAGRAM, answer)
            raise BipRejected(reason)
        those = self._links.of(Bearer.BIP_UDP, frame.source)
        if len(those) >= MAX_CHANNELS:
            self.end(next(link for link in those if not link.line.is_open), "crowded-out")
        cat_tp = CatTpConnection(
            local_port=pdu.port,
            remote_port=None,
            settings=self._settings.cat_tp,
            initial_sequence=int.from_bytes(self._rng(2), "big"),
        )
        line = CatTpLine(pdu.connection, pdu.port, cat_tp=cat_tp)
        return self._add(frame, line, self._outbox.lane(limit=_MAX_DATAGRAMS))

    def _objection(self, pdu: Pdu, ua: str) -> tuple[str, ResetReason] | None:
        """Say why *pdu*, the first over a channel of *ua*, opens no CAT_TP connection."""
        if pdu.flags != Flags.SYN or pdu.synchronisation is None:
            return "no-such-connection", ResetReason.UNEXPECTED_PDU
        if pdu.synchronisation.identification != _identification(ua):
            return "identification", ResetReason.ILLEGAL_PARAMETERS
        if len(self._links) >= self._settings.max_links or self._is_overrun:
            return "crowded", ResetReason.TEMPORARILY_UNABLE
        return None

    def _add(self, frame: Frame, line: Line, lane: Lane) -> BipLink:
        link = BipLink(ua=frame.source, line=line, lane=lane, reference=frame.reference, trace=frame.trace)
        self._links.add(link, self._clock.now())
        return link

    def _use(self, link: BipLink) -> None:
        """Send what the line wants sent, and say so when it has become open."""
        self._links.used(link, self._clock.now())
        self._post(link)
        if link.line.is_open and not link.announced:
            link.announced = True
            for other in self._links.of(link.bearer, link.ua):
                if other.announced and other is not link:
                    self.end(other, "replaced")
            self._tell("link_opened", link)
            self._opened(link)

    def _conclude(self, link: BipLink) -> None:
        """Forget a link whose line is over, and set the alarm of one that goes on."""
        if link.over:
            return
        if link.line.over is not None:
            self._forget(link, link.line.over)
        else:
            self._timekeeper.watch(link)

    def _forget(self, link: BipLink, reason: str) -> None:
        self._links.remove(link)
        link.lose()
        self._tell("link_closed", link, reason=reason)

    def _ring(self, link: BipLink) -> None:
        link.line.expire(self._clock.now())
        self._post(link)
        self._conclude(link)

    def _idle(self, link: BipLink) -> None:
        self.end(link, "idle")

    # ---- what goes out, and what is told ----

    def _post(self, link: BipLink) -> None:
        for pdu in link.line.outgoing():
            attempt = link.repeats.time_of(pdu.payload) if pdu.kind is LinkKind.DATAGRAM else 1
            if attempt > 1:
                self._counters.retried(link.bearer)
            link.lane.post(*self._parcel(pdu, link.ua, link.bearer, link.trace, attempt))

    def _answer(self, frame: Frame, pdu: LinkPdu, kind: LinkKind | None, payload: bytes = b"") -> None:
        """Answer *pdu*, which is of no link, by one of *kind*; None: not at all."""
        if kind is not None:
            answer = LinkPdu(kind=kind, connection=pdu.connection, port=pdu.port, sequence=0, payload=payload)
            self._refusals.post(*self._parcel(answer, frame.source, frame.bearer, frame.trace))

    def _parcel(
        self, pdu: LinkPdu, ua: str, bearer: Bearer, trace: TraceContext, attempt: int = 1
    ) -> tuple[str, Frame]:
        frame = Frame(
            bearer=bearer,
            source=self._address,
            destination=ua,
            pdu=pdu.encode(),
            reference=self._rng(_REFERENCE_LENGTH),
            trace=trace,
            sent_at=self._clock.now(),
            attempt=attempt,
        )
        return BipDown(fleet=self._fleet, ua=ua).path, frame

    def _tell(self, what: str, link: BipLink, **more: str | int) -> None:
        ids = tracing.ids(link.trace)
        self._log.info(f"bip.{what}", **ids, ua=link.ua, bearer=str(link.bearer), **more)

    def _drop(self, reason: str, frame: Frame) -> None:
        self._counters.dropped(reason)
        if reason not in _USUAL:
            ua, octets, bearer = frame.source, len(frame.pdu), str(frame.bearer)
            self._log.warning("bip.dropped", reason=reason, ua=ua, octets=octets, bearer=bearer)


# What a handset gets for a TCP PDU that no connection takes, or not on this port.
_TO_STRANGERS: Final[Mapping[LinkKind, LinkKind]] = {
    LinkKind.OPEN: LinkKind.REFUSE,
    LinkKind.DATA: LinkKind.CLOSE,
}
_HEARERS: Final[Mapping[int, Callable[[Switchboard, BipLink, bytes], None]]] = {
    COMMAND_IDENTIFIER: Switchboard._hear_command,  # noqa: SLF001 -- a table of its own methods
    RESPONSE_IDENTIFIER: Switchboard._hear_response,  # noqa: SLF001
    IDENTIFICATION_IDENTIFIER: Switchboard._hear_identification,  # noqa: SLF001
}


def _identification(ua: str) -> bytes | None:
    """Return what the module *ua* calls itself; None when no module can be called so."""
    try:
        return iccid_octets(ua)
    except ValueError:
        return None


def _tar_of_response(packet: bytes) -> bytes:
    assert TCP.response is not None  # CAT_TP has the same
    behind_length = packet[TCP.response.start(packet) :]
    if len(behind_length) < _TAR.stop:
        raise BipRejected("no-tar")
    return behind_length[_TAR]
