"""APDU in, APDU out: which command there is in which class, and how a response gets to the terminal.

    80 10  TERMINAL PROFILE      what the terminal can do                                     toolkit
    80 C2  ENVELOPE              a short message or a page to download, a menu item, …        toolkit
    80 12  FETCH                 the proactive command that waits                             toolkit
    80 14  TERMINAL RESPONSE     what became of it                                            toolkit
    80 F2  STATUS                where we are                                                 selection
    00 A4  SELECT                another file                                                 selection
    00 B0  READ BINARY           what is in it                                                reading
    00 B2  READ RECORD           likewise                                                     reading
    00 D6  UPDATE BINARY         nobody may                                                   reading
    00 DC  UPDATE RECORD         likewise                                                     reading
    00 20  VERIFY PIN            PIN 1 is disabled                                            here
    00 70  MANAGE CHANNEL        there is the basic channel only                              here
    00 C0  GET RESPONSE          the rest of a response                                       here
    80 E2  STORE DATA            personalisation, in blocks; gone once it is done             personalisation
    80 CA  GET DATA              the module's signed public key, once it is personalised      personalisation

The first lines are TS 102 221's, the last two GlobalPlatform's (clauses 11.11 and 11.3).

The module is offered for T=0 and T=1, and what brings the APDUs (a card reader's driver, the handset's slot)
does not say which. The command itself does. One with Le gets its response at once, as over T=1. One that has
data and no Le, because T=0 has no room for both, gets 61xx and then, by GET RESPONSE, the response with the
status word that it would have had; GET RESPONSE is taken in both classes, because terminals keep the
command's. A command that only asks, with an Le that is neither the answer's length nor 00, gets 6Cxx, and
nothing has happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.handset.security_module import heard, limits, personalisation, reading, selection, toolkit
from agents.handset.security_module.errors import CommandRefused
from transport import apdu
from transport.apdu import HEADER_OCTETS, INTERINDUSTRY, PROPRIETARY, CommandApdu, ResponseApdu
from transport.errors import ApduRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.handset.security_module.core import Core

    Handler = Callable[[Core, CommandApdu, float], ResponseApdu]

PIN_1: Final = 0x01
PIN_OCTETS: Final = 8
PIN_RETRIES: Final = 3


def answer(core: Core, octets: bytes, now: float) -> ResponseApdu:
    """Take one command APDU, whatever its octets are."""
    waiting, core.waiting = core.waiting, None  # for the very next command, or for nobody (clause 12.1.1.1)
    try:
        command = _parse(octets)
        if command.ins == apdu.INS_GET_RESPONSE:
            return _get_response(core, command, waiting)
        now = core.time(now)
        limits.enforce(core, now)
        response = _HANDLERS[command.cla, command.ins](core, command, now)
    except CommandRefused as refused:
        return ResponseApdu(status=refused.status)
    return _hand_out(core, command, toolkit.announce(core, command, response))


def _parse(octets: bytes) -> CommandApdu:
    """Return a command that we have: the class is looked at first, then instruction, parameters, lengths."""
    is_page = heard.is_page(octets)
    if not is_page:  # what begins a page is what _check asks for
        _check(octets)
    try:
        return heard.command(octets) if is_page else CommandApdu.parse(octets)
    except ApduRejected:
        raise CommandRefused(apdu.SW_WRONG_LENGTH) from None


def _check(octets: bytes) -> None:
    if len(octets) < HEADER_OCTETS:
        raise CommandRefused(apdu.SW_WRONG_LENGTH)
    cla, ins, p1, p2 = octets[:HEADER_OCTETS]
    if cla not in _CLASSES:
        raise CommandRefused(_OTHER_CLASSES.get(cla, apdu.SW_CLA_NOT_SUPPORTED))
    if (cla, ins) not in _HANDLERS and ins != apdu.INS_GET_RESPONSE:
        raise CommandRefused(apdu.SW_INS_NOT_SUPPORTED)
    if ins in _WITHOUT_PARAMETERS and (p1 or p2):
        raise CommandRefused(apdu.SW_WRONG_P1_P2)


def _hand_out(core: Core, command: CommandApdu, response: ResponseApdu) -> ResponseApdu:
    """Return as much of *response* as the command expects; keep the rest for GET RESPONSE."""
    room = command.expected or 0
    rest = response.data[room:]
    if not rest:
        return response
    core.waiting = ResponseApdu(data=rest, status=response.status)
    more = min(len(rest), 0x100) & 0xFF
    return ResponseApdu(data=response.data[:room], status=apdu.SW_MORE_DATA | more)


def _get_response(core: Core, command: CommandApdu, waiting: ResponseApdu | None) -> ResponseApdu:
    if waiting is None:
        raise CommandRefused(apdu.SW_TECHNICAL_PROBLEM)
    if len(waiting.data) < (command.expected or 0) < 256:
        core.waiting = waiting
        raise CommandRefused(apdu.SW_EXACT_LENGTH | len(waiting.data))
    return _hand_out(core, command, waiting)


def _verify_pin(_core: Core, command: CommandApdu, _now: float) -> ResponseApdu:
    """Say that PIN 1 is disabled: it can be asked for, and not be verified (clause 11.1.9)."""
    if command.p1:
        raise CommandRefused(apdu.SW_WRONG_P1_P2)
    if command.p2 != PIN_1:
        raise CommandRefused(apdu.SW_REFERENCE_NOT_FOUND)
    if not command.data:
        raise CommandRefused(apdu.SW_RETRIES_LEFT | PIN_RETRIES)
    wrong = len(command.data) != PIN_OCTETS
    raise CommandRefused(apdu.SW_WRONG_LENGTH if wrong else apdu.SW_REFERENCE_INVALIDATED)


def _manage_channel(_core: Core, _command: CommandApdu, _now: float) -> ResponseApdu:
    raise CommandRefused(apdu.SW_CHANNEL_NOT_SUPPORTED)


_HANDLERS: Final[Mapping[tuple[int, int], Handler]] = {
    (PROPRIETARY, apdu.INS_TERMINAL_PROFILE): toolkit.terminal_profile,
    (PROPRIETARY, apdu.INS_ENVELOPE): toolkit.envelope,
    (PROPRIETARY, apdu.INS_FETCH): toolkit.fetch,
    (PROPRIETARY, apdu.INS_TERMINAL_RESPONSE): toolkit.terminal_response,
    (PROPRIETARY, apdu.INS_STATUS): selection.status,
    (INTERINDUSTRY, apdu.INS_SELECT): selection.select,
    (INTERINDUSTRY, apdu.INS_READ_BINARY): reading.read_binary,
    (INTERINDUSTRY, apdu.INS_READ_RECORD): reading.read_record,
    (INTERINDUSTRY, apdu.INS_UPDATE_BINARY): reading.update,
    (INTERINDUSTRY, apdu.INS_UPDATE_RECORD): reading.update,
    (INTERINDUSTRY, apdu.INS_VERIFY_PIN): _verify_pin,
    (INTERINDUSTRY, apdu.INS_MANAGE_CHANNEL): _manage_channel,
    (PROPRIETARY, apdu.INS_STORE_DATA): personalisation.store_data,
    (PROPRIETARY, apdu.INS_GET_DATA): personalisation.get_data,
}
_WITHOUT_PARAMETERS: Final = frozenset(
    {
        apdu.INS_TERMINAL_PROFILE,
        apdu.INS_ENVELOPE,
        apdu.INS_FETCH,
        apdu.INS_TERMINAL_RESPONSE,
        apdu.INS_GET_RESPONSE,
    }
)
_CLASSES: Final = frozenset(cla for cla, _ in _HANDLERS)


def _other_classes() -> dict[int, int]:
    """Return the status word for each class that differs from ours in a channel or in secure messaging.

    Clause 10.1.1: bits 2 and 1 of 0X and 8X are the channel, bits 4 and 3 say secure messaging; 4X and CX
    begin at channel 4, and so do 6X and EX, with secure messaging.
    """
    found = {}
    for cla in range(0x100):
        if cla & 0x70 == 0x00:
            on_basic_channel = cla & 0x03 == 0
        elif cla & 0x70 in (0x40, 0x60):
            on_basic_channel = False
        else:
            continue
        found[cla] = (
            apdu.SW_SECURE_MESSAGING_NOT_SUPPORTED if on_basic_channel else apdu.SW_CHANNEL_NOT_SUPPORTED
        )
    return found


_OTHER_CLASSES: Final[Mapping[int, int]] = _other_classes()
