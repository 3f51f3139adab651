from __future__ import annotations

from typing import Any

import pytest

from tests.transport.bip_kit import ADDRESS, EVENTS, PORT, SERVER, TCP, UDP, ask, open_one, opened, opening
from transport.bip import (
    ChannelLimits,
    Connect,
    Disconnect,
    Step,
    TerminalChannels,
    TerminalState,
    Transmit,
)
from transport.toolkit import (
    LINK_DROPPED,
    MAX_RECEIVE_DATA,
    SEND_NOW,
    STORE,
    BipCause,
    ChannelStatus,
    CommandType,
    EventCode,
    ProactiveCommand,
    TerminalResponse,
    TerminalResult,
    TransportProtocol,
)

OPEN, CLOSE = CommandType.OPEN_CHANNEL, CommandType.CLOSE_CHANNEL
SEND, RECEIVE = CommandType.SEND_DATA, CommandType.RECEIVE_DATA
STATUS = CommandType.GET_CHANNEL_STATUS
PLACE: dict[str, Any] = {"channel": 1, "port": PORT, "address": ADDRESS}


def said(step: Step) -> TerminalResponse:
    """Return the response of a step that has one."""
    assert step.response is not None
    return step.response


def refusal(command: ProactiveCommand, cause: BipCause) -> Step:
    """Return the step that refuses *command*."""
    response = TerminalResponse.to(command, TerminalResult.BIP_ERROR, cause=cause)
    return Step(response=response)


def fetch(terminal: TerminalChannels, length: int = 255) -> tuple[bytes, int | None]:
    """Fetch from channel 1; return the data and what is said to remain."""
    response = said(terminal.command(ask(RECEIVE, channel=1, length=length)))
    return response.data, response.length


def test_tcp_waits_for_its_connection() -> None:
    """OPEN CHANNEL for TCP asks for a connection and is answered when it is there, with its own qualifier."""
    terminal = TerminalChannels()
    step = terminal.command(ask(OPEN, qualifier=1, opening=opening()))
    assert step == Step(response=None, actions=(Connect(protocol=TCP, **PLACE),))
    assert terminal.state(1) is TerminalState.CONNECTING
    assert terminal.connected(1) == TerminalResponse(
        type=OPEN,
        qualifier=1,
        channel_status=ChannelStatus(channel=1, established=True),
        bearer=b"\x03",
        buffer=1000,
    )
    assert terminal.state(1) is TerminalState.UP


def test_udp_is_open_at_once() -> None:
    """OPEN CHANNEL for UDP is answered at once; the shell is told which port to take."""
    step = TerminalChannels().command(ask(OPEN, opening=opening(UDP)))
    assert said(step).result is TerminalResult.OK
    assert step.actions == (Connect(protocol=UDP, **PLACE),)


@pytest.mark.parametrize(
    ("protocol", "asked", "granted"),
    [(TCP, 16384, 16384), (TCP, 16385, 16384), (UDP, 1500, 1500), (UDP, 65535, 1500)],
    ids=["tcp-all", "tcp-less", "udp-all", "udp-less"],
)
def test_buffers_are_reduced(protocol: TransportProtocol, asked: int, granted: int) -> None:
    """An excessive buffer is granted as far as there is one, and the response says that it was modified."""
    response = open_one(TerminalChannels(), protocol, asked)
    assert response.buffer == granted
    modified = response.result is TerminalResult.PERFORMED_WITH_MODIFICATION
    assert modified == (asked > granted)


@pytest.mark.parametrize(
    ("network", "result", "cause"),
    [
        (True, TerminalResult.BIP_ERROR, BipCause.REMOTE_NOT_REACHABLE),
        (False, TerminalResult.NETWORK_UNABLE, None),
    ],
    ids=["server", "network"],
)
def test_refused(*, network: bool, result: TerminalResult, cause: BipCause | None) -> None:
    """A connection that does not come up ends the channel, and its number is free again."""
    terminal = TerminalChannels()
    terminal.command(ask(OPEN, opening=opening()))
    assert terminal.refused(1, network=network) == TerminalResponse(type=OPEN, result=result, cause=cause)
    assert terminal.state(1) is TerminalState.FREE
    assert said(terminal.command(ask(OPEN, opening=opening(UDP)))).channel_status == ChannelStatus(
        channel=1, established=True
    )


