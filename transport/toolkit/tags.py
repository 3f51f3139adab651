"""The numbers of the toolkit: command types, devices, results, events and tags.

What a table of WIRE facts does not list is from memory of TS 102 223 and stands under a comment that says so.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class CommandType(IntEnum):
    """Type of a proactive command (TS 102 223 clause 9.4)."""

    REFRESH = 0x01
    SET_UP_EVENT_LIST = 0x05
    SEND_SHORT_MESSAGE = 0x13
    DISPLAY_TEXT = 0x21
    GET_INPUT = 0x23
    TIMER_MANAGEMENT = 0x27
    OPEN_CHANNEL = 0x40
    CLOSE_CHANNEL = 0x41
    RECEIVE_DATA = 0x42
    SEND_DATA = 0x43
    GET_CHANNEL_STATUS = 0x44


class Device(IntEnum):
    """Device identities (TS 102 223 clause 8.7)."""

    KEYPAD = 0x01
    DISPLAY = 0x02
    CHANNEL_1 = 0x21
    CHANNEL_2 = 0x22
    CHANNEL_3 = 0x23
    CHANNEL_4 = 0x24
    CHANNEL_5 = 0x25
    CHANNEL_6 = 0x26
    CHANNEL_7 = 0x27
    UICC = 0x81
    TERMINAL = 0x82
    NETWORK = 0x83


class TerminalResult(IntEnum):
    """General result of a terminal response (TS 102 223 clause 8.12)."""

    OK = 0x00
    MISSING_INFORMATION = 0x02
    PERFORMED_WITH_MODIFICATION = 0x07
    TERMINAL_UNABLE = 0x20
    NETWORK_UNABLE = 0x21
    CONTRADICTS_TIMER = 0x24
    BEYOND_CAPABILITIES = 0x30
    COMMAND_NOT_UNDERSTOOD = 0x32
    BIP_ERROR = 0x3A

    @property
    def is_good(self) -> bool:
        """Whether the command was performed (results 0x: TS 102 223 clause 8.12)."""
        return self < 0x10


class BipCause(IntEnum):
    """Additional information on a BIP error (TS 102 223 clause 8.12.11); all but 01 and 03 from memory."""

    NO_SPECIFIC_CAUSE = 0x00
    NO_CHANNEL_AVAILABLE = 0x01
    CHANNEL_CLOSED = 0x02
    INVALID_CHANNEL = 0x03
    BUFFER_SIZE_NOT_AVAILABLE = 0x04
    SECURITY_ERROR = 0x05
    TRANSPORT_LEVEL_NOT_AVAILABLE = 0x06
    REMOTE_NOT_REACHABLE = 0x07


class EventCode(IntEnum):
    """Events of an event list (TS 102 223 clause 8.25): those that concern channels."""

    DATA_AVAILABLE = 0x09
    CHANNEL_STATUS = 0x0A


class TransportProtocol(IntEnum):
    """What a channel carries, seen from the module (TS 102 223 clause 8.59)."""

    UDP_CLIENT = 0x01
    TCP_CLIENT = 0x02
    TCP_SERVER = 0x03


class Tag(IntEnum):
    """COMPREHENSION-TLV and BER-TLV tags (TS 101 220 clause 7.2); CR bit unset."""

    COMMAND_DETAILS = 0x01
    DEVICE_IDENTITIES = 0x02
    RESULT = 0x03
    TPDU = 0x0B
    CELL_BROADCAST_PAGE = 0x0C
    TEXT_STRING = 0x0D
    ITEM_IDENTIFIER = 0x10
    RESPONSE_LENGTH = 0x11
    FILE_LIST = 0x12
    EVENT_LIST = 0x19
    TIMER_IDENTIFIER = 0x24
    TIMER_VALUE = 0x25
    BEARER_DESCRIPTION = 0x35
    CHANNEL_DATA = 0x36
    CHANNEL_DATA_LENGTH = 0x37
    CHANNEL_STATUS = 0x38
    BUFFER_SIZE = 0x39
    TRANSPORT_LEVEL = 0x3C
    ADDRESS = 0x3E
    ACCESS_NAME = 0x47
    PROACTIVE_COMMAND = 0xD0
    SMS_PP_DOWNLOAD = 0xD1
    CELL_BROADCAST_DOWNLOAD = 0xD2
    MENU_SELECTION = 0xD3
    EVENT_DOWNLOAD = 0xD6
    TIMER_EXPIRATION = 0xD7


CR: Final = 0x80
"""Comprehension required: a receiver that does not know the tag must refuse the whole."""
DCS_8_BIT: Final = 0x04
MAX_TEXT: Final = 200
"""Octets of a text string: what leaves room for the rest in one short APDU."""

# One FETCH brings at most 256 octets (Le = 00), one TERMINAL RESPONSE or ENVELOPE takes at most 255 (Lc).
MAX_FETCHED: Final = 256
MAX_TOLD: Final = 255
MAX_SEND_DATA: Final = 241
"""Octets of one SEND DATA: 256 less 3 (D0 81 LL), 5 (details), 4 (devices) and 3 (B6 81 LL)."""
MAX_RECEIVE_DATA: Final = 237
"""Octets that one RECEIVE DATA brings: 255 less 5 (details), 4 (devices), 3 (result), 3 (B6 81 LL) and
3 (channel data length)."""
MANY: Final = 255
"""As a channel data length: 255 octets, or more than that (TS 102 223 clause 8.54)."""

MAX_CHANNEL: Final = 7
MAX_TIMER: Final = 8
MAX_TIMER_S: Final = 24 * 3600 - 1
PAGE_OCTETS: Final = 88
"""A cell broadcast page (TS 23.041 clause 9.4.1)."""

# Command qualifiers (TS 102 223 clause 8.6); those of REFRESH, OPEN CHANNEL and TIMER MANAGEMENT from memory.
FILE_CHANGE: Final = 0x01
ESTABLISH_NOW: Final = 0x01
STORE: Final = 0x00
SEND_NOW: Final = 0x01
TIMER_START: Final = 0x00
TIMER_DEACTIVATE: Final = 0x01
TIMER_CURRENT: Final = 0x02
