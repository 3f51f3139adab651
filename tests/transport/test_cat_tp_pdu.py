from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.vectors import load
from transport.cat_tp import (
    MAX_EXTENDED,
    MAX_IDENTIFICATION,
    Flags,
    Pdu,
    ResetReason,
    Synchronisation,
    checksum,
    refuse,
)
from transport.errors import CatTpRejected

VECTORS = load("cat_tp")
PDUS = pytest.mark.parametrize("vector", VECTORS["pdu"], ids=lambda vector: vector["id"])
REJECTED = pytest.mark.parametrize("vector", VECTORS["rejected"], ids=lambda vector: vector["id"])

numbers = st.integers(0, 0xFFFF)
data = st.binary(min_size=1, max_size=300)
names = st.binary(max_size=MAX_IDENTIFICATION)
synchronisations = st.builds(Synchronisation, max_pdu=numbers, max_sdu=numbers, identification=names)
extended = st.lists(numbers, min_size=1, max_size=MAX_EXTENDED).map(tuple)
reasons = st.integers(0, 0xFF).map(ResetReason)

HEADER = {
    "source_port": numbers,
    "destination_port": numbers,
    "sequence": numbers,
    "acknowledgement": numbers,
    "window": numbers,
}


def kind(*mixes: Flags, **extras: st.SearchStrategy[Any]) -> st.SearchStrategy[Pdu]:
    """Return PDUs with one of *mixes* as flags and what belongs to it."""
    return st.builds(Pdu, flags=st.sampled_from(mixes), **HEADER, **extras)


ACK = Flags.ACK
pdus = st.one_of(
    kind(Flags.SYN, Flags.SYN | ACK, synchronisation=synchronisations),
    kind(Flags.RST, Flags.RST | ACK, reason=reasons),
    kind(ACK, ACK | Flags.SEG, payload=data),
    kind(ACK, ACK | Flags.NUL),
    kind(ACK | Flags.EAK, ACK | Flags.EAK | Flags.SEG, extended=extended, payload=data),
    kind(ACK | Flags.EAK, ACK | Flags.EAK | Flags.NUL, extended=extended),
)


def pdu_of(vector: dict[str, Any]) -> Pdu:
    """Return the PDU whose fields *vector* lists."""
    synchronisation = None
    if "max_pdu" in vector:
        synchronisation = Synchronisation(
            max_pdu=vector["max_pdu"],
            max_sdu=vector["max_sdu"],
            identification=bytes.fromhex(vector["identification"]),
        )
    return Pdu(
        flags=Flags(vector["flags"]),
        source_port=vector["ports"][0],
        destination_port=vector["ports"][1],
        sequence=vector["sequence"],
        acknowledgement=vector["acknowledgement"],
        window=vector["window"],
        payload=bytes.fromhex(vector.get("payload", "")),
        synchronisation=synchronisation,
        extended=tuple(vector.get("extended", ())),
        reason=ResetReason(vector["reason"]) if "reason" in vector else None,
    )


def reason_of(octets: bytes) -> str:
    """Return why *octets* are refused."""
    with pytest.raises(CatTpRejected) as refusal:
        Pdu.parse(octets)
    return refusal.value.reason


@PDUS
def test_whole(vector: dict[str, Any]) -> None:
    """Octets give the fields they hold."""
    assert Pdu.parse(bytes.fromhex(vector["octets"])) == pdu_of(vector)


@PDUS
def test_encoded(vector: dict[str, Any]) -> None:
    """Fields give the octets they were added up for by hand."""
    assert pdu_of(vector).encode().hex() == vector["octets"]


@PDUS
def test_cut(vector: dict[str, Any]) -> None:
    """Octets cut anywhere are refused."""
    octets = bytes.fromhex(vector["octets"])
    assert {reason_of(octets[:end]) for end in range(18)} == {"too-short"}
    assert {reason_of(octets[:end]) for end in range(18, len(octets))} <= {"header-length", "data-length"}