def test_dropped_before_it_was_up() -> None:
    """A connection that drops before it was up is not lost: it can still only be refused."""
    terminal = TerminalChannels()
    terminal.command(ask(CommandType.SET_UP_EVENT_LIST, events=EVENTS))
    terminal.command(ask(OPEN, opening=opening()))
    terminal.dropped(1)
    assert terminal.events() == []
    assert terminal.refused(1).result is TerminalResult.BIP_ERROR


@pytest.mark.parametrize("channel", [1, 2, 0], ids=["up", "free", "none"])
def test_no_connection_was_asked_for(channel: int) -> None:
    """Word of a connection that nobody waits for is a mistake of the shell's and changes nothing."""
    terminal = opened()
    for word in (terminal.connected, terminal.refused):
        with pytest.raises(ValueError, match="waits for no connection"):
            word(channel)
    assert terminal.state(1) is TerminalState.UP


def test_no_channel_is_left() -> None:
    """When all channels are taken the next is refused; a closed one's number serves again."""
    terminal = TerminalChannels(ChannelLimits(channels=2))
    assert [open_one(terminal, UDP).channel_status for _ in range(2)] == [
        ChannelStatus(channel=number, established=True) for number in (1, 2)
    ]
    command = ask(OPEN, opening=opening(UDP))
    assert terminal.command(command) == refusal(command, BipCause.NO_CHANNEL_AVAILABLE)
    terminal.command(ask(CLOSE, channel=1))
    assert open_one(terminal).channel_status == ChannelStatus(channel=1, established=True)


def test_no_server_channels() -> None:
    """A channel that the terminal would have to listen on is refused."""
    command = ask(OPEN, opening=opening(SERVER))
    assert TerminalChannels().command(command) == refusal(command, BipCause.TRANSPORT_LEVEL_NOT_AVAILABLE)


@pytest.mark.parametrize(
    "command",
    [ask(CLOSE, channel=2), ask(SEND, channel=2, data=b"x"), ask(RECEIVE, channel=2, length=1)],
    ids=lambda command: command.type.name,
)
def test_channel_that_there_is_not(command: ProactiveCommand) -> None:
    """What is asked of a channel that there is not is refused as an invalid channel."""
    assert opened().command(command) == refusal(command, BipCause.INVALID_CHANNEL)


@pytest.mark.parametrize(
    "command",
    [ask(SEND, channel=1, data=b"x"), ask(RECEIVE, channel=1, length=1)],
    ids=lambda command: command.type.name,
)
def test_channel_that_lost_its_link(command: ProactiveCommand) -> None:
    """What is asked of a channel that has lost its link is refused as closed; it can be closed once."""
    terminal = opened()
    terminal.dropped(1)
    terminal.dropped(1)
    assert terminal.command(command) == refusal(command, BipCause.CHANNEL_CLOSED)
    close = ask(CLOSE, channel=1)
    assert terminal.command(close) == Step(response=TerminalResponse.to(close))
    assert terminal.command(close) == refusal(close, BipCause.INVALID_CHANNEL)


def test_not_up_yet() -> None:
    """A channel that still connects takes no data, and can be closed."""
    terminal = TerminalChannels()
    terminal.command(ask(OPEN, opening=opening()))
    send = ask(SEND, channel=1, data=b"x")
    assert terminal.command(send) == refusal(send, BipCause.CHANNEL_CLOSED)
    assert not terminal.received(1, b"x")
    assert terminal.room(1) == 0
    assert terminal.command(ask(CLOSE, channel=1)).actions == (Disconnect(protocol=TCP, **PLACE),)


def test_close() -> None:
    """CLOSE CHANNEL disconnects, and what came and was not told is told no more."""
    terminal = opened()
    terminal.received(1, b"late")
    close = ask(CLOSE, channel=1)
    step = terminal.command(close)
    assert step == Step(response=TerminalResponse.to(close), actions=(Disconnect(protocol=TCP, **PLACE),))
    assert terminal.events() == []
    assert terminal.state(1) is TerminalState.FREE


