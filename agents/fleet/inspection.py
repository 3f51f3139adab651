"""One module's memory, read from its image alone: a map, and DEF as a table.

Nothing secret is shown: of keys and sessions only whether they are there, of data only where it lies.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import cycle
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from agents.errors import FleetError
from agents.handset.security_module.allocation import Area, AreaKind
from agents.handset.security_module.definitions import Definition, DefinitionTable
from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.memory import Memory, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rich.console import Console

MODULES_FILE: Final = "modules.db"
"""The database of all modules' memory, in the state directory."""

ROWS: Final = 4
CELLS: Final = 64
"""Cells in a row of the map."""

_SYMBOLS: Final[Mapping[AreaKind, str]] = {
    AreaKind.OPERATING: "#",
    AreaKind.DEFINITIONS: "=",
    AreaKind.FREE: "·",
}
_STYLES: Final[Mapping[AreaKind, str]] = {
    AreaKind.OPERATING: "blue",
    AreaKind.DEFINITIONS: "magenta",
    AreaKind.CODE: "green",
    AreaKind.DATA: "yellow",
    AreaKind.FREE: "dim",
}


def find_image(ua: str, states: Iterable[Path]) -> tuple[Path, bytes]:
    """Return the first of the state directories that knows module *ua*, and the module's image.

    Raises FleetError when none does.
    """
    looked = []
    for state in states:
        path = state / MODULES_FILE
        if path.is_file():
            looked.append(str(state))
            if pages := asyncio.run(_load(path, ua)):
                return state, _image(ua, pages)
    if not looked:
        raise FleetError(
            "there is no state directory with modules here; run 'otafleet up', or name one with --state"
        )
    raise FleetError(f"there is no module {ua} in {', '.join(looked)}")


async def _load(path: Path, ua: str) -> list[tuple[int, bytes]]:
    from agents.store.database import open_store
    from agents.store.pages import PageStore
    from agents.store.tables import MODULES

    async with open_store(path, MODULES) as store:
        return await PageStore(store).load(ua)


def _image(ua: str, pages: list[tuple[int, bytes]]) -> bytes:
    try:
        return bytes(Memory.from_pages(pages))
    except ImageRejected as error:
        raise FleetError(f"the memory of module {ua} is corrupt: {error}") from None


def read_module(ua: str, image: bytes) -> tuple[Memory, DefinitionTable]:
    """Return the memory and DEF in *image*. Raises FleetError when it is corrupt."""
    try:
        memory = Memory.boot(image)
        table = DefinitionTable(memory)
        table.verify()
    except ImageRejected as error:
        raise FleetError(f"the memory of module {ua} is corrupt: {error}") from None
    return memory, table


def to_json(ua: str, image: bytes) -> dict[str, Any]:
    """Return what ``render_module`` draws as JSON values; sizes and offsets in octets."""
    memory, table = read_module(ua, image)
    return {
        "ua": ua,
        "personalised": _is_personalised(memory),
        "memory": {
            "size": memory.size,
            "zone_start": memory.zone_start,
            "free": table.free_octets(),
            "fragmentation": round(table.fragmentation(), 4),
        },
        "areas": [
            {"start": area.start, "end": area.end, "kind": area.kind.value, "owner": area.owner}
            for area in table.layout()
        ],
        "definitions": [_definition_json(definition) for definition in table.all()],
    }


def _definition_json(definition: Definition) -> dict[str, Any]:
    return {
        "id": definition.rsc_id,
        "tar": definition.tar.hex().upper(),
        "service": definition.service,
        "state": definition.state.value,
        "supplier": definition.supplier,
        "suite": definition.suite,
        "forms": list(definition.forms),
        "start": definition.start,
        "end": definition.end,
        "code_size": definition.code_size,
        "code_length": definition.code_length,
        "data_size": definition.data_size,
        "version": definition.version,
        "rights": sorted(definition.rights),
        "expires_at": definition.expires_at or None,
        "executions_left": definition.executions_left if definition.executions_left >= 0 else None,
        "supplier_key": bool(definition.supplier_public),
        "session": definition.session is not None,
    }


def _is_personalised(memory: Memory) -> bool:
    return memory.get_record(Record.IDENTITY) is not None


