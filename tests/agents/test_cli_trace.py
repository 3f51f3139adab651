"""The command ``otafleet trace``: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.traces.archive import Archive
from agents.traces.lines import sentence
from agents.traces.listing import as_json_list, as_row
from agents.traces.lookup import Selection
from tests.agents.documents import PAGES
from tests.agents.trace_kit import BLOCKED, SERVE, demo, lossy, scan

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-u", "-c", "from agents.cli import main; main()", "trace"]
runner = CliRunner()


@pytest.fixture(name="logs")
def _logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory with the state of a fleet that has run."""
    monkeypatch.chdir(tmp_path)
    logs = tmp_path / "state" / "demo" / "logs"
    logs.mkdir(parents=True)
    (logs / "otafleet.jsonl").write_bytes(b"".join(demo() + lossy()))
    return logs


def test_list(logs: Path) -> None:
    """The list says of each transaction when it began, what it was, who did it, and what became of it."""
    result = runner.invoke(app, ["trace"])
    assert (result.exit_code, result.stderr) == (0, "")
    first, *rows, last = result.stdout.splitlines()
    heads = "trace began what who outcome simulated wall messages retries"
    assert first.split() == heads.split()
    shown = "06cde2e8 02:05:20.876 invoke account bank: 8988459600030000112 refused: blocked 22 ms 22 ms 2 0"
    assert rows[0].split() == shown.split()
    assert ["serve", "over-sms", "8988847800010000097", "ok", "172.9", "s"] in [
        row.split()[2:8] for row in rows
    ]
    assert last == f"6 transactions in {logs.relative_to(Path.cwd())}"


def test_list_in_part(logs: Path) -> None:
    """A filter and a limit leave rows out, and it is said how many there are."""
    result = runner.invoke(app, ["trace", "--fleet", str(logs), "--slowest", "--limit", "1"])
    assert SERVE[:8] in result.stdout
    assert result.stdout.endswith(f"6 transactions in {logs}; the slowest 1 are shown\n")
    result = runner.invoke(app, ["trace", "--ua", "1" * 19])
    assert result.stdout == f"0 transactions in {logs.relative_to(Path.cwd())}\n"


@pytest.mark.parametrize(
    ("option", "name", "sentence"),
    [
        ("--reason", "blockd", "blockd: nobody gave this reason; did you mean blocked?"),
        ("--agent", "bnak", "bnak: no agent is called so; did you mean bank?"),
        ("--agent", "*zzz*", "*zzz*: no agent is called so"),
        ("--ua", "8988459600030000111", "8988459600030000111: no module has this address; did you mean "),
        ("--reason", "", "an empty name: nobody gave this reason"),
    ],
    ids=["reason", "agent", "nothing-near", "module", "empty"],
)
def test_a_name_that_nobody_has(logs: Path, option: str, name: str, sentence: str) -> None:
    """A list that is empty because a name was mistyped says so, and which were meant."""
    result = runner.invoke(app, ["trace", option, name])
    assert (result.exit_code, result.stdout) == (0, f"0 transactions in {logs.relative_to(Path.cwd())}\n")
    assert result.stderr.startswith(sentence)
    assert len(result.stderr.splitlines()) == 1


def test_names_that_never_met(logs: Path) -> None:
    """Where each name is somebody's, an empty list says nothing more."""
    asked = ["trace", "--agent", "bank", "--outcome", "failed"]
    assert runner.invoke(app, asked).stderr == ""
    assert logs.is_dir()


def test_a_list_that_is_long(logs: Path) -> None:
    """More than a thousand are told one by one, the same that a short list has, in the same order."""
    order = next(line for line in demo() if BLOCKED.encode() in line)
    many = [order.replace(BLOCKED[:8].encode(), b"%08x" % number) for number in range(1, 1_100)]
    (logs / "more.jsonl").write_bytes(b"".join(many))
    with Archive(logs) as archive:
        everything, count = archive.select(Selection())
    ids = [each.trace_id for each in everything]
    text = runner.invoke(app, ["trace", "--limit", "0"]).stdout.splitlines()
    assert [row[:8] for row in text[1:-1]] == [each[:8] for each in ids]
    assert text[0].split()[0] == "trace"
    assert text[-1].startswith(f"{count:,} transactions in ")
    listed = json.loads(runner.invoke(app, ["trace", "--limit", "0", "--json"]).stdout)
    assert [each["trace_id"] for each in listed["transactions"]] == ids
    assert listed["found"] == count


def test_a_list_needs_no_room_for_all_of_it(logs: Path) -> None:
    """A transaction that was told of is let go before the next ones are."""
    order = next(line for line in demo() if BLOCKED.encode() in line)
    many = [order.replace(BLOCKED[:8].encode(), b"%08x" % number) for number in range(1, 5_000)]
    (logs / "more.jsonl").write_bytes(b"".join(many))
    with Archive(logs) as archive:
        tracemalloc.start()
        try:
            told = sum(1 for part in as_json_list(logs, 0, archive.each(Selection())) if "trace_id" in part)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert told > 5_000
    assert peak < 500_000


