"""How a handset starts its module, before it brings it anything else (TS 31.102 clause 5.1.1).

First the card: EF.DIR says whether there is a USIM, and TERMINAL PROFILE tells the card what the handset can
do, which belongs to the card's initialisation and not to an application's (TS 31.111 clause 5.1); what the
card asks for then is done. Next the USIM: it is selected by its name, EF.UST says which services it has, the
file that one of them needs is read, and a STATUS says that the application is initialised.

What stands there is a stranger's word: a file that is missing or makes no sense says that there is nothing.
Files that only a subscriber's phone would read (languages, emergency numbers, the IMSI) are let alone, and
what is below APDUs, the answer to reset and the choice of a protocol, a slot without contacts has not got.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from transport import usim
from transport.apdu import (
    INS_READ_BINARY,
    INS_READ_RECORD,
    INS_SELECT,
    INS_STATUS,
    INS_TERMINAL_PROFILE,
    INTERINDUSTRY,
    PROPRIETARY,
    CommandApdu,
)
from transport.cell_broadcast import MessageFilter
from transport.errors import Rejected
from transport.toolkit import Facility

if TYPE_CHECKING:
    from typing import Protocol

    from agents.handset.slot import Slot
    from transport.apdu import ResponseApdu
    from transport.toolkit import TerminalProfile

    class Serve(Protocol):
        """Does what a module asks for, until it asks for nothing more."""

        async def __call__(self, response: ResponseApdu) -> object:
            """Begin with what *response* says that waits."""


_ANY: Final = 256
_BY_NAME: Final = 0x04
_NO_ANSWER: Final = 0x0C
_INITIALISED: Final = 0x01
"""P1 of STATUS: the current application is initialised in the terminal (TS 102 221 clause 11.1.2)."""
_ABSOLUTE: Final = 0x04
_SHORT_IDENTIFIER: Final = 0x80
MOST_APPLICATIONS: Final = 8
"""Records of EF.DIR that are looked at: a card without a USIM may have as many others as it likes."""
_KEPT: Final = 64
"""Different commands and files that are kept made and read: modules of a fleet have the same in theirs."""


class Usim:
    """The USIM that a handset found in its slot."""

    __slots__ = ("_name", "_profile", "_slot", "filter", "services")

    def __init__(self, slot: Slot, profile: TerminalProfile) -> None:
        self.services: frozenset[usim.Service] = frozenset()
        """What it has; nothing until it is started, or when there is none."""
        self.filter = MessageFilter()
        """The broadcasts that the module wants."""
        self._slot = slot
        self._profile = profile
        self._name = b""

    async def start(self, serve: Serve) -> None:
        """Start card and application; *serve* does what the card asks for when it knows the handset."""
        self._name = await self._find()
        await serve(await self._slot.transmit(_profile_command(self._profile)))
        if await self._select():
            self.services = _services_in(await self._read(_binary(usim.SFI_UST)))
            await self._read_filter()
            await serve(await self._slot.transmit(_STATUS))

    async def refresh(self) -> None:
        """Read again from EF.CBMID which broadcasts the module wants (TS 31.102 clause 4.2.20)."""
        # Who is at the contacts besides may have selected something else meanwhile.
        if await self._select():
            await self._read_filter()

    async def _select(self) -> bool:
        return bool(self._name) and (await self._slot.transmit(_select_command(self._name))).is_good

    async def _find(self) -> bytes:
        """Return the name of the first USIM in EF.DIR, empty if there is none."""
        for number in range(1, MOST_APPLICATIONS + 1):
            record = await self._read(_record(usim.SFI_DIR, number))
            name = _name_in(record)
            if name or not record:
                return name
        return b""

    async def _read_filter(self) -> None:
        can_hear = Facility.CELL_BROADCAST_DOWNLOAD in self._profile
        if can_hear and usim.Service.CELL_BROADCAST_DOWNLOAD in self.services:
            self.filter = _filter_in(await self._read(_binary(usim.SFI_CBMID)))

    async def _read(self, command: bytes) -> bytes:
        return (await self._slot.transmit(command)).data


# The same for all handsets of a kind, and their modules: made and read once.


@lru_cache(maxsize=_KEPT)
def _record(sfi: int, number: int) -> bytes:
    p2 = sfi << 3 | _ABSOLUTE
    return CommandApdu(cla=INTERINDUSTRY, ins=INS_READ_RECORD, p1=number, p2=p2, expected=_ANY).encode()


@lru_cache(maxsize=_KEPT)
def _binary(sfi: int) -> bytes:
    p1 = _SHORT_IDENTIFIER | sfi
    return CommandApdu(cla=INTERINDUSTRY, ins=INS_READ_BINARY, p1=p1, expected=_ANY).encode()


@lru_cache(maxsize=_KEPT)
def _select_command(name: bytes) -> bytes:
    return CommandApdu(cla=INTERINDUSTRY, ins=INS_SELECT, p1=_BY_NAME, p2=_NO_ANSWER, data=name).encode()


@lru_cache(maxsize=_KEPT)
def _profile_command(profile: TerminalProfile) -> bytes:
    return CommandApdu(cla=PROPRIETARY, ins=INS_TERMINAL_PROFILE, data=profile.octets).encode()


@lru_cache(maxsize=_KEPT)
def _name_in(record: bytes) -> bytes:
    return usim.usim_in(record)


@lru_cache(maxsize=_KEPT)
def _services_in(table: bytes) -> frozenset[usim.Service]:
    return usim.services_in(table)


@lru_cache(maxsize=_KEPT)
def _filter_in(octets: bytes) -> MessageFilter:
    try:
        return MessageFilter.parse(octets)
    except Rejected:
        return MessageFilter()


_STATUS: Final = CommandApdu(cla=PROPRIETARY, ins=INS_STATUS, p1=_INITIALISED, p2=_NO_ANSWER).encode()
