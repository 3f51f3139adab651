"""Roles that speak in sessions: the whole story in each form, and killed in the middle of a handshake."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from agents.messages.codec import decode, encode
from agents.messages.link import LINK_MESSAGES, LinkQuestion, LinkReply, LinkUnknown
from bus.frame import Bearer, Frame
from bus.topics import Inbox
from tests.scenarios.kit import FLEET, Moments, log_events, play, write_fleet
from tests.scenarios.processes import brokers_of, killed
from tests.scenarios.stranger import Wiretap, frame, say
from transport.security.terms import AGREE_THEN_SIGN, KEY_TRANSPORT, SIGN_THEN_AGREE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenarios.conftest import Recording

PAIRS: Final = {
    ("personaliser.root", "root"),
    ("mno", "root"),
    ("bank", "mno"),
    ("shop", "mno"),
    ("mno", "bank"),
    ("mno", "shop"),
}
"""Who asks whom in the story."""


def in_sessions(directory: Path, form: str) -> Path:
    """Write the small fleet's config: authority and operator speak in sessions made in *form*."""
    tables = ('name = "root"\nsuite = "x25519"\n', 'authority = "root"\nsuite = "p256"\n')
    return write_fleet(directory, edits=[(table, f'{table}link = "{form}"\n') for table in tables])


def opened(state: Path) -> list[tuple[str, str]]:
    """Return who opened a session with whom, in the order of the logs."""
    events = log_events(state)
    return [(each["agent"], each["peer"]) for each in events if each["event"] == "link.opened"]


@pytest.mark.parametrize("form", [AGREE_THEN_SIGN, KEY_TRANSPORT, SIGN_THEN_AGREE])
def test_the_story_in_sessions(form: str, tmp_path: Path, recording: Recording) -> None:
    """It ends as it does sealed; each pair shakes hands once, and nothing on the road is sealed."""
    config, state = in_sessions(tmp_path, form), tmp_path / "state"
    with Wiretap(FLEET) as tap:
        report = play(config, progress=Moments(broker=tap.open), ended=tap.catch_up)
    recording.check_same_end(report, state)
    assert report.dropped == {}
    assert sorted(opened(state)) == sorted(PAIRS)
    frames = [Frame.parse(payload) for _, payload in tap.tape]
    said = [decode(frame.pdu, *LINK_MESSAGES) for frame in frames if frame.bearer is Bearer.ROLE]
    asked = sum(isinstance(message, LinkQuestion) for message in said)
    assert asked == sum(isinstance(message, LinkReply) for message in said) > len(PAIRS)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("moment", "count"), [("publish", 38), ("published", 134)], ids=["agree", "activate"]
)
def test_killed_in_the_middle_of_a_handshake(
    moment: str, count: int, tmp_path: Path, recording: Recording
) -> None:
    """Sessions are gone with the process; the next launch makes them anew and comes to the same end."""
    config, state = in_sessions(tmp_path, AGREE_THEN_SIGN), tmp_path / "state"
    killed(config, moment, count)
    before = opened(state)
    report = play(config)
    recording.check_same_end(report, state)
    again = opened(state)[len(before) :]
    assert ("mno", "bank") in again
    assert len(set(again)) == len(again)
    assert brokers_of(state) == []


def mischief(said: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return what somebody makes of what was said between roles: again, turned back, and notices."""
    assert said, "nothing was said between roles"
    frames = [Frame.parse(payload) for _, payload in said]
    back = [
        (
            Inbox(fleet=FLEET, agent=each.source).path,
            replace(each, source=each.destination, destination=each.source).encode(),
        )
        for each in frames
    ]
    notices = [
        (
            Inbox(fleet=FLEET, agent=each.source).path,
            frame(
                Bearer.ROLE,
                each.destination,
                each.source,
                encode(LinkUnknown(label=decode(each.pdu, LinkQuestion).label)),
            ).encode(),
        )
        for each in frames
        if isinstance(decode(each.pdu, *LINK_MESSAGES), LinkQuestion)
    ]
    return [*notices, *said, *back]


def test_somebody_on_the_road(tmp_path: Path, recording: Recording) -> None:
    """He says everything again, turns it back and forges notices: the story ends as it ever does.

    All that comes of it are refusals with their reasons, and handshakes that nobody needed.
    """
    config, state = in_sessions(tmp_path, SIGN_THEN_AGREE), tmp_path / "state"
    with Wiretap(FLEET) as tap:

        def attack(beginning: int) -> None:
            tap.catch_up()
            say(moments.port, mischief(tap.heard("role")[beginning:]))

        begun = {4: lambda: attack(0), 9: lambda: attack(-12)}
        moments = Moments(broker=tap.open, started=begun)
        report = play(config, progress=moments)
    recording.check_same_end(report, state)
    reasons = set(report.dropped)
    assert {"replayed", "no-session", "no-attempt", "unexpected-notice"} <= reasons
    assert len(opened(state)) > len(PAIRS)
