"""The security module as its terminal sees it: APDU in, APDU out (TS 102 221, TS 31.111).

    80 10  TERMINAL PROFILE      what the terminal can do
    00 A4  SELECT                EF.CBMID, the one file that a terminal has to read, by its path
    00 B0  READ BINARY           the identifiers of the cell broadcasts that the module wants
    80 C2  ENVELOPE              a short message or a page to download, a menu item, an event of a channel
    80 12  FETCH                 the proactive command that waits
    80 14  TERMINAL RESPONSE     what became of it
    80 E2  STORE DATA            personalisation, in blocks; gone once it is done (GlobalPlatform 11.11)
    80 CA  GET DATA              the module's signed public key, once it is personalised (GlobalPlatform 11.3)

The module is a pure machine: time is an argument, randomness was given to it, and what it changed waits in
``take_changes`` for whoever powers it, who must make it durable before the response goes any further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agents.handset.security_module import download, limits, links, menu, personalisation
from agents.handset.security_module.core import EF_CBMID, Core
from agents.handset.security_module.memory import DEFAULT_RESOURCES, Memory
from agents.handset.security_module.profile import STANDARD, burn
from transport import apdu
from transport.apdu import CommandApdu, ResponseApdu
from transport.errors import ApduRejected, Rejected
from transport.toolkit import CommandType, Envelope, Tag, TerminalResponse, TerminalResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agents.handset.security_module.core import Note
    from agents.handset.security_module.definitions import DefinitionTable
    from agents.handset.security_module.profile import Profile
    from transport.security.suites import Rng

INTERINDUSTRY: Final = 0x00
PROPRIETARY: Final = 0x80
INS_TERMINAL_PROFILE: Final = 0x10
INS_FETCH: Final = 0x12
INS_TERMINAL_RESPONSE: Final = 0x14
INS_ENVELOPE: Final = 0xC2
INS_GET_DATA: Final = 0xCA
INS_STORE_DATA: Final = 0xE2
INS_SELECT: Final = 0xA4
INS_READ_BINARY: Final = 0xB0
CBMID_ENTRIES: Final = 16
"""How many identifiers EF.CBMID has room for."""


class SecurityModule:
    """One module, powered: its memory, and the volatile state that a reset loses."""

    __slots__ = ("_core",)

    def __init__(self, memory: Memory, *, rng: Rng) -> None:
        """Boot from *memory*. Raises ImageRejected when it is corrupt."""
        self._core = Core(memory, rng)
        self._core.definitions.verify()

    @classmethod
    def blank(
        cls, size: int, *, rng: Rng, resources: int = DEFAULT_RESOURCES, profile: Profile = STANDARD
    ) -> SecurityModule:
        """Return a module as it leaves the chip maker: *size* octets of memory, formatted, nobody's.

        Raises ValueError when no such memory can be.
        """
        memory = Memory.format(size, resources)
        if profile != STANDARD:
            burn(memory, profile)
        return cls(memory, rng=rng)

    @property
    def ua(self) -> str | None:
        """The module's unique address; None while it is blank."""
        return self._core.identity.ua if self._core.identity else None

    @property
    def definitions(self) -> DefinitionTable:
        """DEF, to be read."""
        return self._core.definitions

    def process(self, command: bytes, now: float) -> bytes:
        """Take one command APDU at *now* (Unix seconds); return the response APDU, whatever came."""
        try:
            parsed = CommandApdu.parse(command)
        except ApduRejected:
            return ResponseApdu(status=apdu.SW_WRONG_LENGTH).encode()
        if parsed.cla not in _CLASSES:
            return ResponseApdu(status=apdu.SW_CLA_NOT_SUPPORTED).encode()
        handler = _HANDLERS.get((parsed.cla, parsed.ins))
        if handler is None:
            return ResponseApdu(status=apdu.SW_INS_NOT_SUPPORTED).encode()
        now = self._core.time(now)
        limits.enforce(self._core, now)
        response = handler(self._core, parsed, now)
        return self._announce(response).encode()

    def take_changes(self) -> list[tuple[int, bytes]]:
        """Return the pages changed since they were last taken: (page number, octets)."""
        return self._core.memory.take_changes()

    def take_notes(self) -> Iterable[Note]:
        """Return what happened since they were last taken, for a log; without any secret."""
        notes = tuple(self._core.notes)
        self._core.notes.clear()
        return notes

    def _announce(self, response: ResponseApdu) -> ResponseApdu:
        """Say in a good status word that a proactive command waits (TS 102 221 clause 7.4.2.1)."""
        if response.status != apdu.SW_OK or not self._core.proactive:
            return response
        length = len(self._core.proactive[0].encode())
        return ResponseApdu(data=response.data, status=apdu.SW_PROACTIVE | (length & 0xFF))


