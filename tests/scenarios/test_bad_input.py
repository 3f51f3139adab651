"""What a person or the world gets wrong: one clear sentence that names the culprit, and nothing is lost."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path  # noqa: TC003 -- a dataclass has it
from typing import TYPE_CHECKING, Final

import msgpack
import pytest

from agents.handset.phone import CAPACITY
from bus.frame import MAX_FRAME_OCTETS, Bearer, Frame
from bus.topics import (
    Contact,
    ContactReply,
    Events,
    Inbox,
    Orders,
    ReportTo,
    ShortMessageFrom,
    ShortMessageTo,
)
from tests.scenarios.kit import (
    FLEET,
    Moments,
    cli,
    fleet_of,
    impatient,
    log_events,
    modules,
    play,
    rows,
    write_fleet,
)
from tests.scenarios.stranger import Wiretap, frame, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.fleet.report import Report
    from bus.topics import Topic
    from tests.scenarios.conftest import Recording

# ---- what is wrong with a config: exit code 2 ------------------------------------------------------------

ACCOUNT: Final = 'application = "apps/account.wat"\nbackend = "account"\ncode = 1024'
BAD_CONFIGS: Final = {
    "unknown key": (
        ("seed = 7", "seed = 7\ncolour = 7"),
        "fleet.colour: unknown key (known: name, seed, state)",
    ),
    "mistyped key": (("seed = 7", "sede = 7"), "fleet.sede: unknown key; did you mean 'seed'?"),
    "wrong type": (("seed = 7", 'seed = "7"'), "fleet.seed: must be a whole number, not '7'"),
    "application missing": (
        ("apps/account.wat", "apps/acount.wat"),
        "supplier[0].service[0].application: cannot read apps/acount.wat: no such file or directory",
    ),
    "application too large": (
        (ACCOUNT, ACCOUNT.replace("1024", "336")),
        "supplier[0].service[0].code: apps/account.wat has 337 octets and does not fit in 336",
    ),
    "right missing": (
        ('rights = ["hmac"]\n', ""),
        "supplier[0].service[0].application: apps/account.wat would be refused: ",
    ),
    "memory too small": (
        (ACCOUNT, ACCOUNT.replace("1024", "16384")),
        "handsets[2].memory: 32768 octets leave 16896 for resources, and 17728 are needed for account",
    ),
    "name of two agents": (
        ('[[supplier]]\nname = "shop"', '[[supplier]]\nname = "bank"'),
        "supplier[1].name: the name 'bank' is taken by supplier[0].name",
    ),
    "number of two agents": (
        ('number = "15550300"', 'number = "15550200"'),
        "supplier[1].number: the number '15550200' is taken by supplier[0].number",
    ),
    "name of an agent and a group": (
        ('name = "plain"', 'name = "bank"'),
        "handsets[0].name: the name 'bank' is taken by supplier[0].name",
    ),
}


@pytest.mark.parametrize(("edit", "sentence"), BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_config_that_cannot_be_run(edit: tuple[str, str], sentence: str, tmp_path: Path) -> None:
    """``up`` and ``check`` exit with 2 and one sentence that names the key; nothing is started or made."""
    config = write_fleet(tmp_path, edits=[edit])
    for command in ("up", "check"):
        code, said, complained = cli(command, config)
        assert (code, said) == (2, "")
        (told,) = complained.splitlines()
        assert told.startswith(f"{config}: {sentence}")
    assert not (tmp_path / "state").exists()


# ---- what a run cannot begin with: exit code 1 -----------------------------------------------------------


def one_sentence(result: tuple[int, str, str]) -> str:
    """Check that a launch ended with exit code 1 and one sentence; return it."""
    code, _, complained = result
    assert code == 1, result
    (sentence,) = complained.splitlines()
    return sentence


def test_port_in_use(tmp_path: Path) -> None:
    """A port that somebody else listens on is named; the fleet runs as soon as it is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = write_fleet(tmp_path, broker=f'url = "auto"\nport = {port}')
        sentence = one_sentence(cli("up", config))
    assert f"127.0.0.1:{port}" in sentence
    assert "in use" in sentence
    report = play(config)
    assert report.ok
    assert report.broker.address == f"127.0.0.1:{port}"


