from __future__ import annotations

from typing import Any

import pytest

from tests.transport.bip_kit import TCP, UDP, Pair, opening
from transport.bip import RECEIVE_LIMIT, SEND_LIMIT, ChannelLimits, ChannelState, ModuleChannel
from transport.toolkit import (
    ESTABLISH_NOW,
    LINK_DROPPED,
    MANY,
    MAX_RECEIVE_DATA,
    MAX_SEND_DATA,
    SEND_NOW,
    STORE,
    ChannelStatus,
    CommandType,
    Envelope,
    EventCode,
    ProactiveCommand,
    Tag,
    TerminalResponse,
    TerminalResult,
    TransportProtocol,
)

OPEN, CLOSE = CommandType.OPEN_CHANNEL, CommandType.CLOSE_CHANNEL
SEND, RECEIVE = CommandType.SEND_DATA, CommandType.RECEIVE_DATA
UP = ChannelStatus(channel=3, established=True)
BOTH = pytest.mark.parametrize("protocol", [TCP, UDP], ids=lambda protocol: protocol.name)


def answered(channel: ModuleChannel, **fields: Any) -> ProactiveCommand:
    """Take the one command that is to be asked, answer it with *fields*, and return it."""
    (command,) = channel.commands()
    channel.responded(command, TerminalResponse.to(command, **fields))
    return command


def up(protocol: TransportProtocol = TCP, buffer: int = 1000, **limits: int) -> ModuleChannel:
    """Return a channel that the terminal has opened as number 3."""
    channel = ModuleChannel(opening(protocol, buffer), **limits)
    channel.open()
    answered(channel, channel_status=UP, bearer=b"\3", buffer=buffer)
    return channel


def at(channel: ModuleChannel) -> ChannelState:
    """Return where *channel* stands now."""
    return channel.state


def available(length: int, channel: int = 3) -> Envelope:
    """Return the event that *length* octets have come."""
    return Envelope(
        tag=Tag.EVENT_DOWNLOAD,
        event=EventCode.DATA_AVAILABLE,
        channel_status=ChannelStatus(channel=channel, established=True),
        length=length,
    )


def status(*, established: bool, channel: int = 3) -> Envelope:
    """Return the event that the link is there, or is not."""
    info = 0 if established else LINK_DROPPED
    return Envelope(
        tag=Tag.EVENT_DOWNLOAD,
        event=EventCode.CHANNEL_STATUS,
        channel_status=ChannelStatus(channel=channel, established=established, info=info),
    )


def test_open() -> None:
    """A channel that is wanted is asked for, and is open when the terminal says so."""
    channel = ModuleChannel(opening())
    assert (channel.state, channel.commands()) == (ChannelState.CLOSED, [])
    channel.open()
    assert at(channel) is ChannelState.OPENING
    (command,) = channel.commands()
    assert command == ProactiveCommand(type=OPEN, qualifier=ESTABLISH_NOW, opening=opening())
    response = TerminalResponse.to(command, channel_status=UP, bearer=b"\3", buffer=700)
    channel.responded(command, response)
    assert at(channel) is ChannelState.OPEN
    assert (channel.channel, channel.buffer, channel.reason, channel.idle) == (3, 700, "", True)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"result": TerminalResult.NETWORK_UNABLE}, "network-unable"),
        ({"result": TerminalResult.BIP_ERROR, "cause": 7}, "bip-remote-not-reachable"),
        ({"result": TerminalResult.BIP_ERROR, "cause": 0x77}, "bip-no-specific-cause"),
        ({"result": TerminalResult.BIP_ERROR}, "bip-no-specific-cause"),
        ({}, "not-established"),
        ({"channel_status": ChannelStatus(channel=3)}, "not-established"),
        ({"channel_status": ChannelStatus(channel=0, established=True)}, "not-established"),
    ],
    ids=["network", "server", "unknown-cause", "no-cause", "no-status", "no-link", "no-channel"],
)
def test_not_opened(fields: dict[str, Any], reason: str) -> None:
    """A channel that does not come up has failed, with the reason; closed and opened again it can succeed."""
    channel = ModuleChannel(opening())
    channel.open()
    answered(channel, **fields)
    assert (channel.state, channel.reason, channel.channel) == (ChannelState.FAILED, reason, 0)
    with pytest.raises(ValueError, match="FAILED cannot be OPEN"):
        channel.open()
    channel.close()
    assert (channel.state, channel.commands()) == (ChannelState.CLOSED, [])
    channel.open()
    answered(channel, channel_status=UP)
    assert (channel.state, channel.reason, channel.buffer) == (ChannelState.OPEN, "", 1000)


