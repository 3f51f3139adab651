"""The algorithms that KIc and KID name, and a keyset that has them ready.

Each table is keyed by the low nibble of its octet (TS 102 225 §5.1.2 and §5.1.3). An algorithm is a factory:
a key in, an object out that schedules the key once, for scheduling costs as much as a packet does. Another
algorithm is a class of the same shape and a row of the table; nothing else changes. DES in all its forms is
legacy: keys for it come to be only where a service says that it allows them.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from transport.secured_packet.ciphers import Cbc, Ecb, PacketCipher, aes_cmac, cbc_mac, triple_des
from transport.secured_packet.redundancy import Checksum

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    MacFunction: TypeAlias = Callable[[bytes], bytes]

_Keyed = TypeVar("_Keyed")

DES_CBC: Final = 0x1
AES_CBC: Final = 0x2
AES_CMAC: Final = 0x2
TRIPLE_DES_2_CBC: Final = 0x5
TRIPLE_DES_3_CBC: Final = 0x9
DES_ECB: Final = 0xD
CC_LENGTHS: Final = (8, 4)
"""Octets of a cryptographic checksum: CMAC is cut to its first eight or four, CBC-MAC has eight."""

_AES_KEY_SIZES: Final = frozenset({16, 24, 32})


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm(Generic[_Keyed]):
    """A row of ``CIPHERS`` or ``MACS``: key sizes in octets, and what makes a key ready for use.

    ``cc_lengths`` are those of a MAC; ``legacy`` algorithms have to be allowed.
    """

    key_sizes: frozenset[int]
    keyed: Callable[[bytes], _Keyed]
    legacy: bool = False
    cc_lengths: tuple[int, ...] = ()


def _des(key_size: int, mode: type[Cbc | Ecb]) -> Algorithm[PacketCipher]:
    sizes = frozenset({key_size})
    return Algorithm(key_sizes=sizes, keyed=lambda key: mode(TripleDES, triple_des(key)), legacy=True)


def _des_mac(key_size: int) -> Algorithm[MacFunction]:
    return Algorithm(
        key_sizes=frozenset({key_size}),
        keyed=lambda key: cbc_mac(TripleDES, triple_des(key)),
        legacy=True,
        cc_lengths=CC_LENGTHS[:1],
    )


CIPHERS: Final[Mapping[int, Algorithm[PacketCipher]]] = MappingProxyType(
    {
        DES_CBC: _des(8, Cbc),
        AES_CBC: Algorithm(key_sizes=_AES_KEY_SIZES, keyed=lambda key: Cbc(AES, key)),
        TRIPLE_DES_2_CBC: _des(16, Cbc),
        TRIPLE_DES_3_CBC: _des(24, Cbc),
        DES_ECB: Algorithm(
            key_sizes=frozenset({8}), keyed=lambda key: Ecb(TripleDES, triple_des(key)), legacy=True
        ),
    }
)
MACS: Final[Mapping[int, Algorithm[MacFunction]]] = MappingProxyType(
    {
        DES_CBC: _des_mac(8),
        AES_CMAC: Algorithm(key_sizes=_AES_KEY_SIZES, keyed=aes_cmac, cc_lengths=CC_LENGTHS),
        TRIPLE_DES_2_CBC: _des_mac(16),
        TRIPLE_DES_3_CBC: _des_mac(24),
    }
)


def _row(table: Mapping[int, Algorithm[_Keyed]], number: int, key: bytes, name: str) -> Algorithm[_Keyed]:
    """Return the row of algorithm *number*; ValueError when the table has none that takes *key*."""
    row = table.get(number)
    if row is None:
        raise ValueError(f"{name}: no algorithm has the number {number:X}")
    if len(key) not in row.key_sizes:
        raise ValueError(f"{name}: a key of {len(key)} octets; possible are {sorted(row.key_sizes)}")
    return row


# TS 102 225 §5.1.2, §5.1.3: the high nibble of KIc and KID is the number of the keyset
@dataclass(frozen=True, slots=True, kw_only=True)
class PacketKeys:
    """Keyset *index* (1..15) for one direction: the keys, their algorithms, and the length of a CC.

    ``kic`` and ``kid`` are the octets that name it in a header; ``cipher``, ``mac`` and ``checksum`` (the MAC
    cut to its length) are ready for use; ``legacy`` is set when either algorithm is. A ValueError is raised
    for an index, algorithm, key size or CC length that does not exist, and for legacy algorithms without
    *allow_legacy*. *mac_index* is for a pair of keys out of two keysets (``Keysets``); 0 stands for *index*.
    """

    index: int
    cipher_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    cc_length: int = 8
    cipher_algorithm: int = AES_CBC
    mac_algorithm: int = AES_CMAC
    mac_index: int = field(default=0, repr=False)
    allow_legacy: InitVar[bool] = False
    legacy: bool = field(init=False, repr=False, compare=False)
    kic: int = field(init=False, compare=False)
    kid: int = field(init=False, compare=False)
    cipher: PacketCipher = field(init=False, repr=False, compare=False)
    mac: MacFunction = field(init=False, repr=False, compare=False)
    checksum: Checksum = field(init=False, repr=False, compare=False)

    def __post_init__(self, allow_legacy: bool) -> None:
        mac_index = self.mac_index or self.index
        if not (1 <= self.index <= 15 and 1 <= mac_index <= 15):
            raise ValueError(f"a keyset has an index of 1..15, not {self.index}, {mac_index}")
        cipher = _row(CIPHERS, self.cipher_algorithm, self.cipher_key, "KIc")
        mac = _row(MACS, self.mac_algorithm, self.mac_key, "KID")
        if self.cc_length not in mac.cc_lengths:
            raise ValueError(f"a CC has {mac.cc_lengths} octets, not {self.cc_length}")
        legacy = cipher.legacy or mac.legacy
        if legacy and not allow_legacy:
            raise ValueError("DES is for legacy packets: these keys have to be allowed")
        # a frozen value computes its derived fields once, here
        put = object.__setattr__
        put(self, "legacy", legacy)
        put(self, "kic", self.index << 4 | self.cipher_algorithm)
        put(self, "kid", mac_index << 4 | self.mac_algorithm)
        put(self, "cipher", cipher.keyed(self.cipher_key))
        put(self, "mac", mac.keyed(self.mac_key))
        put(self, "checksum", Checksum(self.cc_length, self.mac))
