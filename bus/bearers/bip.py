"""Secured packets over channels: a supplier's server, to which modules open TCP or UDP channels (BIP).

A module calls; that the server would like it to is said over another bearer, and :meth:`BipServer.wait_link`
waits for it. Then packets go both ways, until one side hangs up, the link is lost or nobody uses it any more.
Links are made and kept by the ``Switchboard``; here is what a role does with them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from bus.bearers.bip_switchboard import Ports, Switchboard
from bus.errors import BusError, DeliveryFailed
from bus.frame import MAX_PDU_OCTETS, Bearer, Frame
from bus.topics import BipUp
from transport.bip.link import HEADER_OCTETS
from transport.cat_tp import CatTpSettings
from transport.errors import PacketRejected
from transport.secured_packet import TCP, parse_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from bus.bearers.bip_links import BipLink
    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters
    from bus.frame import TraceContext

MAX_SEGMENT: Final = MAX_PDU_OCTETS - HEADER_OCTETS
"""Octets that a frame has room for behind the header of a ``LinkPdu``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BipSettings:
    """How patient a server is, and how much it takes on.

    A response is awaited for *response_timeout_s*, a module's call for *link_timeout_s*, and a link that was
    not used for *idle_s* is closed; all in seconds. At most *max_links* are held, those that are being opened
    among them. A TCP segment has at most *segment_octets*.
    """

    response_timeout_s: float = 60.0
    link_timeout_s: float = 60.0
    idle_s: float = 600.0
    max_links: int = 4096
    cat_tp: CatTpSettings = field(default_factory=CatTpSettings)
    segment_octets: int = 1400

    def __post_init__(self) -> None:
        """Refuse a server that could not serve."""
        if min(self.response_timeout_s, self.link_timeout_s, self.idle_s) <= 0 or self.max_links < 1:
            raise ValueError("a BIP server needs positive times and room for a link")
        if not 1 <= self.segment_octets <= MAX_SEGMENT or self.cat_tp.max_pdu > MAX_SEGMENT:
            raise ValueError(f"segments and CAT_TP PDUs have at most {MAX_SEGMENT} octets")


@dataclass(frozen=True, slots=True, kw_only=True)
class FromLink:
    """A command *packet* (from CPI on) that the module *ua* sent over its channel, not opened yet."""

    ua: str
    bearer: Bearer
    packet: bytes = field(repr=False)
    trace: TraceContext