def test_tcp_chunks() -> None:
    """Over TCP each chunk is sent at once, none longer than an APDU or the buffer allows."""
    channel = up()
    channel.send(bytes(500))
    channel.send(b"x")
    asked = [answered(channel) for _ in range(4)]
    assert [(one.qualifier, len(one.data)) for one in asked] == [
        (SEND_NOW, MAX_SEND_DATA),
        (SEND_NOW, MAX_SEND_DATA),
        (SEND_NOW, 18),
        (SEND_NOW, 1),
    ]
    assert all(one.type is SEND and one.channel == 3 for one in asked)
    assert (channel.commands(), channel.idle) == ([], True)
    small = up(buffer=100)
    small.send(bytes(150))
    assert [len(answered(small).data) for _ in range(2)] == [100, 50]


def test_udp_chunks() -> None:
    """Over UDP all chunks of a datagram but the last are stored, and the last sends it."""
    channel = up(UDP)
    channel.send(bytes(500))
    channel.send(bytes(241))
    asked = [answered(channel) for _ in range(4)]
    assert [(one.qualifier, len(one.data)) for one in asked] == [
        (STORE, MAX_SEND_DATA),
        (STORE, MAX_SEND_DATA),
        (SEND_NOW, 18),
        (SEND_NOW, 241),
    ]


@BOTH
def test_send_is_bounded(protocol: TransportProtocol) -> None:
    """What is over the limit, over the buffer as a datagram, or nothing at all, is not queued."""
    channel = up(protocol, 1000, send_limit=1500)
    assert channel.room == 1500
    channel.send(bytes(900))
    assert (channel.room, channel.idle) == (600, False)
    for octets in (b"", bytes(601)):
        with pytest.raises(ValueError, match=r"where 1\.\.600"):
            channel.send(octets)
    answered(channel)
    assert channel.room == 600 + MAX_SEND_DATA


def test_datagram_over_the_buffer() -> None:
    """A datagram that the terminal could not store is refused; so many octets of a stream are not."""
    with pytest.raises(ValueError, match="over the buffer of 300"):
        up(UDP, 300).send(bytes(301))
    up(TCP, 300).send(bytes(301))


@pytest.mark.parametrize("limits", [{"send_limit": 236}, {"receive_limit": 236}], ids=str)
def test_limits(limits: dict[str, int]) -> None:
    """A limit under what one command carries is a mistake of ours; the usual ones are 64 KiB."""
    with pytest.raises(ValueError, match="a limit is"):
        ModuleChannel(opening(), **limits)
    assert SEND_LIMIT == RECEIVE_LIMIT == 64 * 1024


def test_sent_only_when_open() -> None:
    """Nothing can be sent on a channel that is not open, in whichever state it is."""
    channel = ModuleChannel(opening())
    with pytest.raises(ValueError, match="CLOSED"):
        channel.send(b"x")
    channel.open()
    with pytest.raises(ValueError, match="OPENING"):
        channel.send(b"x")
    answered(channel, channel_status=UP)
    channel.event(status(established=False))
    with pytest.raises(ValueError, match="FAILED"):
        channel.send(b"x")
    channel.close()
    with pytest.raises(ValueError, match="CLOSING"):
        channel.send(b"x")


def test_receive_until_nothing_remains() -> None:
    """What came is fetched, before anything is sent, until the terminal says that nothing remains."""
    channel = up()
    channel.send(b"question")
    channel.event(available(MANY))
    assert answered(channel, data=bytes(237), length=13).length == MAX_RECEIVE_DATA
    assert answered(channel, data=bytes(13), length=0).length == 13
    assert answered(channel).type is SEND
    assert [len(piece) for piece in channel.received()] == [237, 13]
    assert channel.received() == []


