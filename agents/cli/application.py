"""Commands about an application alone: ``app check`` and ``app build``."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from agents.cli.telling import EXIT_FAILED, complain, make_console, write_whole

if TYPE_CHECKING:
    from agents.applications.examination import Examination
    from agents.applications.programmes import Programme

MOST: Final = 4 << 20
"""Octets that a resource may have of code or of data."""
BUILT_SUFFIX: Final = ".wasm"

app = typer.Typer(name="app", help="Check or build an application, without a fleet.", no_args_is_help=True)


def _check_rights(names: str | None) -> str | None:
    """Refuse the name of a right that is none."""
    from agents.handset.security_module.rights import rights_mask

    try:
        rights_mask(_split(names or ""))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return names


def _split(names: str) -> list[str]:
    return [name for name in (part.strip() for part in names.split(",")) if name]


def _check_stack(octets: int | None) -> int | None:
    """Refuse a stack that the linker could not place."""
    from agents.applications.compiler import STACK_STEP

    if octets and octets % STACK_STEP:
        raise typer.BadParameter(f"{octets} is no multiple of {STACK_STEP}")
    return octets


DataOption = Annotated[
    int | None, typer.Option("--data", metavar="N", min=1, max=MOST, help="The data of its resource, octets.")
]
CodeOption = Annotated[
    int | None, typer.Option("--code", metavar="N", min=1, max=MOST, help="The code of its resource, octets.")
]
RightsOption = Annotated[
    str | None,
    typer.Option(metavar="A,B", callback=_check_rights, help='The rights it is granted; "" for none.'),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="The programme; by default the source's name, .wasm."
    ),
]
StackOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=16, max=1 << 20, callback=_check_stack, help="The stack, for C: octets, by 16."
    ),
]


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="WebAssembly, binary or text, or C.")],
    *,
    rights: RightsOption = None,
    data: DataOption = None,
    code: CodeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether an application would load, with which rights and sizes; exit 0 only if it would."""
    finding = _examine(file).held_against(rights=rights, code=code, data=data)
    if as_json:
        typer.echo(json.dumps(finding.to_json(), indent=2))
    else:
        finding.complain()
        finding.render("would not load" if finding.reasons else "would load")
    if finding.reasons:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def build(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="WebAssembly text, or C.")],
    *,
    output: OutputOption = None,
    data: DataOption = None,
    stack: StackOption = None,
) -> None:
    """Build an application from its source, and say what it needs; one that would not load is not written."""
    finding = _examine(source, stack=stack).held_against(data=data)
    programme = finding.programme
    if programme is not None and not finding.reasons:
        target = output or source.with_suffix(BUILT_SUFFIX)
        bar = _bar(programme, source, target)
        finding = replace(finding, file=target, reasons=bar or write_whole(programme.code, target))
    finding.complain()
    if finding.reasons:
        raise typer.Exit(EXIT_FAILED)
    finding.render("built")


def _bar(programme: Programme, source: Path, target: Path) -> tuple[str, ...]:
    """Return why *programme* should not be written to *target*, whatever it is."""
    if not programme.is_source:
        return (f"{source} is WebAssembly already: there is nothing to build",)
    if target.resolve() == source.resolve():
        return (f"{target} is the source itself: choose another file with -o",)
    if target.is_dir():
        return (f"cannot write {target}: it is a directory",)
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found out about a file: a programme, what that is, and why it would not load."""

    file: Path
    programme: Programme | None = None
    examination: Examination | None = None
    reasons: tuple[str, ...] = ()

    def held_against(
        self, *, rights: str | None = None, code: int | None = None, data: int | None = None
    ) -> Finding:
        """Return this with the reasons why a resource of that kind would not take it; None: as it needs."""
        from agents.applications.examination import objections

        if self.programme is None or self.examination is None:
            return self
        granted = None if rights is None else _split(rights)
        found = objections(
            str(self.file), self.programme.code, rights=granted, code_size=code, data_size=data
        )
        return replace(self, reasons=(*self.reasons, *found))

    def to_json(self) -> dict[str, Any]:
        """Return this for ``--json``; the keys are a promise to CI jobs."""
        found: dict[str, Any] = {
            "file": str(self.file),
            "loads": not self.reasons,
            "reasons": list(self.reasons),
        }
        if self.programme is not None:
            found |= {"code": len(self.programme.code), "sha256": self.programme.digest}
        if self.examination is not None:
            found |= self.examination.to_json()
        return found

    def complain(self) -> None:
        """Print the compiler's warnings and the reasons on the standard error."""
        complain((*(self.programme.warnings if self.programme else ()), *self.reasons))

    def render(self, verdict: str) -> None:
        """Print what the programme is, if it could be examined."""
        if self.examination is None:
            return
        console = make_console()
        for line in (f"{self.file}: {verdict}", *(f"  {line}" for line in self.examination.lines())):
            console.print(Text(line), soft_wrap=True, highlight=False)


def _examine(file: Path, *, stack: int | None = None) -> Finding:
    """Read *file*, build it if it is a source, and examine it."""
    from agents.applications.compiler import DEFAULT_STACK
    from agents.applications.examination import examine
    from agents.applications.programmes import read_programme
    from agents.applications.wording import refused
    from agents.errors import NoProgramme
    from agents.handset.security_module.errors import ApplicationRefused

    try:
        programme = read_programme(file, stack=stack or DEFAULT_STACK)
    except NoProgramme as error:
        return Finding(file=file, reasons=tuple(error.sentences))
    try:
        return Finding(file=file, programme=programme, examination=examine(programme.code))
    except ApplicationRefused as refusal:
        return Finding(file=file, programme=programme, reasons=(refused(str(file), refusal),))
