"""What the scenarios share: a small fleet of all steps, ways to run it, and looks into what it left.

A run in this process (:func:`play`, :func:`cli`) is the real thing; runs in processes of their own, for what
only a process can show, are in ``processes``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import shutil
import sqlite3
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pcapng import FileScanner
from pcapng.blocks import EnhancedPacket
from typer.testing import CliRunner

from agents.cli import app
from agents.fleet.config import FleetConfig, load_config
from agents.fleet.inspection import to_json
from agents.fleet.launch import run
from agents.fleet.loop import loop_factory
from agents.fleet.options import UpOptions
from agents.fleet.progress import Progress
from agents.handset.security_module.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    import pytest

    from agents.fleet.config import Step
    from agents.fleet.report import Report

ROOT: Final = Path(__file__).parents[2]
CONFIGS: Final = ROOT / "configs"
FLEET: Final = "small"
HANDSETS: Final = 5
TARGETS: Final = (5, 2, 7, 7, 7, 7, 4, 3, 2, 2, 2, 2, 2, 1, 1)
"""Targets of each step of the small fleet."""
RESOURCES: Final = {"loaded": 6, "released": 1}
"""Resources by state after the last step."""

_ROLES: Final = """\
[fleet]
name = "{name}"
seed = 7
state = "{state}"

[broker]
{broker}

[air.sms]
report_timeout_s = 1.0

[[authority]]
name = "root"
suite = "x25519"

[[operator]]
name = "mno"
number = "15550100"
authority = "root"
suite = "p256"

[[supplier]]
name = "bank"
number = "15550200"
operator = "mno"
suite = "p256"

[[supplier.service]]
name = "account"
application = "apps/account.wat"
backend = "account"
code = 1024
data = 256
rights = ["hmac"]

[[supplier]]
name = "shop"
number = "15550300"
operator = "mno"
suite = "x25519"

[[supplier.service]]
name = "loyalty"
application = "apps/loyalty.wat"
backend = "loyalty"
code = 1024
data = 64
"""
_GROUPS: Final = (("plain", 2, "x25519", ["account"]), ("points", 1, "x25519", ["loyalty"]))
_BOTH: Final = ("both", 2, "p256", ["account", "loyalty"])
_ACCOUNT_OF_BOTH: Final = 'handsets = ["both"]\nservice = "account"\n'
_STEPS: Final = (
    ("personalise", "", "ok = 5"),
    ("agree", "", "ok = 2"),
    ("subscribe", "", "ok = 7"),
    ("reserve", "", "ok = 7"),
    ("activate", "", "ok = 7"),
    ("serve", "", "ok = 7"),
    ("invoke", 'service = "account"\n', "ok = 4"),
    (
        "invoke",
        'service = "loyalty"\nby = "user"\ninput = "01{step}00000005"\n',
        'ok = 3, output = "00000005"',
    ),
    ("block", _ACCOUNT_OF_BOTH, "ok = 2"),
    ("invoke", _ACCOUNT_OF_BOTH, 'refused = 2, reason = "blocked"'),
    ("unblock", _ACCOUNT_OF_BOTH, "ok = 2"),
    ("serve", _ACCOUNT_OF_BOTH, "ok = 2"),
    ("invoke", _ACCOUNT_OF_BOTH, "ok = 2"),
    ("release", 'handsets = ["points"]\nservice = "loyalty"\n', "ok = 1"),
    (
        "invoke",
        'handsets = ["points"]\nservice = "loyalty"\nby = "user"\ninput = "03"\n',
        'refused = 1, reason = "unknown-resource"',
    ),
)


def write_fleet(
    directory: Path,
    *,
    name: str = FLEET,
    broker: str = 'url = "auto"',
    edits: Iterable[tuple[str, str]] = (),
) -> Path:
    """Write the small fleet's config into *directory*; each edit replaces what must be there once or more."""
    shutil.copytree(CONFIGS / "apps", directory / "apps", dirs_exist_ok=True)
    parts = [_ROLES.format(name=name, state=directory / "state", broker=broker)]
    for group, count, suite, services in (*_GROUPS, _BOTH):
        parts.append(
            f'[[handsets]]\nname = "{group}"\ncount = {count}\noperator = "mno"\nsuite = "{suite}"\n'
            f"memory = 32768\nservices = {json.dumps(services)}\n"
        )
    parts += [f'[[step]]\ndo = "{do}"\n{more}expect = {{ {expect} }}\n' for do, more, expect in _STEPS]
    text = "\n".join(parts)
    for old, new in edits:
        assert old in text, "the edit replaces nothing"
        text = text.replace(old, new)
    path = directory / "fleet.toml"
    path.write_text(text)
    return path


# ---- fleets for the bearers ------------------------------------------------------------------------------

