"""The run unit: executes a resource's programme inside its data area and nowhere else.

The programme is WebAssembly; ``host_functions`` says what it may import and must export. Its linear memory
is the first octets of the data area: as many as its declared minimum, from the first instruction to the
last. It is restored before each run, and what a run that ended well has changed in it is given back; it never
grows (``memory.grow`` answers -1). Custom page sizes allow a memory of any number of octets: ``(memory 64 64
(pagesize 1))``.

A store and an instance live for one run; engine and compiled programmes (``programme``) are shared by all.
Randomness comes by right only, so the same run with the same rights and services is the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from wasmtime import Func, Memory, Store, Trap, TrapCode, WasmtimeError

from agents.handset.security_module.errors import ApplicationRefused, ExecutionFailed
from agents.handset.security_module.host_functions import HOST_FUNCTIONS, RUN, HostServices, Run
from agents.handset.security_module.medium import PAGE
from agents.handset.security_module.programme import (
    ENTRIES,
    Compiled,
    compiled_programme,
    engine,
    first_line,
)
from agents.handset.security_module.rights import rights_mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["ApplicationInfo", "CallResult", "HostServices", "call", "check_application", "load"]

DEFAULT_FUEL: Final = 10_000_000
"""Some ten milliseconds of a desktop core in ordinary instructions; a quarter of a second in the dearest."""
MAX_TABLE_ELEMENTS: Final = 1024
_FIRST_DATA: Final = 8
"""Programmes whose first data is kept: what many modules load in turn is one or two of them."""

Entry = Literal["personalise", "invoke"]

TRAP_REASONS: Final[Mapping[TrapCode, str]] = MappingProxyType(
    {
        TrapCode.OUT_OF_FUEL: "out-of-fuel",
        TrapCode.STACK_OVERFLOW: "stack-overflow",
        TrapCode.MEMORY_OUT_OF_BOUNDS: "outside-memory",
        TrapCode.TABLE_OUT_OF_BOUNDS: "outside-table",
        TrapCode.INDIRECT_CALL_TO_NULL: "no-function",
        TrapCode.BAD_SIGNATURE: "other-signature",
        TrapCode.INTEGER_DIVISION_BY_ZERO: "division-by-zero",
        TrapCode.INTEGER_OVERFLOW: "integer-overflow",
        TrapCode.BAD_CONVERSION_TO_INTEGER: "not-an-integer",
        TrapCode.UNREACHABLE: "unreachable",
    },
)
"""Why the engine ends a run, for each trap that an instruction has of those that are switched on."""
OTHER_TRAP: Final = "trap"
"""Why, for any other; none is known."""
COMPARED: Final = (256 * PAGE, 16 * PAGE, 4 * PAGE)
"""In pieces of how many octets a memory is held against what it was, from large to small. Smaller ones would
cost more to compare than the transaction saves that stores them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationInfo:
    """What a programme is, once it was found loadable. Sizes in octets."""

    code_size: int
    memory_size: int
    page_size: int
    imports: tuple[str, ...]
    rights: frozenset[str]
    initial_data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """A run that ended well: what it changed in the data area, and what the programme said."""

    before: bytes = field(repr=False)
    changes: tuple[tuple[int, bytes], ...] = field(repr=False)
    """Where in the data area something changed, and the octets there now, in order: a few pages in each."""
    output: bytes = field(repr=False)
    status: int
    fuel_used: int
    texts: tuple[str, ...] = field(repr=False)

    @property
    def data(self) -> bytes:
        """The whole data area after the run."""
        area = bytearray(self.before)
        for offset, octets in self.changes:
            area[offset : offset + len(octets)] = octets
        return bytes(area)


def check_application(code: bytes, *, rights: Iterable[str], data_size: int) -> ApplicationInfo:
    """Return what a programme is; raise ApplicationRefused unless it may be loaded with these rights."""
    compiled = compiled_programme(code, rights_mask(rights))
    limits = compiled.memory_type.limits
    largest = max(limits.min, limits.max or 0) * compiled.memory_type.page_size
    if largest > data_size:
        raise ApplicationRefused("memory-too-large", f"{largest} octets for {data_size}")
    imports = tuple(str(each.name) for each in compiled.module.imports)
    return ApplicationInfo(
        code_size=len(code),
        memory_size=compiled.memory_size,
        page_size=compiled.memory_type.page_size,
        imports=imports,
        rights=frozenset(HOST_FUNCTIONS[name].right for name in imports) - {""},
        initial_data=_initial_data(compiled),
    )


def load(code: bytes, *, rights: Iterable[str], data_size: int) -> bytes:
    """Return the data area as it is before the first run, ``data_size`` octets; raise ApplicationRefused."""
    return _first_data(code, frozenset(rights), data_size)


