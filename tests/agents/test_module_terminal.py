"""A module and what its terminal can do: it asks for that and no more, and goes another way where it can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.handset.security_module.menu import REFUSED
from agents.handset.security_module.module import INS_TERMINAL_PROFILE
from agents.messages.air import MANAGER_TAR, Audit, Block, Call, Push
from agents.messages.codec import decode
from tests.agents.module_kit import SERVER, SERVICE, TAR, OnlineMarket, OnlineSupplier
from transport.secured_packet import (
    PorDemand,
    ResponseStatus,
    SecurityParameters,
    decode_response,
    encode_command,
)
from transport.toolkit import (
    CommandType,
    EventCode,
    Facility,
    TerminalProfile,
)

BEARERS = pytest.mark.parametrize("bearer", ["bip-tcp", "bip-udp"])
OPEN, CLOSE = CommandType.OPEN_CHANNEL, CommandType.CLOSE_CHANNEL
FAR_TAR = b"\xb2\0\x09"
FAR = replace(SERVER, tcp_port=SERVER.tcp_port + 1)


LINK = {
    Facility.OPEN_CHANNEL,
    Facility.CLOSE_CHANNEL,
    Facility.SEND_DATA,
    Facility.RECEIVE_DATA,
    Facility.SET_UP_EVENT_LIST,
    Facility.DATA_AVAILABLE,
}
"""What a link takes of a terminal, over either protocol."""
TIMERS = {Facility.TIMER_MANAGEMENT, Facility.TIMER_EXPIRATION}
LACKS = [
    *((bearer, each) for bearer in ("bip-tcp", "bip-udp") for each in sorted(LINK)),
    ("bip-tcp", Facility.TCP_CLIENT),
    *(("bip-udp", each) for each in (Facility.UDP_CLIENT, *sorted(TIMERS))),
]


def _terminal(*without: Facility, channels: int = 7) -> bytes:
    return TerminalProfile.of(set(Facility) - set(without), channels=channels).octets


def _in_terminal(bearer: str, terminal: bytes) -> OnlineMarket:
    """Return a market whose module is reserved, and has just been put into another handset."""
    market = OnlineMarket(bearer=bearer)
    market.personalise()
    market.reserve()
    market.card.terminal = terminal
    market.card.power_cycle()
    market.card.notes.clear()
    market.online.asked.clear()
    return market


@pytest.mark.parametrize(("bearer", "lack"), LACKS, ids=lambda value: getattr(value, "word", value))
def test_a_terminal_that_gives_no_channel(bearer: str, lack: Facility) -> None:
    """It is not asked for one: the call goes by short messages at once, and the notes say what it lacks."""
    market = _in_terminal(bearer, _terminal(lack))
    market.card.use_menu(2, SERVICE)
    assert OPEN not in market.online.kinds()
    assert market.card.take_command()[0] == market.supplier.number
    assert [(note.name, note.reason) for note in market.card.notes] == [
        ("link.unsupported", f"terminal-lacks-{lack.word}"),
        ("link.fallback", "sms"),
    ]


@pytest.mark.parametrize(
    "without",
    [{Facility.CHANNEL_STATUS}, {Facility.GET_CHANNEL_STATUS}, TIMERS, {Facility.PACKET_BEARER}],
    ids=["event", "status", "timers", "bearer"],
)
def test_a_terminal_that_gives_a_channel_and_little_else(without: set[Facility]) -> None:
    """Over TCP a service runs without what is only good to have; nothing that is not there is asked for."""
    market = _in_terminal("bip-tcp", _terminal(*without))
    market.connect()
    market.load()
    assert market.supplier.invoke(market.card).reason == ""
    profile = TerminalProfile(market.card.terminal)
    assert {profile.lack_for(command) for command in market.online.asked} == {""}
    events = {event for command in market.online.asked for event in command.events}
    assert EventCode.DATA_AVAILABLE in events
    assert (EventCode.CHANNEL_STATUS in events) is (Facility.CHANNEL_STATUS not in without)


def test_a_terminal_with_no_channels() -> None:
    """It has the commands and not one channel: that is said, and short messages serve."""
    market = _in_terminal("bip-tcp", _terminal(channels=0))
    market.card.use_menu(2, SERVICE)
    assert OPEN not in market.online.kinds()
    assert market.card.reasons == ["terminal-lacks-channels", "sms"]


def test_a_terminal_with_one_channel() -> None:
    """A second link has the first one give way, whatever the module itself could keep."""
    market = _in_terminal("bip-tcp", _terminal(channels=1))
    other = OnlineSupplier(suite="x25519", name="other", service="other", tar=FAR_TAR, number="1009")
    terms = {"bearers": ["bip-tcp"], "server": FAR.encode()}
    assert market.command(other.reserve(**terms)).reason == ""
    market.connect()
    market.card.use_menu(2, "other")
    assert "crowded-out" in market.card.reasons
    kinds = [kind for kind in market.online.kinds() if kind in (OPEN, CLOSE)]
    assert kinds == [OPEN, CLOSE, OPEN]


@BEARERS
def test_a_push_that_the_terminal_cannot_follow(bearer: str) -> None:
    """The supplier hears what the terminal lacks; the session goes on by short messages."""
    market = _in_terminal(bearer, _terminal(Facility.OPEN_CHANNEL))
    market.card.use_menu(2, SERVICE)
    number, data = market.card.take_command()
    assert number == market.supplier.number
    assert isinstance(market.supplier, OnlineSupplier)
    market.supplier.bearer = "sms"
    market.prove(decode(data, Call))
    result = market.supplier.result(market.card, Push(bearer=bearer))
    assert result.reason == "terminal-lacks-open-channel"
    market.load()
    assert OPEN not in market.online.kinds()


@pytest.mark.parametrize(
    ("terminal", "reason"),
    [(b"", "no-terminal-profile"), (_terminal(Facility.GET_INPUT), "terminal-lacks-get-input")],
    ids=["no-profile", "no-keys"],
)
def test_a_person_who_cannot_be_asked(terminal: bytes, reason: str) -> None:
    """A menu item begins with a question; where nobody can be asked it comes to nothing, and that is said."""
    market = _in_terminal("bip-tcp", terminal)
    market.card.use_menu(2, SERVICE)
    assert market.online.kinds() == []
    assert market.card.reasons == [reason]


def test_a_subscription_that_cannot_be_sent() -> None:
    """The subscriber is told so, where short messages are all that his handset has not got."""
    market = _in_terminal("bip-tcp", _terminal(Facility.SEND_SHORT_MESSAGE))
    assert market.card.use_menu(1, SERVICE) == [REFUSED + "not-sent"]
    assert market.card.reasons == ["terminal-lacks-send-short-message", "not-sent"]


@pytest.mark.parametrize(
    ("terminal", "asked", "reasons"),
    [
        (_terminal(), [CommandType.REFRESH], []),
        (_terminal(Facility.REFRESH), [], ["terminal-lacks-refresh"]),
        (b"", [], []),
    ],
    ids=["it-can", "it-cannot", "no-terminal"],
)
def test_what_is_wanted_on_the_air_changes(
    terminal: bytes, asked: list[CommandType], reasons: list[str]
) -> None:
    """A terminal that can is asked to read EF.CBMID again; one that cannot does so when it starts next.

    Where nobody has said that he is a terminal, as in the factory, nobody has read it before.
    """
    market = OnlineMarket()
    market.card.terminal = terminal
    market.card.power_cycle()
    market.personalise()
    assert market.online.kinds() == asked
    assert market.card.reasons == reasons


def test_a_terminal_without_short_messages() -> None:
    """Where the last bearer is not there either, the call is given up, and that is said."""
    market = _in_terminal("bip-tcp", _terminal(Facility.OPEN_CHANNEL, Facility.SEND_SHORT_MESSAGE))
    market.card.use_menu(2, SERVICE)
    assert [(note.name, note.reason) for note in market.card.notes] == [
        ("link.unsupported", "terminal-lacks-open-channel"),
        ("link.fallback", "sms"),
        ("module.proactive_withheld", "terminal-lacks-send-short-message"),
        ("link.given_up", "sms"),
    ]


@BEARERS
def test_a_profile_that_takes_the_channels_away(bearer: str) -> None:
    """A second profile without channels ends the links; the call that was not answered goes by SMS."""
    market = _in_terminal(bearer, _terminal())
    market.call()
    market.card.notes.clear()
    market.card.terminal = _terminal(Facility.OPEN_CHANNEL)
    market.card.serve(market.card.transmit(INS_TERMINAL_PROFILE, market.card.terminal))
    assert market.card.take_command()[0] == market.supplier.number
    assert [note.name for note in market.card.notes] == ["link.lost", "link.unsupported", "link.fallback"]


@pytest.mark.parametrize("terminal", [b"", _terminal(Facility.SEND_SHORT_MESSAGE)], ids=["none", "no-sms"])
def test_a_response_that_cannot_be_sent_by_itself(terminal: bytes) -> None:
    """What fits the delivery report goes there, whatever was asked for; what does not is promised in vain."""
    market = _in_terminal("bip-tcp", terminal)
    spi = SecurityParameters(por=PorDemand.ALWAYS, por_in_submit=True)
    statuses = []
    for command in (Block(tar=TAR), Audit(after=0)):
        packet = encode_command(spi=spi, tar=MANAGER_TAR, data=market.operator.signed(command))
        statuses.append(decode_response(market.card.download(packet), spi=spi).status)
    assert statuses == [ResponseStatus.POR_OK, ResponseStatus.RESPONSE_BY_SMS_SUBMIT]
    assert market.card.definition().state.value == "blocked"
    assert market.card.sent == []