LOSSY_STEPS: Final = 10
"""Steps of ``configs/lossy.toml``."""
_SINGLE: Final = """\
[fleet]
name = "single"
seed = 7
state = "{state}"

[air]
{air}

[[authority]]
name = "root"
suite = "x25519"

[[operator]]
name = "mno"
number = "15550100"
authority = "root"
suite = "x25519"

[[supplier]]
name = "bank"
number = "15550200"
operator = "mno"
suite = "p256"

[[supplier.service]]
name = "account"
application = "apps/account.wat"
backend = "account"
code = 1024
data = 256
rights = ["hmac"]
{service}

[[handsets]]
name = "city"
count = {count}
operator = "mno"
suite = "x25519"
memory = 32768
services = ["account"]
{handsets}
"""
_SINGLE_STEPS: Final = ("personalise", "agree", "subscribe", "reserve", "activate", "serve", "invoke")


def write_lossy(
    directory: Path, *, handsets: int = 4, speed: int = 80, edits: Iterable[tuple[str, str]] = ()
) -> Path:
    """Write a copy of ``configs/lossy.toml`` for so many handsets into *directory*, with state beside it.

    The broadcast is repeated as often but sooner; each edit replaces what must be there.
    """
    shutil.copytree(CONFIGS / "apps", directory / "apps", dirs_exist_ok=True)
    text = (CONFIGS / "lossy.toml").read_text()
    # The handsets' count first: expectations that are numbers follow it.
    count = int(re.findall(r"^count = (\d+)$", text, re.MULTILINE)[0])
    for old, new in (
        (r"^seed = .*$", rf'\g<0>\nstate = "{directory / "state"}"'),
        (r"^speed = .*$", f"speed = {speed}"),
        (r"^period = .*$", "period = 8"),
        # A busy machine must not look like a network that is gone: at this speed it is soon late.
        (r"^\[air.bip\]$", "[air.bip]\nresponse_timeout_s = 600.0\nretransmission_s = 10.0"),
        (rf"^count = {count}$", f"count = {handsets}"),
        (rf"ok = {count} ", f"ok = {handsets} "),
        (rf"ok = {3 * count} ", f"ok = {3 * handsets} "),
    ):
        text, replaced = re.subn(old, new, text, flags=re.MULTILINE)
        assert replaced, f"nothing in lossy.toml is {old}"
    for old, new in edits:
        assert old in text, "the edit replaces nothing"
        text = text.replace(old, new)
    path = directory / "lossy.toml"
    path.write_text(text)
    return path


def write_single(
    directory: Path, *, air: str = "", service: str = "", handsets: str = "", count: int = 2
) -> Path:
    """Write a fleet with one service that is served and invoked; the strings are added to its tables.

    *air* may open tables of its own, such as ``[air.bip]``.
    """
    shutil.copytree(CONFIGS / "apps", directory / "apps", dirs_exist_ok=True)
    state = directory / "state"
    text = _SINGLE.format(state=state, air=air, service=service, handsets=handsets, count=count)
    text += "".join(f'\n[[step]]\ndo = "{do}"\nexpect = {{ ok = "all" }}\n' for do in _SINGLE_STEPS)
    path = directory / "single.toml"
    path.write_text(text)
    return path


# ---- a run in this process -------------------------------------------------------------------------------


class Moments(Progress):
    """Does something of the test's at a moment of the run, before the run goes on.

    *broker* is given the port when the broker is up and before anybody has connected; *started* is by the
    index of the step that begins; *advanced* by that of the step whose first target has ended, the others
    being under way.
    """

    def __init__(
        self,
        *,
        broker: Callable[[int], object] | None = None,
        started: Mapping[int, Callable[[], object]] | None = None,
        advanced: Mapping[int, Callable[[], object]] | None = None,
    ) -> None:
        self.port = 0
        self._broker = broker
        self._started = dict(started or {})
        self._advanced = dict(advanced or {})

    def note(self, sentence: str) -> None:
        """Take the broker's port from the sentence about it: nobody has connected yet."""
        if sentence.startswith("broker: "):
            self.port = int(sentence.rpartition(":")[2])
            if self._broker:
                self._broker(self.port)

    def step_started(self, index: int, step: Step, total: int) -> None:  # noqa: ARG002
        """Do what is due when step *index* begins."""
        self._started.pop(index, _nothing)()

    def advance(self, index: int, n: int = 1) -> None:  # noqa: ARG002
        """Do what is due in the middle of step *index*."""
        self._advanced.pop(index, _nothing)()


def _nothing() -> None:
    pass


def play(
    config: Path,
    *,
    progress: Progress | None = None,
    log_level: str = "info",
    ended: Callable[[], object] | None = None,
) -> Report:
    """Run the fleet of *config* in this process, as ``otafleet up`` does, and return its report.

    *ended* is called after the last step, while the fleet is still there.
    """

    def on_report(_report: Report) -> None:
        if ended:
            ended()

    options = UpOptions(log_level=log_level, on_report=on_report)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run(load_config(config), options, progress or Progress()))


