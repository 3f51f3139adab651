"""What a supplier does with its resource: load, personalise, run; and the user's own runs.

Each is one transaction: programme, data, version, and the counter of the packet that brought the command
change together or not at all. A programme comes in pieces that wait in volatile memory and is looked at only
when it is whole, so a resource never holds half of one. A run is counted in a transaction of its own before
it starts.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agents.handset.security_module import links, run_unit
from agents.handset.security_module.core import Upload
from agents.handset.security_module.errors import (
    ApplicationRefused,
    MemoryFull,
    ModuleError,
    TransitionRefused,
)
from agents.handset.security_module.life_cycle import ResourceEvent, ResourceState
from agents.handset.security_module.outgoing import show
from agents.messages.air import SUPPLIER_COMMANDS, Invoke, LoadApplication, LoadData, Push, Result
from agents.messages.codec import decode
from transport.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import Definition

DONE: Final = Result(reason="", status=0, output=b"")


def check_usable(core: Core, definition: Definition, now: float) -> None:
    """Raise TransitionRefused for a resource that is blocked expired at *now* (Unix seconds) or used up."""
    if definition.state is ResourceState.BLOCKED:
        raise TransitionRefused("blocked")
    if definition.expires_at and now >= definition.expires_at:
        with core.memory.transaction() as transaction:
            core.keep_turns(transaction, replace(core.turns, seen=int(now)))
        raise TransitionRefused("expired")
    if definition.executions_left == 0:
        raise TransitionRefused("exhausted")


def execute(core: Core, definition: Definition, octets: bytes, now: float) -> Result:
    """Carry out one command of the supplier that came under the session's keys.

    *definition* already holds the packet's counter; it is stored whatever becomes of the command.
    """
    with core.memory.transaction() as transaction:
        core.definitions.put(transaction, definition)
    try:
        command = decode(octets, *SUPPLIER_COMMANDS)
        check_usable(core, definition, now)
        return _COMMANDS[type(command)](core, definition, command, now)
    except (ModuleError, Rejected) as refusal:
        core.note("application.refused", reason=refusal.reason, tar=definition.tar)
        return Result(reason=refusal.reason, status=0, output=b"")


def invoke(core: Core, definition: Definition, argument: bytes, now: float) -> Result:
    """Run the application once, for its user or its supplier; counted before it runs.

    Raises ModuleError when it may not run, or did not end well; its data is then as before.
    """
    check_usable(core, definition, now)
    counted = definition.after(ResourceEvent.INVOKE)
    if counted.executions_left > 0:
        counted = replace(counted, executions_left=counted.executions_left - 1)
        with core.memory.transaction() as transaction:
            core.definitions.put(transaction, counted)
    result = _run(core, counted, "invoke", argument, now)
    core.note("application.invoked", tar=definition.tar)
    return result


def _run(core: Core, definition: Definition, entry: run_unit.Entry, argument: bytes, now: float) -> Result:
    before = core.definitions.read_data(definition)
    ended = run_unit.call(
        core.definitions.read_code(definition),
        entry,
        before,
        argument,
        rights=definition.rights,
        services=run_unit.HostServices(rng=core.rng, now=int(now)),
    )
    for text in ended.texts:
        # Under the service's name: an application cannot speak as the module does.
        show(core, f"{definition.service}: {text}")
    # The programme's own "no" is no reason to keep what it wrote on the way there.
    if not ended.status and ended.data != before:
        with core.memory.transaction() as transaction:
            core.definitions.write_data(transaction, definition, ended.data)
    return Result(
        reason="" if not ended.status else "application-refused", status=ended.status, output=ended.output
    )


def _invoke(core: Core, definition: Definition, command: Invoke, now: float) -> Result:
    return invoke(core, definition, command.argument, now)


def _push(core: Core, definition: Definition, command: Push, now: float) -> Result:
    links.push(core, definition, command.bearer, now)
    return DONE


def _load_data(core: Core, definition: Definition, command: LoadData, now: float) -> Result:
    definition.after(ResourceEvent.PERSONALISE)
    result = _run(core, definition, "personalise", command.octets, now)
    core.note("application.personalised", tar=definition.tar)
    return result


def _load_application(core: Core, definition: Definition, command: LoadApplication, _now: float) -> Result:
    if _is_loaded(core, definition, command):
        return DONE  # the piece that completed it, said again because its answer was lost
    upload = _piece(core, definition, command)
    if len(upload.octets) < upload.total:
        return DONE
    del core.uploads[definition.tar]
    _install(core, definition, command.version, bytes(upload.octets))
    return DONE


def _is_loaded(core: Core, definition: Definition, command: LoadApplication) -> bool:
    known = (definition.version, definition.code_length) == (command.version, command.total)
    if not known or command.offset == 0 or definition.tar in core.uploads:
        return False
    code = core.definitions.read_code(definition)
    return code[command.offset : command.offset + len(command.octets)] == command.octets


def _piece(core: Core, definition: Definition, command: LoadApplication) -> Upload:
    if command.total > definition.code_size:
        raise MemoryFull("code-too-large", f"{command.total} octets for {definition.code_size}")
    upload = core.uploads.get(definition.tar)
    if command.offset == 0:
        upload = core.uploads[definition.tar] = Upload(version=command.version, total=command.total)
    if upload is None or (upload.version, upload.total) != (command.version, command.total):
        raise ApplicationRefused("piece-of-another")
    if upload.octets[command.offset :] == command.octets:
        return upload  # said again over another bearer, because the answer was lost
    if command.offset != len(upload.octets):
        raise ApplicationRefused("piece-out-of-order")
    if command.offset + len(command.octets) > upload.total:
        raise ApplicationRefused("piece-too-long")
    upload.octets += command.octets
    return upload


def _install(core: Core, definition: Definition, version: int, code: bytes) -> None:
    same = hashlib.sha256(code).digest() == definition.code_digest
    if same and version == definition.version:
        return  # said twice, done once: the data stays what it has become
    event = ResourceEvent.UPDATE if definition.code_length else ResourceEvent.LOAD
    definition.state_after(event)
    if version <= definition.version:
        raise ApplicationRefused("version-not-newer", f"{version} after {definition.version}")
    data = run_unit.load(code, rights=definition.rights, data_size=definition.data_size)
    with core.memory.transaction() as transaction:
        changed = core.definitions.write_code(transaction, definition, code).after(event, version=version)
        core.definitions.write_data(transaction, changed, data)
        core.definitions.put(transaction, changed)
    core.note("application.loaded", tar=definition.tar)


_COMMANDS: Final[Mapping[type[Any], Callable[[Core, Definition, Any, float], Result]]] = {
    LoadApplication: _load_application,
    LoadData: _load_data,
    Invoke: _invoke,
    Push: _push,
}
