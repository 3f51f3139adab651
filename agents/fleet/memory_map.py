"""A module's memory on the screen: a map to scale, its areas, and DEF as tables.

DEF is one table in the image; here it is three, so that it has room: what each resource is, until when it is
of use, and how its supplier is known and reached.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from itertools import cycle
from string import ascii_uppercase
from typing import TYPE_CHECKING, Final

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from agents.fleet.inspection import (
    has_operator_session,
    houses,
    is_personalised,
    obeyed_digest,
    read_module,
    signed_time,
)
from agents.handset.security_module.allocation import Area, AreaKind, fragmentation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rich.console import Console, JustifyMethod

    from agents.handset.security_module.definitions import Definition

ROWS: Final = 4
CELLS: Final = 64
"""Cells in a row of the map."""

_DAY_S: Final = 86_400
_FINGERPRINT_OCTETS: Final = 4
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


def render_module(ua: str, image: bytes, console: Console) -> None:
    """Draw module *ua* from its memory *image*: map, areas, DEF. Raises FleetError when it is corrupt."""
    memory, table = read_module(ua, image)
    areas, definitions = table.layout(), table.all()
    symbols = _symbols(definitions)
    state = "personalised" if is_personalised(memory) else "blank"
    console.print(Text.assemble(("Module ", "bold"), (ua, "bold cyan"), f", {state}, {memory.size:,} octets"))
    console.print()
    for row in _map(areas, memory.size, symbols):
        console.print(row)
    console.print()
    console.print(_areas_table(areas, symbols))
    console.print(Text(f"\n{_room(areas)}"))
    operator, allocator = houses(memory)
    if allocator:
        console.print(Text(f"It obeys {allocator}, in the place of {operator}"))
    if operator and not obeyed_digest(memory):
        console.print(Text(f"It does not know the key of {operator} yet"))
    if has_operator_session(memory):
        console.print(Text("There is a session with the operator, for its commands to travel under"))
    if time := signed_time(memory):
        console.print(Text(f"The operator last told it the time {_time(time)}"))
    if not definitions:
        console.print(Text("\nDEF is empty: no resource is reserved"))
    for title, columns in _DEF.items():
        if definitions:
            console.print()
            console.print(_definitions_table(title, columns, definitions))


def _room(areas: Iterable[Area]) -> str:
    """Say how much is free, and in how many pieces: what is reserved has to fit into one."""
    sizes = [area.size for area in areas if area.kind is AreaKind.FREE]
    free = sum(sizes)
    if len(sizes) < 2:
        return f"{free:,} octets free, in one piece" if free else "nothing is free"
    outside = f"{fragmentation([(0, size) for size in sizes]):.0%} lie outside the largest"
    return f"{free:,} octets free, in {len(sizes)} pieces; {outside}, of {max(sizes):,}"


def _symbols(definitions: Iterable[Definition]) -> dict[str, str]:
    """Return a letter for each service, as they lie: large for its code, small for its data."""
    services = (each.service for each in sorted(definitions, key=lambda one: one.start))
    return dict(zip(services, cycle(ascii_uppercase), strict=False))


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
    """Return a table with these headings: figures (>), words (<), and lists or names (~), which may wrap."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, kind in columns:
        justify: JustifyMethod = "right" if kind == ">" else "left"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=kind != "~")
    return table


def _areas_table(areas: list[Area], symbols: Mapping[str, str]) -> Table:
    table = _table(
        ("map", "<"), ("start", ">"), ("end", ">"), ("octets", ">"), ("area", "<"), ("service", "~")
    )
    for area in areas:
        places = (f"{number}" for number in (area.start, area.end, area.size))
        table.add_row(
            _symbol(area, symbols), *places, Text(area.kind.value, _STYLES[area.kind]), escape(area.owner)
        )
    return table


def _definitions_table(title: str, columns: Iterable[Column], definitions: Iterable[Definition]) -> Table:
    columns = tuple(columns)
    table = _table(*((heading, side) for heading, side, _ in columns))
    table.title, table.title_justify, table.title_style = title, "left", "bold"
    for one in definitions:
        table.add_row(*(escape(show(one)) for _, _, show in columns))
    return table


def _parameters(one: Definition) -> str:
    """Return how large the Diffie-Hellman parameters b and M are, where the suite has none of its own."""
    return f"{8 * len(one.dh_modulus)} bits" if one.dh_modulus else "the suite's"


def _fingerprint(one: Definition) -> str:
    """Return the beginning of the key's SHA-256: enough to tell suppliers apart."""
    if not one.supplier_public:
        return "none"
    return hashlib.sha256(one.supplier_public).hexdigest()[: 2 * _FINGERPRINT_OCTETS]


def _expiry(one: Definition) -> str:
    if not one.expires_at:
        return "never"
    # The last day that it lives: it ends with the first second after.
    is_date = one.expires_at % _DAY_S == 0
    return _time(one.expires_at - 1)[:10] if is_date else _time(one.expires_at)


def _time(seconds: int) -> str:
    """Return a time of the epoch in words: what an image holds may be past all calendars."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s of the epoch"


Column = tuple[str, str, "Callable[[Definition], str]"]
_DEF: Final[Mapping[str, tuple[Column, ...]]] = {
    "DEF": (
        ("id", ">", lambda one: str(one.rsc_id)),
        ("TAR", "<", lambda one: one.tar.hex().upper()),
        ("service", "~", lambda one: one.service),
        ("state", "<", lambda one: one.state.value),
        ("supplier", "~", lambda one: one.supplier),
        ("area", "<", lambda one: f"{one.start}-{one.end}"),
        ("code", ">", lambda one: f"{one.code_length}/{one.code_size}"),
        ("data", ">", lambda one: str(one.data_size)),
        ("version", ">", lambda one: str(one.version)),
    ),
    "DEF: what it may, and until when": (
        ("id", ">", lambda one: str(one.rsc_id)),
        ("rights", "~", lambda one: ", ".join(sorted(one.rights)) or "none"),
        ("expires", "<", _expiry),
        ("runs left", ">", lambda one: "any" if one.executions_left < 0 else str(one.executions_left)),
        ("at the end", "<", lambda one: one.at_end.value),
        ("logic name", "~", lambda one: one.logic_name or "-"),
    ),
    "DEF: how its supplier is known and reached": (
        ("id", ">", lambda one: str(one.rsc_id)),
        ("suite", "<", lambda one: one.suite),
        ("forms", "~", lambda one: ", ".join(one.forms)),
        ("b, M", "<", _parameters),
        ("supplier's key", "<", _fingerprint),
        ("domain key", "<", lambda one: "yes" if one.domain_key else "no"),
        ("session", "<", lambda one: one.protection if one.session else "none"),
        ("bearers", "~", lambda one: ", ".join(one.bearers)),
    ),
}
"""DEF's columns, in tables of no more than a terminal has room for."""