def test_close_all() -> None:
    """When the module is off, what is linked is disconnected, and no event is wanted any more."""
    terminal = opened()
    open_one(terminal, UDP)
    terminal.command(ask(OPEN, opening=opening()))
    terminal.dropped(1)
    ended = terminal.close_all()
    assert [(one.channel, one.protocol) for one in ended] == [(2, UDP), (3, TCP)]
    assert terminal.events() == []
    open_one(terminal, UDP)
    terminal.received(1, b"x")
    assert terminal.events() == []


def test_stored_and_sent() -> None:
    """What is stored goes out in one piece with what is sent at once; the response says what room is left."""
    terminal = opened(UDP, 300)
    step = terminal.command(ask(SEND, qualifier=STORE, channel=1, data=bytes(241)))
    assert (said(step).length, step.actions) == (59, ())
    step = terminal.command(ask(SEND, qualifier=SEND_NOW, channel=1, data=b"\1" * 59))
    assert said(step).length == 255
    assert step.actions == (Transmit(protocol=UDP, **PLACE, octets=bytes(241) + b"\1" * 59),)


def test_tx_buffer_is_bounded() -> None:
    """More than the Tx buffer has room for is refused, and what was stored stays."""
    terminal = opened(UDP, 100)
    terminal.command(ask(SEND, channel=1, data=bytes(60)))
    command = ask(SEND, qualifier=SEND_NOW, channel=1, data=bytes(41))
    assert terminal.command(command) == refusal(command, BipCause.BUFFER_SIZE_NOT_AVAILABLE)
    step = terminal.command(ask(SEND, qualifier=SEND_NOW, channel=1, data=bytes(40)))
    assert step.actions == (Transmit(protocol=UDP, **PLACE, octets=bytes(100)),)


def test_nothing_to_send() -> None:
    """To send at once when there is nothing sends nothing."""
    step = opened().command(ask(SEND, qualifier=SEND_NOW, channel=1, data=b""))
    assert (said(step).result, step.actions) == (TerminalResult.OK, ())


def test_receive() -> None:
    """RECEIVE DATA brings what was asked for and says what remains; over TCP pieces are one stream."""
    terminal = opened()
    assert terminal.received(1, b"abc")
    assert terminal.received(1, b"def")
    assert fetch(terminal, 4) == (b"abcd", 2)
    assert fetch(terminal, 2) == (b"ef", 0)


def test_receive_is_cut_to_the_apdu() -> None:
    """More than one terminal response holds is cut, which the result says; 255 is 255 or more."""
    terminal = opened()
    terminal.received(1, bytes(1000))
    response = said(terminal.command(ask(RECEIVE, channel=1, length=255)))
    assert response.result is TerminalResult.PERFORMED_WITH_MODIFICATION
    assert (len(response.data), response.length) == (MAX_RECEIVE_DATA, 255)
    assert [fetch(terminal, 237)[1] for _ in range(3)] == [255, 255, 52]


@pytest.mark.parametrize("held", [b"", b"abc"], ids=["nothing", "less"])
def test_receive_more_than_there_is(held: bytes) -> None:
    """When there is less than was asked for, what there is comes with "missing information"."""
    terminal = opened()
    terminal.received(1, held)
    response = said(terminal.command(ask(RECEIVE, channel=1, length=4)))
    assert response == TerminalResponse(
        type=RECEIVE, result=TerminalResult.MISSING_INFORMATION, data=held, length=0
    )


def test_datagrams_stay_apart() -> None:
    """RECEIVE DATA never crosses into the next datagram; that one is announced when the first is fetched."""
    terminal = opened(UDP)
    terminal.received(1, b"first")
    terminal.received(1, b"second")
    assert [event.length for event in terminal.events()] == [5]
    assert fetch(terminal, 3) == (b"fir", 2)
    assert terminal.events() == []
    assert fetch(terminal) == (b"st", 0)
    assert [event.length for event in terminal.events()] == [6]
    assert fetch(terminal) == (b"second", 0)
    assert terminal.events() == []


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=lambda protocol: protocol.name)
def test_rx_buffer_is_bounded(protocol: TransportProtocol) -> None:
    """What does not fit the Rx buffer is not taken at all; what was fetched makes room."""
    terminal = opened(protocol, 10)
    assert terminal.received(1, bytes(7))
    assert terminal.room(1) == 3
    assert not terminal.received(1, bytes(4))
    fetch(terminal, 1)
    assert terminal.received(1, bytes(4))
    assert terminal.room(1) == 0


