"""The manual: it names every key, option and command there is, and what it shows can be done."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from agents.cli import app
from agents.fleet import config_air
from agents.fleet import config_steps as steps
from agents.fleet import config_tables as tables
from agents.fleet.config import FleetConfig, load_config
from agents.fleet.config_errors import known_keys
from agents.fleet.config_profile import ProfileTable
from agents.fleet.expectations import Expect
from agents.handset.security_module.rights import RIGHTS
from agents.messages.bearers import BEARERS
from tests.agents.documents import DOCUMENTS, MANUAL, PAGES, ROOT, anchors
from transport.security.keyset import PROTECTIONS
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic.fields import FieldInfo

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

SECTIONS: dict[str, type[BaseModel]] = {
    "[fleet]": tables.FleetTable,
    "[broker]": tables.BrokerTable,
    "[air]": config_air.AirTable,
    "[air.*]": config_air.BearerTable,
    "[air.sms]": config_air.SmsTable,
    "[air.cell_broadcast]": config_air.CellBroadcastTable,
    "[air.bip]": config_air.BipTable,
    "[[authority]]": tables.Authority,
    "[[operator]]": tables.Operator,
    "[[allocator]]": tables.Allocator,
    "[[supplier]]": tables.Supplier,
    "[[supplier.service]]": tables.Service,
    "[[profile]]": ProfileTable,
    "[[handsets]]": tables.Handsets,
    "[[step]]": steps.Step,
    "expect": Expect,
}
ELSEWHERE = {"[[supplier]]": {"service"}, "[air]": {"sms", "cell_broadcast", "bip"}}
"""Keys that are tables with a section of their own."""
SHARED = config_air.BearerTable
"""What several tables have in common stands in one section; they name what is their own."""

ROW = re.compile(r"^\| `(?P<key>\w+)` \| (?P<default>.*?) \| (?P<meaning>.+) \|$", re.MULTILINE)
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
COMMAND_LINE: Any = typer.main.get_command(app)


def section(title: str) -> str:
    """Return what stands under the heading of a table of the config."""
    return PAGES["docs/config.md"].partition(f"\n## `{title}`\n")[2].partition("\n## ")[0]


def as_toml(value: object) -> str:
    """Return a default as a person would write it into a config."""
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{json.dumps(value) if isinstance(value, (tuple, bool)) else value}`"


def inner_tables(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield every table inside *model*, however deep, that has a value of its own."""
    for field in model.model_fields.values():
        for inner in tables_of(field):
            if any(not list(tables_of(below)) for below in inner.model_fields.values()):
                yield inner
            yield from inner_tables(inner)


def tables_of(annotated: FieldInfo | Any) -> Iterator[type[BaseModel]]:
    """Yield the tables in the type of a field."""
    annotation = getattr(annotated, "annotation", annotated)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from tables_of(argument)


def blocks(*languages: str) -> list[str]:
    """Return the code blocks in these languages."""
    return [match["text"] for match in FENCE.finditer(MANUAL) if match["language"] in languages]


