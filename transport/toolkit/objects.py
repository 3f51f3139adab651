"""The objects of the toolkit, one function to write and one to read the value of each (TS 102 223 clause 8).

Readers raise TlvRejected for octets of the wrong shape, and ``ValueError`` for a number that has no name;
whoever reads a whole command or response turns that into a rejection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transport import ber_tlv
from transport.errors import TlvRejected
from transport.toolkit.channels import ChannelOpening, ChannelStatus
from transport.toolkit.fields import Field, Need, single
from transport.toolkit.tags import CR, DCS_8_BIT, MAX_TEXT, EventCode, Tag

if TYPE_CHECKING:
    from collections.abc import Sequence

_MASTER_FILE: Final = bytes.fromhex("3F00")


def _octet(octets: bytes) -> int:
    if len(octets) != 1:
        raise TlvRejected("bad-octet")
    return octets[0]


def _item(octets: bytes) -> int:
    if len(octets) != 1:
        raise TlvRejected("bad-item-identifier")
    return octets[0]


def _one(value: int) -> bytes:
    return value.to_bytes(1, "big")


def _two(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _number(octets: bytes) -> int:
    if len(octets) != 2:
        raise TlvRejected("bad-number")
    return int.from_bytes(octets, "big")


def _same(octets: bytes) -> bytes:
    return octets


def _text(text: bytes) -> bytes:
    return bytes((DCS_8_BIT,)) + text


def _untext(octets: bytes) -> bytes:
    return octets[1:]


def _file_list(files: Sequence[bytes]) -> bytes:
    return bytes((len(files),)) + b"".join(files)


def _files(octets: bytes) -> tuple[bytes, ...]:
    """Return the paths of a file list; nothing but the master file that each begins with divides them."""
    files: list[bytes] = []
    for offset in range(1, len(octets), 2):
        piece = octets[offset : offset + 2]
        if piece == _MASTER_FILE:
            files.append(piece)
        elif files:
            files[-1] += piece
        else:
            raise TlvRejected("bad-file-list")
    if octets[:1] != bytes((len(files),)):
        raise TlvRejected("bad-file-list")
    return tuple(files)


def check_files(files: Sequence[bytes]) -> None:
    """Refuse paths that a file list could not tell apart: each starts at the master file."""
    for path in files:
        steps = [path[at : at + 2] for at in range(0, len(path), 2)]
        if len(path) % 2 or len(steps) < 2 or steps[0] != _MASTER_FILE or _MASTER_FILE in steps[1:]:
            raise ValueError("a path is the master file's identifier and two octets for each step from there")


def _events(octets: bytes) -> tuple[EventCode, ...]:
    return tuple(EventCode(octet) for octet in octets)


def _event(octets: bytes) -> EventCode:
    return EventCode(_octet(octets))


def _semi(number: int) -> int:
    return number % 10 << 4 | number // 10


def _timer_value(seconds: int) -> bytes:
    """Return hours, minutes and seconds, each as two swapped decimal digits (TS 102 223 clause 8.38)."""
    return bytes(_semi(part) for part in (seconds // 3600, seconds // 60 % 60, seconds % 60))


def _seconds(octets: bytes) -> int:
    digits = [(octet & 0xF, octet >> 4) for octet in octets]
    if len(octets) != 3 or any(digit > 9 for pair in digits for digit in pair):
        raise TlvRejected("bad-timer-value")
    hours, minutes, seconds = (10 * tens + ones for tens, ones in digits)
    if minutes > 59 or seconds > 59:
        raise TlvRejected("bad-timer-value")
    return 3600 * hours + 60 * minutes + seconds


def _read_opening(tlvs: Sequence[ber_tlv.Tlv]) -> ChannelOpening:
    return ChannelOpening.of(tlvs)


def _write_statuses(statuses: Sequence[ChannelStatus]) -> bytes:
    return b"".join(ber_tlv.encode(CR | Tag.CHANNEL_STATUS, status.encode()) for status in statuses)


def _read_statuses(tlvs: Sequence[ber_tlv.Tlv]) -> tuple[ChannelStatus, ...]:
    wanted = {int(Tag.CHANNEL_STATUS), CR | Tag.CHANNEL_STATUS}
    return tuple(ChannelStatus.parse(tlv.value) for tlv in tlvs if tlv.tag in wanted)


def _written_opening(opening: ChannelOpening) -> bytes:
    return opening.encode()


def _written_status(status: ChannelStatus) -> bytes:
    return status.encode()


# Whether an object has the CR bit is as 3GPP TS 31.124 writes it in its test sequences; readers do not care.
TPDU: Final = single("tpdu", CR | Tag.TPDU, _same, _same)
PAGE: Final = single("page", CR | Tag.CELL_BROADCAST_PAGE, _same, _same)
TEXT: Final = single("text", CR | Tag.TEXT_STRING, _text, _untext, Need.USUAL)
ITEM: Final = single("item", CR | Tag.ITEM_IDENTIFIER, _one, _item)
FILES: Final = single("files", CR | Tag.FILE_LIST, _file_list, _files, Need.MAY)
EVENTS: Final = single("events", CR | Tag.EVENT_LIST, bytes, _events)
EVENT: Final = single("event", CR | Tag.EVENT_LIST, _one, _event)
TIMER: Final = single("timer", CR | Tag.TIMER_IDENTIFIER, _one, _octet)
TIMER_VALUE: Final = single("timer_value_s", CR | Tag.TIMER_VALUE, _timer_value, _seconds)
TIMER_VALUE_IF_ANY: Final = single("timer_value_s", CR | Tag.TIMER_VALUE, _timer_value, _seconds, Need.MAY)
TIMER_IF_ANY: Final = single("timer", CR | Tag.TIMER_IDENTIFIER, _one, _octet, Need.MAY)
REMAINING_TIME: Final = TIMER_VALUE_IF_ANY
OPENING: Final = Field("opening", Need.MUST, _written_opening, _read_opening)
SENT_DATA: Final = single("data", CR | Tag.CHANNEL_DATA, _same, _same)
WANTED_LENGTH: Final = single("length", CR | Tag.CHANNEL_DATA_LENGTH, _one, _octet)
RECEIVED_DATA: Final = single("data", CR | Tag.CHANNEL_DATA, _same, _same, Need.MAY)
LENGTH_IF_ANY: Final = single("length", Tag.CHANNEL_DATA_LENGTH, _one, _octet, Need.MAY)
LENGTH: Final = single("length", Tag.CHANNEL_DATA_LENGTH, _one, _octet)
STATUS: Final = single("channel_status", CR | Tag.CHANNEL_STATUS, _written_status, ChannelStatus.parse)
OPENED_STATUS: Final = single(
    "channel_status", Tag.CHANNEL_STATUS, _written_status, ChannelStatus.parse, Need.MAY
)
STATUSES: Final = Field("statuses", Need.MAY, _write_statuses, _read_statuses)
BEARER: Final = single("bearer", Tag.BEARER_DESCRIPTION, _same, _same, Need.MAY)
BUFFER: Final = single("buffer", Tag.BUFFER_SIZE, _two, _number, Need.MAY)
# GET INPUT says how long the answer may be; that is one and the same here, and not looked at.
ANSWER_LENGTH: Final = Field(
    "text",
    Need.USUAL,
    lambda _: ber_tlv.encode(CR | Tag.RESPONSE_LENGTH, bytes((0, MAX_TEXT))),
    lambda _: None,
)
