"""``otafleet app check`` and ``otafleet app build``: what they print, where, and how they exit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.applications.programmes import read_programme
from agents.cli import app
from agents.fleet.config import load_config

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
ACCOUNT, OTP = CONFIGS / "apps" / "account.wat", CONFIGS / "apps" / "otp.c"
UNGRANTED = (
    "{} would be refused: it imports otafleet.hmac, which takes the right 'hmac', and that is not granted"
)
NEEDS = 'code = 337, data = 256, rights = ["hmac"]'

runner = CliRunner()


def test_check_text() -> None:
    """A good application is called so, with what it is made of and what a config has to give it."""
    result = runner.invoke(app, ["app", "check", str(ACCOUNT)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"{ACCOUNT}: would load",
        "  memory   256 octets in pages of 1, all zeros at first",
        "  imports  input_length, input_read, output_write, hmac",
        "  exports  memory, personalise, invoke",
        f"  needs    {NEEDS}",
    ]


def test_check_c() -> None:
    """An application in C is compiled to be checked."""
    result = runner.invoke(app, ["app", "check", str(OTP)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert '\n  needs    code = 734, data = 289, rights = ["hmac", "time", "display"]\n' in result.stdout


def test_check_json() -> None:
    """The same as JSON, for a CI job."""
    result = runner.invoke(app, ["app", "check", str(ACCOUNT), "--rights", "hmac, time", "--json"])
    assert (result.exit_code, result.stderr) == (0, "")
    programme = read_programme(ACCOUNT)
    assert json.loads(result.stdout) == {
        "file": str(ACCOUNT),
        "loads": True,
        "reasons": [],
        "code": len(programme.code),
        "sha256": programme.digest,
        "data": 256,
        "memory": 256,
        "page": 1,
        "initial": 0,
        "rights": ["hmac"],
        "imports": ["input_length", "input_read", "output_write", "hmac"],
        "exports": ["memory", "personalise", "invoke"],
    }


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--code", "336"], "{} has 337 octets and does not fit in 336"),
        (
            ["--data", "255"],
            "{} would be refused: its memory is larger than the data of its resource: 256 octets for 255",
        ),
        (
            ["--rights", "time,display"],
            UNGRANTED,
        ),
        (
            ["--rights", ""],
            UNGRANTED,
        ),
    ],
    ids=["code", "data", "other rights", "no rights"],
)
def test_check_against_a_resource(given: list[str], sentence: str) -> None:
    """A resource that is too small or grants too little is told on the standard error, and exits with 1."""
    result = runner.invoke(app, ["app", "check", str(ACCOUNT), *given])
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [sentence.format(ACCOUNT)]
    assert result.stdout.startswith(f"{ACCOUNT}: would not load\n")
    as_json = runner.invoke(app, ["app", "check", str(ACCOUNT), *given, "--json"])
    assert (as_json.exit_code, as_json.stderr) == (1, "")
    assert json.loads(as_json.stdout)["reasons"] == [sentence.format(ACCOUNT)]


def test_check_against_a_resource_that_fits() -> None:
    """Exactly what it needs is enough."""
    given = ["--code", "337", "--data", "256", "--rights", "hmac"]
    assert runner.invoke(app, ["app", "check", str(ACCOUNT), *given]).exit_code == 0


@pytest.mark.parametrize(
    ("octets", "sentence"),
    [
        (None, "cannot read {}: no such file or directory"),
        (
            b"# a text, and no WebAssembly\n",
            "{} is no WebAssembly: expected `(` at line 1, column 1",
        ),
        (b"(module)", "{} would be refused: it exports no function personalise() -> i32"),
        (b"\0asm\1\0\0\0\x0a", "{} would be refused: it is damaged: no number at 9"),
    ],
    ids=["no file", "no WebAssembly", "no entry", "damaged"],
)
def test_what_is_no_application(octets: bytes | None, sentence: str, tmp_path: Path) -> None:
    """One sentence names the file and says why, and nothing is built of it."""
    path, target = tmp_path / "a.wat", tmp_path / "a.wasm"
    if octets is not None:
        path.write_bytes(octets)
    for command in ("check", "build"):
        result = runner.invoke(app, ["app", command, str(path)])
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.splitlines() == [sentence.format(path)]
    as_json = runner.invoke(app, ["app", "check", str(path), "--json"])
    assert as_json.exit_code == 1
    told = json.loads(as_json.stdout)
    assert (told["loads"], told["reasons"]) == (False, [sentence.format(path)])
    assert not target.exists()


def test_what_does_not_compile(tmp_path: Path) -> None:
    """The compiler's own words reach the person, each with its place."""
    path = tmp_path / "a.c"
    path.write_text("int personalise(void) { return 0 }\nint invoke(void) { return x; }\n")
    for command in ("check", "build"):
        result = runner.invoke(app, ["app", command, str(path)])
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.splitlines() == [
            f"{path}:1:33: error: expected ';' after return statement",
            f"{path}:2:27: error: use of undeclared identifier 'x'",
        ]


def test_warnings_are_told(tmp_path: Path) -> None:
    """What compiles with a warning is built, and the warning is on the standard error."""
    path = tmp_path / "a.c"
    path.write_text("int personalise(void) { int x; return 0; }\nint invoke(void) { return 0; }\n")
    result = runner.invoke(app, ["app", "build", str(path)])
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [f"{path}:1:29: warning: unused variable 'x' [-Wunused-variable]"]


