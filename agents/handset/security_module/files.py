"""The module's file system: one table, and how its files are described (TS 102 221 clauses 8, 11.1.1 and 13).

    3F00 MF
    ├── 2F00 EF.DIR      which applications there are: one, the USIM
    ├── 2F05 EF.PL       preferred languages: none
    ├── 2F06 EF.ARR      the access rules that the other files refer to
    ├── 2FE2 EF.ICCID    the module's unique address
    └── 7FFF ADF.USIM    by the name A0000000871002FFFFFFFF8900000100 (TS 31.102)
        ├── 6F38 EF.UST     what it can do: data download by short message and by cell broadcast
        └── 6F48 EF.CBMID   the identifiers of the cell broadcasts that the module wants

What a file holds is made when it is read; nobody writes to it over the contacts. What a USIM has besides,
identity and authentication towards a network, is not there, because there is no network that would ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from transport import ber_tlv, usim
from transport.iccid import OCTETS, iccid_octets

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.handset.security_module.core import Core

CBMID_ENTRIES: Final = 16
"""How many identifiers EF.CBMID has room for."""
USIM_AID: Final = usim.USIM + bytes.fromhex("FFFFFFFF8900000100")
"""RID of 3GPP, application code 1002 (USIM), any country, and a number of ours (TS 101 220 annex E)."""
CURRENT_APPLICATION: Final = bytes.fromhex("7FFF")
"""The identifier that names the ADF of the application that was selected last (clause 8.3)."""
_LABEL: Final = b"otafleet"
_UNUSED: Final = 0xFF


class Kind(Enum):
    """What a file is made of (clause 8.2), as its file descriptor says it (table 11.5)."""

    DIRECTORY = 0x78
    TRANSPARENT = 0x41
    LINEAR_FIXED = 0x42


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file. *rule* is the record of EF.ARR that says who may do what with it; *sfi* 0 is none.

    A directory that is an application's has its name, *aid*. An elementary file has what *content* returns,
    if it has records in pieces of *record* octets.
    """

    identifier: bytes
    kind: Kind
    rule: int
    parent: File | None = None
    aid: bytes = b""
    sfi: int = 0
    record: int = 0
    content: Callable[[Core], bytes] = lambda _core: b""

    def records(self, core: Core) -> list[bytes]:
        """Return its records, the first of which is number 1."""
        octets = self.content(core)
        return [octets[at : at + self.record] for at in range(0, len(octets), self.record)]


# TS 102 221 clause 13.4 and ISO/IEC 7816-4 clause 5.4.3: access mode 80, then ALWAYS (90) or NEVER (97).
_READ_ONLY: Final = bytes.fromhex("800101 9000 80017E 9700")
_NOTHING_IN_IT_CHANGES: Final = bytes.fromhex("80017F 9700")
_RULES: Final = (_READ_ONLY, _NOTHING_IN_IT_CHANGES)
_FILE: Final = 1
_DIRECTORY: Final = 2


def _in_records(records: tuple[bytes, ...]) -> bytes:
    """Return records of one length, the shorter ones filled up."""
    length = max(map(len, records))
    return b"".join(record + bytes((_UNUSED,)) * (length - len(record)) for record in records)


def _iccid(core: Core) -> bytes:
    return iccid_octets(core.identity.ua) if core.identity else bytes((_UNUSED,)) * OCTETS


def _wanted_broadcasts(core: Core) -> bytes:
    return core.filter.encode(CBMID_ENTRIES)


_APPLICATION: Final = ber_tlv.encode(
    usim.APPLICATION,
    ber_tlv.encode(usim.APPLICATION_NAME, USIM_AID) + ber_tlv.encode(usim.APPLICATION_LABEL, _LABEL),
)
_ACCESS_RULES: Final = _in_records(_RULES)
_USIM_SERVICES: Final = usim.service_table(usim.Service)

