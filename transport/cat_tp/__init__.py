"""CAT_TP, TS 102 127: service data units, whole, once and in order, over a UDP channel that promises nothing.

May import ``transport.errors`` and ``transport.round_trip``, no other room of this floor. Datagrams in and
out; no socket, no clock.

How it works. A ``CatTpConnection`` is one end of one connection. Its shell calls ``connect`` or ``listen``,
hands it every UDP payload with ``receive_datagram``, and after each call sends what ``datagrams_to_send``
returns, acts on what ``events_received`` returns, and sets its timer to ``next_timer``. ``send`` takes an
SDU; when ``idle``, all of them are acknowledged, and ``close`` loses nothing: it is abrupt, as in RDP.

``Pdu`` is the wire format. ``states`` holds the life of a connection as a table, ``record`` what is known of
it, ``arrivals`` what each PDU does to it. ``sending`` cuts SDUs into PDUs, keeps to the peer's window and
repeats what is not acknowledged: ``flight`` knows what is missing, ``transport.round_trip`` how long to wait.
``receiving`` puts PDUs in order and SDUs together. ``refuse`` answers a datagram that no connection takes.

Where the octets come from: the dissector of Wireshark, which was written against TS 102 127 V6.13. How a
connection behaves comes from RDP (RFC 908, RFC 1151), of which CAT_TP is a descendant; five points that
neither settles are decided here, from memory of the specification or because they have to be:

* the maximum PDU size of a SYN counts the header; a SYN, a NUL and every PDU with data take one sequence
  number, a plain ACK, an EAK PDU without data and an RST take none;
* an SDU has at least one octet: a PDU without data could not be told from an acknowledgement;
* an RST counts only within the receive window (in SYN-SENT: only if it acknowledges our SYN), so that one
  sent blindly has one chance in some thousands; a SYN never ends an open connection, it is answered by an
  ACK, which makes a peer that began anew reset the old connection with the right number;
* into a window of zero one PDU is sent after a retransmission time-out, or a lost update would stop both;
  the next waits twice as long, and a window that is never opened ends the connection as silence does;
* RDP has a timer for each segment and leaves open how long it runs, and whether EAKs say what is missing.
  Here there is one for all, that of RFC 6298, and they do; ``sending`` and ``flight`` tell the rest.
"""

from __future__ import annotations

from transport.cat_tp.connection import CatTpConnection
from transport.cat_tp.events import Closed, Event, Opened, SduReceived
from transport.cat_tp.pdu import (
    HEADER_OCTETS,
    MAX_EXTENDED,
    MAX_IDENTIFICATION,
    Flags,
    Pdu,
    ResetReason,
    Synchronisation,
    checksum,
    refuse,
)
from transport.cat_tp.settings import CARD_SETTINGS, MAX_WINDOW, CatTpSettings
from transport.cat_tp.states import State

__all__ = [
    "CARD_SETTINGS",
    "HEADER_OCTETS",
    "MAX_EXTENDED",
    "MAX_IDENTIFICATION",
    "MAX_WINDOW",
    "CatTpConnection",
    "CatTpSettings",
    "Closed",
    "Event",
    "Flags",
    "Opened",
    "Pdu",
    "ResetReason",
    "SduReceived",
    "State",
    "Synchronisation",
    "checksum",
    "refuse",
]
