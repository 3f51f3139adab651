"""Secured packets, TS 102 225: what protects a message between a server and an application on a module.

May import ``transport.errors``, ``transport.ber_tlv`` and ``cryptography``; no other room of this floor.
Octets in, values out: no keys are looked up here but in a ``Keysets`` that was handed in, no counters kept,
nothing is sent.

How it works. A sender picks ``SecurityParameters`` (the SPI) and ``PacketKeys`` (a keyset) and calls
``encode_command``. The receiver calls ``parse_header`` on the clear part, finds TAR and keyset, opens the
rest with ``decode_command``, asks ``spi.meets`` for the minimum security level of that TAR and
``check_counter`` for freshness, and answers with ``encode_response``, protected as the command's SPI2 asks.
``decode_response`` is the sender's last step. Whatever does not hold is a ``PacketRejected`` whose ``status``
is the response packet's.

Octets start at CPL and RPL, or at CPI and RPI: user-data headers belong to the bearer. What bearers differ in
is a value, ``Dialect``: what stands ahead of CHL and RHL, and what a checksum covers before that. Algorithms
are rows of tables (``algorithms``, ``redundancy``). The order of checksum, cipher and padding is in
``protection``, once for both packets. On a TCP channel ``PacketStream`` finds where packets end.
"""

from __future__ import annotations

from transport.secured_packet.algorithms import (
    AES_CBC,
    AES_CMAC,
    CIPHERS,
    DES_CBC,
    DES_ECB,
    MACS,
    TRIPLE_DES_2_CBC,
    TRIPLE_DES_3_CBC,
    PacketKeys,
)
from transport.secured_packet.command import (
    CommandHeader,
    CommandPacket,
    decode_command,
    encode_command,
    parse_beginning,
    parse_header,
)
from transport.secured_packet.counter import BLOCKED_COUNTER, CounterVerdict, check_counter
from transport.secured_packet.dialect import (
    CAT_TP,
    CELL_BROADCAST,
    COMMAND_IDENTIFIER,
    IDENTIFICATION_IDENTIFIER,
    MAX_PACKET,
    RESPONSE_IDENTIFIER,
    RESPONSE_USER_DATA_HEADER,
    SMS,
    TCP,
    Dialect,
)
from transport.secured_packet.identification import (
    MAX_IDENTIFICATION,
    Identification,
    encode_identification,
    parse_identification,
)
from transport.secured_packet.keysets import Keysets
from transport.secured_packet.parameters import CounterMode, Integrity, PorDemand, SecurityParameters
from transport.secured_packet.protection import MAX_COUNTER
from transport.secured_packet.redundancy import CRC_16, CRC_32, REDUNDANCY_CHECKS
from transport.secured_packet.response import ResponsePacket, decode_response, encode_response
from transport.secured_packet.status import (
    ALWAYS_CLEAR,
    CLEAR_WITHOUT_KEYS,
    PROPRIETARY_STATUSES,
    ResponseStatus,
)
from transport.secured_packet.stream import PacketStream

__all__ = [
    "AES_CBC",
    "AES_CMAC",
    "ALWAYS_CLEAR",
    "BLOCKED_COUNTER",
    "CAT_TP",
    "CELL_BROADCAST",
    "CIPHERS",
    "CLEAR_WITHOUT_KEYS",
    "COMMAND_IDENTIFIER",
    "CRC_16",
    "CRC_32",
    "DES_CBC",
    "DES_ECB",
    "IDENTIFICATION_IDENTIFIER",
    "MACS",
    "MAX_COUNTER",
    "MAX_IDENTIFICATION",
    "MAX_PACKET",
    "PROPRIETARY_STATUSES",
    "REDUNDANCY_CHECKS",
    "RESPONSE_IDENTIFIER",
    "RESPONSE_USER_DATA_HEADER",
    "SMS",
    "TCP",
    "TRIPLE_DES_2_CBC",
    "TRIPLE_DES_3_CBC",
    "CommandHeader",
    "CommandPacket",
    "CounterMode",
    "CounterVerdict",
    "Dialect",
    "Identification",
    "Integrity",
    "Keysets",
    "PacketKeys",
    "PacketStream",
    "PorDemand",
    "ResponsePacket",
    "ResponseStatus",
    "SecurityParameters",
    "check_counter",
    "decode_command",
    "decode_response",
    "encode_command",
    "encode_identification",
    "encode_response",
    "parse_beginning",
    "parse_header",
    "parse_identification",
]
