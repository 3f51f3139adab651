"""A module and a terminal in any order of what they and the network do: what is sent arrives."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.transport.bip_kit import TCP, UDP, Pair
from transport.bip import ChannelLimits, ChannelState, TerminalState
from transport.toolkit import MAX_FETCHED, TransportProtocol

STATES = {
    ChannelState.OPEN: TerminalState.UP,
    ChannelState.CLOSED: TerminalState.FREE,
    ChannelState.OPENING: TerminalState.FREE,
}


class Channels(RuleBasedStateMachine):
    """One channel; its two ends talk in octets, a network in front sends and takes what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(TCP)
        self.is_udp = False
        self.count = 0
        self.uplink: list[bytes] = []
        self.downlink: list[bytes] = []
        self.held: list[bytes] = []
        self.came: list[bytes] = []

    @initialize(protocol=st.sampled_from([TCP, UDP]), buffer=st.integers(1, 900), granted=st.integers(1, 900))
    def start(self, protocol: TransportProtocol, buffer: int, granted: int) -> None:
        """Begin with a channel of any protocol and buffers of any size."""
        profile = ChannelLimits(tcp_buffer=granted, udp_buffer=granted)
        self.pair = Pair(protocol, buffer, profile, send_limit=2000, receive_limit=600)
        self.is_udp = protocol is UDP
        self.open(at_once=True)

    @precondition(lambda self: self.pair.module.state is ChannelState.CLOSED)
    @rule(at_once=st.booleans())
    def open(self, *, at_once: bool) -> None:
        """Want the channel, and mostly get it."""
        self.pair.module.received()
        self.uplink, self.downlink, self.held, self.came = [], [], [], []
        self.pair.sent.clear()
        self.pair.module.open()
        if at_once:
            self.pair.run()

    @precondition(lambda self: self.pair.module.state is ChannelState.OPEN)
    @rule(length=st.integers(1, 600))
    def send(self, length: int) -> None:
        """Send as much as there is room for."""
        module, octets = self.pair.module, self.some(length)
        most = min(module.room, module.buffer) if self.is_udp else module.room
        if most:
            module.send(octets[:most])
            self.uplink.append(octets[:most])

    @precondition(lambda self: self.pair.terminal.state(1) is TerminalState.UP)
    @rule(length=st.integers(1, 600))
    def bring(self, length: int) -> None:
        """Let the network bring octets: a stream waits for room, a datagram that has none is lost."""
        octets = self.some(length)
        if self.is_udp:
            if self.pair.terminal.received(1, octets):
                self.downlink.append(octets)
        else:
            self.held.append(octets)
            self.downlink.append(octets)
            self.refill()

    @precondition(lambda self: self.pair.module.state is not ChannelState.CLOSED)
    @rule()
    def refill(self) -> None:
        """Give the terminal what it has room for again."""
        while self.held and (room := self.pair.terminal.room(1)):
            first, rest = self.held[0][:room], self.held[0][room:]
            assert self.pair.terminal.received(1, first)
            self.held[:1] = [rest] if rest else []

    @precondition(lambda self: self.pair.module.state is not ChannelState.CLOSED)
    @rule()
    def ask(self) -> None:
        """Let the module ask for one thing."""
        self.pair.one()

    @precondition(lambda self: self.pair.module.state is not ChannelState.CLOSED)
    @rule()
    def tell(self) -> None:
        """Tell the module what happened."""
        self.pair.tell()

    @precondition(lambda self: self.pair.module.state is not ChannelState.CLOSED)
    @rule()
    def take(self) -> None:
        """Take out what came."""
        self.came += self.pair.module.received()

    @precondition(lambda self: self.pair.module.state is ChannelState.OPEN)
    @rule()
    def everything_arrives(self) -> None:
        """Let all go on until nothing is left: everything that was sent has arrived, either way."""
        arrived = -1
        while self.held or arrived < len(self.came):
            arrived = len(self.came)
            self.refill()
            self.pair.settle()
            self.take()
        self.compare(whole=True)

    @precondition(lambda self: self.pair.terminal.state(1) is TerminalState.UP and self.ends())
    @rule()
    def drop(self) -> None:
        """Lose the link, and tell the module."""
        self.pair.terminal.dropped(1)
        self.pair.settle()
        assert self.pair.module.state in (ChannelState.FAILED, ChannelState.CLOSED)

    @precondition(lambda self: self.pair.module.state is not ChannelState.CLOSED and self.ends())
    @rule()
    def close(self) -> None:
        """Want the channel no more."""
        self.pair.module.close()
        self.pair.settle()
        assert self.pair.module.state is ChannelState.CLOSED
        assert self.pair.terminal.state(1) is TerminalState.FREE

    @invariant()
    def order_is_kept(self) -> None:
        """See that what has arrived so far is the beginning of what was sent."""
        self.compare(whole=False)

    @invariant()
    def ends_agree(self) -> None:
        """See that both ends know of the same channel between two commands."""
        state = self.pair.module.state
        if state in STATES:
            assert (
                self.pair.terminal.state(1) is STATES[state]
                or self.pair.terminal.state(1) is TerminalState.LOST
            )

    @invariant()
    def commands_fit(self) -> None:
        """See that every command that was asked fits a FETCH."""
        assert all(len(command.encode()) <= MAX_FETCHED for command in self.pair.asked)
        self.pair.asked.clear()

    def ends(self) -> bool:
        """Say whether the channel may end now: not before a few things were sent on it."""
        return len(self.uplink) + len(self.downlink) >= 4

    def some(self, length: int) -> bytes:
        """Return *length* octets that are like no others before them."""
        self.count += 1
        return bytes((self.count + number) % 251 for number in range(length))

    def compare(self, *, whole: bool) -> None:
        """Compare both directions: datagrams one by one, a stream as one."""
        for sent, arrived in ((self.uplink, self.pair.sent), (self.downlink, self.came)):
            if self.is_udp:
                assert arrived == (sent if whole else sent[: len(arrived)])
            else:
                stream, part = b"".join(sent), b"".join(arrived)
                assert part == (stream if whole else stream[: len(part)])


TestChannels = Channels.TestCase
TestChannels.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
