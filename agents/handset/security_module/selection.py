"""Which file is current: SELECT, which chooses it, and STATUS, which says where we are (TS 102 221).

A module that was just powered is at its MF, and no application is active: identifier 7FFF, and a path that
begins with it, lead nowhere before the USIM was selected by its name. What cannot be done leaves everything
as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.errors import CommandRefused
from agents.handset.security_module.files import (
    APPLICATIONS,
    CURRENT_APPLICATION,
    MF,
    File,
    Kind,
    children,
    control_parameters,
    directories,
)
from transport import apdu, ber_tlv
from transport.apdu import ResponseApdu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agents.handset.security_module.core import Core
    from transport.apdu import CommandApdu

IDENTIFIER_OCTETS: Final = 2
MAX_AID: Final = 16
_NO_DATA: Final = 0x0C
_DF_NAME: Final = 0x84


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Where a terminal is: in a *directory*, at a *file* of it or at none, at its *record* (0: at none).

    *application* is the active one's ADF; that stays when another directory becomes current.
    """

    directory: File = MF
    file: File | None = None
    record: int = 0
    application: File | None = None


AT_RESET: Final = Selection()


def exactly(command: CommandApdu, data: bytes) -> ResponseApdu:
    """Return *data* if the command expects all there is (Le = 00) or just as much; else say how much it is.

    Nothing may have been done yet: the terminal is going to repeat the command (clause 7.3.1.1.2).
    """
    if command.expected not in (256, len(data)):
        raise CommandRefused(apdu.SW_EXACT_LENGTH | len(data) & 0xFF)
    return ResponseApdu(data=data)


# --- SELECT ---


def select(core: Core, command: CommandApdu, _now: float) -> ResponseApdu:
    """SELECT: find the file by what P1 says, and describe it if P2 says so (clause 11.1.1)."""
    by_name = command.p1 == _BY_NAME
    find = _FIND.get(command.p1)
    if find is None or command.p2 & ~(_NAME_CONTROL if by_name else 0) not in (0x04, _NO_DATA):
        raise CommandRefused(apdu.SW_WRONG_P1_P2)
    file = find(core.selected, command)
    core.selected = _after(core.selected, file, command.p2 if by_name else 0)
    wants_nothing = command.p2 & _NO_DATA == _NO_DATA
    return ResponseApdu(data=b"" if wants_nothing else control_parameters(core, file))


def _after(selected: Selection, file: File, name_control: int) -> Selection:
    """Return the selection in which *file* was selected; a session that is terminated leaves the MF."""
    if name_control & _TERMINATE:
        return AT_RESET
    if file.kind is not Kind.DIRECTORY:
        assert file.parent is not None, "only the MF has no parent"
        return replace(selected, directory=file.parent, file=file, record=0)
    application = file if file.aid else selected.application
    return Selection(directory=file, application=application)


def _by_identifier(selected: Selection, command: CommandApdu) -> File:
    """Find a child, the parent, a directory beside us, the MF or the application's ADF (clause 8.4.1)."""
    if not command.data and command.p2 == _NO_DATA:
        return MF
    here, parent = selected.directory, selected.directory.parent
    beside = directories(parent) if parent else []
    near = (*children(here), here, parent, *beside, MF, selected.application)
    identifier = _identifier(command.data)
    return _first(file for file in near if file and file.identifier == identifier)


def _child_directory(selected: Selection, command: CommandApdu) -> File:
    identifier = _identifier(command.data)
    return _first(file for file in directories(selected.directory) if file.identifier == identifier)


def _parent(selected: Selection, command: CommandApdu) -> File:
    if command.data:
        raise CommandRefused(apdu.SW_LENGTH_AGAINST_P1_P2)
    if selected.directory.parent is None:
        raise CommandRefused(apdu.SW_FILE_NOT_FOUND)
    return selected.directory.parent


