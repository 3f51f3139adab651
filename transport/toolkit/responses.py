"""Terminal responses: what became of a proactive command (TS 102 223 clause 6.8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from transport import ber_tlv
from transport.errors import TlvRejected
from transport.toolkit import objects
from transport.toolkit.fields import Field, Layout, check, command_details, details, read, write
from transport.toolkit.tags import (
    CR,
    MAX_TEXT,
    MAX_TIMER,
    MAX_TIMER_S,
    MAX_TOLD,
    CommandType,
    Device,
    Tag,
    TerminalResult,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transport.toolkit.channels import ChannelStatus
    from transport.toolkit.commands import ProactiveCommand


def _with(*fields: Field) -> Layout:
    return Layout(Device.TERMINAL, Device.UICC, fields)


# What follows the result. All of it may be absent: a command that was not performed has nothing to bring.
_LAYOUTS: Final[Mapping[CommandType, Layout]] = {
    **dict.fromkeys(CommandType, _with()),
    CommandType.GET_INPUT: _with(objects.TEXT),
    CommandType.TIMER_MANAGEMENT: _with(objects.TIMER_IF_ANY, objects.REMAINING_TIME),
    CommandType.OPEN_CHANNEL: _with(objects.OPENED_STATUS, objects.BEARER, objects.BUFFER),
    CommandType.RECEIVE_DATA: _with(objects.RECEIVED_DATA, objects.LENGTH_IF_ANY),
    CommandType.SEND_DATA: _with(objects.LENGTH_IF_ANY),
    CommandType.GET_CHANNEL_STATUS: _with(objects.STATUSES),
}
_COMMON: Final = frozenset({"type", "qualifier", "result", "cause"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalResponse:
    """What became of a proactive command of *type* and *qualifier*; the rest depends on the type.

    *cause* is the additional information on the *result*, one octet (of a BIP error: a ``BipCause``). *text*
    is what the user typed. OPEN CHANNEL: *channel_status*, *bearer* (the description as it was asked for)
    and *buffer*, the size granted. GET CHANNEL STATUS: *statuses*. RECEIVE DATA: *data* and *length*, what
    remains; SEND DATA: *length*, what room is left; 255 is 255 or more. TIMER MANAGEMENT: *timer*, and
    *timer_value_s* that remained. ``ValueError`` for a field that is out of its range or does not belong to
    the type, and for what one TERMINAL RESPONSE could not hold.
    """

    type: CommandType
    qualifier: int = 0
    result: TerminalResult = TerminalResult.OK
    cause: int | None = None
    text: bytes = field(default=b"", repr=False)
    channel_status: ChannelStatus | None = None
    statuses: tuple[ChannelStatus, ...] = ()
    bearer: bytes = b""
    buffer: int | None = None
    data: bytes = field(default=b"", repr=False)
    length: int | None = None
    timer: int | None = None
    timer_value_s: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be said."""
        check(self, _LAYOUTS[self.type], _COMMON)
        if len(self.text) > MAX_TEXT:
            raise ValueError(f"a text of {len(self.text)} octets does not fit")
        for name, least, most in _RANGES:
            value: int | None = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name} is {least}..{most}, not {value}")
        if len(self.encode()) > MAX_TOLD:
            raise ValueError(f"a TERMINAL RESPONSE has at most {MAX_TOLD} octets")

    @classmethod
    def to(
        cls, command: ProactiveCommand, result: TerminalResult = TerminalResult.OK, **said: Any
    ) -> TerminalResponse:
        """Return the response to *command*, which has its qualifier too; *said* are the other fields."""
        return cls(type=command.type, qualifier=command.qualifier, result=result, **said)

    @property
    def kind(self) -> str:
        """What it is the response to."""
        return f"the response to {self.type.name}"

    def encode(self) -> bytes:
        """Return the data of a TERMINAL RESPONSE."""
        outcome = (self.result,) if self.cause is None else (self.result, self.cause)
        result = ber_tlv.encode(CR | Tag.RESULT, bytes(outcome))
        return command_details(self.type, self.qualifier) + write(self, _LAYOUTS[self.type], result)

    @classmethod
    def parse(cls, octets: bytes) -> TerminalResponse:
        """Read a TERMINAL RESPONSE. Raises TlvRejected."""
        tlvs = ber_tlv.parse_all(octets)
        number, qualifier = details(tlvs, _LAYOUTS)
        result = ber_tlv.require(tlvs, Tag.RESULT).value
        if not 1 <= len(result) <= 2 or result[0] not in set(TerminalResult):
            raise TlvRejected("unknown-terminal-result")
        type_ = CommandType(number)
        try:
            return cls(
                type=type_,
                qualifier=qualifier,
                result=TerminalResult(result[0]),
                cause=result[1] if len(result) > 1 else None,
                **read(tlvs, _LAYOUTS[type_]),
            )
        except ValueError as error:
            raise TlvRejected("bad-value", str(error)) from None


_RANGES: Final = (
    ("qualifier", 0, 0xFF),
    ("cause", 0, 0xFF),
    ("buffer", 0, 0xFFFF),
    ("length", 0, 0xFF),
    ("timer", 1, MAX_TIMER),
    ("timer_value_s", 0, MAX_TIMER_S),
)
