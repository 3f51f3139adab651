"""The command line: what it prints, where, and how it exits."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.cli import app, write_report
from agents.errors import FleetError
from agents.fleet.config import FleetConfig, load_config
from agents.fleet.inspection import MODULES_FILE
from agents.fleet.metrics_server import Endpoint
from agents.fleet.options import UpOptions
from agents.fleet.progress import Progress
from agents.fleet.report import BrokerReport, Latency, MemoryReport, Report, StepReport
from agents.handset.security_module.memory import Memory
from agents.store.database import open_store
from agents.store.pages import PageStore
from agents.store.tables import MODULES
from bus.errors import BrokerUnavailable
from tests.agents.campaign_kit import CAMPAIGN

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
COMMAND = [sys.executable, "-c", "from agents.cli import main; main()"]
DEMO = CONFIGS / "demo.toml"
UA = "8988459600030000013"

GOOD = Report(
    fleet="demo",
    seed=None,
    handsets=100,
    modules_served=100,
    wall_s=1.0,
    steps=(),
    bearers={},
    resources={},
    latency=Latency(),
    memory=MemoryReport(peak_mib=1, base_mib=1, kib_per_handset=1),
    messages_per_handset=1.0,
    dropped={},
    crashes=0,
    dead_letters=0,
    broker=BrokerReport(kind="mosquitto", address="127.0.0.1:1"),
)
MISSED = "step 1 agree: expected 2 ok, got 1"
BAD = replace(
    GOOD,
    steps=(
        StepReport(
            number=1,
            do="agree",
            service="",
            targets=2,
            ok=1,
            refused=1,
            failed=0,
            reasons={},
            seconds=0.1,
            latency=Latency(),
            missed=(MISSED,),
        ),
    ),
)

runner = CliRunner()
Launch = Callable[[FleetConfig, UpOptions, Progress], Coroutine[Any, Any, Report]]


@pytest.fixture(name="launch")
def _launch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Launch], None]:
    """Put another launcher in the place of the real one, so that the command line is tested alone."""

    def use(run: Launch) -> None:
        module = ModuleType("agents.fleet.launch")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "agents.fleet.launch", module)

    return use


def raising(error: BaseException) -> Launch:
    """Return a launcher that ends in *error*."""

    async def run(_config: FleetConfig, _options: UpOptions, _progress: Progress) -> Report:
        raise error

    return run


def returning(report: Report, *, early: bool = False) -> Launch:
    """Return a launcher that comes to *report*, told *early* as with ``--stay`` or not."""

    async def run(_config: FleetConfig, options: UpOptions, _progress: Progress) -> Report:
        if early:
            options.on_report(report)
        return report

    return run


def test_check_good() -> None:
    """A good config is called so, with what is in it and which addresses its handsets have."""
    result = runner.invoke(app, ["check", str(DEMO)])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{DEMO}: good; 100 handsets, 2 services, 15 steps",
        "  city: 8988459600010000017 to 8988459600010000405, account",
        "  coast: 8988459600020000015 to 8988459600020000403, loyalty",
        "  both: 8988459600030000013 to 8988459600030000203, account, loyalty",
    ]


def test_check_bad(tmp_path: Path) -> None:
    """A bad config exits with 2 and one line for each fault, on the standard error alone."""
    shutil.copytree(CONFIGS / "apps", tmp_path / "apps")
    path = tmp_path / "bad.toml"
    path.write_text(DEMO.read_text().replace("seed = 2026", "sede = 2026").replace("count = 20", "count = 0"))
    for command in ("check", "up"):
        result = runner.invoke(app, [command, str(path)])
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.splitlines() == [
            f"{path}: fleet.sede: unknown key; did you mean 'seed'?",
            f"{path}: handsets[2].count: must be at least 1, not 0",
        ]


def test_no_config(tmp_path: Path) -> None:
    """A config that is not there is named."""
    result = runner.invoke(app, ["check", str(tmp_path / "none.toml")])
    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory\n"


@pytest.mark.parametrize(
    "arguments", [["up"], ["up", str(DEMO), "--workrs"], ["fly"], ["broker", "--port", "0"]]
)
def test_bad_command_line(arguments: list[str]) -> None:
    """A command line that is none exits with 2 and no traceback."""
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_bad_broker_url() -> None:
    """A broker that is none is refused before anything starts, without showing its password."""
    result = runner.invoke(app, ["up", str(DEMO), "--broker", "tcp://me:hunter2@here"])
    assert result.exit_code == 2
    assert "begins with mqtt:// or mqtts://" in " ".join(result.stderr.split())
    assert "hunter2" not in result.output


def test_help_and_version() -> None:
    """Every command explains itself, and the version can be asked for."""
    for command in ("up", "check", "inspect", "broker"):
        assert runner.invoke(app, [command, "--help"]).exit_code == 0
    result = runner.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("otafleet")


# ---- up --------------------------------------------------------------------------------------------------


def test_up_good(launch: Callable[[Launch], None], tmp_path: Path) -> None:
    """A run that came to what was expected exits with 0, prints its report and writes it."""
    launch(returning(GOOD))
    result = runner.invoke(app, ["up", str(DEMO), "--report", str(tmp_path / "r.json")])
    assert result.exit_code == 0
    assert "OK  fleet demo: 100 of 100 modules served" in result.stdout
    assert json.loads((tmp_path / "r.json").read_text())["ok"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_up_draws_broadcasts(launch: Callable[[Launch], None], tmp_path: Path) -> None:
    """With ``--picture`` the run's campaigns are drawn, into a file that is whole or not there."""
    launch(returning(replace(GOOD, campaigns=(CAMPAIGN,))))
    path = tmp_path / "p.svg"
    result = runner.invoke(app, ["up", str(CONFIGS / "broadcast.toml"), "--picture", str(path)])
    assert result.exit_code == 0
    assert "Broadcast of points, version 2 (step 6)" in result.stdout
    assert path.read_text().startswith("<svg ")
    assert [path.name for path in tmp_path.iterdir()] == ["p.svg"]