@lru_cache(maxsize=_FIRST_DATA)
def _first_data(code: bytes, rights: frozenset[str], data_size: int) -> bytes:
    """Return what ``load`` does: the same for all modules of the process that load the same programme."""
    info = check_application(code, rights=rights, data_size=data_size)
    return info.initial_data.ljust(data_size, b"\0")


def call(
    code: bytes,
    entry: Entry,
    data: bytes,
    argument: bytes,
    *,
    rights: Iterable[str],
    services: HostServices,
    fuel: int = DEFAULT_FUEL,
) -> CallResult:
    """Run an entry on the data area ``data`` and return what it changed there, and what it said.

    Raise ExecutionFailed when it does not end well: then it changed nothing. Raise ApplicationRefused when
    the programme is not loadable, or its memory larger than ``data``.
    """
    if entry not in ENTRIES:
        raise ValueError(f"there is no entry {entry!r}")
    compiled = compiled_programme(code, rights_mask(rights))
    size = compiled.memory_size
    if len(data) < size:
        # Loading saw to that; only somebody who wrote into the memory himself can have made it so.
        raise ApplicationRefused("memory-too-large", f"{size} octets for {len(data)}")
    with _open_store(compiled, fuel) as store:
        exports = _instantiate(compiled, store)
        function = exports[entry]
        assert isinstance(function, Func)
        view = _view(exports, store, size)
        view[:] = memoryview(data)[:size]
        run = Run(view, argument, fuel, services)
        status = _run(function, store, run)
        fuel_used = fuel - store.get_fuel() + run.spent
        if fuel_used > fuel:
            raise ExecutionFailed("out-of-fuel")
        return CallResult(
            before=data,
            changes=tuple(_changes(data, view, 0, size)),
            output=bytes(run.output),
            status=status & 0xFFFFFFFF,
            fuel_used=fuel_used,
            texts=tuple(run.texts),
        )


def _run(function: Func, store: Store, run: Run) -> int:
    token = RUN.set(run)
    try:
        status: int = function(store)
    except Trap as trap:
        raise ExecutionFailed(_reason(trap)) from None
    finally:
        RUN.reset(token)
    return status


def _reason(trap: Trap) -> str:
    reason = TRAP_REASONS.get(trap.trap_code) if trap.trap_code else None
    return reason or OTHER_TRAP


def _changes(
    before: bytes, after: memoryview, start: int, end: int, sizes: tuple[int, ...] = COMPARED
) -> Iterator[tuple[int, bytes]]:
    """Yield where *after* is other than *before*, from *start* to *end*, and what is there now."""
    size, finer = sizes[0], sizes[1:]
    for offset in range(start, end, size):
        octets = after[offset : min(offset + size, end)]
        # Compared in place: of a large memory nothing is copied but what changed.
        if before.startswith(octets, offset):
            continue
        if finer:
            yield from _changes(before, after, offset, offset + len(octets), finer)
        else:
            yield offset, bytes(octets)


def _instantiate(compiled: Compiled, store: Store) -> Mapping[str, object]:
    """Return the exports of a fresh instance; raise ApplicationRefused, ExecutionFailed when out of fuel."""
    try:
        return compiled.linked.instantiate(store).exports(store)
    except Trap as trap:
        if trap.trap_code is TrapCode.OUT_OF_FUEL:
            raise ExecutionFailed("out-of-fuel") from None
        raise ApplicationRefused("initial-data", "outside the memory or the table") from None
    except WasmtimeError as error:
        raise ApplicationRefused("resources", first_line(error)) from None


def _view(exports: Mapping[str, object], store: Store, size: int) -> memoryview:
    """Return the memory's own octets: it cannot grow, so they stay in place until the store is closed."""
    memory = exports["memory"]
    assert isinstance(memory, Memory)
    return memoryview(memory.get_buffer_ptr(store, size)).cast("B") if size else memoryview(bytearray())


def _open_store(compiled: Compiled, fuel: int) -> Store:
    store = Store(engine())
    store.set_limits(
        memory_size=compiled.memory_size,
        table_elements=MAX_TABLE_ELEMENTS,
        instances=1,
        tables=1,
        memories=1,
    )
    store.set_fuel(fuel)
    return store


def _initial_data(compiled: Compiled) -> bytes:
    """Return the memory of a fresh instance; raise ApplicationRefused when there can be none."""
    # Writing the first data costs fuel too, an octet each, so that a programme within its limits has enough.
    with _open_store(compiled, DEFAULT_FUEL) as store:
        return bytes(_view(_instantiate(compiled, store), store, compiled.memory_size))
