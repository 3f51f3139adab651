"""What a supplier does with its resource: load, personalise, run; and the user's own runs.

Each is one transaction: programme, data, version, and the counter of the packet that brought the command
change together or not at all. A programme comes in pieces that wait in volatile memory and is looked at only
when it is whole, so a resource never holds half of one. Only a run takes two, whoever asks for it: it is
counted before it starts, and what it wrote is kept when it has ended, so that a power cut never gives a free
run.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from agents.handset.security_module import domain_renewal, limits, links, run_unit
from agents.handset.security_module.core import Upload
from agents.handset.security_module.digests import digest_of
from agents.handset.security_module.errors import ApplicationRefused, MemoryFull, ModuleError
from agents.handset.security_module.life_cycle import ResourceEvent
from agents.handset.security_module.outgoing import show
from agents.messages.air import (
    SUPPLIER_COMMANDS,
    Held,
    Invoke,
    LoadApplication,
    LoadData,
    Push,
    RenewDomainKey,
    Result,
)
from agents.messages.codec import decode
from transport.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import Definition
    from agents.handset.security_module.memory import Transaction

Changes = tuple[tuple[int, bytes], ...]
"""Where in a data part a run has left other octets, and which."""

_LOADED: Final = 16
_TIME: Final = "time"
"""The right to ask for the time."""
DONE: Final = Result(reason="", status=0, output=b"")


def execute(core: Core, definition: Definition, octets: bytes, now: float) -> Result:
    """Carry out one command of the supplier that came under the session's keys.

    *definition* already holds the packet's counter; it is stored whatever becomes of the command.
    """
    try:
        command = decode(octets, *SUPPLIER_COMMANDS)
        result = _COMMANDS[type(command)](core, definition, command, now)
    except (ModuleError, Rejected) as refusal:
        core.note("application.refused", reason=refusal.reason, tar=definition.tar)
        result = Result(reason=refusal.reason, status=0, output=b"")
    _keep_counter(core, definition)
    return result


def _keep_counter(core: Core, definition: Definition) -> None:
    """Store the packet's counter where the command did not: it was refused, or changed nothing else."""
    kept = core.definitions.by_id(definition.rsc_id)
    # A resource that has ended has no session to count for.
    if kept is not None and kept.session is not None and kept.session != definition.session:
        with core.memory.transaction() as transaction:
            core.definitions.put(transaction, replace(kept, session=definition.session))


def invoke(core: Core, definition: Definition, argument: bytes, now: float) -> Result:
    """Run the application once, for its user or its supplier; counted before it runs.

    Raises ModuleError when it may not run, or did not end well; its data is then as before.
    """
    counted = definition.after(ResourceEvent.INVOKE)
    if counted.executions_left > 0:
        counted = replace(counted, executions_left=counted.executions_left - 1)
    with core.memory.transaction() as transaction:
        core.definitions.put(transaction, counted)
        _claim_time(core, transaction, counted, now)
    changes: Changes = ()
    try:
        result, changes = _run(core, counted, "invoke", argument, now)
    finally:
        _end_run(core, counted, changes, now)
    core.note("application.invoked", tar=definition.tar)
    return result


def _claim_time(core: Core, transaction: Transaction, definition: Definition, now: float) -> None:
    """Keep what an application may have been told of the time: it stays so."""
    if _TIME in definition.rights:
        core.claim_time(transaction, now)


def _end_run(core: Core, definition: Definition, changes: Changes, now: float) -> None:
    """Keep what a run wrote, if it wrote, and end the resource if that was its last run: both at once."""
    is_last = definition.executions_left == 0
    if not changes and not is_last:
        return
    happened: list[limits.Happened] = []
    with core.memory.transaction() as transaction:
        core.definitions.change_data(transaction, definition, changes)
        if is_last:
            happened = limits.exhaust(core, transaction, definition)
    if happened:
        limits.tell(core, happened, now)


def _run(
    core: Core, definition: Definition, entry: run_unit.Entry, argument: bytes, now: float
) -> tuple[Result, Changes]:
    """Run *entry*; return what it said, and the changes to its data part that are to be kept."""
    ended = run_unit.call(
        core.definitions.read_code(definition),
        entry,
        core.definitions.read_data(definition),
        argument,
        rights=definition.rights,
        services=run_unit.HostServices(
            rng=core.rng, now=int(now), sign=partial(core.sign_for_application, definition.tar)
        ),
        fuel=core.profile.fuel,
    )
    for text in ended.texts:
        # Under the service's name: an application cannot speak as the module does.
        show(core, f"{definition.service}: {text}")
    result = Result(
        reason="" if not ended.status else "application-refused", status=ended.status, output=ended.output
    )
    # The programme's own "no" is no reason to keep what it wrote on the way there.
    return result, () if ended.status else ended.changes