def test_datagrams_are_joined() -> None:
    """Over UDP what is fetched is joined until nothing remains: each entry is one datagram."""
    channel = up(UDP)
    channel.event(available(MANY))
    answered(channel, data=b"a" * 237, length=3)
    assert channel.received() == []
    answered(channel, data=b"b" * 3, length=0)
    channel.event(available(2))
    answered(channel, data=b"cc")
    assert channel.received() == [b"a" * 237 + b"b" * 3, b"cc"]


@BOTH
def test_a_terminal_that_has_nothing(protocol: TransportProtocol) -> None:
    """A terminal that says that data is there and brings none is not asked for ever."""
    channel = up(protocol)
    channel.event(available(5))
    answered(channel, result=TerminalResult.MISSING_INFORMATION, length=9)
    assert (channel.commands(), channel.received()) == ([], [])


@BOTH
def test_receive_is_bounded(protocol: TransportProtocol) -> None:
    """What is not taken out keeps the module from fetching more; taken out, it goes on."""
    channel = up(protocol, receive_limit=250)
    for _ in range(2):
        channel.event(available(200))
        answered(channel, data=bytes(200), length=0)
    channel.event(available(1))
    assert channel.commands() == []
    assert [len(piece) for piece in channel.received()] == [200, 200]
    assert answered(channel, data=b"x", length=0).type is RECEIVE


def test_datagram_too_long() -> None:
    """A terminal whose datagram never ends loses the channel, not our memory."""
    channel = up(UDP, receive_limit=500)
    channel.event(available(MANY))
    for _ in range(3):
        answered(channel, data=bytes(237), length=MANY)
    assert (channel.state, channel.reason) == (ChannelState.FAILED, "datagram-too-long")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"data": bytes(6), "length": 0}, "too-much-data"),
        ({"result": TerminalResult.BIP_ERROR, "cause": 2}, "bip-channel-closed"),
    ],
    ids=["more-than-asked", "closed"],
)
def test_receive_fails(fields: dict[str, Any], reason: str) -> None:
    """A terminal that brings more than was asked for, or cannot bring any, loses the channel."""
    channel = up()
    channel.event(available(5))
    answered(channel, **fields)
    assert (channel.state, channel.reason, channel.commands()) == (ChannelState.FAILED, reason, [])


def test_send_fails() -> None:
    """A terminal that does not take what is sent loses the channel, and what was queued is dropped."""
    channel = up()
    channel.send(bytes(500))
    answered(channel, result=TerminalResult.TERMINAL_UNABLE)
    assert (channel.state, channel.reason) == (ChannelState.FAILED, "terminal-unable")
    assert (channel.commands(), channel.room) == ([], SEND_LIMIT)
    channel.close()
    assert answered(channel) == ProactiveCommand(type=CLOSE, channel=3)
    assert (channel.state, channel.channel, channel.buffer) == (ChannelState.CLOSED, 0, 0)


@pytest.mark.parametrize("late", [{}, {"result": TerminalResult.BIP_ERROR, "cause": 2}], ids=["good", "bad"])
@pytest.mark.parametrize("end", ["dropped", "closed"])
@pytest.mark.parametrize("kind", [SEND, RECEIVE], ids=lambda kind: kind.name)
def test_answer_that_comes_late(kind: CommandType, end: str, late: dict[str, Any]) -> None:
    """The answer to what was asked before the channel failed, or was closed, changes nothing any more."""
    channel = up()
    channel.send(b"x") if kind is SEND else channel.event(available(1))
    (command,) = channel.commands()
    channel.event(status(established=False)) if end == "dropped" else channel.close()
    state, reason = channel.state, channel.reason
    channel.responded(command, TerminalResponse.to(command, **late))
    assert (channel.state, channel.reason, channel.received()) == (state, reason, [])


@pytest.mark.parametrize(
    ("channel", "state"),
    [(3, ChannelState.FAILED), (2, ChannelState.OPEN)],
    ids=["ours", "of-another"],
)
def test_link_dropped(channel: int, state: ChannelState) -> None:
    """A channel that loses its link has failed; another's loss, or news of no loss, is let alone."""
    ours = up()
    ours.event(status(established=True, channel=channel))
    assert at(ours) is ChannelState.OPEN
    ours.event(status(established=False, channel=channel))
    assert at(ours) is state
    assert ours.reason == ("link-dropped" if state is ChannelState.FAILED else "")