def test_a_picture_of_nothing(launch: Callable[[Launch], None], tmp_path: Path) -> None:
    """A config that broadcasts nothing, or a directory that is not there, is noticed before the run."""
    launch(raising(AssertionError("not reached")))
    path = tmp_path / "p.svg"
    result = runner.invoke(app, ["up", str(DEMO), "--picture", str(path)])
    assert result.exit_code == 2
    assert result.stderr == f"{path}: there is nothing to draw: {DEMO} has no step that broadcasts\n"
    path = tmp_path / "none" / "p.svg"
    result = runner.invoke(app, ["up", str(DEMO), "--picture", str(path)])
    assert result.stderr == f"{path}: cannot write the picture: there is no directory {path.parent}\n"


def test_up_missed(launch: Callable[[Launch], None]) -> None:
    """A missed expectation exits with 1 and is named, also when quiet."""
    launch(returning(BAD))
    result = runner.invoke(app, ["up", str(DEMO)])
    assert result.exit_code == 1
    assert MISSED in result.stdout
    assert result.stderr == ""
    result = runner.invoke(app, ["up", str(DEMO), "--quiet"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", MISSED + "\n")


def test_up_reports_once(launch: Callable[[Launch], None]) -> None:
    """A report told before the end, as with ``--stay``, is not printed again."""
    launch(returning(GOOD, early=True))
    result = runner.invoke(app, ["up", str(DEMO), "--stay"])
    assert result.stdout.count("OK  fleet demo") == 1


def test_up_options(launch: Callable[[Launch], None]) -> None:
    """What a person asks for reaches the launcher."""
    seen = []

    async def run(config: FleetConfig, options: UpOptions, _progress: Progress) -> Report:
        seen.append((config.fleet.name, options.fresh, options.stay, options.broker_url, options.log_level))
        return GOOD

    launch(run)
    runner.invoke(app, ["up", str(DEMO)])
    runner.invoke(app, ["up", str(DEMO), "--fresh", "--stay", "--broker", "mqtt://here:1", "-v"])
    assert seen == [("demo", False, False, None, "info"), ("demo", True, True, "mqtt://here:1", "debug")]
    assert "here" not in repr(UpOptions(broker_url="mqtt://me:hunter2@here"))


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ((), None),
        (("--metrics", "9464"), Endpoint(port=9464)),
        (("--metrics", "[::]:0"), Endpoint(host="::", port=0)),
    ],
    ids=["none", "port", "everywhere"],
)
def test_up_serves_metrics_where_it_is_told(
    launch: Callable[[Launch], None], given: tuple[str, ...], endpoint: Endpoint | None
) -> None:
    """Nowhere unless asked to, and on this machine alone unless a host is named."""
    seen = []

    async def run(_config: FleetConfig, options: UpOptions, _progress: Progress) -> Report:
        seen.append(options.metrics)
        return GOOD

    launch(run)
    assert runner.invoke(app, ["up", str(DEMO), *given]).exit_code == 0
    assert seen == [endpoint]