@PDUS
@pytest.mark.parametrize("trailing", [0x00, 0xFF])
def test_trailing(vector: dict[str, Any], trailing: int) -> None:
    """An octet behind the data is refused."""
    assert reason_of(bytes.fromhex(vector["octets"]) + bytes((trailing,))) == "data-length"


@PDUS
def test_turned_bits(vector: dict[str, Any]) -> None:
    """Each single bit turned is found out."""
    octets = bytes.fromhex(vector["octets"])
    for bit in range(len(octets) * 8):
        turned = int.from_bytes(octets, "big") ^ (1 << bit)
        reason_of(turned.to_bytes(len(octets), "big"))


@REJECTED
def test_rejected(vector: dict[str, Any]) -> None:
    """What breaks one rule is refused by the name of that rule."""
    assert reason_of(bytes.fromhex(vector["octets"])) == vector["reason"]


@given(pdus)
def test_there_and_back(pdu: Pdu) -> None:
    """Every PDU that may exist is read as it was written, and its octets hold their own checksum."""
    octets = pdu.encode()
    assert Pdu.parse(octets) == pdu
    assert checksum(octets) == 0


@given(st.binary(max_size=64))
def test_arbitrary_octets(octets: bytes) -> None:
    """Arbitrary octets are refused, or a PDU that encodes to them."""
    try:
        pdu = Pdu.parse(octets)
    except CatTpRejected:
        return
    assert pdu.encode() == octets


@given(pdus, st.data())
def test_damaged_octets(pdu: Pdu, source: st.DataObject) -> None:
    """Damage with the checksum made right again is refused, or a PDU that encodes to the same octets."""
    octets = bytearray(pdu.encode())
    octets[source.draw(st.integers(0, len(octets) - 1))] ^= source.draw(st.integers(1, 0xFF))
    octets[16:18] = bytes(2)
    octets[16:18] = checksum(octets).to_bytes(2, "big")
    try:
        damaged = Pdu.parse(bytes(octets))
    except CatTpRejected:
        return
    assert damaged.encode() == octets


def test_two_zeros() -> None:
    """A checksum of zero is also read in the other form that one's complement has for it."""
    pdu = Pdu(flags=ACK, source_port=0, destination_port=0, sequence=0xFFFF - 0x4000 - 0x12)
    octets = pdu.encode()
    assert octets[16:18] == bytes(2)
    assert Pdu.parse(octets[:16] + b"\xff\xff") == pdu


@pytest.mark.parametrize(
    ("octets", "expected"),
    [("", 0xFFFF), ("0000", 0xFFFF), ("ffff", 0), ("01", 0xFEFF), ("0001f203f4f5f6f7", 0x220D)],
    ids=["nothing", "zeros", "ones", "odd", "rfc-1071"],
)
def test_checksum(octets: str, expected: int) -> None:
    """The checksum is that of RFC 1071 §3, whose example is the last."""
    assert checksum(bytes.fromhex(octets)) == expected


@given(st.binary(max_size=200))
def test_checksum_by_the_book(octets: bytes) -> None:
    """The checksum is the one that adding pairs with end-around carry gives."""
    padded = octets + bytes(len(octets) % 2)
    total = 0
    for high, low in zip(padded[::2], padded[1::2], strict=True):
        total += high << 8 | low
        total = (total & 0xFFFF) + (total >> 16)
    assert checksum(octets) == 0xFFFF - total


def test_reserved_reasons_are_kept() -> None:
    """A reason that is reserved is neither lost nor taken for another; what is no octet is none."""
    reserved = ResetReason(0x7F)
    assert (reserved.name, reserved.value) == ("RFU", 0x7F)
    assert reserved == ResetReason(0x7F) != ResetReason(0x80)
    for wrong in (-1, 256):
        with pytest.raises(ValueError, match="valid ResetReason"):
            ResetReason(wrong)
    with pytest.raises(ValueError, match="valid ResetReason"):
        ResetReason("normal")  # type: ignore[arg-type]


SYN = Synchronisation(max_pdu=236, max_sdu=4096)


