"""The toolkit's commands: TERMINAL PROFILE, ENVELOPE, FETCH, TERMINAL RESPONSE (TS 102 221 clause 11.2).

Before its TERMINAL PROFILE a terminal is taken for one without a toolkit: it is asked for nothing, whatever
it tells. Afterwards it is asked for what it has (``asking``). The latest profile counts, until a reset.

A good status word is 91xx while a proactive command waits; only that of FETCH is 9000, because the terminal
first does what it fetched, and hears after its TERMINAL RESPONSE what comes next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.handset.security_module import (
    asking,
    download,
    heard,
    links,
    menu,
    moments,
    pulling,
    reporting,
)
from agents.handset.security_module.errors import CommandRefused
from agents.handset.security_module.selection import exactly
from transport import apdu
from transport.apdu import ResponseApdu
from transport.errors import Rejected
from transport.toolkit import CommandType, Envelope, Tag, TerminalResponse, TerminalResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.handset.security_module.core import Core
    from transport.apdu import CommandApdu


def terminal_profile(core: Core, command: CommandApdu, now: float) -> ResponseApdu:
    """Take note of what the terminal can do."""
    if not command.data:
        raise CommandRefused(apdu.SW_WRONG_LENGTH)
    is_first = core.terminal is None
    asking.told(core, command.data)
    links.reconsider(core, now)
    if is_first:
        pulling.switched_on(core, now)
    return ResponseApdu()


def envelope(core: Core, command: CommandApdu, now: float) -> ResponseApdu:
    """Take an event."""
    try:
        is_page = command.data[:1] == _PAGE
        event = heard.envelope(command.data) if is_page else Envelope.parse(command.data)
        data = _ENVELOPES[event.tag](core, event, now)
        return ResponseApdu(data=data) if data else _DONE
    except Rejected as rejection:
        core.note("envelope.refused", reason=rejection.reason)
        return ResponseApdu(status=apdu.SW_TECHNICAL_PROBLEM)


def fetch(core: Core, command: CommandApdu, _now: float) -> ResponseApdu:
    """Hand out the proactive command that waits, the oldest."""
    if not core.proactive:
        raise CommandRefused(apdu.SW_CONDITIONS_NOT_SATISFIED)
    response = exactly(command, core.proactive[0].encode())
    # One at a time: what is fetched is done with; its terminal response only tells how it went.
    core.fetched = core.proactive.popleft()
    return response


def terminal_response(core: Core, command: CommandApdu, now: float) -> ResponseApdu:
    """Take the terminal's word on what was fetched."""
    try:
        response = TerminalResponse.parse(command.data)
    except Rejected as rejection:
        core.note("terminal_response.refused", reason=rejection.reason)
        return ResponseApdu(status=apdu.SW_WRONG_DATA)
    links.responded(core, response, now, download.take)
    reporting.responded(core, response, now)
    core.fetched = None
    if response.type is CommandType.GET_INPUT:
        if response.result is TerminalResult.OK:
            menu.typed(core, response.text.decode("utf-8", errors="replace"), now)
        else:
            core.dialogue = None  # the subscriber turned away: nothing was asked for
    return ResponseApdu()


def announce(core: Core, command: CommandApdu, response: ResponseApdu) -> ResponseApdu:
    """Say in a good status word that a proactive command waits (TS 102 221 clause 7.4.2.1)."""
    if response.status != apdu.SW_OK or not core.proactive or command.ins == apdu.INS_FETCH:
        return response
    length = len(core.proactive[0].encode())
    return ResponseApdu(data=response.data, status=apdu.SW_PROACTIVE | (length & 0xFF))


def _short_message(core: Core, event: Envelope, now: float) -> bytes:
    return download.receive(core, event.tpdu, now)


def _page(core: Core, event: Envelope, now: float) -> bytes:
    download.broadcast(core, event.page, now)
    return b""


def _menu_item(core: Core, event: Envelope, _now: float) -> bytes:
    menu.select(core, event.item)
    return b""


def _event(core: Core, event: Envelope, now: float) -> bytes:
    links.event(core, event, now, download.take)
    return b""


def _timer(core: Core, event: Envelope, now: float) -> bytes:
    links.expired(core, event.timer, now, download.take)
    first = core.moments.earliest
    if event.timer == moments.TIMER and first is not None:
        # Where our time stands still the timer says that time has passed, as it does for links.
        now = max(now, first)
        reporting.due(core, now)
        pulling.due(core, now)
        moments.set_timer(core, now, None)
    return b""


_DONE: Final = ResponseApdu()
_PAGE: Final = bytes([Tag.CELL_BROADCAST_DOWNLOAD])
_ENVELOPES: Final[Mapping[Tag, Callable[[Core, Envelope, float], bytes]]] = {
    Tag.SMS_PP_DOWNLOAD: _short_message,
    Tag.CELL_BROADCAST_DOWNLOAD: _page,
    Tag.MENU_SELECTION: _menu_item,
    Tag.EVENT_DOWNLOAD: _event,
    Tag.TIMER_EXPIRATION: _timer,
}