def command_lines() -> list[list[str]]:
    """Return each command that the documents tell to type, split into its words."""
    typed = [line for block in blocks("sh") for line in block.splitlines()]
    typed += [
        line.removeprefix("$ ")
        for block in blocks("console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    return [words for line in typed if (words := shlex.split(line, comments=True))]


def parsed(words: list[str]) -> None:
    """Read an ``otafleet`` command line as the command would, without doing it; raises what it raises."""
    with ExitStack() as contexts:
        command, name, context = COMMAND_LINE, "otafleet", None
        while hasattr(command, "commands"):
            context = contexts.enter_context(
                command.make_context(name, words, parent=context, resilient_parsing=True)
            )
            name, command, words = command.resolve_command(context, words)
            assert command is not None
        command.make_context(name, words, parent=context).close()


def leaves(group: Any, *above: str) -> Iterator[tuple[str, Any]]:
    """Yield each command that can be typed, ``app check`` as well as ``up``."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, *above, name)
        else:
            yield " ".join((*above, name)), command


def test_every_table_has_a_section() -> None:
    """No table of the config is without its section in the manual."""
    assert set(inner_tables(FleetConfig)) | {SHARED} == {*SECTIONS.values(), config_air.OutageTable}


@pytest.mark.parametrize("title", SECTIONS)
def test_keys_and_defaults(title: str) -> None:
    """A section's table has the keys that the config has, in their order, each with its default."""
    model = SECTIONS[title]
    rows = {match["key"]: match["default"] for match in ROW.finditer(section(title))}
    keys = dict(zip(known_keys(model, ()), model.model_fields.values(), strict=True))
    for key in ELSEWHERE.get(title, ()):
        del keys[key]
    if issubclass(model, SHARED) and model is not SHARED:
        keys = {key: field for key, field in keys.items() if key in model.__annotations__}
    assert list(rows) == list(keys)
    for key, field in keys.items():
        if field.is_required():
            assert rows[key] == "required", key
        elif field.default is not None:
            assert rows[key] == as_toml(field.default), key
        else:
            assert rows[key] != "required", key


@pytest.mark.parametrize(
    "name",
    [*steps.Verb, *steps.By, *tables.Backend, *RIGHTS, *SUITES, *sorted(BEARERS), *PROTECTIONS],
    ids=lambda name: f"value-{name}",
)
def test_values(name: str) -> None:
    """Every step, back end, right and suite that a config may name is named."""
    assert re.search(rf'`"?{name}"?`', MANUAL)


def test_commands_and_options() -> None:
    """Every command and option of the command line is named."""
    commands = dict(leaves(COMMAND_LINE))
    assert {name for name in commands if f"`otafleet {name}" not in MANUAL} == set()
    options = {
        option
        for command in (COMMAND_LINE, *commands.values())
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("-")
    }
    named = set(re.findall(r"(?<=[`\s])--?[\w-]+", MANUAL))
    assert options - named == set()
    invented = set(re.findall(r"^\| `(--[\w-]+)", MANUAL, re.MULTILINE)) - options
    assert invented == {"--help"}, "which typer adds by itself"


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_commands_can_be_typed(words: list[str]) -> None:
    """Every command in a code block is one: a target of the Makefile, or a command line that parses."""
    match words:
        case ["make", target]:
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)
        case ["otafleet", *rest]:
            parsed(rest)
        case _:
            assert words[0] in {".", "curl", "grep", "tshark", "sudo", "opensc-tool", "openssl"}


@pytest.mark.parametrize(
    "block", [each for each in blocks("console") if "otafleet app" in each], ids=["check", "build"]
)
def test_applications_are_as_shown(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the manual shows of checks and builds is what they print."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    printed = ""
    for typed in re.findall(r"^\$ otafleet (.+)$", block, re.MULTILINE):
        result = CliRunner().invoke(app, shlex.split(typed))
        printed += f"$ otafleet {typed}\n{result.stderr}{result.stdout}"
    assert block == printed


def test_the_application_in_c(tmp_path: Path) -> None:
    """The application in the manual is a whole one, and would load."""
    (source,) = blocks("c")
    path = tmp_path / "a.c"
    path.write_text(source, encoding="utf-8")
    result = CliRunner().invoke(app, ["app", "check", str(path), "--rights", ""])
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_shipped_configs_are_good(config: Path) -> None:
    """Every config that we ship can be run."""
    result = CliRunner().invoke(app, ["check", str(config)])
    assert result.exit_code == 0, result.output


def test_the_small_config_is_good(tmp_path: Path) -> None:
    """The config in the README is a whole one that can be run."""
    (text,) = blocks("toml")
    shutil.copytree(ROOT / "configs" / "apps", tmp_path / "apps")
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    assert load_config(path).handset_count == 3


def test_the_module_shown_is_of_the_demo() -> None:
    """The address that the manual inspects, and puts into a reader, is one of the demo's handsets."""
    (shown,) = {
        words[2] for words in command_lines() if words[:2] in (["otafleet", "inspect"], ["otafleet", "card"])
    }
    assert shown in dict(load_config(ROOT / "configs" / "demo.toml").handset_addresses())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """Every link to a file of ours leads to one, and one to a heading to a heading there is."""
    here = (ROOT / document).parent
    dead = []
    for match in LINK.finditer(DOCUMENTS[document]):
        link, _, anchor = match["target"].partition("#")
        path = (here / link).resolve() if link else ROOT / document
        if "://" in match["target"]:
            continue
        if not path.exists() or (anchor and anchor not in anchors(str(path.relative_to(ROOT)))):
            dead.append(match["target"])
    assert dead == []


def test_every_page_of_the_manual_is_listed() -> None:
    """Who reads the README finds all pages from there."""
    linked = {match["target"].partition("#")[0] for match in LINK.finditer(PAGES["README.md"])}
    assert {page for page in PAGES if page != "README.md"} <= linked


def test_paths_in_contributing_exist() -> None:
    """Every file or folder that CONTRIBUTING tells to look into is there."""
    text = DOCUMENTS["CONTRIBUTING.md"]
    paths = re.findall(r"`((?:agents|bus|transport|tests|configs)/[\w/.]*)`", text)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_no_place_of_a_machine() -> None:
    """The documents name no directory of the machine that they were written on."""
    for document in DOCUMENTS.values():
        assert not re.search(r"(?<![\w.])/(?:work|home|root|tmp)\b", document)
