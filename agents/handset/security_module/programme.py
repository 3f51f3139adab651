"""From a programme's octets to something that can be instantiated: checked, compiled, linked, and kept.

One engine serves the process. Compiled programmes are kept by the SHA-256 of their code and the rights they
were linked with, the least recently used dropped first: no more than so many, nor than so much machine code,
for which what they cost to compile is the measure. What is deterministic stays so: NaNs are canonical, there
are no threads and no vector units. A linker holds the granted host functions and no other.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from wasmtime import (
    Config,
    Engine,
    FuncType,
    InstancePre,
    Linker,
    MemoryType,
    Module,
    ValType,
    WasmtimeError,
)

from agents.handset.security_module.digests import digest_of
from agents.handset.security_module.errors import ApplicationRefused
from agents.handset.security_module.host_functions import HOST_FUNCTIONS, IMPORT_MODULE
from agents.handset.security_module.rights import rights_names
from agents.handset.security_module.wasm_cost import MAX_COST, check_cost
from agents.handset.security_module.wasm_shape import check_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_STACK: Final = 128 * 1024
MAX_COMPILED: Final = 64
MAX_COMPILED_COST: Final = 4 * MAX_COST
ENTRIES: Final = ("personalise", "invoke")

SWITCHES: Final[Mapping[str, bool | int | str]] = MappingProxyType(
    {
        # What a compiler makes slowly is slow for everybody: it works in this thread, makes no second pass
        # over anything, and its time grows with the size of a programme and not with its square.
        "parallel_compilation": False,
        "cranelift_opt_level": "none",
        "wasm_custom_page_sizes": True,
        "consume_fuel": True,
        "cranelift_nan_canonicalization": True,
        "max_wasm_stack": MAX_STACK,
        # A memory is a plain allocation: nothing reserved, nothing mapped, bounds checked in the code.
        "memory_reservation": 0,
        "memory_guard_size": 0,
        "memory_reservation_for_growth": 0,
        "memory_init_cow": False,
        "signals_based_traps": False,
        "wasm_threads": False,
        "wasm_simd": False,
        "wasm_relaxed_simd": False,
        "wasm_multi_value": False,
        "wasm_multi_memory": False,
        "wasm_memory64": False,
        "wasm_gc": False,
        "gc_support": False,
        "wasm_function_references": False,
        "wasm_exceptions": False,
        "wasm_tail_call": False,
        "wasm_wide_arithmetic": False,
        "wasm_stack_switching": False,
        "wasm_component_model": False,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A programme ready to be instantiated, with its memory's type and its size in octets."""

    cost: int
    module: Module
    linked: InstancePre
    memory_type: MemoryType
    memory_size: int


_compiled: Final[OrderedDict[tuple[bytes, int], Compiled]] = OrderedDict()


def compiled_programme(code: bytes, mask: int) -> Compiled:
    """Return a programme compiled and linked with the rights of a bitmap; raise ApplicationRefused."""
    key = (digest_of(code), mask)
    compiled = _compiled.get(key)
    if compiled is None:
        compiled = _compiled[key] = _link(code, mask)
        while (
            len(_compiled) > MAX_COMPILED or sum(each.cost for each in _compiled.values()) > MAX_COMPILED_COST
        ):
            _compiled.popitem(last=False)
    else:
        _compiled.move_to_end(key)
    return compiled


def _link(code: bytes, mask: int) -> Compiled:
    check_shape(code)
    try:
        Module.validate(engine(), code)
        cost = check_cost(code)
        module = Module(engine(), code)
    except WasmtimeError as error:
        raise ApplicationRefused("invalid", first_line(error)) from None
    _check_imports(module, rights_names(mask))
    memory_type = _check_exports(module)
    linked = _linker(mask).instantiate_pre(module)
    size = memory_type.limits.min * memory_type.page_size
    return Compiled(cost=cost, module=module, linked=linked, memory_type=memory_type, memory_size=size)


def _check_imports(module: Module, rights: frozenset[str]) -> None:
    for each in module.imports:
        host = HOST_FUNCTIONS.get(str(each.name))
        if each.module != IMPORT_MODULE or host is None or not isinstance(each.type, FuncType):
            raise ApplicationRefused("unknown-import", f"{each.module}.{each.name}"[:100])
        if _signature(each.type) != (host.parameters, host.results):
            raise ApplicationRefused("import-signature", str(each.name))
        if host.right and host.right not in rights:
            raise ApplicationRefused("ungranted-import", str(each.name))


def _check_exports(module: Module) -> MemoryType:
    exports = {each.name: each.type for each in module.exports}
    for entry in ENTRIES:
        function = exports.get(entry)
        if not isinstance(function, FuncType) or _signature(function) != ((), ("i32",)):
            raise ApplicationRefused("no-entry", f"{entry}() -> i32")
    memory = exports.get("memory")
    if not isinstance(memory, MemoryType):
        raise ApplicationRefused("no-memory")
    return memory


def _signature(function: FuncType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(map(str, function.params)), tuple(map(str, function.results))


def first_line(error: WasmtimeError) -> str:
    """Return the cause in wasmtime's words, at most 200 characters of them."""
    # wasmtime puts the cause on the last line, behind a backtrace if there is one.
    return str(error).strip().rpartition("\n")[2].strip()[:200]


@cache
def engine() -> Engine:
    """Return the one engine of the process, with the settings above."""
    config = Config()
    for switch, value in SWITCHES.items():
        setattr(config, switch, value)
    config.cranelift_flag_set("regalloc_algorithm", "single_pass")
    return Engine(config)


@cache
def _linker(mask: int) -> Linker:
    """Return a linker that holds the granted host functions only."""
    rights, linker = rights_names(mask), Linker(engine())
    types = {"i32": ValType.i32, "i64": ValType.i64}
    for name, host in HOST_FUNCTIONS.items():
        if not host.right or host.right in rights:
            parameters = [types[each]() for each in host.parameters]
            results = [types[each]() for each in host.results]
            linker.define_func(IMPORT_MODULE, name, FuncType(parameters, results), host.linked())
    return linker
