"""One module's memory, found in a state directory and read from its image alone.

Nothing secret is told: of secret keys and sessions only whether they are there, of data only where it lies.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, Final

from agents.errors import FleetError
from agents.handset.security_module.core import Identity, Turns
from agents.handset.security_module.definitions import Definition, DefinitionTable
from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.memory import Memory, Record
from agents.handset.security_module.operator_session import kept
from agents.messages.codec import decode
from transport.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MODULES_FILE: Final = "modules.db"
"""The database of all modules' memory, in the state directory."""


def find_image(ua: str, states: Iterable[Path]) -> tuple[Path, bytes]:
    """Return the first of the state directories that knows module *ua*, and the module's image.

    Raises FleetError when none does.
    """
    looked = []
    for state in states:
        path = state / MODULES_FILE
        if _is_there(path):
            looked.append(str(state))
            if pages := asyncio.run(_load(path, ua)):
                return state, _image(ua, pages)
    if not looked:
        raise FleetError(
            "there is no state directory with modules here; run 'otafleet up', or name one with --state"
        )
    raise FleetError(f"there is no module {ua} in {', '.join(looked)}")


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name may be too long, or lead where we may not look
        return False


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
        signed_time(memory)
        houses(memory)
        has_operator_session(memory)
    except ImageRejected as error:
        raise FleetError(f"the memory of module {ua} is corrupt: {error}") from None
    return memory, table


def to_json(ua: str, image: bytes) -> dict[str, Any]:
    """Return what ``render_module`` draws as JSON values; sizes and offsets in octets."""
    memory, table = read_module(ua, image)
    operator, allocator = houses(memory)
    return {
        "ua": ua,
        "personalised": is_personalised(memory),
        "operator": operator or None,
        "allocator": allocator or None,
        "operator_digest": obeyed_digest(memory) or None,
        "signed_time": signed_time(memory) or None,
        "operator_session": has_operator_session(memory),
        "memory": {
            "size": memory.size,
            "zone_start": memory.zone_start,
            "free": table.free_octets(),
            "largest_free": table.largest_free(),
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
        "logic_name": definition.logic_name or None,
        "state": definition.state.value,
        "supplier": definition.supplier,
        "start": definition.start,
        "end": definition.end,
        "code_size": definition.code_size,
        "code_length": definition.code_length,
        "data_size": definition.data_size,
        "version": definition.version,
        "rights": sorted(definition.rights),
        "expires_at": definition.expires_at or None,
        "executions_left": definition.executions_left if definition.executions_left >= 0 else None,
        "at_end": definition.at_end.value,
        "suite": definition.suite,
        "forms": list(definition.forms),
        "dh_base": definition.dh_base.hex() or None,
        "dh_modulus": definition.dh_modulus.hex() or None,
        "protection": definition.protection,
        "bearers": list(definition.bearers),
        "supplier_key": bool(definition.supplier_public),
        "supplier_digest": definition.supplier_digest.hex(),
        "domain_key": bool(definition.domain_key),
        "session": definition.session is not None,
    }


def is_personalised(memory: Memory) -> bool:
    """Return whether the module has an identity."""
    return memory.get_record(Record.IDENTITY) is not None


def houses(memory: Memory) -> tuple[str, str]:
    """Return the names of the module's operator, and of whom it obeys in its place; empty for nobody."""
    identity = _identity(memory)
    return (identity.operator, identity.allocator) if identity else ("", "")


def obeyed_digest(memory: Memory) -> str:
    """Return the SHA-256 of the public key that the module obeys; empty where it knows none."""
    identity = _identity(memory)
    if identity is None or not identity.operator_public:
        return ""
    return hashlib.sha256(identity.operator_public).hexdigest()


def _identity(memory: Memory) -> Identity | None:
    octets = memory.get_record(Record.IDENTITY)
    if octets is None:
        return None
    try:
        return decode(octets, Identity)
    except Rejected as rejection:
        raise ImageRejected("corrupt-record", rejection.reason) from None


def has_operator_session(memory: Memory) -> bool:
    """Return whether there is a session with the operator, for its commands to travel under."""
    return kept(memory) is not None


def signed_time(memory: Memory) -> int:
    """Return the latest time that the operator told the module, in seconds of the epoch; 0 if none."""
    octets = memory.get_record(Record.COUNTERS)
    if octets is None:
        return 0
    try:
        return decode(octets, Turns).signed
    except Rejected as rejection:
        raise ImageRejected("corrupt-record", rejection.reason) from None