def _terminal_profile(_core: Core, _command: CommandApdu, _now: float) -> ResponseApdu:
    return ResponseApdu()


def _envelope(core: Core, command: CommandApdu, now: float) -> ResponseApdu:
    try:
        envelope = Envelope.parse(command.data)
        return ResponseApdu(data=_ENVELOPES[envelope.tag](core, envelope, now))
    except Rejected as rejection:
        core.note("envelope.refused", reason=rejection.reason)
        return ResponseApdu(status=apdu.SW_TECHNICAL_PROBLEM)


def _short_message(core: Core, envelope: Envelope, now: float) -> bytes:
    return download.receive(core, envelope.tpdu, now)


def _page(core: Core, envelope: Envelope, now: float) -> bytes:
    download.broadcast(core, envelope.page, now)
    return b""


def _menu_item(core: Core, envelope: Envelope, _now: float) -> bytes:
    menu.select(core, envelope.item)
    return b""


def _event(core: Core, envelope: Envelope, now: float) -> bytes:
    links.event(core, envelope, now, download.take)
    return b""


def _timer(core: Core, envelope: Envelope, now: float) -> bytes:
    links.expired(core, envelope.timer, now, download.take)
    return b""


def _select(core: Core, command: CommandApdu, _now: float) -> ResponseApdu:
    # By path from the MF (P1 08), which the path may name or leave out; without an answer (P2 0C).
    core.selected = command.p1 == 0x08 and command.data in (EF_CBMID, EF_CBMID[2:])
    return ResponseApdu(status=apdu.SW_OK if core.selected else apdu.SW_FILE_NOT_FOUND)


def _read_binary(core: Core, command: CommandApdu, _now: float) -> ResponseApdu:
    if not core.selected:
        return ResponseApdu(status=apdu.SW_CONDITIONS_NOT_SATISFIED)
    file = core.filter.encode(CBMID_ENTRIES)
    offset = command.p1 << 8 | command.p2
    if offset >= len(file):
        return ResponseApdu(status=apdu.SW_WRONG_PARAMETERS)
    return ResponseApdu(data=file[offset : offset + (command.expected or 256)])


def _fetch(core: Core, _command: CommandApdu, _now: float) -> ResponseApdu:
    if not core.proactive:
        return ResponseApdu(status=apdu.SW_CONDITIONS_NOT_SATISFIED)
    # One at a time: what is fetched is done with; its terminal response only tells how it went.
    core.fetched = core.proactive.popleft()
    return ResponseApdu(data=core.fetched.encode())


def _terminal_response(core: Core, command: CommandApdu, now: float) -> ResponseApdu:
    try:
        response = TerminalResponse.parse(command.data)
    except Rejected as rejection:
        core.note("terminal_response.refused", reason=rejection.reason)
        return ResponseApdu(status=apdu.SW_WRONG_DATA)
    links.responded(core, response, now, download.take)
    if response.type is CommandType.GET_INPUT:
        if response.result is TerminalResult.OK:
            menu.typed(core, response.text.decode("utf-8", errors="replace"), now)
        else:
            core.dialogue = None  # the subscriber turned away: nothing was asked for
    return ResponseApdu()


_ENVELOPES: Final[Mapping[Tag, Callable[[Core, Envelope, float], bytes]]] = {
    Tag.SMS_PP_DOWNLOAD: _short_message,
    Tag.CELL_BROADCAST_DOWNLOAD: _page,
    Tag.MENU_SELECTION: _menu_item,
    Tag.EVENT_DOWNLOAD: _event,
    Tag.TIMER_EXPIRATION: _timer,
}
_HANDLERS: Final[Mapping[tuple[int, int], Callable[[Core, CommandApdu, float], Any]]] = {
    (PROPRIETARY, INS_TERMINAL_PROFILE): _terminal_profile,
    (PROPRIETARY, INS_ENVELOPE): _envelope,
    (PROPRIETARY, INS_FETCH): _fetch,
    (PROPRIETARY, INS_TERMINAL_RESPONSE): _terminal_response,
    (PROPRIETARY, INS_STORE_DATA): personalisation.store_data,
    (PROPRIETARY, INS_GET_DATA): personalisation.get_data,
    (INTERINDUSTRY, INS_SELECT): _select,
    (INTERINDUSTRY, INS_READ_BINARY): _read_binary,
}
_CLASSES: Final = frozenset(cla for cla, _ in _HANDLERS)
