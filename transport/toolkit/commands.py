"""Proactive commands: what the module asks of its terminal (TS 102 223 clause 6.6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from transport import ber_tlv
from transport.errors import TlvRejected
from transport.toolkit import objects
from transport.toolkit.fields import Field, Layout, check, command_details, details, inside, read, write
from transport.toolkit.tags import (
    MAX_CHANNEL,
    MAX_FETCHED,
    MAX_TEXT,
    MAX_TIMER,
    MAX_TIMER_S,
    TIMER_START,
    CommandType,
    Device,
    EventCode,
    Tag,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transport.toolkit.channels import ChannelOpening


def _to(target: Device | None, *fields: Field) -> Layout:
    return Layout(Device.UICC, target, fields)


# TS 102 223 clause 6.6; the file list of REFRESH stands in 6.6.13.
_LAYOUTS: Final[Mapping[CommandType, Layout]] = {
    CommandType.REFRESH: _to(Device.TERMINAL, objects.FILES),
    CommandType.SET_UP_EVENT_LIST: _to(Device.TERMINAL, objects.EVENTS),
    CommandType.SEND_SHORT_MESSAGE: _to(Device.NETWORK, objects.TPDU),
    CommandType.DISPLAY_TEXT: _to(Device.DISPLAY, objects.TEXT),
    CommandType.GET_INPUT: _to(Device.TERMINAL, objects.TEXT, objects.ANSWER_LENGTH),
    CommandType.TIMER_MANAGEMENT: _to(Device.TERMINAL, objects.TIMER, objects.TIMER_VALUE_IF_ANY),
    CommandType.OPEN_CHANNEL: _to(Device.TERMINAL, objects.OPENING),
    CommandType.CLOSE_CHANNEL: _to(None),
    CommandType.RECEIVE_DATA: _to(None, objects.WANTED_LENGTH),
    CommandType.SEND_DATA: _to(None, objects.SENT_DATA),
    CommandType.GET_CHANNEL_STATUS: _to(Device.TERMINAL),
}
_COMMON: Final = frozenset({"type", "qualifier"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProactiveCommand:
    """What the module asks of its terminal; which fields belong to it, its *type* says.

    *tpdu*: SEND SHORT MESSAGE. *text*: DISPLAY TEXT, GET INPUT. *files*: REFRESH, each a path from the master
    file on. *events*: SET UP EVENT LIST. *opening*: OPEN CHANNEL. *channel* (1..7): CLOSE CHANNEL, SEND DATA
    with *data*, RECEIVE DATA with *length*, the octets wanted (1..255). *timer* (1..8): TIMER MANAGEMENT,
    with *timer_value_s* (1..86399) when its *qualifier* is TIMER_START.

    ``ValueError`` for a field that is out of its range, missing, or does not belong to the type, and for what
    one FETCH could not bring.
    """

    type: CommandType
    qualifier: int = 0
    tpdu: bytes = field(default=b"", repr=False)
    text: bytes = field(default=b"", repr=False)
    files: tuple[bytes, ...] = ()
    events: tuple[EventCode, ...] = ()
    channel: int = 0
    opening: ChannelOpening | None = None
    data: bytes = field(default=b"", repr=False)
    length: int = 0
    timer: int = 0
    timer_value_s: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be said."""
        layout = _LAYOUTS[self.type]
        check(self, layout, _COMMON)
        if len(self.text) > MAX_TEXT:
            raise ValueError(f"a text of {len(self.text)} octets does not fit")
        objects.check_files(self.files)
        if not 0 <= self.qualifier <= 0xFF:
            raise ValueError("a qualifier is one octet")
        if layout.target is None and not 1 <= self.channel <= MAX_CHANNEL:
            raise ValueError(f"a channel is 1..{MAX_CHANNEL}")
        if self.type is CommandType.RECEIVE_DATA and not 1 <= self.length <= 0xFF:
            raise ValueError("1..255 octets can be asked for")
        if self.type is CommandType.TIMER_MANAGEMENT:
            self._check_timer()
        if len(self.encode()) > MAX_FETCHED:
            raise ValueError(f"a FETCH brings at most {MAX_FETCHED} octets")

    def _check_timer(self) -> None:
        if not 1 <= self.timer <= MAX_TIMER:
            raise ValueError(f"a timer is 1..{MAX_TIMER}")
        if not 0 <= self.timer_value_s <= MAX_TIMER_S:
            raise ValueError(f"a timer runs for at most {MAX_TIMER_S} s")
        if (self.timer_value_s != 0) != (self.qualifier == TIMER_START):
            raise ValueError("a timer that is started has a value, and no other")

    @property
    def kind(self) -> str:
        """The name of the command."""
        return self.type.name

    def encode(self) -> bytes:
        """Return the BER-TLV D0 that FETCH brings."""
        body = command_details(self.type, self.qualifier) + write(self, _LAYOUTS[self.type])
        return ber_tlv.encode(Tag.PROACTIVE_COMMAND, body)

    @classmethod
    def parse(cls, octets: bytes) -> ProactiveCommand:
        """Read what FETCH brought. Raises TlvRejected, also for a command type that is not known here."""
        tlvs = inside(octets, Tag.PROACTIVE_COMMAND)
        number, qualifier = details(tlvs, _LAYOUTS)
        type_ = CommandType(number)
        try:
            return cls(type=type_, qualifier=qualifier, **read(tlvs, _LAYOUTS[type_]))
        except ValueError as error:
            raise TlvRejected("bad-value", str(error)) from None