def test_events_that_are_not_ours() -> None:
    """What is of another channel, of none, or comes when there is no channel, is let alone."""
    channel = up()
    channel.event(available(9, channel=4))
    channel.event(Envelope(tag=Tag.MENU_SELECTION, item=1))
    assert channel.commands() == []
    fresh = ModuleChannel(opening())
    fresh.event(available(9, channel=0))
    assert (fresh.state, fresh.commands()) == (ChannelState.CLOSED, [])


def test_close() -> None:
    """A channel is closed by asking for it; whatever the terminal says to that, it is gone."""
    for fields in ({}, {"result": TerminalResult.BIP_ERROR, "cause": 3}):
        channel = up()
        channel.send(b"dropped")
        channel.close()
        channel.close()
        assert at(channel) is ChannelState.CLOSING
        assert answered(channel, **fields) == ProactiveCommand(type=CLOSE, channel=3)
        assert (channel.state, channel.channel, channel.commands()) == (ChannelState.CLOSED, 0, [])
        channel.close()
        assert at(channel) is ChannelState.CLOSED


def test_closed_before_it_was_asked_for() -> None:
    """A channel that the terminal has not been asked for is closed without asking."""
    channel = ModuleChannel(opening())
    channel.open()
    channel.close()
    assert (channel.state, channel.commands()) == (ChannelState.CLOSED, [])


@pytest.mark.parametrize("comes_up", [True, False])
def test_closed_before_it_was_open(*, comes_up: bool) -> None:
    """A channel that opens after it was closed is closed again; one that does not is gone."""
    channel = ModuleChannel(opening())
    channel.open()
    (command,) = channel.commands()
    channel.close()
    channel.close()
    fields: dict[str, Any] = {"channel_status": UP} if comes_up else {"result": TerminalResult.NETWORK_UNABLE}
    channel.responded(command, TerminalResponse.to(command, **fields))
    if comes_up:
        assert at(channel) is ChannelState.CLOSING
        assert answered(channel) == ProactiveCommand(type=CLOSE, channel=3)
    assert (channel.state, channel.channel) == (ChannelState.CLOSED, 0)


@pytest.mark.parametrize("closing", [False, True], ids=["opening", "closing"])
def test_response_to_another_command(*, closing: bool) -> None:
    """A terminal that answers another command than the one that is out has not done what was asked."""
    channel = ModuleChannel(opening())
    channel.open()
    (command,) = channel.commands()
    if closing:
        channel.close()
    channel.responded(command, TerminalResponse(type=CLOSE))
    assert at(channel) is (ChannelState.CLOSED if closing else ChannelState.FAILED)
    assert channel.reason == ("" if closing else "wrong-response")


def test_response_to_what_is_not_out() -> None:
    """A response to a command that is not out is a mistake of the caller's and changes nothing."""
    channel = up()
    close = ProactiveCommand(type=CLOSE, channel=3)
    with pytest.raises(ValueError, match="not out"):
        channel.responded(close, TerminalResponse.to(close))
    assert at(channel) is ChannelState.OPEN


def test_opened_twice() -> None:
    """To open a channel that is wanted already is a mistake of the caller's."""
    channel = up()
    with pytest.raises(ValueError, match="OPEN cannot be OPEN"):
        channel.open()
    assert at(channel) is ChannelState.OPEN


def test_with_a_terminal_that_grants_less() -> None:
    """A module that asks for more than the terminal has sends in what it was granted."""
    pair = Pair(UDP, 65535, ChannelLimits(udp_buffer=300))
    pair.module.open()
    pair.settle()
    assert pair.module.buffer == 300
    pair.module.send(bytes(300))
    pair.settle()
    assert pair.sent == [bytes(300)]


def test_with_a_server_that_refuses() -> None:
    """A server that does not answer leaves the module with the reason, the terminal with nothing."""
    pair = Pair(TCP)
    pair.network_accepts = False
    pair.module.open()
    pair.settle()
    assert (pair.module.state, pair.module.reason) == (ChannelState.FAILED, "bip-remote-not-reachable")
    assert pair.terminal.room(1) == 0