def test_broker_unreachable(tmp_path: Path) -> None:
    """A broker that does not answer is named by host and port, whoever named it: config or command line."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = write_fleet(tmp_path, broker=f'url = "mqtt://127.0.0.1:{port}"')
    for result in (
        cli("up", config),
        cli("up", write_fleet(tmp_path), "--broker", f"mqtt://127.0.0.1:{port}"),
    ):
        sentence = one_sentence(result)
        assert sentence.startswith(f"cannot reach the MQTT broker at 127.0.0.1:{port}: ")
    assert play(write_fleet(tmp_path)).ok, "a launch that could not begin is no obstacle to the next"


@pytest.mark.parametrize(
    ("edit", "culprit"),
    [
        (("seed = 7", "seed = 8"), "[fleet]"),
        (('number = "15550100"', 'number = "15550101"'), "[operator]"),
        (("data = 64", "data = 65"), "[supplier]"),
        (('name = "plain"\ncount = 2', 'name = "plain"\ncount = 3'), "[handsets]"),
        (('input = "03"', 'input = "030000000000000000"'), "step 15"),
    ],
)
def test_state_of_another_config(edit: tuple[str, str], culprit: str, recording: Recording) -> None:
    """A state directory that another config made is refused, naming what differs, and stays as it is."""
    before = modules(recording.state), rows(recording.state, "fleet", "step_results")
    other = recording.config.with_name("other.toml")
    text = recording.config.read_text()
    assert edit[0] in text
    other.write_text(text.replace(*edit, 1))
    sentence = one_sentence(cli("up", other))
    assert sentence.startswith(
        f"{recording.state}: was made by another config: {culprit} differs from {other}"
    )
    assert "--fresh" in sentence
    assert (modules(recording.state), rows(recording.state, "fleet", "step_results")) == before


def test_state_that_is_none(config: Path, state: Path) -> None:
    """A directory with somebody's files is not taken for state, not even with --fresh."""
    state.mkdir()
    (state / "thesis.txt").write_text("all of it")
    for more in ((), ("--fresh",)):
        sentence = one_sentence(cli("up", config, *more))
        assert sentence.startswith(f"{state}: is no state directory of otafleet")
    assert [(path.name, path.read_text()) for path in state.iterdir()] == [("thesis.txt", "all of it")]


def test_state_that_is_a_file(config: Path, state: Path) -> None:
    """A file in the place of the state directory is named."""
    state.write_text("")
    assert one_sentence(cli("up", config)).startswith(f"{state}: cannot be used as state directory: ")


def test_state_that_is_damaged(config: Path, state: Path) -> None:
    """A database that is none is named, and not overwritten."""
    play(config)
    octets = b"this is no database" * 100
    for path in state.glob("mno.db*"):
        path.unlink()
    (state / "mno.db").write_bytes(octets)
    assert one_sentence(cli("up", config)).startswith(f"{state / 'mno.db'}: cannot open: ")
    assert (state / "mno.db").read_bytes() == octets


# ---- what comes over the bus -----------------------------------------------------------------------------


def topics(config: Path) -> list[Topic]:
    """Return a topic of each kind, each with somebody of the fleet listening."""
    ua = fleet_of(config).handset_addresses()[0][0]
    return [
        ShortMessageTo(fleet=FLEET, ua=ua),
        ShortMessageFrom(fleet=FLEET, address="15550100"),
        ReportTo(fleet=FLEET, address="15550200"),
        Inbox(fleet=FLEET, agent="mno"),
        Contact(fleet=FLEET, ua=ua),
        ContactReply(fleet=FLEET, agent="personaliser.root"),
        Orders(fleet=FLEET, agent=ua),
        Orders(fleet=FLEET, agent="bank"),
        Events(fleet=FLEET),
    ]


def fields() -> dict[str, object]:
    """Return the map of a frame that is as it should be."""
    unpacked: dict[str, object] = msgpack.unpackb(frame(Bearer.SMS, "alien", "mno", b"pdu").encode())
    return unpacked


FOREIGN: Final = {
    b"": "not-msgpack",
    b"{temperature: 21}": "not-msgpack",
    b"\xc1" * 64: "not-msgpack",
    b"\x90": "not-a-map",
    bytes(MAX_FRAME_OCTETS + 1): "too-large",
    bytes(200_000): "too-large",
    msgpack.packb({}): "missing-field",
    msgpack.packb(fields() | {"v": 2}): "unknown-version",
    msgpack.packb({key: value for key, value in fields().items() if key != "t"}): "missing-field",
    msgpack.packb(fields() | {"x": 1}): "unknown-field",
    msgpack.packb(fields() | {"s": "a/b"}): "bad-field",
    msgpack.packb(fields() | {"b": "pigeon"}): "bad-field",
    msgpack.packb(fields() | {"a": float("nan")}): "bad-field",
    msgpack.packb(fields() | {"k": 0}): "bad-field",
}
"""Payloads that are no frame, with the reason for which each is dropped."""


def disturbed(config: Path, step: int, messages: Callable[[], list[tuple[str, bytes]]]) -> Report:
    """Play the fleet; the messages are on everybody's wire before the first order of the step."""
    moments = Moments(started={step: lambda: say(moments.port, messages())})
    return play(config, progress=moments)


