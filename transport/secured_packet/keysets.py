"""The keysets of one application by their index, and which keys a header names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from transport.secured_packet.algorithms import PacketKeys
from transport.secured_packet.parameters import Integrity, PorDemand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transport.secured_packet.command import CommandHeader


# TS 102 225 §5.1.2, §5.1.3: each of KIc and KID names a keyset of its own
@dataclass(frozen=True, slots=True)
class Keysets:
    """Keysets of one direction, each with an index of its own; a ValueError is raised when two share one."""

    sets: tuple[PacketKeys, ...]
    _found: Mapping[tuple[int | None, int | None], PacketKeys] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        indices = [keys.index for keys in self.sets]
        if len(set(indices)) < len(indices):
            raise ValueError(f"two keysets have the same index: {sorted(indices)}")
        if any(keys.kid >> 4 != keys.index for keys in self.sets):
            raise ValueError("a keyset has one index for both its keys")
        found: dict[tuple[int | None, int | None], PacketKeys] = {}
        for keys in self.sets:
            found |= {(keys.kic, None): keys, (None, keys.kid): keys}
            found |= {(keys.kic, other.kid): _pair(keys, other) for other in self.sets}
        object.__setattr__(self, "_found", found)

    def for_header(self, header: CommandHeader) -> PacketKeys | None:
        """Return the keys that *header* names, or None when it names none, or none that are here.

        KIc and KID count where they protect the packet or the response that it asks for. The cipher is of the
        keyset that KIc names, the checksum of the one that KID names.
        """
        spi = header.spi
        answered = spi.por is not PorDemand.NONE
        ciphers = spi.ciphering or (answered and spi.por_ciphering)
        checks = spi.integrity is Integrity.CC or (answered and spi.por_integrity is Integrity.CC)
        return self._found.get((header.kic if ciphers else None, header.kid if checks else None))


def _pair(cipher: PacketKeys, mac: PacketKeys) -> PacketKeys:
    """Return keys with the cipher of the one keyset and the checksum of the other."""
    if cipher is mac:
        return cipher
    return PacketKeys(
        index=cipher.index,
        cipher_key=cipher.cipher_key,
        cipher_algorithm=cipher.cipher_algorithm,
        mac_index=mac.index,
        mac_key=mac.mac_key,
        mac_algorithm=mac.mac_algorithm,
        cc_length=mac.cc_length,
        allow_legacy=cipher.legacy or mac.legacy,
    )
