"""The module's calls over channels of its terminal (bearer independent protocol, TS 102 223 clause 6.4.27).

A link is a channel to one supplier's server over one bearer, for all resources that have this server. What
turns packets into the channel's octets is its wire. A module has no clock: the wire's time-outs are a timer
of the terminal's. A link that nobody needs any more parts: its wire says good-bye, then its channel closes.

A call that must be answered goes over the bearers of its resource in their order. One that the terminal has
no channels for, a channel that does not come up, or a link that is lost and lost again while the answer is
out, gives way to the next; what was to be said is said again there. A link that is lost later is the
supplier's to miss: it asks the module to open another ("push").
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import asking
from agents.handset.security_module.errors import TransitionRefused
from agents.handset.security_module.outgoing import Incoming, send_command
from agents.handset.security_module.wires import Wire, wire_of
from agents.messages.bearers import CHANNEL_BEARERS, ServerAddress
from transport.bip import ChannelState, ModuleChannel
from transport.errors import Rejected
from transport.secured_packet import (
    SMS,
    SecurityParameters,
    encode_command,
    parse_header,
)
from transport.secured_packet.dialect import COMMAND_IDENTIFIER, unidentified
from transport.toolkit import (
    ChannelOpening,
    CommandType,
    Envelope,
    ProactiveCommand,
    TerminalResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import Definition

    Take = Callable[[Core, Incoming], bytes]
    """What to do with a command packet; it returns the response packet, empty for none."""

FALLBACK: Final = "link.fallback"
"""A note: what was not answered over one bearer is said over the next, the reason."""
GIVEN_UP: Final = "link.given_up"
"""A note: no bearer is left for a call that was not answered."""
UNSUPPORTED: Final = "link.unsupported"
"""A note: the terminal cannot give a link; the reason is what it lacks."""
MAX_PARTING: Final = 8
"""Links that wait for the terminal to close their channels; one that never answers is forgotten."""
REOPENS: Final = 2
"""How often a call whose link was lost is made again over the same bearer."""
BUFFER_OCTETS: Final = 1400
ACCESS_NAME: Final = "otafleet"
_CLEAR: Final = SecurityParameters()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A message that waits for its answer; *others* are the bearers to try after this one."""

    message: bytes = field(repr=False)
    others: tuple[str, ...]
    reopens: int


@dataclass(slots=True, kw_only=True, eq=False)
class Link:
    """One channel in use, by the resources of *tars*; *calls* are theirs that wait for an answer."""

    server: bytes
    bearer: str
    timer: int
    wire: Wire = field(repr=False)
    channel: ModuleChannel = field(repr=False)
    tars: set[bytes] = field(default_factory=set)
    calls: dict[bytes, _Call] = field(default_factory=dict, repr=False)
    asked: ProactiveCommand | None = field(default=None, repr=False)
    opened: bool = False
    timed: float | None = None
    """When the timer that runs ends, by the time that it was set at."""

    @property
    def name(self) -> tuple[bytes, str]:
        """What no other link has: server and bearer."""
        return self.server, self.bearer

    @property
    def is_up(self) -> bool:
        """Whether the channel is there, or about to be."""
        return self.channel.state in (ChannelState.OPENING, ChannelState.OPEN)


def call(core: Core, definition: Definition, message: bytes, now: float) -> None:
    """Send *message* to the resource's supplier over the first of its bearers that serves."""
    _say(core, definition, message, definition.bearers, now)


def push(core: Core, definition: Definition, bearer: str, now: float) -> None:
    """Open a link over *bearer*, because the supplier asked for it; the one that there was gives way.

    Raises TransitionRefused for a bearer that the reservation does not name, or the terminal has not got.
    """
    if bearer not in definition.bearers or bearer not in CHANNEL_BEARERS:
        raise TransitionRefused("bearer-not-reserved")
    lack = asking.lack_for_link(core, bearer)
    if lack:
        raise TransitionRefused(lack)
    known = core.links.get((definition.server, bearer))
    if known is not None:
        _part(core, known, now)
    _open(core, definition, bearer, now)


def reconsider(core: Core, now: float) -> None:
    """Give up the links that the terminal, as it is now, cannot give: another one may be there."""
    for link in tuple(core.links.values()):
        lack = asking.lack_for_link(core, link.bearer)
        if lack:
            _lost(core, link, lack, now)


def drop(core: Core, tar: bytes, now: float, *, but: Link | None = None) -> None:
    """Let a resource have nothing to say on any link, *but* one; a link that nobody needs any more parts."""
    for link in tuple(core.links.values()):
        if link is not but and tar in link.tars:
            link.tars.discard(tar)
            link.calls.pop(tar, None)
            if not link.tars:
                _part(core, link, now)