def render_module(ua: str, image: bytes, console: Console) -> None:
    """Draw module *ua* from its memory *image*: map, areas, DEF. Raises FleetError when it is corrupt."""
    memory, table = read_module(ua, image)
    areas, definitions = table.layout(), table.all()
    symbols = _symbols(definitions)
    state = "personalised" if _is_personalised(memory) else "blank"
    console.print(Text.assemble(("Module ", "bold"), (ua, "bold cyan"), f", {state}, {memory.size:,} octets"))
    console.print()
    for row in _map(areas, memory.size, symbols):
        console.print(row)
    console.print()
    console.print(_areas_table(areas, symbols))
    free, scattered = table.free_octets(), table.fragmentation()
    console.print(Text(f"\n{free:,} octets free, {scattered:.0%} of them outside the largest free area\n"))
    console.print(
        _definitions_table(definitions) if definitions else Text("DEF is empty: no resource is reserved")
    )


def _symbols(definitions: Iterable[Definition]) -> dict[str, str]:
    """Return a letter for each service, in the order of DEF: large for its code, small for its data."""
    return dict(zip((definition.service for definition in definitions), cycle(ascii_uppercase), strict=False))


def _symbol(area: Area, symbols: Mapping[str, str]) -> Text:
    letter = _SYMBOLS.get(area.kind) or symbols[area.owner]
    return Text(letter.lower() if area.kind is AreaKind.DATA else letter, _STYLES[area.kind])


def _map(areas: list[Area], size: int, symbols: Mapping[str, str]) -> list[Text]:
    """Return the memory as rows of cells; a cell shows what most of it is used for, if anything is."""
    cell = size / (ROWS * CELLS)
    rows = []
    for row in range(ROWS):
        line = Text(f"{round(row * CELLS * cell):>7}  ")
        for column in range(CELLS):
            start = (row * CELLS + column) * cell
            line.append_text(_symbol(_main_area(areas, start, start + cell), symbols))
        rows.append(line)
    return rows


def _main_area(areas: list[Area], start: float, end: float) -> Area:
    def share(area: Area) -> tuple[bool, float, int]:
        octets = min(area.end, end) - max(area.start, start)
        return octets > 0 and area.kind is not AreaKind.FREE, octets, -area.size

    return max(areas, key=share)


def _table(*columns: tuple[str, str]) -> Table:
    """Return a table with these headings, each left (<) or right (>)."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, side in columns:
        table.add_column(heading, justify="right" if side == ">" else "left", overflow="fold")
    return table


def _areas_table(areas: list[Area], symbols: Mapping[str, str]) -> Table:
    table = _table(
        ("map", "<"), ("start", ">"), ("end", ">"), ("octets", ">"), ("area", "<"), ("service", "<")
    )
    for area in areas:
        places = (f"{number}" for number in (area.start, area.end, area.size))
        table.add_row(
            _symbol(area, symbols), *places, Text(area.kind.value, _STYLES[area.kind]), escape(area.owner)
        )
    return table


def _definitions_table(definitions: Iterable[Definition]) -> Table:
    """Return DEF: one row a resource; of its keys only whether there is a session."""
    table = _table(
        ("id", ">"), ("TAR", "<"), ("service", "<"), ("state", "<"), ("supplier", "<"), ("suite", "<"),
        ("area", "<"), ("code", ">"), ("rights", "<"), ("expires", "<"), ("runs", ">"), ("session", "<"),
    )  # fmt: skip
    table.title, table.title_justify, table.title_style = "DEF", "left", "bold"
    for one in definitions:
        table.add_row(
            str(one.rsc_id),
            one.tar.hex().upper(),
            escape(one.service),
            one.state.value,
            escape(one.supplier),
            escape(one.suite),
            f"{one.start}-{one.end}",
            f"{one.code_length}/{one.code_size}",
            ",".join(sorted(one.rights)) or "none",
            # The last day that it lives: it ends with the first second after.
            _date(one.expires_at and one.expires_at - 1),
            "any" if one.executions_left < 0 else str(one.executions_left),
            "yes" if one.session else "no",
        )
    return table


def _date(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}" if seconds else "never"