@pytest.mark.parametrize(
    "fields",
    [
        {"flags": Flags.EAK, "extended": (1,)},
        {"flags": Flags(0)},
        {"flags": ACK, "sequence": 0x10000},
        {"flags": ACK, "sequence": -1},
        {"flags": ACK, "window": 0x10000},
        {"flags": ACK, "source_port": 0x10000},
        {"flags": ACK, "payload": bytes(0x10000)},
        {"flags": ACK, "extended": (1,)},
        {"flags": ACK, "synchronisation": SYN},
        {"flags": ACK, "reason": ResetReason.NORMAL},
        {"flags": Flags.SYN},
        {"flags": Flags.RST},
        {"flags": ACK | Flags.EAK},
        {"flags": ACK | Flags.EAK, "extended": (0x10000,)},
        {"flags": ACK | Flags.EAK, "extended": tuple(range(MAX_EXTENDED + 1))},
        {"flags": ACK | Flags.SEG},
        {"flags": ACK | Flags.NUL, "payload": b"x"},
        {"flags": Flags.SYN, "synchronisation": SYN, "payload": b"x"},
        {"flags": Flags.RST, "reason": ResetReason.NORMAL, "payload": b"x"},
    ],
    ids=lambda fields: "-".join(f"{key}={str(value)[:12]}" for key, value in fields.items()),
)
def test_no_such_pdu(fields: dict[str, Any]) -> None:
    """A PDU that no octets could say does not come to exist."""
    header = {"source_port": 1, "destination_port": 2, "sequence": 3}
    with pytest.raises(ValueError, match=r"flags|16 bits"):
        Pdu(**{**header, **fields})


@pytest.mark.parametrize(
    "fields",
    [{"max_pdu": 0x10000}, {"max_sdu": -1}, {"identification": bytes(MAX_IDENTIFICATION + 1)}],
    ids=["pdu", "sdu", "identification"],
)
def test_no_such_synchronisation(fields: dict[str, Any]) -> None:
    """Nor does a SYN with fields that do not fit."""
    with pytest.raises(ValueError, match=r"16 bits|octets"):
        Synchronisation(**{"max_pdu": 236, "max_sdu": 4096, **fields})


def test_refused() -> None:
    """What no connection takes is answered by an RST that the sender's connection finds to count."""
    syn = Pdu(flags=Flags.SYN, source_port=1, destination_port=2, sequence=9, synchronisation=SYN)
    answer = refuse(syn.encode(), ResetReason.PORT_NOT_AVAILABLE)
    assert answer is not None
    reset = Pdu.parse(answer)
    assert (reset.flags, reset.source_port, reset.destination_port) == (Flags.RST | ACK, 2, 1)
    assert (reset.acknowledgement, reset.reason) == (9, ResetReason.PORT_NOT_AVAILABLE)
    late = Pdu(flags=ACK, source_port=1, destination_port=2, sequence=9, acknowledgement=0xFFFF)
    answer = refuse(late.encode(), ResetReason.UNEXPECTED_PDU)
    assert answer is not None
    reset = Pdu.parse(answer)
    assert (reset.flags, reset.sequence, reset.reason) == (Flags.RST, 0, ResetReason.UNEXPECTED_PDU)


def test_not_answered() -> None:
    """An RST and what is no PDU are answered by nothing."""
    reset = Pdu(flags=Flags.RST, source_port=1, destination_port=2, sequence=9, reason=ResetReason.NORMAL)
    assert refuse(reset.encode(), ResetReason.UNEXPECTED_PDU) is None
    assert refuse(b"no PDU", ResetReason.UNEXPECTED_PDU) is None


def test_takes_number() -> None:
    """A SYN, a NUL and data take a number; an acknowledgement and an RST take none."""
    taking = {vector["id"]: pdu_of(vector).takes_number for vector in VECTORS["pdu"]}
    assert {name for name, takes in taking.items() if not takes} == {
        "acknowledgement",
        "extended-acknowledgement",
        "reset",
        "reset-with-acknowledgement",
    }
