"""One packet: the tags before a PDU, the addresses in them and the comment behind it."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import struct
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bus.frame import TraceContext

LINK_TYPE: Final = 252
"""LINKTYPE_WIRESHARK_UPPER_PDU."""
MAX_NOTE: Final = 256


class Layer(Enum):
    """What the octets are; the value is the name of Wireshark's dissector, for CAT_TP a heuristic one."""

    SMS = "gsm_sms"
    """A TPDU of TS 23.040; the direction tells SMS-DELIVER from SMS-DELIVER-REPORT and SMS-SUBMIT."""
    CELL_BROADCAST = "gsm_cbs"
    """A page of 88 octets (TS 23.041 clause 9.4.1.2)."""
    APDU = "gsm_sim"
    """A whole exchange between phone and module: command octets, then response octets with status word.

    One packet, in which the dissector finds the toolkit's TLVs on either side; two where it would look for
    more than there is, see :func:`packets`.
    """
    CAT_TP = "cattp_udp"
    """A PDU of TS 102 127, as it stands in a UDP datagram.

    In Wireshark 4.0 its dissector is not to be had by name. The heuristic one, which knows CAT_TP by its
    lengths, is; but it is off until the reader switches it on.
    """


# ---- who talks to whom ------------------------------------------------------------------------------------

_MAX_DIGITS: Final = 24
_NUMBERED: Final = b"\xfd\x00"
_MODULE: Final = b"\xfd\x01"
_NAMED: Final = b"\xfd\x02"
_NETWORK: Final = "network"


class Side(NamedTuple):
    """One end of a packet."""

    name: str
    address: ipaddress.IPv6Address


def address(name: str, *, module: bool = False) -> ipaddress.IPv6Address:
    """Return the address that stands for *name*: a UA, a number, an IPv4 address or anything else.

    With *module* it is that of the security module in the handset of that name.
    """
    digits = name.removeprefix("+")
    if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS:
        rest = len(digits).to_bytes(2, "big") + bytes.fromhex(digits.zfill(_MAX_DIGITS))
        return ipaddress.IPv6Address((_MODULE if module else _NUMBERED) + rest)
    if not module:
        with contextlib.suppress(ValueError):
            return ipaddress.IPv6Address(bytes(10) + b"\xff\xff" + ipaddress.IPv4Address(name).packed)
    hashed = hashlib.sha256(bytes((module,)) + name.encode(errors="replace")).digest()
    return ipaddress.IPv6Address(_NAMED + hashed[:14])


class Way(NamedTuple):
    """What the tags of a packet say."""

    dissector: str
    uplink: bool
    handset: str
    peer: str

    def sides(self) -> tuple[Side, Side]:
        """Return source and destination: handset and peer, or module and handset."""
        near = Side(self.handset, address(self.handset))
        far = Side(self.peer or _NETWORK, address(self.peer or _NETWORK))
        if self.dissector.startswith(Layer.APDU.value):
            near, far = Side(f"module-{self.handset}", address(self.handset, module=True)), near
        return (near, far) if self.uplink else (far, near)


# ---- one packet -------------------------------------------------------------------------------------------

# Tags of Wireshark's epan/exported_pdu.h: type (2 octets), length (2), value padded to 4; big-endian.
_TAG_DISSECTOR: Final = 12
_TAG_HEURISTIC_DISSECTOR: Final = 13
_TAG_IPV6_SOURCE: Final = 22
_TAG_IPV6_DESTINATION: Final = 23
_TAG_DIRECTION: Final = 35
_END_OF_TAGS: Final = bytes(4)


def _tag(number: int, value: bytes) -> bytes:
    padded = value + bytes(-len(value) % 4)
    return struct.pack(">HH", number, len(padded)) + padded


def tags(way: Way) -> bytes:
    """Return what stands before each PDU that goes this *way*."""
    source, destination = way.sides()
    named_by = _TAG_HEURISTIC_DISSECTOR if way.dissector == Layer.CAT_TP.value else _TAG_DISSECTOR
    return (
        _tag(named_by, way.dissector.encode())
        + _tag(_TAG_DIRECTION, struct.pack(">I", way.uplink))
        + _tag(_TAG_IPV6_SOURCE, source.address.packed)
        + _tag(_TAG_IPV6_DESTINATION, destination.address.packed)
        + _END_OF_TAGS
    )


_COMMAND: Final = Layer.APDU.value + ".command"
_RESPONSE: Final = Layer.APDU.value + ".response"
_FETCH: Final = 0x12
_P3_AT: Final = 4
_STATUS_OCTETS: Final = 2


def packets(layer: Layer, octets: bytes, *, uplink: bool) -> Iterator[tuple[str, bool, bytes]]:
    """Yield dissector, direction and octets of what stands for one PDU: one packet, for some APDUs two.

    The dissector takes the fifth octet, P3, for how many follow. Where a command had no Lc or Le, or its
    response brought less than Le, or nothing at all, that can be a malformed packet: command and response
    then go apart, the command with the P3 that T=0 has for none (ISO/IEC 7816-3 clause 12.2.2).
    """
    if layer is not Layer.APDU:
        yield layer.value, uplink, octets
    elif len(octets) > _P3_AT and len(octets) > _P3_AT + max(octets[_P3_AT], 1) + _STATUS_OCTETS:
        # What matters in a FETCH is what the module says, and it is no part of what an ENVELOPE brought.
        yield layer.value, uplink or octets[1] == _FETCH, octets
    else:
        cut = _P3_AT + (len(octets) > _P3_AT + _STATUS_OCTETS)
        yield _COMMAND, uplink, octets[:cut].ljust(_P3_AT + 1, b"\0")
        yield _RESPONSE, not uplink, octets[cut:]


def writable(text: str) -> str:
    """Return *text* without what the library, which encodes strictly, or a C string would choke on."""
    return text.replace("\0", "?").encode(errors="replace").decode()


def comment(trace: TraceContext, note: str) -> str:
    """Return what a packet of *trace* is to say, as ``key=value`` words and then the note."""
    ids = f"trace={trace.trace_id.hex()} span={trace.span_id.hex()}"
    return f"{ids} {writable(note[:MAX_NOTE])}" if note else ids
