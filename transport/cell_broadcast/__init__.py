"""Cell broadcast: one page of 88 octets reaches every phone in a cell, unasked and unanswered.

This room may import :mod:`transport.errors` and nothing else of ours. It knows TS 23.041 as far as data
download needs it: pages with their serial numbers, cutting a secured packet into pages and putting it
together again, which message identifiers a card wants, how often a message is repeated, and the four blocks
in which a page goes over the air (TS 44.012). Alphabets, emergency warnings and schedule messages are not
its matter.

Theory of operation. Nobody answers a page, so repetition does what retries do elsewhere: a network sends all
pages of a message again and again (:class:`Schedule`), and what a phone missed it takes from a later round.
The serial number says whether a page belongs to a round of what is known already or to something new: scope
and message code name the message under its message identifier, the update number its version; of who sends
several series of messages each has a window of the codes (:class:`CodeWindow`). A phone passes a page on when
the card's EF.CBMID lists its message identifier (:class:`MessageFilter`), one page to an ENVELOPE; the card
holds the :class:`PageAssembler`, within bounds that do not depend on the network.

A message has whole pages only, so what is joined ends in fill. The secured packet in it says its own length:
:func:`packet_of` takes the fill off. Scopes are kept apart but not interpreted: this room does not know where
a phone is, so whoever moves one to a cell where a message counts as new begins a new assembler there.
"""

from transport.cell_broadcast.assembler import Dropped, DropReason, PageAssembler
from transport.cell_broadcast.blocks import BLOCK_OCTETS, BLOCKS, blocks, from_blocks
from transport.cell_broadcast.codes import ALL_CODES, CodeWindow
from transport.cell_broadcast.filter import (
    FORMATTED_PACKETS,
    MAX_IDENTIFIERS,
    SECURED_DATA_DOWNLOAD,
    UNSECURED_DATA_DOWNLOAD,
    MessageFilter,
)
from transport.cell_broadcast.message import FILL, MAX_CONTENT, packet_of, split
from transport.cell_broadcast.page import (
    CONTENT_OCTETS,
    DCS_CLASS_2_DATA,
    MAX_PAGES,
    PAGE_OCTETS,
    Page,
)
from transport.cell_broadcast.schedule import MAX_COUNT, MAX_PERIOD, PERIOD_UNIT_S, Schedule
from transport.cell_broadcast.serial_number import GeographicScope, SerialNumber

__all__ = [
    "ALL_CODES",
    "BLOCKS",
    "BLOCK_OCTETS",
    "CONTENT_OCTETS",
    "DCS_CLASS_2_DATA",
    "FILL",
    "FORMATTED_PACKETS",
    "MAX_CONTENT",
    "MAX_COUNT",
    "MAX_IDENTIFIERS",
    "MAX_PAGES",
    "MAX_PERIOD",
    "PAGE_OCTETS",
    "PERIOD_UNIT_S",
    "SECURED_DATA_DOWNLOAD",
    "UNSECURED_DATA_DOWNLOAD",
    "CodeWindow",
    "DropReason",
    "Dropped",
    "GeographicScope",
    "MessageFilter",
    "Page",
    "PageAssembler",
    "Schedule",
    "SerialNumber",
    "blocks",
    "from_blocks",
    "packet_of",
    "split",
]