MF: Final = File(identifier=bytes.fromhex("3F00"), kind=Kind.DIRECTORY, rule=_DIRECTORY)
_ADF_USIM: Final = File(
    identifier=CURRENT_APPLICATION, kind=Kind.DIRECTORY, rule=_DIRECTORY, parent=MF, aid=USIM_AID
)
FILES: Final = (
    MF,
    _ADF_USIM,
    File(
        identifier=bytes.fromhex("2F00"),
        kind=Kind.LINEAR_FIXED,
        rule=_FILE,
        parent=MF,
        sfi=usim.SFI_DIR,
        record=len(_APPLICATION),
        content=lambda _core: _APPLICATION,
    ),
    File(
        identifier=bytes.fromhex("2F05"),
        kind=Kind.TRANSPARENT,
        rule=_FILE,
        parent=MF,
        sfi=0x05,
        content=lambda _core: bytes((_UNUSED, _UNUSED)),
    ),
    File(
        identifier=bytes.fromhex("2F06"),
        kind=Kind.LINEAR_FIXED,
        rule=_FILE,
        parent=MF,
        sfi=0x06,
        record=len(_ACCESS_RULES) // len(_RULES),
        content=lambda _core: _ACCESS_RULES,
    ),
    File(
        identifier=bytes.fromhex("2FE2"),
        kind=Kind.TRANSPARENT,
        rule=_FILE,
        parent=MF,
        sfi=0x02,
        content=_iccid,
    ),
    File(
        identifier=bytes.fromhex("6F38"),
        kind=Kind.TRANSPARENT,
        rule=_FILE,
        parent=_ADF_USIM,
        sfi=usim.SFI_UST,
        content=lambda _core: _USIM_SERVICES,
    ),
    File(
        identifier=bytes.fromhex("6F48"),
        kind=Kind.TRANSPARENT,
        rule=_FILE,
        parent=_ADF_USIM,
        sfi=usim.SFI_CBMID,
        content=_wanted_broadcasts,
    ),
)
APPLICATIONS: Final = tuple(file for file in FILES if file.aid)


def children(directory: File) -> list[File]:
    """Return the files in *directory*; an application's is in none, it is found by its name alone."""
    return [file for file in FILES if file.parent is directory and not file.aid]


def directories(directory: File) -> list[File]:
    """Return the directories in *directory*."""
    return [file for file in children(directory) if file.kind is Kind.DIRECTORY]


# What the templates say of every file alike.
_DATA_CODING: Final = 0x21
_OPERATIONAL: Final = ber_tlv.encode(0x8A, b"\x05")
_UICC_CHARACTERISTICS: Final = ber_tlv.encode(0xA5, ber_tlv.encode(0x80, b"\x71"))
"""Of the MF: the clock may be stopped at any level; 1.8 V, 3 V and 5 V (table 11.6)."""
_PIN_STATUS: Final = ber_tlv.encode(0xC6, ber_tlv.encode(0x90, b"\0") + ber_tlv.encode(0x83, b"\x01"))
"""Of a directory: PIN 1 is there, and disabled (clause 9.5.2)."""
_ACCESS_RULES_FILE: Final = bytes.fromhex("2F06")


def control_parameters(core: Core, file: File) -> bytes:
    """Return the FCP template of *file* (tables 11.3 and 11.4)."""
    describe = _directory_objects if file.kind is Kind.DIRECTORY else _file_objects
    return ber_tlv.encode(0x62, describe(core, file))


def _directory_objects(_core: Core, file: File) -> bytes:
    name = ber_tlv.encode(0x84, file.aid) if file.aid else ber_tlv.encode(0x83, file.identifier)
    own = _UICC_CHARACTERISTICS if file is MF else b""
    return _descriptor(file) + name + own + _OPERATIONAL + _security(file) + _PIN_STATUS


def _file_objects(core: Core, file: File) -> bytes:
    size = len(file.content(core))
    counted = b""
    if file.kind is Kind.LINEAR_FIXED:
        counted = file.record.to_bytes(2, "big") + bytes((size // file.record,))
    return (
        _descriptor(file, counted)
        + ber_tlv.encode(0x83, file.identifier)
        + _OPERATIONAL
        + _security(file)
        + ber_tlv.encode(0x80, size.to_bytes(2, "big"))
        + ber_tlv.encode(0x88, bytes((file.sfi << 3,)))
    )


def _descriptor(file: File, counted: bytes = b"") -> bytes:
    return ber_tlv.encode(0x82, bytes((file.kind.value, _DATA_CODING)) + counted)


def _security(file: File) -> bytes:
    return ber_tlv.encode(0x8B, _ACCESS_RULES_FILE + bytes((file.rule,)))
