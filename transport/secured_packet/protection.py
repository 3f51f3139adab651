"""What command and response packets have in common: the checksum, the ciphering and the padding.

Both are ``clear | CNTR, PCNTR, … | RC/CC/DS | data | padding``, ciphered from CNTR on. The checksum covers a
prefix of its dialect, the clear octets, the header behind them, then data with padding. Order: checksum, then
cipher; the receiver deciphers, then verifies, then looks at anything else.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from transport.errors import PacketRejected
from transport.secured_packet.parameters import Integrity
from transport.secured_packet.status import ResponseStatus

if TYPE_CHECKING:
    from transport.secured_packet.algorithms import PacketCipher, PacketKeys

MAX_COUNTER: Final = 0xFF_FFFF_FFFF
TAR_LENGTH: Final = 3
MAX_PACKET: Final = 0xFFFF  # CPL and RPL are two octets in the SMS dialect
_PCNTR: Final = 5  # its offset behind the clear octets, in both packets


def checksum_length(integrity: Integrity, keys: PacketKeys | None) -> int | None:
    """Return the octets of the RC/CC/DS field, or None when *keys* cannot make that kind.

    Redundancy checks, which need no key, find their place here.
    """
    if integrity is Integrity.CC and keys is not None:
        return keys.cc_length
    return 0 if integrity is Integrity.NONE else None


def means(
    integrity: Integrity, keys: PacketKeys | None, *, ciphering: bool
) -> tuple[int, PacketCipher | None]:
    """Return the octets of the checksum and the cipher to use; ValueError when *keys* cannot do it."""
    checksum = checksum_length(integrity, keys)
    if checksum is None:
        raise ValueError(f"no keys make the integrity that the SPI asks for: {integrity.name}")
    if not ciphering:
        return checksum, None
    if keys is None:
        raise ValueError("the SPI asks for ciphering, which needs keys")
    return checksum, keys.cipher


def check_fields(tar: bytes, counter: int) -> None:
    """Raise ValueError unless *tar* is three octets and *counter* fits five."""
    if len(tar) != TAR_LENGTH:
        raise ValueError(f"a TAR is three octets, not {len(tar)}")
    if not 0 <= counter <= MAX_COUNTER:
        raise ValueError("a counter is five octets")


def seal(
    clear: bytes,
    header: bytes,
    data: bytes,
    *,
    covered: bytes,
    keys: PacketKeys | None,
    checksum: int,
    cipher: PacketCipher | None,
) -> bytes:
    """Return the whole packet; *data* is padded already, *checksum* is the octets of the CC or 0.

    *covered* is what the checksum covers ahead of the packet.
    """
    body = header + data
    if checksum and keys is not None:
        body = header + keys.mac(covered + clear + body)[:checksum] + data
    return clear + (body if cipher is None else cipher.encrypt(body))


def unseal(
    octets: bytes,
    clear: int,
    header: int,
    *,
    covered: bytes,
    keys: PacketKeys | None,
    checksum: int,
    cipher: PacketCipher | None,
) -> tuple[bytes, bytes]:
    """Return the *header* octets behind the *clear* ones, and the data without its padding.

    Raises PacketRejected when the packet was not sealed with these keys, or its padding is not zeros up to
    the next block.
    """
    body = octets[clear:]
    if cipher is not None:
        if len(body) % cipher.block:
            raise PacketRejected(ResponseStatus.CIPHERING_ERROR, "blocks", "not a whole number of blocks")
        body = cipher.decrypt(body)
    hidden, data = body[:header], body[header + checksum :]
    if checksum and keys is not None:
        computed = keys.mac(covered + octets[:clear] + hidden + data)
        if not compare_digest(computed[:checksum], body[header : header + checksum]):
            raise PacketRejected(ResponseStatus.INTEGRITY_FAILED, "checksum", "the CC does not verify")
    padding = hidden[_PCNTR]
    return hidden, _without_padding(data, padding, cipher) if padding else data


def _without_padding(data: bytes, padding: int, cipher: PacketCipher | None) -> bytes:
    """Take *padding* zeros off *data*; any other filling is refused, so that a packet has one spelling."""
    if cipher is None:
        detail = "PCNTR counts padding where nothing is ciphered"
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "padding", detail)
    if padding >= cipher.block or not data.endswith(bytes(padding)):
        detail = "PCNTR does not count zeros up to the next block"
        raise PacketRejected(ResponseStatus.CIPHERING_ERROR, "padding", detail)
    return data[:-padding]
