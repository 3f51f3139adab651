"""Card application toolkit: envelopes, proactive commands and terminal responses (TS 102 223, TS 31.111).

Only what both sides need to understand each other: the terminal wraps events in ENVELOPE, the module asks
with proactive commands that are fetched, the terminal answers with TERMINAL RESPONSE. Which command follows
which is their business, not this room's.

May import ``transport.ber_tlv`` and ``transport.errors``. ``tags`` has the numbers and the limits that short
APDUs set. A command, a response and an envelope are each one flat frozen value; a table says which of its
fields belong to which command type or event and in what order their objects stand (``fields`` is the engine
of these tables, ``objects`` knows each object alone). ``channels`` has the two values that channels need.
``profile`` is what a terminal says it can do, bit by bit, and what each command takes of that.

What does not fit one short APDU refuses to exist. Readers take objects in any order, let objects alone that
do not belong to the command, and raise TlvRejected for what is missing or malformed. Comprehension-required
bits are written as terminals expect them, and not looked at.
"""

from __future__ import annotations

from transport.toolkit.channels import DEFAULT_BEARER, LINK_DROPPED, ChannelOpening, ChannelStatus
from transport.toolkit.commands import ProactiveCommand
from transport.toolkit.envelopes import Envelope
from transport.toolkit.profile import CHANNELS, EVENTS, PROTOCOLS, TIMERS, Facility, TerminalProfile
from transport.toolkit.responses import TerminalResponse
from transport.toolkit.tags import (
    CR,
    DCS_8_BIT,
    ESTABLISH_NOW,
    FILE_CHANGE,
    MANY,
    MAX_CHANNEL,
    MAX_FETCHED,
    MAX_RECEIVE_DATA,
    MAX_SEND_DATA,
    MAX_TEXT,
    MAX_TIMER,
    MAX_TIMER_S,
    MAX_TOLD,
    SEND_NOW,
    STORE,
    TIMER_CURRENT,
    TIMER_DEACTIVATE,
    TIMER_START,
    BipCause,
    CommandType,
    Device,
    EventCode,
    Tag,
    TerminalResult,
    TransportProtocol,
)

__all__ = [
    "CHANNELS",
    "CR",
    "DCS_8_BIT",
    "DEFAULT_BEARER",
    "ESTABLISH_NOW",
    "EVENTS",
    "FILE_CHANGE",
    "LINK_DROPPED",
    "MANY",
    "MAX_CHANNEL",
    "MAX_FETCHED",
    "MAX_RECEIVE_DATA",
    "MAX_SEND_DATA",
    "MAX_TEXT",
    "MAX_TIMER",
    "MAX_TIMER_S",
    "MAX_TOLD",
    "PROTOCOLS",
    "SEND_NOW",
    "STORE",
    "TIMERS",
    "TIMER_CURRENT",
    "TIMER_DEACTIVATE",
    "TIMER_START",
    "BipCause",
    "ChannelOpening",
    "ChannelStatus",
    "CommandType",
    "Device",
    "Envelope",
    "EventCode",
    "Facility",
    "ProactiveCommand",
    "Tag",
    "TerminalProfile",
    "TerminalResponse",
    "TerminalResult",
    "TransportProtocol",
]