def test_up_refuses_a_port_that_is_none(launch: Callable[[Launch], None]) -> None:
    """The command line is at fault, and says so before anything is launched."""
    launch(raising(AssertionError()))
    result = runner.invoke(app, ["up", str(DEMO), "--metrics", "99999"])
    assert result.exit_code == 2
    assert "--metrics" in result.stderr


UNAVAILABLE = BrokerUnavailable("here:1883", "connection refused")
MORE = ExceptionGroup("more", [FleetError("two"), FleetError("one")])


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (FleetError("the state is another's"), 1, "the state is another's\n"),
        (UNAVAILABLE, 1, f"{UNAVAILABLE}\n"),
        (ExceptionGroup("tasks", [FleetError("one"), MORE]), 1, "one\ntwo\n"),
        (KeyboardInterrupt(), 130, "stopped; the same command without --fresh goes on from here\n"),
    ],
)
def test_up_ends_early(
    launch: Callable[[Launch], None], error: BaseException, code: int, stderr: str
) -> None:
    """Whatever ends a run is a sentence and an exit code, also out of a task group."""
    launch(raising(error))
    result = runner.invoke(app, ["up", str(DEMO), "--quiet"])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", stderr)


def test_fault_of_ours_is_no_sentence(launch: Callable[[Launch], None]) -> None:
    """A programming error is not dressed up as the person's."""
    launch(raising(RuntimeError("ours")))
    result = runner.invoke(app, ["up", str(DEMO), "--quiet"])
    assert isinstance(result.exception, RuntimeError)


def test_sigterm_lets_the_run_clean_up(launch: Callable[[Launch], None]) -> None:
    """SIGTERM cancels the run, which puts things in order, and exits with 143."""
    tidied = []

    async def run(_config: FleetConfig, _options: UpOptions, _progress: Progress) -> Report:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            tidied.append(True)
        return GOOD

    launch(run)
    assert runner.invoke(app, ["up", str(DEMO), "--quiet"]).exit_code == 143
    assert tidied == [True]


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_lets_the_run_clean_up(launch: Callable[[Launch], None]) -> None:
    """Ctrl-C cancels the run, which puts things in order, and exits with 130."""
    tidied = []

    async def run(_config: FleetConfig, _options: UpOptions, _progress: Progress) -> Report:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            tidied.append(True)
        return GOOD

    launch(run)
    assert runner.invoke(app, ["up", str(DEMO), "--quiet"]).exit_code == 130
    assert tidied == [True]