def meanwhile(work: Coroutine[Any, Any, None]) -> None:
    """Have *work* done by somebody else, on a thread with a loop of its own, and return when it is done.

    The run stands still meanwhile: what was published is at its receivers before it goes on.
    """
    faults: list[BaseException] = []

    def do() -> None:
        try:
            asyncio.run(work)
        except BaseException as fault:  # noqa: BLE001 -- raised again below, in the test's own thread
            faults.append(fault)

    thread = threading.Thread(target=do, name="meanwhile")
    thread.start()
    thread.join()
    for fault in faults:
        raise fault


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everybody ask again after seconds, so that a test need not wait for half a minute."""
    monkeypatch.setattr("agents.link.REPLY_TIMEOUT_S", 1.0)
    monkeypatch.setattr("agents.personalizer.CONTACT_TIMEOUT_S", 1.0)
    monkeypatch.setattr("agents.fleet.asking.ORDER_TIMEOUT_S", 3.0)


def cli(*arguments: str | Path) -> tuple[int, str, str]:
    """Run the command line in this process; return exit code, standard output, standard error."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


# ---- what a run left -------------------------------------------------------------------------------------


def rows(state: Path, database: str, table: str) -> list[dict[str, Any]]:
    """Return all rows of a table in a state directory, read as a stranger would read the file."""
    with contextlib.closing(sqlite3.connect(state / f"{database}.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608 -- our own


def images(state: Path) -> dict[str, Memory]:
    """Return every module's memory, by UA."""
    pages: dict[str, list[tuple[int, bytes]]] = {}
    for row in rows(state, "modules", "pages"):
        pages.setdefault(row["ua"], []).append((row["first"], row["octets"]))
    return {ua: Memory.from_pages(sorted(found)) for ua, found in sorted(pages.items())}


def modules(state: Path) -> dict[str, dict[str, Any]]:
    """Return what ``otafleet inspect --json`` says of every module, by UA."""
    return {ua: to_json(ua, bytes(memory)) for ua, memory in images(state).items()}


def ends(state: Path) -> dict[str, dict[str, Any]]:
    """Return what became of every module, by UA, without what depends on who came first.

    Which service gets the first TAR, and which of two resources the first place in a module, is decided by
    the order in which questions and orders arrive.
    """
    by_chance = {"id", "tar", "start", "end"}
    return {
        ua: {
            "personalised": module["personalised"],
            "free": module["memory"]["free"],
            "fragmentation": module["memory"]["fragmentation"],
            "definitions": {
                one["service"]: {key: value for key, value in one.items() if key not in by_chance}
                for one in module["definitions"]
            },
        }
        for ua, module in modules(state).items()
    }


OF_THE_HOUSE: Final = {"broker.started", "fleet.launched", "fleet.ended"}
"""The events of a run, on good air or bad, that belong to no transaction."""


def log_events(state: Path) -> list[dict[str, Any]]:
    """Return every event of the logs."""
    return [json.loads(line) for path in logs(state) for line in path.read_text().splitlines()]


def logs(state: Path) -> list[Path]:
    """Return the log files; an index may lie beside them."""
    return sorted((state / "logs").glob("*.jsonl"))


def spellings(octets: bytes) -> tuple[bytes, ...]:
    """Return how somebody careless would write *octets* into a text."""
    return (
        octets,
        octets.hex().encode(),
        octets.hex().upper().encode(),
        base64.b64encode(octets).rstrip(b"="),
        base64.urlsafe_b64encode(octets).rstrip(b"="),
        repr(octets)[2:-1].encode(),
    )


def targets_of(report: Report) -> list[tuple[int, int, int]]:
    """Return of each step how many targets were ok, refused and failed."""
    return [(step.ok, step.refused, step.failed) for step in report.steps]


def fleet_of(config: Path) -> FleetConfig:
    """Return the config as the launcher reads it."""
    return load_config(config)


class Captured(NamedTuple):
    """A packet of a capture: what dissects it, which way it went, its octets, the trace in its comment."""

    dissector: str
    uplink: bool
    pdu: bytes
    trace_id: str


def captured(path: Path) -> list[Captured]:
    """Return the packets of a capture, as python-pcapng and the tags before each PDU tell them."""
    with path.open("rb") as file:
        blocks = [block for block in FileScanner(file) if isinstance(block, EnhancedPacket)]
        return [_captured(block.packet_data, str(block.options["opt_comment"])) for block in blocks]


def _captured(octets: bytes, comment: str) -> Captured:
    """Take the tags off: type (2 octets), length (2), value; type 0 ends them (epan/exported_pdu.h)."""
    tags: dict[int, bytes] = {}
    at = 0
    while True:
        tag, length = struct.unpack_from(">HH", octets, at)
        at += 4
        if not tag:
            break
        tags[tag] = octets[at : at + length]
        at += length
    name = (tags.get(12) or tags[13]).rstrip(b"\0").decode()
    trace_id = comment.split(maxsplit=1)[0].removeprefix("trace=")
    return Captured(name, bool(int.from_bytes(tags[35], "big")), octets[at:], trace_id)
