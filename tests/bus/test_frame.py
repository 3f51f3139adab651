from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import FrameRejected
from bus.frame import MAX_FRAME_OCTETS, MAX_PDU_OCTETS, REASONS, Bearer, Frame, TraceContext
from tests.bus.frames import make_frame

VECTORS = tomllib.loads((Path(__file__).parent / "vectors" / "frames.toml").read_text(encoding="utf-8"))[
    "frame"
]
WHOLE = make_frame(7)
FIELDS: dict[str, Any] = msgpack.unpackb(WHOLE.encode())
NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
FRAMES = st.builds(
    Frame,
    bearer=st.sampled_from(Bearer),
    source=NAMES,
    destination=NAMES,
    pdu=st.binary(max_size=300),
    reference=st.binary(min_size=8, max_size=8),
    trace=st.builds(
        TraceContext,
        trace_id=st.binary(min_size=16, max_size=16).filter(any),
        span_id=st.binary(min_size=8, max_size=8).filter(any),
    ),
    sent_at=st.floats(min_value=0, max_value=1e12, exclude_max=True),
    attempt=st.integers(min_value=1, max_value=255),
)
BAD_FIELDS: list[tuple[str, Any]] = [
    *(("b", value) for value in ("", "SMS", "smoke-signal", b"sms", 1, None)),
    *((key, value) for key in "sd" for value in ("", "a/b", "a b", "a\n", "é", b"mno", 5)),
    *(("p", value) for value in ("text", None, 1)),
    *(("r", value) for value in (b"", bytes(7), bytes(9), "12345678")),
    *(("t", value) for value in (b"", b"t" * 15, b"t" * 17, bytes(16), "0123456789abcdef")),
    *(("n", value) for value in (b"", b"n" * 7, b"n" * 9, bytes(8), None)),
    *(("a", value) for value in (1, -1.0, 1e12, float("nan"), float("inf"), "1", True)),
    *(("k", value) for value in (0, -1, 256, 1.0, True, "1", 1 << 63)),
]


def reason_of(octets: bytes) -> str:
    """Return the reason for which *octets* are no frame."""
    with pytest.raises(FrameRejected) as caught:
        Frame.parse(octets)
    assert caught.value.reason in REASONS
    return caught.value.reason


def outcome(octets: bytes) -> str:
    """Return why *octets* are no frame, or that they are one."""
    try:
        Frame.parse(octets)
    except FrameRejected as error:
        return error.reason
    return "a frame"


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_vectors(vector: dict[str, Any]) -> None:
    """Octets written by hand from the msgpack specification are what we write, and we read them."""
    frame = Frame(
        bearer=Bearer(vector["bearer"]),
        source=vector["from"],
        destination=vector["to"],
        pdu=bytes.fromhex(vector["pdu"]),
        reference=bytes.fromhex(vector["reference"]),
        trace=TraceContext(trace_id=b"T" * 16, span_id=b"S" * 8),
        sent_at=vector["sent_at"],
        attempt=vector["attempt"],
    )
    octets = bytes.fromhex(vector["octets"])
    assert frame.encode() == octets
    assert Frame.parse(octets) == frame


@given(FRAMES)
def test_whole(frame: Frame) -> None:
    """A frame comes back as it was, and encoding it again gives the same octets."""
    octets = frame.encode()
    assert Frame.parse(octets) == frame
    assert Frame.parse(octets).encode() == octets


def test_cut() -> None:
    """A frame cut anywhere is no msgpack."""
    octets = WHOLE.encode()
    for end in range(len(octets)):
        assert reason_of(octets[:end]) == "not-msgpack"


def test_trailing() -> None:
    """Octets after the frame are not ignored."""
    assert reason_of(WHOLE.encode() + b"\x00") == "not-msgpack"


@pytest.mark.parametrize("value", [[], 1, "text", b"octets", None, True])
def test_not_a_map(value: object) -> None:
    """Msgpack that is no map is refused."""
    assert reason_of(msgpack.packb(value)) == "not-a-map"


@pytest.mark.parametrize("version", [0, 2, -1, "1", None, 1.0, True])
def test_version(version: object) -> None:
    """Only version 1, as an integer, is read; other fields are not looked at before."""
    assert reason_of(msgpack.packb({"v": version, "other": 1})) == "unknown-version"