def responded(core: Core, response: TerminalResponse, now: float, take: Take) -> None:
    """Take the terminal's word on a command of a link's channel."""
    asked = core.fetched
    if asked is not None and asked.type is CommandType.GET_CHANNEL_STATUS:
        _compare(core, response, now)
        return
    links = (*core.links.values(), *core.parting)
    link = next((link for link in links if link.asked is asked), None)
    if asked is None or link is None:
        return
    link.asked = None
    link.channel.responded(asked, response)
    if link in core.parting:
        _part_on(core, link)
    else:
        _go_on(core, link, now, take)


def event(core: Core, envelope: Envelope, now: float, take: Take) -> None:
    """Take an event of a channel: data came, or the link was lost."""
    number = envelope.channel_status.channel if envelope.channel_status else 0
    for link in tuple(core.links.values()):
        if link.channel.channel == number:
            link.channel.event(envelope)
            _go_on(core, link, now, take)


def expired(core: Core, timer: int, now: float, take: Take) -> None:
    """Take the end of a timer."""
    for link in tuple(core.links.values()):
        if link.timer == timer and link.timed is not None:
            # Where our time stands still (the handset's clock was set back, or the operator's is ahead of
            # it) the timer says that time has passed.
            now, link.timed = max(now, link.timed), None
            _go_on(core, link, now, take)


def _say(
    core: Core,
    definition: Definition,
    message: bytes,
    bearers: tuple[str, ...],
    now: float,
    *,
    reopens: int = REOPENS,
) -> None:
    """Say *message* over the first of *bearers*."""
    bearer, others = bearers[0], bearers[1:]
    if bearer not in CHANNEL_BEARERS:
        drop(core, definition.tar, now)
        packet = encode_command(spi=_CLEAR, tar=definition.tar, data=message, dialect=SMS)
        if not send_command(core, packet, to=definition.supplier_number):
            core.note(GIVEN_UP, reason=bearer, tar=definition.tar)
        return
    lack = asking.lack_for_link(core, bearer)
    if lack:
        core.note(UNSUPPORTED, reason=lack, tar=definition.tar)
        _say_otherwise(core, definition, message, bearers, now)
        return
    known = core.links.get((definition.server, bearer))
    if known is not None and known.opened:
        # Somebody calls again; perhaps the link was lost and nobody said so.
        core.ask(ProactiveCommand(type=CommandType.GET_CHANNEL_STATUS))
    link = known if known is not None and known.is_up else _open(core, definition, bearer, now)
    drop(core, definition.tar, now, but=link)
    link.tars.add(definition.tar)
    link.calls[definition.tar] = _Call(message=message, others=others, reopens=reopens)
    dialect = CHANNEL_BEARERS[bearer].dialect
    packet = encode_command(spi=_CLEAR, tar=definition.tar, data=message, dialect=dialect)
    try:
        link.wire.send(packet, now)
        _ask(core, link, now)
    except Rejected as rejection:
        _lost(core, link, rejection.reason, now)


def _say_otherwise(
    core: Core, definition: Definition, message: bytes, bearers: tuple[str, ...], now: float
) -> None:
    """Say *message* over the next of *bearers*, for the first one did not serve."""
    bearer, others = bearers[0], bearers[1:]
    if others:
        core.note(FALLBACK, reason=others[0], tar=definition.tar)
        _say(core, definition, message, others, now)
    else:
        core.note(GIVEN_UP, reason=bearer, tar=definition.tar)


def _compare(core: Core, response: TerminalResponse, now: float) -> None:
    """Give up the links whose channels the terminal no longer has."""
    standing = {status.channel for status in response.statuses if status.established}
    for link in tuple(core.links.values()):
        if link.opened and link.channel.channel not in standing:
            _lost(core, link, "not-standing", now)


def _open(core: Core, definition: Definition, bearer: str, now: float) -> Link:
    while len(core.links) >= asking.channels(core):
        oldest = next(iter(core.links.values()))
        core.note("link.dropped", reason="crowded-out", tar=min(oldest.tars, default=b""))
        _part(core, oldest, now)
    if not core.links:
        core.ask(ProactiveCommand(type=CommandType.SET_UP_EVENT_LIST, events=asking.events(core)))
    protocol = CHANNEL_BEARERS[bearer].protocol
    server = ServerAddress.parse(definition.server)
    opening = ChannelOpening(
        protocol=protocol,
        port=server.port(protocol),
        address=server.host.packed,
        buffer=BUFFER_OCTETS,
        access_name=ACCESS_NAME,
    )
    # A timer of the terminal's for each link; of a link that gave way its own is free again.
    taken = {link.timer for link in core.links.values()}
    link = Link(
        server=definition.server,
        bearer=bearer,
        timer=next(number for number in range(1, core.profile.channels + 1) if number not in taken),
        channel=ModuleChannel(opening),
        wire=wire_of(protocol, core.owner().ua, opening.port, core.rng),
        tars={definition.tar},
    )
    core.links[link.name] = link
    link.channel.open()
    _ask(core, link, now)
    return link