class BipServer:
    """The server at IPv4 *address* (dotted) of *fleet*; leaving it as an async context manager closes it.

    *tcp_port* and *udp_port* are where modules find it; its CAT_TP port is *udp_port* too.
    """

    def __init__(  # noqa: PLR0913 -- where it is, and what it is given to work with
        self,
        client: BusClient,
        *,
        fleet: str,
        address: str,
        tcp_port: int,
        udp_port: int,
        settings: BipSettings,
        clock: Clock,
        rng: Callable[[int], bytes],
        counters: Counters,
        log: FilteringBoundLogger,
    ) -> None:
        self._client = client
        self._topic = BipUp(fleet=fleet, server=str(IPv4Address(address)))
        self._name = f"bip[{address}]"
        self._settings = settings
        self._clock = clock
        self._log = log
        self._deliver: Callable[[FromLink], None] | None = None
        self._switchboard = Switchboard(
            client,
            fleet=fleet,
            address=address,
            ports=Ports(tcp=tcp_port, udp=udp_port),
            settings=settings,
            clock=clock,
            rng=rng,
            counters=counters,
            log=log,
            opened=self._opened,
            command=self._command,
        )
        self._timer: asyncio.Task[None] | None = None
        self._waiting: dict[tuple[str, Bearer | None], set[asyncio.Future[bool]]] = {}

    async def start(self, deliver: Callable[[FromLink], None]) -> None:
        """Listen; command packets of modules go to *deliver*, which must not wait."""
        if self._timer is not None:
            raise ValueError(f"{self._name} has started already")
        self._deliver = deliver
        self._timer = asyncio.create_task(self._switchboard.keep_time(), name=f"{self._name}.timer")
        await self._client.subscribe([self._topic], self._on_frame)

    async def close(self) -> None:
        """Hang up on everybody; who waits is told that there is no link. Safe to repeat."""
        timer, self._timer = self._timer, None
        if timer is None:
            return
        timer.cancel()
        await asyncio.wait([timer])
        for name in tuple(self._waiting):
            self._tell_waiting(name, is_open=False)
        await self._switchboard.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def has_link(self, ua: str, bearer: Bearer | None = None) -> bool:
        """Whether module *ua* has an open link over *bearer*, or over any."""
        return self._switchboard.open_link(ua, bearer) is not None

    def bearer_of(self, ua: str) -> Bearer | None:
        """Return over which bearer *ua* has an open link; of two, the one that was used last."""
        link = self._switchboard.open_link(ua, None)
        return None if link is None else link.bearer

    async def wait_link(self, ua: str, bearer: Bearer | None = None) -> bool:
        """Return True when module *ua* has an open link, False when it has none for ``link_timeout_s``."""
        self._check_started()
        if self.has_link(ua, bearer):
            return True
        opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault((ua, bearer), set())
        waiting.add(opened)
        try:
            async with self._clock.timeout(self._settings.link_timeout_s):
                return await opened
        except TimeoutError:
            return False
        finally:
            waiting.discard(opened)
            if not waiting:
                self._waiting.pop((ua, bearer), None)

    async def request(
        self, packet: bytes, *, ua: str, trace: TraceContext, bearer: Bearer | None = None
    ) -> bytes:
        """Send the command *packet* (from CPI on) to module *ua*; return its response packet (from RPI on).

        The response is the next with the TAR of *packet*; of several requests with one TAR to one module each
        waits for the one before. Raises DeliveryFailed: ``no-link`` when there is none, ``link-lost`` when it
        ended, ``no-response`` when nothing came in time, ``too-long`` for this module. After ``no-response``,
        and when cancelled, the link is closed: what comes later could be taken for another's response. Raises
        BrokerLost and ClientClosed as publishing does, and ValueError when *packet* is no command packet.
        """
        self._check_started()
        tar = _tar_of_command(packet)
        link = self._switchboard.open_link(ua, bearer)
        if link is None:
            raise self._failure("no-link", ua, bearer)
        if not link.line.fits(packet):
            raise self._failure("too-long", ua, link.bearer)
        async with link.turns[tar]:
            response = None if link.over else await self._ask(link, tar, packet, trace)
        if response is None:
            raise self._failure("link-lost", ua, link.bearer)
        return response

    async def hang_up(self, ua: str, bearer: Bearer | None = None) -> None:
        """Close the links of module *ua* over *bearer*, or all; requests that still wait lose theirs.

        Raises BrokerLost and ClientClosed as publishing does.
        """
        while (link := self._switchboard.open_link(ua, bearer)) is not None:
            self._switchboard.end(link, "hung-up")
            await link.lane.flush()

    async def _ask(self, link: BipLink, tar: bytes, packet: bytes, trace: TraceContext) -> bytes | None:
        """Return the response; None when the link was lost."""
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        link.requests[tar] = answer
        try:
            self._switchboard.send(link, packet, trace)
            # The wait begins when the broker has the packet: a broker that is away is no silent module.
            await link.lane.flush()
            async with self._clock.timeout(self._settings.response_timeout_s):
                return await answer
        except TimeoutError:
            self._switchboard.end(link, "no-response")
            raise self._failure("no-response", link.ua, link.bearer) from None
        except (asyncio.CancelledError, BusError):
            self._switchboard.end(link, "abandoned")
            raise
        finally:
            del link.requests[tar]

    def _on_frame(self, frame: Frame, _topic: str) -> None:
        if self._timer is not None:
            self._switchboard.receive(frame)

    def _command(self, link: BipLink, packet: bytes) -> None:
        assert self._deliver is not None  # no frame is taken before the start
        self._deliver(FromLink(ua=link.ua, bearer=link.bearer, packet=packet, trace=link.trace))

    def _opened(self, link: BipLink) -> None:
        self._tell_waiting((link.ua, link.bearer), is_open=True)
        self._tell_waiting((link.ua, None), is_open=True)

    def _tell_waiting(self, name: tuple[str, Bearer | None], *, is_open: bool) -> None:
        for opened in self._waiting.get(name, ()):
            if not opened.done():
                opened.set_result(is_open)

    def _failure(self, reason: str, ua: str, bearer: Bearer | None) -> DeliveryFailed:
        self._log.warning("bip.failed", to_ua=ua, reason=reason, bearer=str(bearer or "bip"))
        return DeliveryFailed(reason, ua, 1, 1)

    def _check_started(self) -> None:
        if self._timer is None:
            raise ValueError(f"{self._name} is not started")


def _tar_of_command(packet: bytes) -> bytes:
    try:
        return parse_header(packet, TCP).tar
    except PacketRejected as rejection:
        raise ValueError(f"no command packet: {rejection.reason}") from None
