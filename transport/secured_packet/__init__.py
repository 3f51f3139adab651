"""Secured packets, TS 102 225: what protects a message between a server and an application on a module.

May import ``transport.errors`` and ``cryptography``; no other room of this floor. Octets in, values out: no
keys are looked up here, no counters kept, nothing is sent.

How it works. A sender picks ``SecurityParameters`` (the SPI) and ``PacketKeys`` (a keyset) and calls
``encode_command``. The receiver calls ``parse_header`` on the clear part, finds TAR and keyset, opens the
rest with ``decode_command``, asks ``spi.meets`` for the minimum security level of that TAR and
``check_counter`` for freshness, and answers with ``encode_response``, protected as the command's SPI2 asks.
``decode_response`` is the sender's last step. Whatever does not hold is a ``PacketRejected`` whose ``status``
is the response packet's.

Octets start at CPL and RPL: user-data headers belong to the bearer. Algorithms are rows of two tables
(``algorithms``). The order of checksum, cipher and padding is in ``protection``, once for both packets; what
another dialect changes are the clear octets ahead of it and what a checksum covers before them.
"""

from __future__ import annotations

from transport.secured_packet.algorithms import AES_CBC, AES_CMAC, CIPHERS, MACS, PacketKeys
from transport.secured_packet.command import (
    CommandHeader,
    CommandPacket,
    decode_command,
    encode_command,
    parse_header,
)
from transport.secured_packet.counter import BLOCKED_COUNTER, CounterVerdict, check_counter
from transport.secured_packet.parameters import CounterMode, Integrity, PorDemand, SecurityParameters
from transport.secured_packet.protection import MAX_COUNTER
from transport.secured_packet.response import (
    RESPONSE_USER_DATA_HEADER,
    ResponsePacket,
    decode_response,
    encode_response,
)
from transport.secured_packet.status import ALWAYS_CLEAR, CLEAR_WITHOUT_KEYS, ResponseStatus

__all__ = [
    "AES_CBC",
    "AES_CMAC",
    "ALWAYS_CLEAR",
    "BLOCKED_COUNTER",
    "CIPHERS",
    "CLEAR_WITHOUT_KEYS",
    "MACS",
    "MAX_COUNTER",
    "RESPONSE_USER_DATA_HEADER",
    "CommandHeader",
    "CommandPacket",
    "CounterMode",
    "CounterVerdict",
    "Integrity",
    "PacketKeys",
    "PorDemand",
    "ResponsePacket",
    "ResponseStatus",
    "SecurityParameters",
    "check_counter",
    "decode_command",
    "decode_response",
    "encode_command",
    "encode_response",
    "parse_header",
]
