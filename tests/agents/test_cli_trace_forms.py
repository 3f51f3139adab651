"""The command ``otafleet trace ID``: one transaction as a chart, here and in documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.traces.chart import chart_of, to_json
from agents.traces.chart_mermaid import to_mermaid
from agents.traces.chart_svg import to_svg
from tests.agents.chart_kit import REFUSED, RETRIED, SERVED, lines_of

if TYPE_CHECKING:
    from pathlib import Path

runner = CliRunner()


@pytest.fixture(name="logs")
def _logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory with the state of a fleet that has run."""
    monkeypatch.chdir(tmp_path)
    logs = tmp_path / "state" / "demo" / "logs"
    logs.mkdir(parents=True)
    lines = [line for each in (SERVED, RETRIED, REFUSED) for line in lines_of(each)]
    (logs / "otafleet.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return logs


@pytest.mark.usefixtures("logs")
def test_a_transaction_is_drawn() -> None:
    """With an id, or its beginning, its chart is on the screen: who, what to whom, and why not."""
    result = runner.invoke(app, ["trace", REFUSED[:5]])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("invoke loyalty, 8988459600020000015: refused: unknown-resource\n")
    assert "✗  menu.refused: unknown-resource" in result.stdout
    assert result.stdout.count("▶│") == 1


@pytest.mark.usefixtures("logs")
def test_it_is_folded_unless_one_wants_all() -> None:
    """Parts of a packet are one arrow, or each its own."""
    folded, unfolded = (
        runner.invoke(app, ["trace", SERVED, *more], env={"COLUMNS": "100"}).stdout
        for more in ([], ["--unfold"])
    )
    assert "3 x sms, 449 octets" in folded
    assert "3 x sms" not in unfolded
    assert unfolded.count("sms, 157 octets") == 3


def test_a_chart_goes_into_documents(logs: Path) -> None:
    """Mermaid's text is printed, an SVG is written to a file, whole."""
    chart, file = chart_of(lines_of(RETRIED)), logs / "chart.svg"
    printed = runner.invoke(app, ["trace", RETRIED, "--mermaid"])
    assert (printed.exit_code, printed.stdout) == (0, to_mermaid(chart))
    written = runner.invoke(app, ["trace", RETRIED, "--svg", str(file)])
    assert (written.exit_code, written.output) == (0, "")
    assert file.read_text(encoding="utf-8") == to_svg(chart)
    assert [path.name for path in logs.glob("*.svg*")] == ["chart.svg"]


@pytest.mark.usefixtures("logs")
def test_a_chart_for_programmes() -> None:
    """As JSON there is the chart, beside the lines that it was made of."""
    told = json.loads(runner.invoke(app, ["trace", REFUSED, "--json"]).stdout)
    assert told["chart"] == json.loads(json.dumps(to_json(chart_of(lines_of(REFUSED)))))
    assert told["told"] == lines_of(REFUSED)


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--mermaid"], 2, "--svg, --mermaid, --lines and --unfold are about one transaction: name its ID\n"),
        ([SERVED, "--json", "--mermaid"], 2, "say how to print the transaction: name one of them\n"),
        ([SERVED, "--follow", "--unfold"], 2, "leave one of them out\n"),
        ([SERVED, "--svg", "nowhere/x.svg"], 1, "cannot write nowhere/x.svg: no such file or directory\n"),
        ([SERVED, "--svg", "state"], 1, "cannot write state: is a directory\n"),
        ([SERVED, "--svg", "x" * 256], 1, f"cannot write {'x' * 256}: file name too long\n"),
    ],
    ids=["no-id", "two-forms", "followed", "unwritable", "directory", "long-name"],
)
def test_what_cannot_be_is_one_sentence(arguments: list[str], code: int, sentence: str) -> None:
    """What does not go together, and a file that cannot be written, are said as such."""
    result = runner.invoke(app, ["trace", *arguments])
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.endswith(sentence)