def test_foreign_payloads(config: Path, state: Path, recording: Recording) -> None:
    """What is no frame is dropped on every topic, logged and counted by reason; the run ends well."""
    on = topics(config)
    report = disturbed(config, 5, lambda: [(topic.path, payload) for topic in on for payload in FOREIGN])
    recording.check_same_end(report, state)
    expected: dict[str, int] = {}
    for reason in FOREIGN.values():
        expected[reason] = expected.get(reason, 0) + len(on)
    assert report.dropped == expected
    events = log_events(state)
    logged = [entry for entry in events if entry["event"] == "bus.payload_dropped"]
    assert {entry["topic"] for entry in logged} == {topic.path for topic in on}
    # Where there are many of a kind, as in a cell, not each is told, but how many there were.
    counts = Counter((entry["client"], entry["reason"]) for entry in logged)
    counts.update(
        {
            (entry["agent"], entry["reason"]): entry["count"] - counts[entry["agent"], entry["reason"]]
            for entry in events
            if entry["event"] == "log.hushed"
        }
    )
    for reason, count in expected.items():
        assert sum(number for (_, why), number in counts.items() if why == reason) == count


def test_frames_with_nothing_of_ours(config: Path, state: Path, recording: Recording) -> None:
    """Well-formed frames whose content is nobody's are refused wherever they come, and nobody crashes."""
    contents = [bytes(size) for size in (0, 1, 17, 140, 176, 255)] + [b"\xff" * 140]
    report = disturbed(config, 5, lambda: frames(config, contents))
    recording.check_same_end(report, state)
    assert sum(report.dropped.values()) >= 6 * len(contents)
    events = [
        entry["event"] for entry in log_events(state) if entry["level"] == "warning" or "reason" in entry
    ]
    # By the module, as no TPDU; or by the phone before it, as none that an APDU could carry.
    assert events.count("envelope.refused") + events.count("phone.dropped") >= len(contents)


def test_frames_longer_than_what_they_carry(config: Path, state: Path, recording: Recording) -> None:
    """A frame whose PDU could be no short message and no APDU is refused too, and nobody crashes."""
    contents = [octet * size for octet in (b"\0", b"\xff") for size in (300, 5_000, 60_000)]
    report = disturbed(config, 5, lambda: frames(config, contents))
    recording.check_same_end(report, state)


def test_frames_of_another_bearer(config: Path, state: Path, recording: Recording) -> None:
    """A frame that does not belong on its topic is refused there, whatever it says of itself."""
    own = dict(zip(topics(config), bearers(), strict=True))
    others = [(topic, bearer) for bearer in Bearer for topic, belongs in own.items() if belongs is not bearer]

    def messages() -> list[tuple[str, bytes]]:
        return [
            (
                topic.path,
                frame(bearer, "alien", topic.path.rpartition("/")[2], bytes(20), number=number).encode(),
            )
            for number, (topic, bearer) in enumerate(others)
        ]

    report = disturbed(config, 5, messages)
    recording.check_same_end(report, state)
    assert sum(report.dropped.values()) == len(others)


def bearers() -> list[Bearer]:
    """Return the bearer that belongs on each of ``topics``."""
    return [
        Bearer.SMS,
        Bearer.SMS,
        Bearer.REPORT,
        Bearer.ROLE,
        Bearer.CONTACT,
        Bearer.CONTACT,
        Bearer.ORDER,
        Bearer.ORDER,
        Bearer.EVENT,
    ]


def frames(config: Path, contents: list[bytes]) -> list[tuple[str, bytes]]:
    """Return a frame of each content for each kind of topic."""
    made: list[tuple[str, bytes]] = []
    for topic, bearer in zip(topics(config), bearers(), strict=True):
        for content in contents:
            alien: Frame = frame(bearer, "alien", topic.path.rpartition("/")[2], content, number=len(made))
            made.append((topic.path, alien.encode()))
    return made


def test_more_than_a_handset_takes(
    config: Path, state: Path, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood fills a handset's mailbox, what is too much is lost and counted, and the run ends well."""
    impatient(monkeypatch)
    ua = fleet_of(config).handset_addresses()[0][0]
    topic = ShortMessageTo(fleet=FLEET, ua=ua).path
    flood = [
        (topic, frame(Bearer.SMS, "alien", ua, bytes(20), number=number).encode())
        for number in range(CAPACITY + 500)
    ]
    report = disturbed(config, 2, lambda: flood)
    recording.check_same_end(report, state)
    assert 0 < report.bearers["sms"].lost < len(flood)


def test_everything_twice(config: Path, state: Path, recording: Recording) -> None:
    """Each message comes once more right after itself, as MQTT may deliver with QoS 1, and is done once."""
    with Wiretap(FLEET, echo=True) as tap:
        report = play(config, progress=Moments(broker=tap.open), ended=tap.catch_up)
    recording.check_same_end(report, state)


def test_topics_of_nobody(config: Path, state: Path, recording: Recording) -> None:
    """What is said on topics that nobody of the fleet listens to, or of another fleet, concerns nobody."""
    payload = frame(Bearer.ROLE, "alien", "nobody", b"hello").encode()
    paths = ("otafleet/small/role/nobody", "otafleet/other/role/mno", "otafleet/small", "weather")
    report = disturbed(config, 5, lambda: [(path, payload) for path in paths])
    recording.check_same_end(report, state)
    assert report.dropped == {}
