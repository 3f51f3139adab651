"""The envelope of every MQTT payload: a msgpack map around one TPDU, page, chunk or message.

Trace data ride in the frame so that they cost no octets on the air. The map, in this order:

===  ============  ===========================  ====================================================
key  field         msgpack type                 bounds
===  ============  ===========================  ====================================================
v    (version)     int                          1
b    bearer        str                          a value of :class:`Bearer`
s    source        str                          a name (:func:`bus.topics.is_name`), 1 to 64 characters
d    destination   str                          likewise
p    pdu           bin                          at most MAX_PDU_OCTETS
r    reference     bin                          8 octets; an answer repeats its question's
t    trace id      bin                          16 octets, not all zeros
n    span id       bin                          8 octets, not all zeros
a    sent_at       float 64                     seconds of the sender's clock, 0 <= a < 1e12; of a page,
                                               when it has been on the air
k    attempt       int                          1 to 255
===  ============  ===========================  ====================================================

Anything else is refused with one of :data:`REASONS`. Limits are given to msgpack before it allocates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgpack

from bus.errors import FrameRejected
from bus.topics import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 1
MAX_FRAME_OCTETS: Final = 65536
MAX_PDU_OCTETS: Final = MAX_FRAME_OCTETS - 512  # the other fields at their longest take less than that
REFERENCE_OCTETS: Final = 8
REASONS: Final = frozenset(
    {
        "too-large",
        "not-msgpack",
        "not-a-map",
        "unknown-version",
        "missing-field",
        "unknown-field",
        "bad-field",
    }
)
_LATEST_S: Final = 1e12
_NO_TRACE: Final = bytes(16)
_NO_SPAN: Final = bytes(8)
_LAST_ATTEMPT: Final = 255
_KEYS: Final = frozenset("vbsdprtnak")
# A fixmap of exactly our fields: a key given twice would make the dict smaller than the header says.
_HEADER: Final = 0x80 | len(_KEYS)
_LIMITS: Final[Mapping[str, Any]] = {
    "raw": False,
    "strict_map_key": True,
    "max_str_len": 64,
    "max_bin_len": MAX_PDU_OCTETS,
    "max_array_len": 0,
    "max_map_len": 16,
    "max_ext_len": 0,
}


class Bearer(StrEnum):
    """What carried the PDU. The first five are the air; the others never leave the ground."""

    SMS = "sms"
    REPORT = "report"
    CELL_BROADCAST = "cell-broadcast"
    BIP_TCP = "bip-tcp"
    BIP_UDP = "bip-udp"
    NOTICE = "notice"
    ROLE = "role"
    CONTACT = "contact"
    ORDER = "order"
    EVENT = "event"


_BEARERS: Final[Mapping[str, Bearer]] = {str(bearer): bearer for bearer in Bearer}


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Which transaction a frame belongs to (16 octets) and which step of it, a span (8 octets), sent it.

    ``parent_id`` is the span that this one began in, empty for a transaction's first and for what a frame
    brought: it does not travel, as the one who sent has logged it. Zeros alone are no id (W3C Trace Context
    §3.2.2): a collector may refuse all that comes with one.
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes = b""
    cause_id: bytes = field(default=b"", compare=False)
    """The message that it began with here, however many spans lie between: of that a line is sure to tell."""

    def __post_init__(self) -> None:
        if len(self.trace_id) != 16 or len(self.span_id) != 8 or len(self.parent_id) not in {0, 8}:
            raise ValueError("trace: an id of 16 and a span of 8 octets")
        if self.trace_id == _NO_TRACE or _NO_SPAN in (self.span_id, self.parent_id):
            raise ValueError("trace: zeros alone are no id")

    def __str__(self) -> str:
        return f"{self.trace_id.hex()}/{self.span_id.hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One MQTT payload. Raises ValueError naming the field that is out of its bounds (table above)."""

    bearer: Bearer
    source: str
    destination: str
    pdu: bytes = field(repr=False)  # over the contacts it may be in clear
    reference: bytes
    trace: TraceContext
    sent_at: float
    attempt: int = 1

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.source):
            raise ValueError("source")
        if not NAME.fullmatch(self.destination):
            raise ValueError("destination")
        if len(self.pdu) > MAX_PDU_OCTETS:
            raise ValueError("pdu")
        if len(self.reference) != REFERENCE_OCTETS:
            raise ValueError("reference")
        if not 0 <= self.sent_at < _LATEST_S:
            raise ValueError("sent_at")
        if not 1 <= self.attempt <= _LAST_ATTEMPT:
            raise ValueError("attempt")

    @property
    def label(self) -> str:
        """What work on it is called: its bearer."""
        return str(self.bearer)

    def encode(self, span_id: bytes = b"") -> bytes:
        """Return the octets of the payload, at most MAX_FRAME_OCTETS; as of the span *span_id*, if given."""
        trace = self.trace
        packed: bytes = msgpack.packb(
            {
                "v": VERSION,
                "b": str(self.bearer),
                "s": self.source,
                "d": self.destination,
                "p": self.pdu,
                "r": self.reference,
                "t": trace.trace_id,
                "n": span_id or trace.span_id,
                "a": float(self.sent_at),
                "k": self.attempt,
            }
        )
        return packed

    @classmethod
    def parse(cls, octets: bytes) -> Frame:
        """Return the frame in *octets*, from whomever. Raises FrameRejected with one of REASONS."""
        values = _unpack(octets)
        for key, kind in _TYPES:
            if type(values[key]) is not kind:
                raise FrameRejected("bad-field", key)
        bearer = _BEARERS.get(values["b"])
        if bearer is None:
            raise FrameRejected("bad-field", "b")
        try:
            return cls(
                bearer=bearer,
                source=values["s"],
                destination=values["d"],
                pdu=values["p"],
                reference=values["r"],
                trace=TraceContext(trace_id=values["t"], span_id=values["n"]),
                sent_at=values["a"],
                attempt=values["k"],
            )
        except ValueError as error:
            raise FrameRejected("bad-field", str(error)) from None

    def __str__(self) -> str:
        return (
            f"{self.bearer} {self.source} -> {self.destination}, {len(self.pdu)} octets, "
            f"attempt {self.attempt}, reference {self.reference.hex()}"
        )


