"""TERMINAL PROFILE: any octets are one, and it says of each command whether the terminal can do it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.toolkit import (
    CHANNELS,
    MAX_CHANNEL,
    MAX_TOLD,
    TIMER_CURRENT,
    TIMER_DEACTIVATE,
    TIMER_START,
    ChannelOpening,
    CommandType,
    EventCode,
    Facility,
    ProactiveCommand,
    TerminalProfile,
    TransportProtocol,
)

OCTETS = st.binary(max_size=MAX_TOLD)
FILE = bytes.fromhex("3F002FE2")
FACILITIES = st.frozensets(st.sampled_from(Facility))


def opening(protocol: TransportProtocol) -> ProactiveCommand:
    """Return OPEN CHANNEL."""
    wanted = ChannelOpening(protocol=protocol, port=1, address=bytes(4), buffer=1)
    return ProactiveCommand(type=CommandType.OPEN_CHANNEL, opening=wanted)


def timer(qualifier: int) -> ProactiveCommand:
    """Return TIMER MANAGEMENT."""
    seconds = 9 if qualifier == TIMER_START else 0
    return ProactiveCommand(
        type=CommandType.TIMER_MANAGEMENT, qualifier=qualifier, timer=1, timer_value_s=seconds
    )


def events(*codes: EventCode) -> ProactiveCommand:
    """Return SET UP EVENT LIST."""
    return ProactiveCommand(type=CommandType.SET_UP_EVENT_LIST, events=codes)


NEEDS = [
    (ProactiveCommand(type=CommandType.REFRESH, qualifier=1, files=(FILE,)), {Facility.REFRESH}),
    (events(), {Facility.SET_UP_EVENT_LIST}),
    (events(EventCode.DATA_AVAILABLE), {Facility.SET_UP_EVENT_LIST, Facility.DATA_AVAILABLE}),
    (events(EventCode.CHANNEL_STATUS), {Facility.SET_UP_EVENT_LIST, Facility.CHANNEL_STATUS}),
    (ProactiveCommand(type=CommandType.SEND_SHORT_MESSAGE, tpdu=b"\1"), {Facility.SEND_SHORT_MESSAGE}),
    (ProactiveCommand(type=CommandType.DISPLAY_TEXT, text=b"a"), {Facility.DISPLAY_TEXT}),
    (ProactiveCommand(type=CommandType.GET_INPUT, text=b"a"), {Facility.GET_INPUT}),
    (timer(TIMER_START), {Facility.TIMER_MANAGEMENT, Facility.TIMER_EXPIRATION}),
    (timer(TIMER_DEACTIVATE), {Facility.TIMER_MANAGEMENT}),
    (timer(TIMER_CURRENT), {Facility.TIMER_CURRENT_VALUE}),
    (opening(TransportProtocol.TCP_CLIENT), {Facility.OPEN_CHANNEL, Facility.TCP_CLIENT}),
    (opening(TransportProtocol.UDP_CLIENT), {Facility.OPEN_CHANNEL, Facility.UDP_CLIENT}),
    (opening(TransportProtocol.TCP_SERVER), {Facility.OPEN_CHANNEL, Facility.TCP_SERVER}),
    (ProactiveCommand(type=CommandType.CLOSE_CHANNEL, channel=1), {Facility.CLOSE_CHANNEL}),
    (ProactiveCommand(type=CommandType.RECEIVE_DATA, channel=1, length=1), {Facility.RECEIVE_DATA}),
    (ProactiveCommand(type=CommandType.SEND_DATA, channel=1, data=b"a"), {Facility.SEND_DATA}),
    (ProactiveCommand(type=CommandType.GET_CHANNEL_STATUS), {Facility.GET_CHANNEL_STATUS}),
]
"""Of each command all that a terminal must have."""


def test_known_places() -> None:
    """The first octets of what every phone says, and where the channels are counted."""
    profile = TerminalProfile(bytes.fromhex("33 01 05 02 00 00 00 01 00 00 00 03 e2"))
    assert {each for each in Facility if each in profile} == {
        Facility.PROFILE_DOWNLOAD,
        Facility.SMS_PP_DOWNLOAD,
        Facility.SMS_PP_DOWNLOAD_TOO,
        Facility.TIMER_EXPIRATION,
        Facility.COMMAND_RESULT,
        Facility.DISPLAY_TEXT,
        Facility.GET_INPUT,
        Facility.SEND_SHORT_MESSAGE,
        Facility.TIMER_MANAGEMENT,
        Facility.OPEN_CHANNEL,
        Facility.CLOSE_CHANNEL,
        Facility.PACKET_BEARER,
    }
    assert profile.channels == 7


@given(FACILITIES, st.integers(0, MAX_CHANNEL))
def test_there_and_back(facilities: frozenset[Facility], channels: int) -> None:
    """What was said is read again, and nothing besides, from as few octets as there can be."""
    profile = TerminalProfile.of(facilities, channels=channels)
    assert {each for each in Facility if each in profile} == facilities
    assert profile.channels == channels
    assert not profile.octets.endswith(b"\0")
    assert TerminalProfile(profile.octets) == profile


@given(OCTETS)
def test_any_octets_are_a_profile(octets: bytes) -> None:
    """Reading is total; what is known of them makes the same again, and all of them are kept."""
    profile = TerminalProfile(octets)
    assert profile.octets == octets
    assert 0 <= profile.channels <= MAX_CHANNEL
    known = [each for each in Facility if each in profile]
    again = TerminalProfile.of(known, channels=profile.channels)
    assert [each for each in Facility if each in again] == known
    for command, needs in NEEDS:
        lack = profile.lack_for(command)
        missing = [each.word for each in needs if each not in profile]
        assert (lack in missing) if missing else lack in ("", CHANNELS)


@given(FACILITIES, st.integers(0, 40))
def test_octets_that_are_not_there_are_zeros(facilities: frozenset[Facility], length: int) -> None:
    """A terminal of an earlier release says less, one of a later release more; the rest is the same."""
    whole = TerminalProfile.of(facilities, channels=7).octets.ljust(40, b"\0")
    short, long = TerminalProfile(whole[:length]), TerminalProfile(whole[:length] + bytes(40 - length))
    assert [each in short for each in Facility] == [each in long for each in Facility]
    assert short.channels == long.channels
    later = TerminalProfile(whole + b"\xff" * 100)
    assert {each for each in Facility if each in later} == facilities


@given(st.sampled_from(NEEDS), OCTETS)
def test_a_command_needs_what_it_needs(row: tuple[ProactiveCommand, set[Facility]], noise: bytes) -> None:
    """With all of it a command can be performed; without any one of it, that one is said to be lacking."""
    command, needs = row
    enough = TerminalProfile.of(needs, channels=1)
    assert enough.lack_for(command) == ""
    assert TerminalProfile(enough.octets.ljust(40, b"\0") + noise[:200]).lack_for(command) == ""
    for each in needs:
        assert TerminalProfile.of(needs - {each}, channels=1).lack_for(command) == each.word


def test_every_command_type_is_asked_for() -> None:
    """No type of command is left out of the table above."""
    assert {command.type for command, _ in NEEDS} == set(CommandType)


def test_no_channel_no_opening() -> None:
    """OPEN CHANNEL where the terminal counts no channels lacks these; other commands do not mind."""
    profile = TerminalProfile.of(Facility)
    assert profile.lack_for(opening(TransportProtocol.TCP_CLIENT)) == CHANNELS
    assert profile.lack_for(ProactiveCommand(type=CommandType.CLOSE_CHANNEL, channel=1)) == ""


def test_our_own_mistakes() -> None:
    """More octets than an APDU holds, and numbers of channels that no terminal has, are ours."""
    with pytest.raises(ValueError, match="at most 255"):
        TerminalProfile(bytes(MAX_TOLD + 1))
    for channels in (-1, MAX_CHANNEL + 1):
        with pytest.raises(ValueError, match=r"0\.\.7"):
            TerminalProfile.of((), channels=channels)
