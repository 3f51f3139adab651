"""Why a module would refuse a programme, in words: a clause for each reason that ``check_application`` has.

A reason is for machines, and the air carries it; a person who builds an application needs to know which
import, export or size is to blame, and what would be right.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.host_functions import HOST_FUNCTIONS, IMPORT_MODULE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.handset.security_module.errors import ApplicationRefused


_NUMBERED: Final = re.compile(r"^\d+: ")


def refused(name: str, refusal: ApplicationRefused) -> str:
    """Return the sentence for a programme *name* that a module would refuse."""
    return f"{name} would be refused: {why(refusal)}"


def why(refusal: ApplicationRefused) -> str:
    """Return what is wrong with the programme, as a clause that begins with "it" or "its"."""
    return WORDS[refusal.reason](printable(refusal.detail))


def printable(text: str) -> str:
    """Return what may go to a terminal: names inside a programme are anybody's octets, escapes among them."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def too_long(name: str, size: int, room: int) -> str:
    """Return the sentence for a programme that is longer than the resource's room for code."""
    return f"{name} has {size} octets and does not fit in {room}"


def _invalid(detail: str) -> str:
    # wasmtime numbers its causes where there are several.
    return f"it is not valid, or uses what modules do not have: {_NUMBERED.sub('', detail)}"


def _import_signature(name: str) -> str:
    host = HOST_FUNCTIONS[name]
    takes, gives = ", ".join(host.parameters), ", ".join(host.results) or "nothing"
    return f"it imports {IMPORT_MODULE}.{name} with another type than ({takes}) -> {gives}"


def _ungranted_import(name: str) -> str:
    right = HOST_FUNCTIONS[name].right
    return f"it imports {IMPORT_MODULE}.{name}, which takes the right {right!r}, and that is not granted"


def _said(words: str) -> Callable[[str], str]:
    """Return what says *words*, with the refusal's detail where they have a gap for it."""
    return words.format


WORDS: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {
        "code-too-large": _said("it is too large: {}, the most that a module takes"),
        "not-webassembly": _said("it does not begin as a WebAssembly module of version 1 does"),
        "malformed": _said("it is damaged: {}"),
        "start-function": _said("it has a start function, and nothing of it may run before it is invoked"),
        "too-many-functions": _said("it has too many functions: {}"),
        "too-many-parts": _said("it declares too much: {}"),
        "too-many-parameters": _said("one of its types has too many parameters: {}"),
        "too-many-locals": _said("one of its functions has too many local variables: {}"),
        "too-dear": _said("it would take too long to compile, by its instructions and branches: {}"),
        "invalid": _invalid,
        "unknown-import": _said("it imports {}, and there is no such host function"),
        "import-signature": _import_signature,
        "ungranted-import": _ungranted_import,
        "no-memory": _said("it exports no memory with the name 'memory'"),
        "memory-too-large": _said("its memory is larger than the data of its resource: {}"),
        "no-entry": _said("it exports no function {}"),
        "initial-data": _said("its first data lie {}"),
        "resources": _said("it needs more than a module gives: {}"),
    },
)
