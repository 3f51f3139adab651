"""From a shared secret to the keys of a session (KS): HKDF with SHA-256 (RFC 5869), one label for each key.

The secret is extracted once, under a salt that is ours alone; every key is then expanded from that under
its own label and the hash of the whole transcript. Two keys are the same only if label, secret and
transcript are. Counters start at zero with the keys: a keyset is never continued.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from transport.secured_packet.algorithms import PacketKeys
from transport.security.framing import framed

PACKET_KEY_OCTETS: Final = 16
CONFIRMATION_KEY_OCTETS: Final = 32
_SALT: Final = b"otafleet/1 session"
_PACKET_KEYS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKeys:
    """KS as two keysets of one index, AES-128 each: a packet reflected to its sender never verifies.

    ``to_module`` is for command packets to the module, ``from_module`` for what comes back from it.
    """

    to_module: PacketKeys = field(repr=False)
    from_module: PacketKeys = field(repr=False)

    def dump(self) -> bytes:
        """Return the 65 octets that ``load`` takes: secret, for a store as safe as keys must be."""
        ways = (self.to_module, self.from_module)
        return bytes([self.to_module.index]) + b"".join(way.cipher_key + way.mac_key for way in ways)

    @classmethod
    def load(cls, octets: bytes) -> SessionKeys:
        """Return the keys that ``dump`` wrote; ValueError when *octets* are none."""
        if len(octets) != 1 + _PACKET_KEYS * PACKET_KEY_OCTETS:
            raise ValueError(f"stored session keys are 65 octets, not {len(octets)}")
        return cls.of(octets[0], [octets[at : at + 16] for at in range(1, len(octets), 16)])

    @classmethod
    def of(cls, index: int, keys: list[bytes]) -> SessionKeys:
        """Return keyset *index* of four keys: KIc and KID to the module, KIc and KID from it."""
        to_cipher, to_mac, from_cipher, from_mac = keys
        return cls(
            to_module=PacketKeys(index=index, cipher_key=to_cipher, mac_key=to_mac, cc_length=8),
            from_module=PacketKeys(index=index, cipher_key=from_cipher, mac_key=from_mac, cc_length=8),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySchedule:
    """What one agreement yields: the session's keys, and a key for each side to prove that it has them."""

    session: SessionKeys = field(repr=False)
    initiator_confirms: bytes = field(repr=False)
    responder_confirms: bytes = field(repr=False)


def extract(salt: bytes, secret: bytes) -> bytes:
    """Return the 32 octets of HKDF-Extract (RFC 5869 §2.2)."""
    return HKDF.extract(SHA256(), salt, secret)


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """Return *length* octets of HKDF-Expand (RFC 5869 §2.3)."""
    return HKDFExpand(SHA256(), length, info).derive(key)


def derive_keys(secret: bytes, transcript_hash: bytes, index: int) -> KeySchedule:
    """Return the keys of *secret* and *transcript_hash* as keyset *index* (1..15; ValueError for another)."""
    root = extract(_SALT, secret)

    def key(label: str, length: int) -> bytes:
        return expand(root, framed(f"otafleet/1 {label}", transcript_hash), length)

    ways = ("KIc to module", "KID to module", "KIc from module", "KID from module")
    return KeySchedule(
        session=SessionKeys.of(index, [key(way, PACKET_KEY_OCTETS) for way in ways]),
        initiator_confirms=key("initiator confirms", CONFIRMATION_KEY_OCTETS),
        responder_confirms=key("responder confirms", CONFIRMATION_KEY_OCTETS),
    )