def _by_name(selected: Selection, command: CommandApdu) -> File:
    """Find an application by its AID, or the beginning of it (clause 8.5.1.2)."""
    if not 1 <= len(command.data) <= MAX_AID:
        raise CommandRefused(apdu.SW_LENGTH_AGAINST_P1_P2)
    found = [file for file in APPLICATIONS if file.aid.startswith(command.data)]
    if command.p2 & _TERMINATE:
        found = [file for file in found if file is selected.application]
    elif command.p2 & _ANOTHER:
        found = [file for file in found if file is not selected.application]
    return _first(found)


def _by_path(selected: Selection, command: CommandApdu) -> File:
    """Follow a path from the MF, whose identifier it may begin with, or from the application's ADF."""
    path = _path(command.data)
    if path[0] == MF.identifier:
        path = path[1:]
    if path[:1] == [CURRENT_APPLICATION] and selected.application is not None:
        return _follow(selected.application, path[1:])
    return _follow(MF, path)


def _by_path_from_here(selected: Selection, command: CommandApdu) -> File:
    return _follow(selected.directory, _path(command.data))


def _follow(file: File, path: Iterable[bytes]) -> File:
    for identifier in path:
        file = _first(child for child in children(file) if child.identifier == identifier)
    return file


def _first(files: Iterable[File]) -> File:
    for file in files:
        return file
    raise CommandRefused(apdu.SW_FILE_NOT_FOUND)


def _identifier(octets: bytes) -> bytes:
    if len(octets) != IDENTIFIER_OCTETS:
        raise CommandRefused(apdu.SW_LENGTH_AGAINST_P1_P2)
    return octets


def _path(octets: bytes) -> list[bytes]:
    if not octets or len(octets) % IDENTIFIER_OCTETS:
        raise CommandRefused(apdu.SW_LENGTH_AGAINST_P1_P2)
    return [octets[at : at + IDENTIFIER_OCTETS] for at in range(0, len(octets), IDENTIFIER_OCTETS)]


# P1 (table 11.1).
_BY_NAME: Final = 0x04
_FIND: Final[Mapping[int, Callable[[Selection, CommandApdu], File]]] = {
    0x00: _by_identifier,
    0x01: _child_directory,
    0x03: _parent,
    _BY_NAME: _by_name,
    0x08: _by_path,
    0x09: _by_path_from_here,
}
# P2 of a selection by name (table 11.2). There is one application, so the first that matches is the last one
# too, and the next or the previous one is it unless it is where we are.
_TERMINATE: Final = 0x40
_ANOTHER: Final = 0x02
_NAME_CONTROL: Final = _TERMINATE | 0x03


# --- STATUS ---


def status(core: Core, command: CommandApdu, _now: float) -> ResponseApdu:
    """STATUS: where we are, or which application is active (clause 11.1.2)."""
    if command.p1 not in _STATUS_INDICATIONS or command.p2 not in _STATUS_ANSWERS:
        raise CommandRefused(apdu.SW_WRONG_P1_P2)
    return _STATUS_ANSWERS[command.p2](core, command)


def _describe_directory(core: Core, command: CommandApdu) -> ResponseApdu:
    return exactly(command, control_parameters(core, core.selected.directory))


def _name_application(core: Core, command: CommandApdu) -> ResponseApdu:
    if core.selected.application is None:
        raise CommandRefused(apdu.SW_CONDITIONS_NOT_SATISFIED)
    return exactly(command, ber_tlv.encode(_DF_NAME, core.selected.application.aid))


_STATUS_INDICATIONS: Final = range(3)
"""Nothing; that the application is initialised in the terminal; that its session is going to end."""
_STATUS_ANSWERS: Final[Mapping[int, Callable[[Core, CommandApdu], ResponseApdu]]] = {
    0x00: _describe_directory,
    0x01: _name_application,
    _NO_DATA: lambda _core, _command: ResponseApdu(),
}
