"""From a shared secret to the keys of a session (KS): HKDF with SHA-256 (RFC 5869), one label for each key.

The secret is extracted once, under a salt that is ours alone; every key is then expanded from that under
its own label and the hash of the whole transcript. Two keys are the same only if label, secret and
transcript are. Counters start at zero with the keys: a keyset is never continued.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from transport.secured_packet.algorithms import (
    AES_CBC,
    AES_CMAC,
    DES_CBC,
    TRIPLE_DES_2_CBC,
    TRIPLE_DES_3_CBC,
    PacketKeys,
)
from transport.security.framing import framed

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIRMATION_KEY_OCTETS: Final = 32
_SALT: Final = b"otafleet/1 session"
_SHA256: Final = SHA256()
_PACKET_KEYS: Final = 4
_LABELS: Final = (
    "otafleet/1 KIc to module",
    "otafleet/1 KID to module",
    "otafleet/1 KIc from module",
    "otafleet/1 KID from module",
    "otafleet/1 initiator confirms",
    "otafleet/1 responder confirms",
)
_MAX_INDEX: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """How a session's packets are protected: the algorithms of KIc and KID, and their keys in octets.

    *number* stands for it in stored keys, its own for ever.
    """

    number: int
    cipher: int
    mac: int
    key_octets: int
    cc_length: int = 8
    legacy: bool = False


# The names are those of a config. What is legacy is for packets that old servers and cards understand: a
# service has to name it, and nobody can be talked into it on the air.
PROTECTIONS: Final[Mapping[str, Protection]] = MappingProxyType(
    {
        "aes-128": Protection(number=1, cipher=AES_CBC, mac=AES_CMAC, key_octets=16),
        "aes-192": Protection(number=2, cipher=AES_CBC, mac=AES_CMAC, key_octets=24),
        "aes-256": Protection(number=3, cipher=AES_CBC, mac=AES_CMAC, key_octets=32),
        "aes-128-cc4": Protection(number=4, cipher=AES_CBC, mac=AES_CMAC, key_octets=16, cc_length=4),
        "3des-2": Protection(
            number=5, cipher=TRIPLE_DES_2_CBC, mac=TRIPLE_DES_2_CBC, key_octets=16, legacy=True
        ),
        "3des-3": Protection(
            number=6, cipher=TRIPLE_DES_3_CBC, mac=TRIPLE_DES_3_CBC, key_octets=24, legacy=True
        ),
        "des": Protection(number=7, cipher=DES_CBC, mac=DES_CBC, key_octets=8, legacy=True),
    }
)
DEFAULT_PROTECTION: Final = "aes-128"
_NAMES: Final[Mapping[int, str]] = MappingProxyType({row.number: name for name, row in PROTECTIONS.items()})


@dataclass(frozen=True, kw_only=True)  # no slots: what is made on first use is kept beside its fields
class SessionKeys:
    """KS as two keysets of one index: a packet reflected to its sender never verifies.

    ``keys`` are KIc and KID to the module, KIc and KID from it; ``protection`` is a name in PROTECTIONS. The
    keysets come of it when they are first asked for: a module stores its keys,
    and the first packet finds them there.
    """

    index: int
    keys: tuple[bytes, ...] = field(repr=False)
    protection: str = DEFAULT_PROTECTION

    def __post_init__(self) -> None:
        size = PROTECTIONS[self.protection].key_octets
        if not 1 <= self.index <= _MAX_INDEX:
            raise ValueError(f"a keyset has an index of 1..{_MAX_INDEX}, not {self.index}")
        if tuple(map(len, self.keys)) != (size,) * _PACKET_KEYS:
            raise ValueError(f"session keys of {self.protection} are {_PACKET_KEYS} of {size} octets")

    @cached_property
    def to_module(self) -> PacketKeys:
        """What command packets to the module are under."""
        return self._way(*self.keys[:2])

    @cached_property
    def from_module(self) -> PacketKeys:
        """What comes back from it is under."""
        return self._way(*self.keys[2:])

    def _way(self, cipher_key: bytes, mac_key: bytes) -> PacketKeys:
        row = PROTECTIONS[self.protection]
        return PacketKeys(
            index=self.index,
            cipher_key=cipher_key,
            mac_key=mac_key,
            cc_length=row.cc_length,
            cipher_algorithm=row.cipher,
            mac_algorithm=row.mac,
            allow_legacy=row.legacy,
        )

    def dump(self) -> bytes:
        """Return octets that ``load`` takes: secret, for a store as safe as keys must be."""
        return bytes([self.index, PROTECTIONS[self.protection].number]) + b"".join(self.keys)

    @classmethod
    def load(cls, octets: bytes) -> SessionKeys:
        """Return the keys that ``dump`` wrote; ValueError when *octets* are none."""
        name = _NAMES.get(octets[1]) if len(octets) > 1 else None
        if name is None:
            raise ValueError("stored session keys name their protection")
        size = PROTECTIONS[name].key_octets
        keys = tuple(octets[at : at + size] for at in range(2, len(octets), size))
        return cls(index=octets[0], keys=keys, protection=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySchedule:
    """What one agreement yields: the session's keys, and a key for each side to prove that it has them."""

    session: SessionKeys = field(repr=False)
    initiator_confirms: bytes = field(repr=False)
    responder_confirms: bytes = field(repr=False)


def extract(salt: bytes, secret: bytes) -> bytes:
    """Return the 32 octets of HKDF-Extract (RFC 5869 §2.2)."""
    return HKDF.extract(_SHA256, salt, secret)


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """Return *length* octets of HKDF-Expand (RFC 5869 §2.3)."""
    return HKDFExpand(_SHA256, length, info).derive(key)


def derive_keys(
    secret: bytes, transcript_hash: bytes, index: int, protection: str = DEFAULT_PROTECTION
) -> KeySchedule:
    """Return the keys of *secret* and *transcript_hash* as keyset *index* (1..15; ValueError for another)."""
    root, size = extract(_SALT, secret), PROTECTIONS[protection].key_octets
    lengths = (*(size,) * _PACKET_KEYS, CONFIRMATION_KEY_OCTETS, CONFIRMATION_KEY_OCTETS)
    *keys, initiator_confirms, responder_confirms = [
        expand(root, framed(label, transcript_hash), length)
        for label, length in zip(_LABELS, lengths, strict=True)
    ]
    return KeySchedule(
        session=SessionKeys(index=index, keys=tuple(keys), protection=protection),
        initiator_confirms=initiator_confirms,
        responder_confirms=responder_confirms,
    )
