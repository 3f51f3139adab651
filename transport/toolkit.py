"""Card application toolkit: envelopes, proactive commands and terminal responses (TS 102 223, TS 31.111).

Only what both sides need to understand each other: the terminal wraps events in ENVELOPE, the module asks
with proactive commands that are fetched, the terminal answers with TERMINAL RESPONSE. Which command follows
which is their business, not this room's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from transport import ber_tlv
from transport.errors import TlvRejected


class CommandType(IntEnum):
    """Type of a proactive command (TS 102 223 clause 9.4)."""

    SEND_SHORT_MESSAGE = 0x13
    DISPLAY_TEXT = 0x21
    GET_INPUT = 0x23


class Device(IntEnum):
    """Device identities (TS 102 223 clause 8.7)."""

    KEYPAD = 0x01
    DISPLAY = 0x02
    UICC = 0x81
    TERMINAL = 0x82
    NETWORK = 0x83


class TerminalResult(IntEnum):
    """General result of a terminal response (TS 102 223 clause 8.12)."""

    OK = 0x00
    TERMINAL_UNABLE = 0x20
    NETWORK_UNABLE = 0x21
    COMMAND_NOT_UNDERSTOOD = 0x32


class Tag(IntEnum):
    """COMPREHENSION-TLV and BER-TLV tags (TS 101 220 clause 7.2); CR bit unset."""

    COMMAND_DETAILS = 0x01
    DEVICE_IDENTITIES = 0x02
    RESULT = 0x03
    TPDU = 0x0B
    TEXT_STRING = 0x0D
    ITEM_IDENTIFIER = 0x10
    RESPONSE_LENGTH = 0x11
    PROACTIVE_COMMAND = 0xD0
    SMS_PP_DOWNLOAD = 0xD1
    MENU_SELECTION = 0xD3


CR: Final = 0x80
"""Comprehension required: a receiver that does not know the tag must refuse the whole."""
DCS_8_BIT: Final = 0x04
MAX_TEXT: Final = 200
"""Octets of a text string: what leaves room for the rest in one short APDU."""

_COMMAND_NUMBER: Final = 1
_TARGETS: Final = {
    CommandType.SEND_SHORT_MESSAGE: Device.NETWORK,
    CommandType.DISPLAY_TEXT: Device.DISPLAY,
    CommandType.GET_INPUT: Device.TERMINAL,
}


def _devices(source: Device, destination: Device) -> bytes:
    return ber_tlv.encode(CR | Tag.DEVICE_IDENTITIES, bytes((source, destination)))


def _text(text: bytes) -> bytes:
    if len(text) > MAX_TEXT:
        raise ValueError(f"a text of {len(text)} octets does not fit")
    return ber_tlv.encode(CR | Tag.TEXT_STRING, bytes((DCS_8_BIT,)) + text)


def _find_text(tlvs: list[ber_tlv.Tlv]) -> bytes:
    tlv = ber_tlv.find(tlvs, Tag.TEXT_STRING)
    return tlv.value[1:] if tlv else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProactiveCommand:
    """What the module asks of its terminal; *tpdu* for SEND SHORT MESSAGE, *text* for the others."""

    type: CommandType
    tpdu: bytes = field(default=b"", repr=False)
    text: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """Return the BER-TLV D0 that FETCH brings (TS 102 223 clauses 6.6.1, 6.6.3 and 6.6.9)."""
        body = ber_tlv.encode(CR | Tag.COMMAND_DETAILS, bytes((_COMMAND_NUMBER, self.type, 0)))
        body += _devices(Device.UICC, _TARGETS[self.type])
        if self.tpdu:
            body += ber_tlv.encode(CR | Tag.TPDU, self.tpdu)
        else:
            body += _text(self.text)
        if self.type is CommandType.GET_INPUT:
            body += ber_tlv.encode(CR | Tag.RESPONSE_LENGTH, bytes((0, MAX_TEXT)))
        return ber_tlv.encode(Tag.PROACTIVE_COMMAND, body)

    @classmethod
    def parse(cls, octets: bytes) -> ProactiveCommand:
        """Read what FETCH brought. Raises TlvRejected, also for a command type that is not known here."""
        tlvs = _open(octets, Tag.PROACTIVE_COMMAND)
        details = ber_tlv.require(tlvs, Tag.COMMAND_DETAILS).value
        if len(details) != 3 or details[1] not in set(CommandType):
            raise TlvRejected("unknown-proactive-command")
        tpdu = ber_tlv.find(tlvs, Tag.TPDU)
        return cls(type=CommandType(details[1]), tpdu=tpdu.value if tpdu else b"", text=_find_text(tlvs))


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalResponse:
    """What became of a proactive command; *text* is what the user typed (TS 102 223 clause 6.8)."""

    type: CommandType
    result: TerminalResult = TerminalResult.OK
    text: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """Return the data of a TERMINAL RESPONSE."""
        body = ber_tlv.encode(CR | Tag.COMMAND_DETAILS, bytes((_COMMAND_NUMBER, self.type, 0)))
        body += _devices(Device.TERMINAL, Device.UICC)
        body += ber_tlv.encode(CR | Tag.RESULT, bytes((self.result,)))
        return body + _text(self.text) if self.type is CommandType.GET_INPUT else body

    @classmethod
    def parse(cls, octets: bytes) -> TerminalResponse:
        """Read a TERMINAL RESPONSE. Raises TlvRejected."""
        tlvs = ber_tlv.parse_all(octets)
        details = ber_tlv.require(tlvs, Tag.COMMAND_DETAILS).value
        result = ber_tlv.require(tlvs, Tag.RESULT).value
        if len(details) != 3 or details[1] not in set(CommandType):
            raise TlvRejected("unknown-proactive-command")
        if not result or result[0] not in set(TerminalResult):
            raise TlvRejected("unknown-terminal-result")
        return cls(type=CommandType(details[1]), result=TerminalResult(result[0]), text=_find_text(tlvs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An event that the terminal tells the module: a short message to download, or a menu item chosen."""

    tag: Tag
    tpdu: bytes = field(default=b"", repr=False)
    item: int = 0

    def encode(self) -> bytes:
        """Return the data of an ENVELOPE (TS 31.111 clause 7.1.1.2; TS 102 223 clause 7.2)."""
        if self.tag is Tag.SMS_PP_DOWNLOAD:
            body = _devices(Device.NETWORK, Device.UICC) + ber_tlv.encode(CR | Tag.TPDU, self.tpdu)
        else:
            body = _devices(Device.KEYPAD, Device.UICC)
            body += ber_tlv.encode(CR | Tag.ITEM_IDENTIFIER, bytes((self.item,)))
        return ber_tlv.encode(self.tag, body)

    @classmethod
    def parse(cls, octets: bytes) -> Envelope:
        """Read the data of an ENVELOPE. Raises TlvRejected, also for an event that is not known here."""
        if octets[:1] == bytes((Tag.SMS_PP_DOWNLOAD,)):
            tlvs = _open(octets, Tag.SMS_PP_DOWNLOAD)
            return cls(tag=Tag.SMS_PP_DOWNLOAD, tpdu=ber_tlv.require(tlvs, Tag.TPDU).value)
        item = ber_tlv.require(_open(octets, Tag.MENU_SELECTION), Tag.ITEM_IDENTIFIER).value
        if len(item) != 1:
            raise TlvRejected("bad-item-identifier")
        return cls(tag=Tag.MENU_SELECTION, item=item[0])


def _open(octets: bytes, tag: Tag) -> list[ber_tlv.Tlv]:
    """Return the TLVs inside the one BER-TLV *tag* that *octets* must be."""
    outer = ber_tlv.parse_all(octets)
    if len(outer) != 1 or outer[0].tag != tag:
        raise TlvRejected("unknown-envelope" if tag is Tag.MENU_SELECTION else "wrong-tag")
    return ber_tlv.parse_all(outer[0].value)