def _invoke(core: Core, definition: Definition, command: Invoke, now: float) -> Result:
    return invoke(core, definition, command.argument, now)


def _push(core: Core, definition: Definition, command: Push, now: float) -> Result:
    definition.state_after(ResourceEvent.PUSH)
    links.push(core, definition, command.bearer, now)
    return DONE


def _held(_core: Core, definition: Definition, _command: Held, _now: float) -> Result:
    definition.state_after(ResourceEvent.AUTHENTICATE)
    return Result(reason="", status=definition.version, output=definition.code_digest)


def _load_data(core: Core, definition: Definition, command: LoadData, now: float) -> Result:
    personalised = definition.after(ResourceEvent.PERSONALISE)
    result, changes = _run(core, definition, "personalise", command.octets, now)
    with core.memory.transaction() as transaction:
        core.definitions.put(transaction, personalised)
        _claim_time(core, transaction, personalised, now)
        core.definitions.change_data(transaction, personalised, changes)
    core.note("application.personalised", tar=definition.tar)
    return result


def _load_application(core: Core, definition: Definition, command: LoadApplication, _now: float) -> Result:
    definition.state_after(loading(definition))
    if _is_loaded(core, definition, command):
        return DONE  # the piece that completed it, said again because its answer was lost
    upload = _piece(core, definition, command)
    if len(upload.octets) < upload.total:
        return DONE
    del core.uploads[definition.tar]
    install(core, definition, command.version, bytes(upload.octets), keep_data=command.keep_data)
    return DONE


def loading(definition: Definition) -> ResourceEvent:
    """Return what loading a programme is to this resource: the first one, or another."""
    return ResourceEvent.UPDATE if definition.code_length else ResourceEvent.LOAD


def _is_loaded(core: Core, definition: Definition, command: LoadApplication) -> bool:
    known = (definition.version, definition.code_length) == (command.version, command.total)
    if not known or command.offset == 0 or definition.tar in core.uploads:
        return False
    code = core.definitions.read_code(definition)
    return code[command.offset : command.offset + len(command.octets)] == command.octets


def _piece(core: Core, definition: Definition, command: LoadApplication) -> Upload:
    room = min(definition.code_size, core.profile.programme)
    if command.total > room:
        raise MemoryFull("code-too-large", f"{command.total} octets for {room}")
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


def install(
    core: Core, definition: Definition, version: int, code: bytes, *, keep_data: bool = False
) -> None:
    """Put a whole programme into its resource, in the place of the one before, if it is newer than that.

    Its data part begins anew, as the programme has it; with *keep_data* it stays, if there was a programme.
    Raises ApplicationRefused, or what else keeps it from running here; nothing has changed then.
    """
    same = digest_of(code) == definition.code_digest
    if same and version == definition.version:
        return  # said twice, done once: the data stays what it has become
    event = loading(definition)
    if version <= definition.version:
        raise ApplicationRefused("version-not-newer", f"{version} after {definition.version}")
    data = run_unit.load(code, rights=definition.rights, data_size=definition.data_size)
    with core.memory.transaction() as transaction:
        changed = _loaded(core.definitions.write_code(transaction, definition, code), event, version)
        if not (keep_data and definition.code_length):
            core.definitions.write_data(transaction, changed, data)
        core.definitions.put(transaction, changed)
    core.note("application.loaded", tar=definition.tar)


@lru_cache(maxsize=_LOADED)
def _loaded(definition: Definition, event: ResourceEvent, version: int) -> Definition:
    """Return what a definition becomes: the same for all modules of the process that have the same one."""
    return definition.after(event, version=version)


_COMMANDS: Final[Mapping[type[Any], Callable[[Core, Definition, Any, float], Result]]] = {
    LoadApplication: _load_application,
    LoadData: _load_data,
    Invoke: _invoke,
    Push: _push,
    Held: _held,
    RenewDomainKey: domain_renewal.renew,
}
