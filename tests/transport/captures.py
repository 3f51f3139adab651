"""Writing a capture that makes tshark dissect one layer, and reading what it says.

A pcap file of link type 252, "exported PDUs": each packet starts with tags that name the dissector and the
direction, then come the octets of that layer alone.
"""

from __future__ import annotations

import csv
import struct
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.peers import need

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

TOWARDS_PHONE: Final = 0
FROM_PHONE: Final = 1

_LINK_TYPE: Final = 252
_TAG_DISSECTOR: Final = 12
_TAG_DIRECTION: Final = 35
_TIME_LIMIT_S: Final = 60
# The one dissector that is off by default: it takes what looks like CAT_TP in a UDP datagram for that.
_ENABLED: Final = ("--enable-heuristic", "cattp_udp")
_WORST: Final = {str(0x600000), str(0x800000)}  # PI_WARN and PI_ERROR of Wireshark's epan/proto.h


class Packet(NamedTuple):
    """One *pdu* for the dissector named, and which way it went."""

    dissector: str
    direction: int
    pdu: bytes


def _tag(number: int, value: bytes) -> bytes:
    padded = value + bytes(-len(value) % 4)
    return struct.pack(">HH", number, len(padded)) + padded


def write(path: Path, packets: Iterable[Packet]) -> Path:
    """Write *packets*, a second apart, as the capture *path* and return it."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, _LINK_TYPE)]
    for second, packet in enumerate(packets):
        tags = _tag(_TAG_DISSECTOR, packet.dissector.encode()) + _tag(
            _TAG_DIRECTION, struct.pack(">I", packet.direction)
        )
        octets = tags + bytes(4) + packet.pdu
        records.append(struct.pack("<IIII", second, 0, len(octets), len(octets)) + octets)
    path.write_bytes(b"".join(records))
    return path


def dissect(capture: Path, fields: Sequence[str], *, only: str = "") -> list[dict[str, str]]:
    """Return what tshark finds of *fields* in each packet of *capture* that the filter *only* lets by.

    A field that is absent is empty; one that occurs more than once has its values joined by a semicolon.
    """
    options = [option for field in fields for option in ("-e", field)]
    command = [need("tshark"), "-r", str(capture), *_ENABLED, "-T", "fields"]
    command += ["-E", "aggregator=;", "-E", "separator=/t", *(["-Y", only] if only else [])]
    done = subprocess.run(
        [*command, *options], check=True, capture_output=True, text=True, timeout=_TIME_LIMIT_S
    )
    return [
        dict(zip(fields, row, strict=True)) for row in csv.reader(done.stdout.splitlines(), delimiter="\t")
    ]


def complaints(capture: Path) -> list[str]:
    """Return what tshark has against *capture*: malformed packets and experts' warnings and errors."""
    fields = ("frame.number", "_ws.expert.severity", "_ws.expert.message", "_ws.malformed")
    return [
        " ".join(packet.values())
        for packet in dissect(capture, fields)
        if packet["_ws.malformed"] or _WORST & set(packet["_ws.expert.severity"].split(";"))
    ]
