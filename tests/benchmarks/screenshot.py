"""Makes the README's pictures: docs/demo.svg, a terminal when the demo has ended, broadcast.svg, chart.svg.

Run ``make picture``, or ``python -m tests.benchmarks.screenshot``. It is a real run of the console script,
told that it writes to a terminal of 100 columns on which nothing can move: there are its colours, and no bar
is under way in a picture of the end. Fonts are the viewer's own, for a picture should fetch nothing.

The others are of a run of the broadcast in which a minute takes three seconds: its times are those of the
air. One is drawn by ``otafleet up --picture``, the other, its first broadcast as a chart, by ``otafleet trace
--svg``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

ROOT: Final = Path(__file__).resolve().parents[2]
PICTURE: Final = ROOT / "docs" / "demo.svg"
CONFIG: Final = "configs/demo.toml"
BROADCAST: Final = ROOT / "docs" / "broadcast.svg"
CHART: Final = ROOT / "docs" / "chart.svg"
BROADCAST_CONFIG: Final = ROOT / "configs" / "broadcast.toml"
CHANGES: Final = (
    ("[air.cell_broadcast]", "[air]\nspeed = 20.0\n\n[air.cell_broadcast]"),
    ("count = 800", "count = 80"),
    ("count = 100", "count = 10"),
    ('"apps/', f'"{ROOT}/configs/apps/'),
)
"""Of the config, for its picture: simulated time, and a tenth of the handsets."""
WIDTH: Final = 100
TERMINAL: Final = {
    "FORCE_COLOR": "1",
    "TTY_INTERACTIVE": "0",
    "COLUMNS": str(WIDTH),
    "TERM": "xterm-256color",
}
CURSOR: Final = re.compile(r"\x1b\[\?25[hl]")
FONT_FACE: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def screen() -> str:
    """Return what a run of the demo writes to a terminal; a run that fails ends the script."""
    with tempfile.TemporaryDirectory() as directory:
        ended = subprocess.run(
            [Path(sys.executable).with_name("otafleet"), "up", ROOT / CONFIG],
            cwd=directory,
            env=os.environ | TERMINAL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return CURSOR.sub("", ended.stdout).strip("\n")


def draw(text: str) -> str:
    """Return *text*, with its colours, as SVG."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text), soft_wrap=True)
    picture = console.export_svg(title=f"otafleet up {CONFIG}", theme=DIMMED_MONOKAI, unique_id="demo")
    return FONT_FACE.sub("", picture).replace("Fira Code, monospace", "monospace")


def draw_broadcast() -> None:
    """Play the broadcast in simulated time and have it drawn twice; a run that fails ends the script."""
    text = BROADCAST_CONFIG.read_text(encoding="utf-8")
    for old, new in CHANGES:
        text = text.replace(old, new)
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / BROADCAST_CONFIG.name
        config.write_text(text, encoding="utf-8")
        otafleet = Path(sys.executable).with_name("otafleet")
        run = partial(subprocess.run, cwd=directory, check=True, stdout=subprocess.PIPE)
        run([otafleet, "up", config, "--quiet", "--picture", BROADCAST])
        listed = json.loads(run([otafleet, "trace", "--json", "--limit", "0"]).stdout)["transactions"]
        first = next(each["trace_id"] for each in listed if each["do"] == "broadcast")
        run([otafleet, "trace", first, "--svg", CHART])


def main() -> None:
    """Run the demo and the broadcast, and write the three pictures."""
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(screen()), encoding="utf-8")
    draw_broadcast()
    for picture in (PICTURE, BROADCAST, CHART):
        sys.stdout.write(f"{picture.relative_to(ROOT)}: written\n")


if __name__ == "__main__":
    main()
