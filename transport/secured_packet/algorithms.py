"""The algorithms that KIc and KID name, and a keyset that has them ready.

Each table is keyed by the low nibble of its octet (TS 102 225 §5.1.2 and §5.1.3). An algorithm is a factory:
a key in, an object out that has scheduled the key, because scheduling costs as much as a packet does. Another
algorithm is a class of the same shape and a row of the table; nothing else changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeAlias, TypeVar

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    MacFunction: TypeAlias = Callable[[bytes], bytes]

_Keyed = TypeVar("_Keyed")

AES_CBC: Final = 0x2
AES_CMAC: Final = 0x2
CC_LENGTHS: Final = (8, 4)
"""Octets of a cryptographic checksum: CMAC is cut to its first eight or four."""

_AES_KEY_SIZES: Final = frozenset({16, 24, 32})
# "the initial chaining value for CBC modes shall be zero" (TS 102 225 §5.1.2)
_ZERO_IV: Final = CBC(bytes(16))


class PacketCipher(Protocol):
    """A cipher with its key: whole blocks in, as many octets out."""

    @property
    def block(self) -> int:
        """Octets of a block."""
        ...

    def encrypt(self, octets: bytes) -> bytes:
        """Encipher *octets*, a whole number of blocks."""
        ...

    def decrypt(self, octets: bytes) -> bytes:
        """Decipher *octets*, a whole number of blocks."""
        ...


class AesCbc:
    """AES in CBC mode from a zero initial vector."""

    __slots__ = ("_cipher",)
    block: Final = 16

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(AES(key), _ZERO_IV)

    def encrypt(self, octets: bytes) -> bytes:
        """Encipher *octets*, a whole number of blocks."""
        return self._cipher.encryptor().update(octets)

    def decrypt(self, octets: bytes) -> bytes:
        """Decipher *octets*, a whole number of blocks."""
        return self._cipher.decryptor().update(octets)


class AesCmac:
    """AES-CMAC (NIST SP 800-38B), not yet cut to the length of a CC."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = CMAC(AES(key))

    def __call__(self, message: bytes) -> bytes:
        """Return the sixteen octets of the checksum of *message*."""
        # a copy of the keyed state costs a third of keying anew
        mac = self._keyed.copy()
        mac.update(message)
        return mac.finalize()


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm(Generic[_Keyed]):
    """A row of ``CIPHERS`` or ``MACS``: key sizes in octets, and what makes a key ready for use."""

    key_sizes: frozenset[int]
    keyed: Callable[[bytes], _Keyed]


CIPHERS: Final[Mapping[int, Algorithm[PacketCipher]]] = MappingProxyType(
    {AES_CBC: Algorithm(key_sizes=_AES_KEY_SIZES, keyed=AesCbc)}
)
MACS: Final[Mapping[int, Algorithm[MacFunction]]] = MappingProxyType(
    {AES_CMAC: Algorithm(key_sizes=_AES_KEY_SIZES, keyed=AesCmac)}
)


def _ready(table: Mapping[int, Algorithm[_Keyed]], number: int, key: bytes, name: str) -> _Keyed:
    """Return *key* made ready for algorithm *number*; ValueError when the table has no such pair."""
    row = table.get(number)
    if row is None:
        raise ValueError(f"{name}: no algorithm has the number {number:X}")
    if len(key) not in row.key_sizes:
        raise ValueError(f"{name}: a key of {len(key)} octets; possible are {sorted(row.key_sizes)}")
    return row.keyed(key)


# TS 102 225 §5.1.2, §5.1.3: the high nibble of KIc and KID is the number of the keyset
@dataclass(frozen=True, slots=True, kw_only=True)
class PacketKeys:
    """Keyset *index* (1..15) for one direction: the keys, their algorithms, and the length of a CC.

    ``kic`` and ``kid`` are the octets that name it in a header; ``cipher`` and ``mac`` are ready for use. A
    ValueError is raised for an index, algorithm, key size or CC length that does not exist.
    """

    index: int
    cipher_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    cc_length: int = 8
    cipher_algorithm: int = AES_CBC
    mac_algorithm: int = AES_CMAC
    kic: int = field(init=False, compare=False)
    kid: int = field(init=False, compare=False)
    cipher: PacketCipher = field(init=False, repr=False, compare=False)
    mac: MacFunction = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.index <= 15:
            raise ValueError(f"a keyset has an index of 1..15, not {self.index}")
        if self.cc_length not in CC_LENGTHS:
            raise ValueError(f"a CC has 8 or 4 octets, not {self.cc_length}")
        # a frozen value computes its derived fields once, here
        put = object.__setattr__
        put(self, "kic", self.index << 4 | self.cipher_algorithm)
        put(self, "kid", self.index << 4 | self.mac_algorithm)
        put(self, "cipher", _ready(CIPHERS, self.cipher_algorithm, self.cipher_key, "KIc"))
        put(self, "mac", _ready(MACS, self.mac_algorithm, self.mac_key, "KID"))
