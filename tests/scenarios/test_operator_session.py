"""Operators and an allocator whose commands travel under keysets, on a broker that somebody listens to."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import pytest

from agents.handset.security_module.operator_session import kept
from agents.messages.air import MANAGER_TAR, Call, Prove, Subscribe
from agents.messages.codec import decode
from agents.messages.signed import Purpose, Signed
from bus.frame import Bearer, Frame
from tests.scenarios.kit import CONFIGS, Moments, images, logs, modules, play, rows, spellings
from tests.scenarios.stranger import Wiretap
from transport.concatenation import Reassembler
from transport.secured_packet import CommandPacket, decode_command, parse_header
from transport.security.keyset import SessionKeys
from transport.sms import IEI_COMMAND_PACKET, SmsDeliver, SmsSubmit, UserData

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agents.fleet.report import Report

FLEET: Final = "operator-session"
COMMANDERS: Final = {"mno": "15550100", "classic": "15550101", "hands": "15550199"}
OPERATORS: Final = ("mno", "classic", "hosted")
MODULES: Final = {"mno": 2, "classic": 2, "hosted": 1}
HANDSETS: Final = sum(MODULES.values())
PROOFS: Final = MODULES["mno"] + 2 * MODULES["classic"] + 2 * MODULES["hosted"]
"""Of agree-then-sign one each, of sign-then-agree two."""
COMMANDS: Final = {"reserve", "block", "unblock", "audit", "release"}


class Heard:
    """What a run said, and what is left of it."""

    def __init__(self, report: Report, state: Path, tape: list[tuple[str, bytes]]) -> None:
        self.report = report
        self.state = state
        self.tape = tape

    def messages(self) -> Iterator[tuple[str, UserData, bool]]:
        """Yield each short message, whole: who sent it, what it says, and whether it goes to a module."""
        reassembler = Reassembler(max_messages=256, max_per_sender=64)
        for topic, payload in self.tape:
            frame = Frame.parse(payload)
            if frame.bearer is Bearer.SMS:
                to_module = "/sms/mt/" in topic
                tpdu = (SmsDeliver if to_module else SmsSubmit).parse(frame.pdu)
                whole = reassembler.receive(f"{frame.source}>{frame.destination}", tpdu.user_data, 0.0)
                if whole is not None:
                    yield frame.source, whole, to_module


@pytest.fixture(scope="module", name="heard")
def _heard(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """Return the one run of the config that we ship, in a directory of the test's own."""
    directory = tmp_path_factory.mktemp("keyset")
    shutil.copytree(CONFIGS / "apps", directory / "apps")
    text = (CONFIGS / f"{FLEET}.toml").read_text()
    config, state = directory / "keyset.toml", directory / "state"
    config.write_text(text.replace("\nseed = 2026", f'\nstate = "{state}"\nseed = 2026'))
    with Wiretap(FLEET) as tap:
        report = play(config, progress=Moments(broker=tap.open), log_level="debug", ended=tap.catch_up)
    return Heard(report, state, tap.tape)


def test_the_whole_story_is_played(heard: Heard) -> None:
    """From personalisation to release, with audits, in two suites and both forms, once with b and M."""
    assert heard.report.missed == ()
    assert heard.report.ok
    assert heard.report.dropped == {}
    assert len(modules(heard.state)) == HANDSETS


def _bare(payload: bytes) -> CommandPacket | None:
    """Return a packet for a resource manager that anybody can open, None for one under a keyset."""
    return None if parse_header(payload).keyset else decode_command(payload)


def test_no_command_to_a_module_can_be_read(heard: Heard) -> None:
    """All that comes bare to a resource manager is handshakes; the commands are under a keyset, each one."""
    bare, ciphered = [], 0
    for source, said, to_module in heard.messages():
        if to_module and source in {*COMMANDERS.values(), *COMMANDERS}:
            assert parse_header(said.payload).tar == MANAGER_TAR
            packet = _bare(said.payload)
            if packet is None:
                ciphered += 1
            else:
                bare.append(decode(packet.data, Signed, Prove))
    purposes = {message.purpose for message in bare if isinstance(message, Signed)}
    assert purposes == {Purpose.CONNECTION}
    assert sum(isinstance(message, Signed) for message in bare) == HANDSETS
    assert sum(isinstance(message, Prove) for message in bare) == PROOFS
    assert ciphered == sum(row["command_counter"] for name in OPERATORS for row in _books(heard, name))
    assert ciphered >= HANDSETS * len(COMMANDS)


def _books(heard: Heard, operator: str) -> list[dict[str, int]]:
    return rows(heard.state, operator, "modules")


def test_what_a_reservation_says_is_nowhere(heard: Heard) -> None:
    """No supplier's key passes between operator and module; the same search finds the module's own words."""
    publics = [row["public_key"] for name in OPERATORS for row in rows(heard.state, name, "agreements")]
    assert publics
    whole = [said.payload for _, said, _ in heard.messages()]
    cut = [payload for topic, payload in heard.tape if "/sms/" in topic or "/report/" in topic]
    for public in publics:
        assert not any(public[:16] in octets for octets in (*whole, *cut))
    packets = [
        decode_command(said.payload).data
        for _, said, to_module in heard.messages()
        if not to_module and said.find(IEI_COMMAND_PACKET) is not None
    ]
    asked = [message for data in packets if isinstance(message := decode(data, Signed, Call), Signed)]
    assert [message.purpose for message in asked] == [Purpose.REQUEST] * HANDSETS
    assert {decode(message.body, Subscribe).service for message in asked} == {"loyalty", "points", "stamps"}


def test_both_ends_have_the_same_session(heard: Heard) -> None:
    """Each module's keys are its operator's; no other two are alike, and inspect says that they are there."""
    found = {}
    for name in COMMANDERS:
        for row in rows(heard.state, name, "sessions"):
            session = kept(images(heard.state)[row["ua"]])
            assert session is not None
            assert session.keys == row["session"]
            assert session.received_counter == row["counter"]
            found[row["ua"]] = row["session"]
    assert len(found) == len(set(found.values())) == HANDSETS
    assert all(module["operator_session"] is True for module in modules(heard.state).values())


def test_no_session_is_told(heard: Heard) -> None:
    """No key of a session is in a payload, a log, or what inspect says."""
    keys = [
        key
        for name in COMMANDERS
        for row in rows(heard.state, name, "sessions")
        for key in SessionKeys.load(row["session"]).keys
    ]
    assert len(set(keys)) == HANDSETS * 4
    said = b"\n".join(
        [
            *(payload for _, payload in heard.tape),
            *(path.read_bytes() for path in logs(heard.state)),
            repr(modules(heard.state)).encode(),
        ]
    )
    for key in keys:
        for spelling in spellings(key):
            assert spelling not in said