def _go_on(core: Core, link: Link, now: float, take: Take) -> None:
    """Do what the channel's new state allows; *link* may be another one, or none, afterwards."""
    try:
        if link.channel.state is ChannelState.OPEN and not link.opened:
            link.wire.opened(link.channel.buffer, now)
            link.opened = True
            core.note("link.opened", reason=link.bearer)
        for octets in link.channel.received():
            for packet in link.wire.receive(octets, now):
                _take(core, link, packet, now, take)
        if core.links.get(link.name) is link:
            _ask(core, link, now)
    except Rejected as rejection:
        _lost(core, link, rejection.reason, now)
        return
    if not link.is_up:
        _lost(core, link, link.channel.reason, now)


def _take(core: Core, link: Link, packet: bytes, now: float, take: Take) -> None:
    if packet[0] != COMMAND_IDENTIFIER:
        raise unidentified("identifier", f"no command starts with {packet[0]:02X}")
    dialect = CHANNEL_BEARERS[link.bearer].dialect
    header = parse_header(packet, dialect)
    definition = core.definitions.by_tar(header.tar)
    if definition is not None and definition.server == link.server:
        link.tars.add(header.tar)  # whatever else it names, the link is not there for that
    response = take(core, Incoming(header=header, octets=packet, now=now, dialect=dialect))
    if response:
        link.wire.send(response, now)


def _ask(core: Core, link: Link, now: float) -> None:
    """Hand the terminal what the channel and its wire want done."""
    if link.opened and link.channel.state is ChannelState.OPEN:
        _send(link, now)
        _set_timer(core, link, now)
    _ask_next(core, link)


def _send(link: Link, now: float) -> None:
    """Hand the channel what the wire has; raise Rejected when the other side lets nothing get away."""
    for octets in link.wire.outgoing(now):
        if len(octets) > link.channel.room:
            raise Rejected("crowded", f"{len(octets)} octets, {link.channel.room} of room")
        link.channel.send(octets)


def _ask_next(core: Core, link: Link) -> None:
    if link.asked is None:
        for command in link.channel.commands():
            link.asked = command
            core.ask(command)


def _set_timer(core: Core, link: Link, now: float) -> None:
    due = link.wire.due
    if due is None:
        return
    seconds = max(1, math.ceil(due - now))
    # one that runs too long is started anew; one that ends too early does no harm
    if link.timed is None or now + seconds < link.timed:
        link.timed = now + seconds
        core.ask(ProactiveCommand(type=CommandType.TIMER_MANAGEMENT, timer=link.timer, timer_value_s=seconds))


def _part(core: Core, link: Link, now: float) -> None:
    """Give *link* up: what its wire has to say goes out, then the channel is closed."""
    core.links.pop(link.name, None)
    core.parting.append(link)
    del core.parting[:-MAX_PARTING]
    link.wire.close(now)
    if link.opened and link.channel.state is ChannelState.OPEN:
        with suppress(Rejected):  # no room for a good-bye
            _send(link, now)
    _part_on(core, link)


def _part_on(core: Core, link: Link) -> None:
    if link.channel.state is not ChannelState.OPEN or link.channel.idle:
        link.channel.close()
    _ask_next(core, link)
    if link.channel.state is ChannelState.CLOSED:
        core.parting = [other for other in core.parting if other is not link]


def _lost(core: Core, link: Link, reason: str, now: float) -> None:
    """Give *link* up, and make its calls that were not answered again: here, or over the next bearer."""
    if core.links.get(link.name) is not link:
        return
    core.note("link.lost", reason=reason)
    _part(core, link, now)
    for tar, waiting in link.calls.items():
        definition = core.definitions.by_tar(tar)
        if definition is None or tar not in core.calls:
            continue
        bearers = (link.bearer, *waiting.others)
        if link.opened and waiting.reopens:
            _say(core, definition, waiting.message, bearers, now, reopens=waiting.reopens - 1)
        else:
            _say_otherwise(core, definition, waiting.message, bearers, now)