# Exact types: a bool is no int and an int no float where re-encoding must give the same octets.
_TYPES: Final[tuple[tuple[str, type], ...]] = (
    ("b", str),
    ("s", str),
    ("d", str),
    ("p", bytes),
    ("r", bytes),
    ("t", bytes),
    ("n", bytes),
    ("a", float),
    ("k", int),
)


def _unpack(octets: bytes) -> dict[str, Any]:
    """Return the map in *octets* with exactly the keys of this version. Raises FrameRejected."""
    if len(octets) > MAX_FRAME_OCTETS:
        raise FrameRejected("too-large", f"{len(octets)} octets")
    try:
        values = msgpack.unpackb(octets, **_LIMITS)
    except (ValueError, msgpack.UnpackException):
        raise FrameRejected("not-msgpack") from None
    if type(values) is not dict:
        raise FrameRejected("not-a-map")
    if values.get("v") != VERSION or type(values["v"]) is not int:
        raise FrameRejected("unknown-version" if "v" in values else "missing-field", "v")
    if octets[0] != _HEADER or values.keys() != _KEYS:
        raise _wrong_keys(values)
    return values


def _wrong_keys(values: Mapping[str, Any]) -> FrameRejected:
    """Say what is wrong with the keys of a map of our version."""
    if missing := _KEYS - values.keys():
        return FrameRejected("missing-field", ",".join(sorted(missing)))
    return FrameRejected("unknown-field", f"{len(values) - len(_KEYS)} keys unknown, or one given twice")
