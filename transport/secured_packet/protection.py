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
from transport.secured_packet.redundancy import NO_CHECKSUM, REDUNDANCY_CHECKS, Checksum
from transport.secured_packet.status import ResponseStatus

if TYPE_CHECKING:
    from transport.secured_packet.algorithms import PacketKeys
    from transport.secured_packet.ciphers import PacketCipher

MAX_COUNTER: Final = 0xFF_FFFF_FFFF
TAR_LENGTH: Final = 3
_PCNTR: Final = 5  # its offset behind the clear octets, in both packets
# looked up once: to read a member off its enumeration costs as much as a checksum's update in Python 3.11
_NONE, _RC, _CC = Integrity.NONE, Integrity.RC, Integrity.CC


def find_checksum(integrity: Integrity, keys: PacketKeys | None, kid: int) -> Checksum | None:
    """Return what fills RC/CC/DS, or None when there is no such kind.

    A CC is that of *keys*; the low nibble of *kid* names an RC, which needs none. Digital signatures have no
    algorithm in the standard.
    """
    if integrity is _CC:
        return None if keys is None else keys.checksum
    if integrity is _RC:
        return REDUNDANCY_CHECKS.get(kid & 0xF)
    return NO_CHECKSUM if integrity is _NONE else None


def means(
    integrity: Integrity, keys: PacketKeys | None, kid: int, *, ciphering: bool
) -> tuple[Checksum, PacketCipher | None]:
    """Return the checksum and the cipher to use; ValueError when *keys* cannot do it."""
    checksum = find_checksum(integrity, keys, kid)
    if checksum is None:
        raise ValueError(f"nothing here makes the integrity that the SPI asks for: {integrity.name}")
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
    checksum: Checksum,
    cipher: PacketCipher | None,
) -> bytes:
    """Return the whole packet; *data* is padded already.

    *covered* is what the checksum covers ahead of the packet.
    """
    length, of = checksum
    body = header + of(covered + clear + header + data)[:length] + data
    return clear + (body if cipher is None else cipher.encrypt(body))


def unseal(
    octets: bytes,
    clear: int,
    header: int,
    *,
    covered: bytes,
    checksum: Checksum,
    cipher: PacketCipher | None,
) -> tuple[bytes, bytes]:
    """Return the *header* octets behind the *clear* ones, and the data without its padding.

    Raises PacketRejected when the packet was not sealed with these means, or its padding is not zeros up to
    the next block.
    """
    body = octets[clear:]
    if cipher is not None:
        if len(body) % cipher.block:
            raise PacketRejected(ResponseStatus.CIPHERING_ERROR, "blocks", "not a whole number of blocks")
        body = cipher.decrypt(body)
    length, of = checksum
    end = header + length
    hidden, data = body[:header], body[end:]
    if not compare_digest(of(covered + octets[:clear] + hidden + data)[:length], body[header:end]):
        raise PacketRejected(ResponseStatus.INTEGRITY_FAILED, "checksum", "the RC or CC does not verify")
    padding = hidden[_PCNTR]
    return hidden, data if not padding else _without_padding(data, padding, cipher)


def _without_padding(data: bytes, padding: int, cipher: PacketCipher | None) -> bytes:
    """Take *padding* zeros off *data*; any other filling is refused, so that a packet has one spelling."""
    if cipher is None:
        detail = "PCNTR counts padding where nothing is ciphered"
        raise PacketRejected(ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "padding", detail)
    if padding >= cipher.block or not data.endswith(bytes(padding)):
        detail = "PCNTR does not count zeros up to the next block"
        raise PacketRejected(ResponseStatus.CIPHERING_ERROR, "padding", detail)
    return data[:-padding]