@pytest.mark.parametrize("source", [ACCOUNT, OTP], ids=["text", "c"])
def test_build(source: Path, tmp_path: Path) -> None:
    """What is built is what a config that names the source loads, beside the source or where one says."""
    copy = tmp_path / source.name
    copy.write_bytes(source.read_bytes())
    elsewhere = tmp_path / "elsewhere.bin"
    first = runner.invoke(app, ["app", "build", str(copy)])
    second = runner.invoke(app, ["app", "build", str(source), "-o", str(elsewhere)])
    assert (first.exit_code, second.exit_code, first.stderr) == (0, 0, "")
    target = copy.with_suffix(".wasm")
    assert first.stdout.startswith(f"{target}: built\n  memory ")
    assert second.stdout == first.stdout.replace(str(target), str(elsewhere))
    assert target.read_bytes() == elsewhere.read_bytes() == read_programme(source).code
    assert {path.name for path in tmp_path.iterdir()} == {copy.name, target.name, elsewhere.name}
    checked = runner.invoke(app, ["app", "check", str(target)])
    assert checked.stdout == first.stdout.replace("built", "would load")


def test_build_with_another_stack(tmp_path: Path) -> None:
    """A smaller stack is a smaller memory, and one that is none is refused."""
    target = tmp_path / "otp.wasm"
    words = ["app", "build", str(OTP), "-o", str(target), "--stack"]
    result = runner.invoke(app, [*words, "96"])
    assert result.exit_code == 0
    assert "  memory   129 octets in pages of 1, all zeros at first" in result.stdout.splitlines()
    for wrong in ("100", "8", "0"):
        assert runner.invoke(app, [*words, wrong]).exit_code == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["account.wat", "--data", "255"],
            "account.wat would be refused: its memory is larger than the data of",
        ),
        (
            ["account.wat", "-o", "account.wat"],
            "account.wat is the source itself: choose another file with -o",
        ),
        (["account.wat", "-o", "none/a.wasm"], "cannot write none/a.wasm: no such file or directory"),
        (["account.wat", "-o", "."], "cannot write .: it is a directory"),
        (["."], "cannot read .: is a directory"),
        (["built.wasm"], "built.wasm is WebAssembly already: there is nothing to build"),
        (["built.wasm", "-o", "again.wasm"], "built.wasm is WebAssembly already: there is nothing to build"),
    ],
    ids=["data", "itself", "no directory", "a directory", "no source", "built", "built elsewhere"],
)
def test_what_is_not_built(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence says why, no file is written or changed, and the exit code is 1."""
    before = {"account.wat": ACCOUNT.read_bytes(), "built.wasm": read_programme(ACCOUNT).code}
    for name, octets in before.items():
        (tmp_path / name).write_bytes(octets)
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["app", "build", *words])
    assert (result.exit_code, result.stdout) == (1, "")
    (told,) = result.stderr.splitlines()
    assert told.startswith(sentence)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "words",
    [
        ["check"],
        ["build"],
        ["check", str(ACCOUNT), "--rights", "hmaq"],
        ["check", str(ACCOUNT), "--data", "0"],
    ],
    ids=["check nothing", "build nothing", "no such right", "no data"],
)
def test_command_lines_that_are_none(words: list[str]) -> None:
    """A command line that cannot be carried out exits with 2."""
    result = runner.invoke(app, ["app", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_a_config_with_an_application_in_c(tmp_path: Path) -> None:
    """A config may name a source; it is compiled as it is read, and what is wrong with it is told."""
    config = load_config(CONFIGS / "otp.toml")
    assert config.programme("otp").code == read_programme(OTP).code
    text = (CONFIGS / "otp.toml").read_text(encoding="utf-8")
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "otp.c").write_text("int personalise(void) { return x; }\n")
    path = tmp_path / "otp.toml"
    path.write_text(text, encoding="utf-8")
    result = runner.invoke(app, ["check", str(path)])
    assert result.exit_code == 2
    place = f"{path}: supplier[0].service[0].application: "
    assert result.stderr.splitlines() == [f"{place}apps/otp.c:1:32: error: use of undeclared identifier 'x'"]


def test_without_the_compiler(tmp_path: Path) -> None:
    """Where the extra is not installed, what is in C is refused in a sentence; all else goes on."""
    python = _Without("ziglang", tmp_path)
    checked = python("app", "check", str(OTP))
    sentence = f"{OTP} is C, and its compiler is not installed: pip install 'otafleet[c]'"
    assert (checked.returncode, checked.stdout, checked.stderr) == (1, "", sentence + "\n")
    config = CONFIGS / "otp.toml"
    checked = python("check", str(config))
    sentence = sentence.replace(str(OTP), f"{config}: supplier[0].service[0].application: apps/otp.c")
    assert (checked.returncode, checked.stdout, checked.stderr) == (2, "", sentence + "\n")
    assert python("app", "check", str(ACCOUNT)).returncode == 0


class _Without:
    """A Python of its own that has every package of this one but *name*."""

    def __init__(self, name: str, directory: Path) -> None:
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", str(directory / "venv")], check=True, timeout=60
        )
        packages = directory / "packages"
        packages.mkdir()
        for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            for path in Path(place).iterdir():
                if not path.name.startswith(name):
                    (packages / path.name).symlink_to(path)
        self._python = directory / "venv" / "bin" / "python"
        self._environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{packages}", "NO_COLOR": "1"}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``otafleet`` there."""
        return subprocess.run(
            [str(self._python), "-c", "from agents.cli import main; main()", *words],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