def test_empty_datagram() -> None:
    """A datagram without octets is let go: there is nothing to fetch."""
    terminal = opened(UDP)
    assert terminal.received(1, b"")
    assert terminal.events() == []
    assert terminal.room(1) == 1000


def test_data_is_told_once() -> None:
    """Data available is told when data comes into an empty buffer, and not again before it was emptied."""
    terminal = opened()
    terminal.received(1, bytes(200))
    terminal.received(1, bytes(200))
    (event,) = terminal.events()
    assert (event.event, event.length) == (EventCode.DATA_AVAILABLE, 255)
    assert event.channel_status == ChannelStatus(channel=1, established=True)
    terminal.received(1, bytes(1))
    assert terminal.events() == []
    while fetch(terminal)[1]:
        pass
    terminal.received(1, b"x")
    assert [event.length for event in terminal.events()] == [1]


def test_data_fetched_before_it_was_told() -> None:
    """What the module fetched before it could be told is no news any more."""
    terminal = opened()
    terminal.received(1, b"x")
    fetch(terminal)
    assert terminal.events() == []


def test_link_dropped() -> None:
    """A lost link is told behind the data that came before, which can still be fetched."""
    terminal = opened()
    terminal.received(1, b"last words")
    terminal.dropped(1)
    available, lost = terminal.events()
    assert available.event is EventCode.DATA_AVAILABLE
    assert lost.event is EventCode.CHANNEL_STATUS
    assert lost.channel_status == ChannelStatus(channel=1, info=LINK_DROPPED)
    assert fetch(terminal) == (b"last words", 0)
    assert not terminal.received(1, b"x")


def test_nothing_is_told_that_was_not_asked_for() -> None:
    """Only the events of the last event list are told, and what was unwanted then is not told later."""
    terminal = opened()
    terminal.command(ask(CommandType.SET_UP_EVENT_LIST, events=(EventCode.CHANNEL_STATUS,)))
    terminal.received(1, b"x")
    terminal.dropped(1)
    assert [event.event for event in terminal.events()] == [EventCode.CHANNEL_STATUS]


def test_channel_status() -> None:
    """GET CHANNEL STATUS tells how each channel stands, in their order, or that there is none."""
    terminal = TerminalChannels()
    assert said(terminal.command(ask(STATUS))).statuses == (ChannelStatus(channel=0),)
    for _ in range(3):
        open_one(terminal)
    terminal.dropped(2)
    assert said(terminal.command(ask(STATUS))).statuses == (
        ChannelStatus(channel=1, established=True),
        ChannelStatus(channel=2, info=LINK_DROPPED),
        ChannelStatus(channel=3, established=True),
    )


def test_foreign_commands() -> None:
    """A command that has nothing to do with channels is beyond what is known here."""
    step = opened().command(ask(CommandType.DISPLAY_TEXT, text=b"hello"))
    assert said(step).result is TerminalResult.BEYOND_CAPABILITIES


@pytest.mark.parametrize(
    "profile",
    [{"channels": 0}, {"channels": 8}, {"tcp_buffer": 0}, {"udp_buffer": 0x10000}],
    ids=str,
)
def test_profile_misuse(profile: dict[str, int]) -> None:
    """A terminal that could not be refuses to exist."""
    with pytest.raises(ValueError, match=r"1\.\."):
        ChannelLimits(**profile)


def test_free_channel() -> None:
    """Of a channel that there is not nothing is taken, and it has nothing to lose."""
    terminal = opened()
    terminal.dropped(5)
    assert not terminal.received(5, b"x")
    assert (terminal.room(5), terminal.state(5)) == (0, TerminalState.FREE)


def test_octets_stay_out_of_repr() -> None:
    """What is sent does not show."""
    assert "secret" not in repr(Transmit(protocol=TCP, **PLACE, octets=b"secret"))
