"""Tag-length-value objects between terminal and card: BER-TLV and COMPREHENSION-TLV.

TS 101 220 §7.1. Both kinds share the coding of the length; a tag is one octet, except that ``7F`` opens a
three-octet COMPREHENSION-TLV tag, held here as one 24-bit number (``0x7F8C01``). The highest bit of a
COMPREHENSION-TLV tag is the comprehension-required flag, so ``82`` and ``02`` name the same object.

This module does not know which tags are constructed: whoever expects an object inside another parses the
outer value again. Lengths must be in their shortest form, as the clause's table lists them, so that every
accepted object encodes to the octets it came from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from transport.errors import TlvRejected

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LENGTH: Final = 0xFFFFFF

_THREE_OCTET_TAG: Final = 0x7F
_INVALID_TAGS: Final = frozenset({0x00, 0xFF})  # TS 101 220 §7.1.1: never a tag
_SHORT_FORM_LIMIT: Final = 0x80
_LONG_FORMS: Final = {0x81: 1, 0x82: 2, 0x83: 3}  # first octet: octets of length that follow it
_CR_ONE_OCTET: Final = 0x80
_CR_THREE_OCTETS: Final = 0x008000


# TS 101 220 §7.1.2
def encode_length(length: int) -> bytes:
    """Return *length* (0..FFFFFF) in its 1 to 4 octets; ``ValueError`` when it does not fit."""
    if not 0 <= length <= MAX_LENGTH:
        raise ValueError(f"a TLV length is 0..{MAX_LENGTH}, not {length}")
    if length < _SHORT_FORM_LIMIT:
        return bytes((length,))
    size = (length.bit_length() + 7) // 8
    return bytes((0x80 | size,)) + length.to_bytes(size, "big")


def parse_length(octets: bytes, offset: int = 0) -> tuple[int, int]:
    """Return the length that stands at *offset* and the offset behind it.

    Raises TlvRejected: ``truncated``, or ``bad-length`` for a form that is indefinite, too long or not the
    shortest.
    """
    if offset >= len(octets):
        raise TlvRejected("truncated", "no length octet")
    first = octets[offset]
    if first < _SHORT_FORM_LIMIT:
        return first, offset + 1
    size = _LONG_FORMS.get(first)
    if size is None:
        raise TlvRejected("bad-length", f"length octet {first:02X}")
    end = offset + 1 + size
    if end > len(octets):
        raise TlvRejected("truncated", f"length of {size} octets cut short")
    length = int.from_bytes(octets[offset + 1 : end], "big")
    if len(encode_length(length)) != 1 + size:
        raise TlvRejected("bad-length", "not the shortest form")
    return length, end


@dataclass(frozen=True, slots=True, kw_only=True)
class Tlv:
    """One object: its *tag* as a number (one octet, or three that start with 7F) and its *value*.

    The value stays out of the repr: on the contacts it may hold a key.
    """

    tag: int
    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a tag that cannot be encoded, or a value longer than FFFFFF octets."""
        _encode_tag(self.tag)
        if len(self.value) > MAX_LENGTH:
            raise ValueError(f"a TLV value has at most {MAX_LENGTH} octets")

    def encode(self) -> bytes:
        """Return tag, length and value."""
        return _encode_tag(self.tag) + encode_length(len(self.value)) + self.value


def encode(tag: int, value: bytes) -> bytes:
    """Return the octets of the object *tag* with *value*; ``ValueError`` for what is no tag."""
    return _encode_tag(tag) + encode_length(len(value)) + value


def parse_all(octets: bytes) -> list[Tlv]:
    """Return the objects that fill *octets* to the last one, in their order.

    Raises TlvRejected: ``truncated``, ``bad-tag`` or ``bad-length``.
    """
    found = []
    offset = 0
    while offset < len(octets):
        tag, offset = _parse_tag(octets, offset)
        length, offset = parse_length(octets, offset)
        if length > len(octets) - offset:
            raise TlvRejected("truncated", f"tag {tag:02X}: {length} octets announced")
        found.append(Tlv(tag=tag, value=octets[offset : offset + length]))
        offset += length
    return found


def find(tlvs: Iterable[Tlv], tag: int, *, ignore_cr: bool = True) -> Tlv | None:
    """Return the first object with *tag*, or None.

    With *ignore_cr* the comprehension-required bit of neither side counts.
    """
    if not ignore_cr:
        return next((tlv for tlv in tlvs if tlv.tag == tag), None)
    wanted = _without_cr(tag)
    return next((tlv for tlv in tlvs if _without_cr(tlv.tag) == wanted), None)


def require(tlvs: Iterable[Tlv], tag: int, *, ignore_cr: bool = True) -> Tlv:
    """Return the first object with *tag*; raises TlvRejected (``missing``) when there is none."""
    found = find(tlvs, tag, ignore_cr=ignore_cr)
    if found is None:
        raise TlvRejected("missing", f"no object with tag {tag:02X}")
    return found


# TS 101 220 §7.1.1
def _encode_tag(tag: int) -> bytes:
    if 0 < tag < 0xFF and tag != _THREE_OCTET_TAG:
        return bytes((tag,))
    if tag >> 16 == _THREE_OCTET_TAG:
        return tag.to_bytes(3, "big")
    raise ValueError(f"{tag:02X} is no TLV tag")


def _parse_tag(octets: bytes, offset: int) -> tuple[int, int]:
    first = octets[offset]
    if first in _INVALID_TAGS:
        raise TlvRejected("bad-tag", f"tag {first:02X}")
    if first != _THREE_OCTET_TAG:
        return first, offset + 1
    end = offset + 3
    if end > len(octets):
        raise TlvRejected("truncated", "three-octet tag cut short")
    return int.from_bytes(octets[offset:end], "big"), end


def _without_cr(tag: int) -> int:
    return tag & ~(_CR_ONE_OCTET if tag <= 0xFF else _CR_THREE_OCTETS)