@pytest.mark.usefixtures("interruptible")
def test_who_is_started_to_ignore_ctrl_c_does(launch: Callable[[Launch], None]) -> None:
    """Shells start so what runs in the background: Ctrl-C is for who is in front; SIGTERM ends the run."""
    went_on = []

    async def run(_config: FleetConfig, _options: UpOptions, _progress: Progress) -> Report:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0)
        went_on.append(True)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        return GOOD

    launch(run)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert runner.invoke(app, ["up", str(DEMO), "--quiet"]).exit_code == 143
    assert went_on == [True]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_report_into_nowhere(launch: Callable[[Launch], None], tmp_path: Path) -> None:
    """A report that could not be written is noticed before the run, not after it."""
    launch(raising(AssertionError("not reached")))
    path = tmp_path / "none" / "r.json"
    result = runner.invoke(app, ["up", str(DEMO), "--report", str(path)])
    assert result.exit_code == 2
    assert result.stderr == f"{path}: cannot write the report: there is no directory {path.parent}\n"


def test_report_over_a_directory(tmp_path: Path) -> None:
    """A report that cannot take its place is a sentence, and leaves no half of itself."""
    (tmp_path / "r.json").mkdir()
    with pytest.raises(FleetError, match="cannot write the report: Is a directory"):
        write_report(GOOD, tmp_path / "r.json")
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


# ---- inspect ---------------------------------------------------------------------------------------------


@pytest.fixture(name="state")
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory with the state of a fleet that has one module."""
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "state/demo"

    async def save() -> None:
        async with open_store(state / MODULES_FILE, MODULES) as store:
            await PageStore(store).save(UA, Memory.format(32768).take_changes())

    asyncio.run(save())
    return state


def test_inspect(state: Path) -> None:
    """A module is found by its address alone, or in the state directory that is named."""
    for arguments in ([UA], [UA, "--state", str(state)]):
        result = runner.invoke(app, ["inspect", *arguments])
        assert result.exit_code == 0
        assert f"Module {UA}, blank, 32,768 octets" in result.stdout
    result = runner.invoke(app, ["inspect", UA, "--json"])
    assert json.loads(result.stdout)["memory"]["size"] == 32768


def test_inspect_unknown(state: Path) -> None:
    """A module that is not there is named together with where was looked; so is a missing state."""
    result = runner.invoke(app, ["inspect", "8988459600030000021"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"there is no module 8988459600030000021 in {state.relative_to(Path.cwd())}\n"
    result = runner.invoke(app, ["inspect", UA, "--state", "elsewhere"])
    assert result.exit_code == 1
    assert "run 'otafleet up'" in result.stderr


@pytest.mark.parametrize("ua", ["8988", UA[:-1] + "4", "x" * 19, "८" * 19])
def test_inspect_no_address(ua: str) -> None:
    """What is no address is told so: a digit was mistyped more often than a module was lost."""
    result = runner.invoke(app, ["inspect", ua])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{ua}: is no module's address")


# ---- broker ----------------------------------------------------------------------------------------------


def test_broker_runs_until_it_is_stopped(tmp_path: Path) -> None:
    """``otafleet broker`` says where it listens, does so, and ends with 143 on SIGTERM, its child with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["broker", "--port", str(port), "--directory", str(tmp_path / "broker")]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"listens at mqtt://127.0.0.1:{port}; Ctrl-C stops it" in line
        socket.create_connection(("127.0.0.1", port)).close()
        process.terminate()
        assert process.wait() == 143
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_broker_where_another_listens(tmp_path: Path) -> None:
    """A port in use is a sentence that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = runner.invoke(app, ["broker", "--port", str(port), "--directory", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"127.0.0.1:{port}" in result.stderr
    assert "in use" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_broker_without_a_directory(tmp_path: Path) -> None:
    """A directory that cannot be made is named."""
    (tmp_path / "file").touch()
    result = runner.invoke(app, ["broker", "--directory", str(tmp_path / "file")])
    assert result.exit_code == 1
    assert result.stderr == f"{tmp_path / 'file'}: cannot keep the broker's files: File exists\n"


def test_entry_point() -> None:
    """The command runs as a process of its own, and ``check`` starts nothing."""
    done = subprocess.run(
        [*COMMAND, "check", str(DEMO)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert load_config(DEMO).handset_count == 100