def test_a_log_stands_for_those_beside_it(logs: Path) -> None:
    """Who names a log gets what is told of its transactions, there and in the others."""
    result = runner.invoke(app, ["trace", "--fleet", str(logs / "otafleet.jsonl")])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith(f"6 transactions in {logs}\n")


def test_a_terminal_without_the_letters(logs: Path) -> None:
    """A name that the terminal's encoding cannot have is shown as far as it can."""
    text = (logs / "otafleet.jsonl").read_text().replace('"bank"', '"bänk"')
    (logs / "otafleet.jsonl").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "--fleet", "."],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)},
        cwd=logs,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"b?nk" in done.stdout


def test_rows_of_a_list_that_grows(logs: Path) -> None:
    """A row is one line of 80 columns, with less in it than where there is room, under heads of its own."""
    with Archive(logs) as archive:
        rows = [as_row(archive.find(trace_id), 80).plain for trace_id in (SERVE, BLOCKED)]
        wide = as_row(archive.find(SERVE)).plain
    assert " ".join(as_row(width=80).plain.split()) == "trace began what who simulated outcome"
    shown = "7c256380 02:05:37 serve over-sms 8988847800010000097 172.9 s ok"
    assert " ".join(rows[0].split()) == shown
    assert rows[1].endswith("8988459600030000112     22 ms refused: blocked")
    assert len(rows[0]) < 80
    assert wide.split()[-4:] == ["4,323", "ms", "18", "3"]
    heads = "trace began what who outcome simulated wall messages retries"
    assert " ".join(as_row().plain.split()) == heads


def test_list_as_json(logs: Path) -> None:
    """As JSON the list holds all that is known of each transaction."""
    result = runner.invoke(app, ["trace", "--fleet", str(logs.parent), "--outcome", "refused", "--json"])
    listed = json.loads(result.stdout)
    assert (listed["found"], listed["logs"]) == (2, str(logs))
    first = listed["transactions"][0]
    assert first.pop("simulated_s") == pytest.approx(0.0219, abs=1e-4)
    assert first.pop("wall_s") == pytest.approx(0.0219, abs=1e-4)
    assert first == {
        "trace_id": BLOCKED,
        "do": "invoke",
        "service": "account",
        "asked": "bank",
        "ua": "8988459600030000112",
        "began": json.loads(demo()[0])["time"],
        "ended": max(line["time"] for line in scan(demo())[BLOCKED]),
        "outcome": "refused",
        "reason": "blocked",
        "ok": 0,
        "refused": 1,
        "failed": 0,
        "lines": 5,
        "messages": 2,
        "octets": 152,
        "taken": 2,
        "retries": 0,
        "lost": 0,
    }


@pytest.mark.usefixtures("logs")
def test_one() -> None:
    """A transaction is told line by line, each where its span lies, with what went wrong on the way."""
    result = runner.invoke(app, ["trace", SERVE[:6], "--lines"])
    assert (result.exit_code, result.stderr) == (0, "")
    trace_id, summary, counts, *rows = result.stdout.splitlines()
    assert (trace_id, summary) == (SERVE, "serve over-sms; 8988847800010000097; ok")
    assert counts == "simulated 172.9 s, wall 4,323 ms, messages 18, retries 3, lost 3"
    assert len(rows) == len(scan(lossy())[SERVE])
    assert rows[0].endswith("+0 ms console sends order to 8988847800010000097, 68 octets")
    assert any("bank: sms.retry; " in row and "attempt 2" in row for row in rows)
    assert any(" loses sms to 8988847800010000097" in row for row in rows)


def test_a_line_says_what_was_ordered() -> None:
    """That of an order does; other messages leave it to the lines about what was done."""
    sent = {
        "event": "message.sent",
        "source": "console",
        "destination": "bank",
        "octets": 68,
        "service": "account",
    }
    order, event = sent | {"bearer": "order", "do": "invoke"}, sent | {"bearer": "event"}
    said = "console sends order to bank, 68 octets; do invoke, service account"
    assert sentence(order) == said
    assert sentence(event) == "console sends event to bank, 68 octets"