@pytest.mark.parametrize("key", sorted(FIELDS))
def test_missing(key: str) -> None:
    """Every field is required."""
    assert reason_of(msgpack.packb({k: v for k, v in FIELDS.items() if k != key})) == "missing-field"


def test_unknown() -> None:
    """A field of no meaning is refused, also when it takes another's place, or is another given twice."""
    assert reason_of(msgpack.packb({**FIELDS, "z": 1})) == "unknown-field"
    twice = WHOLE.encode().replace(b"\x8a", b"\x8b", 1) + b"\xa1k\x02"
    assert reason_of(twice) == "unknown-field"


@pytest.mark.parametrize(("key", "value"), BAD_FIELDS, ids=[f"{key}={value!r}" for key, value in BAD_FIELDS])
def test_bad_field(key: str, value: object) -> None:
    """A field of the wrong type or out of its bounds is refused."""
    assert reason_of(msgpack.packb({**FIELDS, key: value})) == "bad-field"


@pytest.mark.parametrize(
    "value",
    ["x" * 65, [1], {str(i): i for i in range(17)}, msgpack.Timestamp(1), msgpack.ExtType(5, b"x")],
    ids=["string", "array", "map", "timestamp", "extension"],
)
def test_limits(value: object) -> None:
    """What exceeds the limits given to msgpack is refused while it is read."""
    assert reason_of(msgpack.packb({**FIELDS, "s": value})) == "not-msgpack"


def test_nesting() -> None:
    """Maps in maps end in a rejection, not in a recursion error."""
    assert reason_of(b"\x81\xa1v" * 20_000 + b"\x01") == "not-msgpack"


def test_size() -> None:
    """The largest PDU fits the largest frame; one octet more is refused on both sides."""
    longest = dataclasses.replace(
        WHOLE, pdu=bytes(MAX_PDU_OCTETS), source="a" * 64, destination="b" * 64, attempt=255
    )
    assert len(longest.encode()) <= MAX_FRAME_OCTETS
    assert Frame.parse(longest.encode()) == longest
    with pytest.raises(ValueError, match="pdu"):
        dataclasses.replace(WHOLE, pdu=bytes(MAX_PDU_OCTETS + 1))
    assert reason_of(bytes(MAX_FRAME_OCTETS + 1)) == "too-large"
    assert reason_of(msgpack.packb({**FIELDS, "p": bytes(MAX_PDU_OCTETS + 1)})) == "not-msgpack"


@given(st.binary(max_size=400))
def test_arbitrary_octets(octets: bytes) -> None:
    """Arbitrary octets give a frame or the typed rejection, nothing else."""
    assert outcome(octets) in REASONS | {"a frame"}


@given(st.sampled_from(sorted(FIELDS)), st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
))  # fmt: skip
def test_arbitrary_field(key: str, value: object) -> None:
    """Any value msgpack can hold, in any field, gives a frame or the typed rejection."""
    assert outcome(msgpack.packb({**FIELDS, key: value})) in REASONS | {"a frame"}


@pytest.mark.parametrize(
    "change",
    [
        {"source": ""}, {"destination": "a/b"}, {"reference": bytes(7)}, {"sent_at": -1.0},
        {"sent_at": float("nan")}, {"attempt": 0}, {"attempt": 256},
    ],
    ids=str,
)  # fmt: skip
def test_misuse(change: dict[str, Any]) -> None:
    """Our own code cannot make a frame that nobody would read; the error names the field."""
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(WHOLE, **change)


def test_trace_misuse() -> None:
    """A trace has ids of their size, which are not all zeros, and shows them in hexadecimal."""
    for trace_id, span_id in ((b"", b"S" * 8), (bytes(16), b"S" * 8), (b"T" * 16, bytes(8))):
        with pytest.raises(ValueError, match="trace"):
            TraceContext(trace_id=trace_id, span_id=span_id)
    assert str(WHOLE.trace) == f"{'54' * 16}/{'53' * 8}"


def test_shows_no_octets() -> None:
    """Neither str nor repr shows the PDU, which over the contacts may be in clear, and both are short."""
    frame = make_frame(pdu=b"SECRET" * 1000)
    for text in (str(frame), repr(frame)):
        assert "SECRET" not in text
        assert b"SECRET".hex() not in text
        assert len(text) < 400
    assert "6000 octets" in str(frame)
