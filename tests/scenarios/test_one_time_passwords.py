"""An application in C, from its source to the modules: the whole of ``configs/otp.toml``, and on again."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from tests.scenarios.kit import CONFIGS
from tests.scenarios.processes import otafleet

if TYPE_CHECKING:
    from pathlib import Path

PLAYED = "OK  fleet otp: 3 of 3 modules served, 9 of 9 steps as expected"


def test_a_source_goes_to_the_modules_and_is_the_same_the_next_time(tmp_path: Path) -> None:
    """The fleet plays to its end; compiled again, the programme is the one that the modules have."""
    (tmp_path / "apps").mkdir()
    config, source = tmp_path / "otp.toml", tmp_path / "apps" / "otp.c"
    shutil.copy(CONFIGS / "otp.toml", config)
    shutil.copy(CONFIGS / "apps" / "otp.c", source)

    code, said, complained = otafleet("up", config, "--report", "r.json", directory=tmp_path)
    assert (code, complained) == (0, ""), said
    assert PLAYED in said
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [step["ok"] for step in report["steps"][-3:]] == [3, 3, 0]
    assert report["steps"][-1]["reasons"] == {"application-refused": 3}

    source.write_text(source.read_text(encoding="ascii") + "/* a comment is no change */\n", encoding="ascii")
    code, said, complained = otafleet("up", config, directory=tmp_path)
    assert (code, complained) == (0, ""), said
    assert PLAYED in said

    text = source.read_text(encoding="ascii").replace("#define STEP_S 30", "#define STEP_S 60")
    source.write_text(text, encoding="ascii")
    code, said, complained = otafleet("up", config, directory=tmp_path)
    assert code == 1
    assert f"was made by another config: [supplier] differs from {config}; use --fresh" in complained