@pytest.mark.usefixtures("logs")
def test_one_as_json() -> None:
    """As JSON a transaction has its lines as they were written."""
    result = runner.invoke(app, ["trace", BLOCKED, "--json"])
    shown = json.loads(result.stdout)
    assert (shown["trace_id"], shown["reason"], shown["told"]) == (BLOCKED, "blocked", scan(demo())[BLOCKED])


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["7c256381"], "7c256381: there is no such transaction; did you mean 7c256380?\n"),
        (["--fleet", "nowhere"], "nowhere: there are no logs of a fleet here\n"),
        (["--fleet", "x" * 300], f"{'x' * 300}/logs: cannot be read: file name too long\n"),
        ([" "], "an empty id: there is no such transaction; did you mean "),
        (["a" * 1_000], f"{'a' * 119}…: there is no such transaction"),
        (["\udcff"], "·: there is no such transaction"),
        (["--outcome", "bad"], "'--outcome': 'bad' is not one of 'ok', 'refused', 'failed', 'open'"),
        (["--limit", "ten"], "'--limit': 'ten' is no whole number"),
        (["--limit", "-1"], "'--limit': must be at least 0, not -1"),
        (["--limit", "9" * 20], f"'--limit': must be at most 2147483647, not {'9' * 20}"),
    ],
    ids=[
        "unknown-id",
        "no-fleet",
        "unreadable",
        "blank",
        "long",
        "no-text",
        "outcome",
        "ten",
        "negative",
        "large",
    ],
)
def test_user_errors(arguments: list[str], sentence: str) -> None:
    """What a person got wrong is one sentence and exit code 2."""
    result = runner.invoke(app, ["trace", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in " ".join(result.stderr.replace("│", " ").split()) + "\n"


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize("option", ["--ua", "--agent", "--reason"])
def test_names_that_are_no_text(option: str) -> None:
    """What a terminal may give that is no UTF-8 names nobody."""
    result = runner.invoke(app, ["trace", option, "\udcff"])
    assert result.exit_code == 0
    assert result.stderr.startswith("?: no")
    assert result.stdout.startswith("0 transactions in ")


def test_no_logs_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no fleet has run the person is told how one does."""
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["trace"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith("run 'otafleet up', or name a fleet with --fleet\n")


def test_a_config_names_its_fleet(logs: Path) -> None:
    """A config stands for its state directory; one that is wrong is told so, as everywhere."""
    config = Path("small.toml")
    text = PAGES["README.md"].partition("```toml\n")[2].partition("```")[0]
    config.write_text(text.replace("[fleet]", '[fleet]\nstate = "state/demo"'), encoding="utf-8")
    (Path.cwd() / "apps").symlink_to(ROOT / "configs" / "apps")
    result = runner.invoke(app, ["trace", "--fleet", str(config)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert str(logs) in result.stdout or "state/demo/logs" in result.stdout
    config.write_text("[fleet", encoding="utf-8")
    result = runner.invoke(app, ["trace", "--fleet", str(config)])
    assert (result.exit_code, result.stdout) == (2, "")


def test_what_is_in_a_log_does_nothing_to_a_terminal(logs: Path) -> None:
    """Control characters that somebody got into a log are not written, in the list, in one, or as JSON."""
    evil = "\x1b]0;owned\x07\r\n\x9b2J\u202e"
    spoilt = [
        {**line, "agent": evil, "reason": evil, "service": evil, evil: evil, "do": evil, "source": evil}
        for line in scan(demo())[BLOCKED]
    ]
    log = logs / "otafleet.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in spoilt), encoding="utf-8")
    (logs / "evil\x1b[2J.jsonl").write_text("torn\n", encoding="utf-8")
    for arguments in ([], [BLOCKED], ["--json"], [BLOCKED, "--json"], [BLOCKED, "--lines"]):
        result = runner.invoke(app, ["trace", *arguments])
        assert result.exit_code == 0
        assert all(character.isprintable() or character == "\n" for character in result.output)


@pytest.mark.usefixtures("interruptible")
def test_follow(logs: Path) -> None:
    """While a fleet runs its transactions are told as they end, until Ctrl-C ends that in good order."""
    log = logs / "otafleet.jsonl"
    log.write_bytes(b"".join(demo()))
    with subprocess.Popen(
        [*COMMAND, "--follow", "--json", "--limit", "1", "--fleet", str(logs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # Each is a line, also the one that was there.
        assert json.loads(process.stdout.readline())["trace_id"] != SERVE
        with log.open("ab") as file:
            file.write(b"".join(line for line in lossy() if SERVE.encode() in line))
        assert json.loads(process.stdout.readline())["trace_id"] == SERVE
        process.send_signal(signal.SIGINT)
        assert (process.wait(), process.stderr.read()) == (130, "stopped\n")


@pytest.mark.usefixtures("interruptible")
def test_follow_one(logs: Path) -> None:
    """The lines of one transaction are told as they come."""
    lines = [line for line in lossy() if SERVE.encode() in line]
    (logs / "otafleet.jsonl").write_bytes(lines[0])
    with subprocess.Popen(
        [*COMMAND, SERVE, "--follow", "--fleet", str(logs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    ) as process:
        assert process.stdout is not None
        assert "console sends order to" in process.stdout.readline()
        (logs / "handsets-1.jsonl").write_bytes(lines[1])
        assert "takes order from console" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
