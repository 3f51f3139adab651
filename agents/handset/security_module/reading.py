"""What elementary files hold: READ BINARY, READ RECORD, and UPDATE, which nobody may (TS 102 221).

A file is the current one, or is named by its short identifier and becomes the current one. What cannot be
done leaves everything as it was.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from typing import TYPE_CHECKING

from agents.handset.security_module.errors import CommandRefused
from agents.handset.security_module.files import File, Kind, children
from agents.handset.security_module.selection import exactly
from transport import apdu

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core
    from agents.handset.security_module.selection import Selection
    from transport.apdu import CommandApdu, ResponseApdu


class _Mode(IntEnum):
    """Which record is meant (table 11.11)."""

    NEXT = 0x02
    PREVIOUS = 0x03
    ABSOLUTE = 0x04


def read_binary(core: Core, command: CommandApdu, _now: float) -> ResponseApdu:
    """READ BINARY (clause 11.1.3)."""
    selected, offset = _transparent(core, command)
    octets = _file(selected).content(core)
    if offset >= len(octets):
        raise CommandRefused(apdu.SW_WRONG_PARAMETERS)
    rest = octets[offset : offset + 256]
    response = exactly(command, rest[: command.expected])
    core.selected = selected
    return response


def read_record(core: Core, command: CommandApdu, _now: float) -> ResponseApdu:
    """READ RECORD: all of one, always (clause 11.1.5)."""
    selected, number = _in_linear(core, command)
    response = exactly(command, _file(selected).records(core)[number - 1])
    core.selected = selected
    return response


def update(core: Core, command: CommandApdu, _now: float) -> ResponseApdu:
    """UPDATE BINARY and UPDATE RECORD: whatever file it is, its access rule says never."""
    find = _transparent if command.ins == apdu.INS_UPDATE_BINARY else _in_linear
    find(core, command)
    raise CommandRefused(apdu.SW_SECURITY_STATUS_NOT_SATISFIED if command.data else apdu.SW_WRONG_LENGTH)


def _transparent(core: Core, command: CommandApdu) -> tuple[Selection, int]:
    """Return the selection that the command works on, and the offset in its file."""
    sfi, offset = 0, command.p1 << 8 | command.p2
    if command.p1 & 0x80:
        if command.p1 & 0x60:
            raise CommandRefused(apdu.SW_WRONG_P1_P2)
        sfi, offset = command.p1 & 0x1F, command.p2
        if not sfi:
            raise CommandRefused(apdu.SW_WRONG_P1_P2)
    return _current(core, sfi, Kind.TRANSPARENT), offset


def _in_linear(core: Core, command: CommandApdu) -> tuple[Selection, int]:
    """Return the selection after the command, and the number of the record that it is about."""
    mode = command.p2 & 0x07
    if mode not in set(_Mode) or (mode != _Mode.ABSOLUTE and command.p1):
        raise CommandRefused(apdu.SW_WRONG_P1_P2)
    selected = _current(core, command.p2 >> 3, Kind.LINEAR_FIXED)
    last = len(_file(selected).records(core))
    number = {
        _Mode.NEXT: selected.record + 1,
        _Mode.PREVIOUS: (selected.record or last + 1) - 1,
        _Mode.ABSOLUTE: command.p1 or selected.record,
    }[_Mode(mode)]
    if not 1 <= number <= last:
        raise CommandRefused(apdu.SW_RECORD_NOT_FOUND)
    record = selected.record if mode == _Mode.ABSOLUTE else number
    return replace(selected, record=record), number


def _current(core: Core, sfi: int, kind: Kind) -> Selection:
    """Return the selection with the file of short identifier *sfi* current, or with 0 as it is."""
    selected = core.selected
    if sfi:
        file = next((file for file in children(selected.directory) if file.sfi == sfi), None)
        if file is None:
            raise CommandRefused(apdu.SW_FILE_NOT_FOUND)
        selected = replace(selected, file=file, record=0)
    if selected.file is None:
        raise CommandRefused(apdu.SW_NO_FILE_SELECTED)
    if selected.file.kind is not kind:
        raise CommandRefused(apdu.SW_INCOMPATIBLE_FILE)
    return selected


def _file(selected: Selection) -> File:
    assert selected.file is not None, "whoever asks has made sure"
    return selected.file
