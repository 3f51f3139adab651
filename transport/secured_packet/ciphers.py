"""Ciphers and cryptographic checksums with their key inside: what a row of ``algorithms`` makes of a key.

Scheduling a key and making a context for one message cost as much as the packet does, so an object here keeps
whatever depends on its key alone, and what a call leaves behind never bears on the next call's result. It
makes what it keeps in its first call: many keys are derived, stored and let go without one. The initial
vector is zero ("the initial chaining value for CBC modes shall be zero", TS 102 225 §5.1.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.cmac import CMAC

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

    BlockAlgorithm = type[AES | TripleDES]

_LONGEST_KEY: Final = 24  # of triple DES


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


def triple_des(key: bytes) -> bytes:
    """Return the key with which ``TripleDES`` is what *key* says by its length.

    That is single DES (8 octets), triple DES with two keys (16: K1 K2 K1) or three (24). Each is EDE triple
    DES under 24 octets; with K1 = K2 = K3 that is DES. Parity bits are ignored.
    """
    return (key * 3)[:_LONGEST_KEY]


class Ecb:
    """A block cipher in ECB mode."""

    __slots__ = ("_cipher", "block")

    def __init__(self, algorithm: BlockAlgorithm, key: bytes) -> None:
        self.block = algorithm.block_size // 8
        self._cipher = Cipher(algorithm(key), ECB())  # noqa: S305 -- a legacy algorithm of the standard

    def encrypt(self, octets: bytes) -> bytes:
        """Encipher *octets*, a whole number of blocks."""
        return self._cipher.encryptor().update(octets)

    def decrypt(self, octets: bytes) -> bytes:
        """Decipher *octets*, a whole number of blocks."""
        return self._cipher.decryptor().update(octets)


class Cbc:
    """A block cipher in CBC mode from a zero initial vector.

    To make a context costs four times what a short packet costs in it, so contexts are kept and chain on from
    message to message. Each message starts by undoing what the one before left in the chain. A context is out
    of its list while it is used: two calls at once never share one.
    """

    __slots__ = ("_algorithm", "_decryptors", "_encryptors", "_key", "_scheduled", "_zeros", "block")

    def __init__(self, algorithm: BlockAlgorithm, key: bytes) -> None:
        self.block = algorithm.block_size // 8
        self._algorithm, self._key = algorithm, key
        self._zeros = bytes(self.block)
        self._scheduled: Cipher[CBC] | None = None
        self._encryptors: list[tuple[CipherContext, int]] = []
        self._decryptors: list[CipherContext] = []

    def encrypt(self, octets: bytes) -> bytes:
        """Encipher *octets*, a whole number of blocks."""
        try:
            context, chained = self._encryptors.pop()
        except IndexError:
            context, chained = self._cipher().encryptor(), 0
        # adding to the first block what the context is about to add makes that zero, the initial vector
        block = self.block
        first = int.from_bytes(octets[:block], "big") ^ chained
        enciphered = context.update(first.to_bytes(block, "big") + octets[block:])
        self._encryptors.append((context, int.from_bytes(enciphered[-block:], "big")))
        return enciphered

    def decrypt(self, octets: bytes) -> bytes:
        """Decipher *octets*, a whole number of blocks."""
        try:
            context = self._decryptors.pop()
        except IndexError:
            context = self._cipher().decryptor()
        # what is added to a block is the enciphered one before it: a block of zeros, the initial vector
        deciphered = context.update(self._zeros + octets)
        self._decryptors.append(context)
        return deciphered[self.block :]

    def _cipher(self) -> Cipher[CBC]:
        if self._scheduled is None:
            self._scheduled = Cipher(self._algorithm(self._key), CBC(self._zeros))
        return self._scheduled


def cbc_mac(algorithm: BlockAlgorithm, key: bytes) -> Callable[[bytes], bytes]:
    """Return the function that makes the last block of CBC of a message that is not empty.

    That is ISO/IEC 9797-1 algorithm 1 with padding 1: zeros, where needed.
    """
    cbc = Cbc(algorithm, key)
    block = cbc.block

    def checksum(message: bytes) -> bytes:
        return cbc.encrypt(message + bytes(-len(message) % block))[-block:]

    return checksum


def aes_cmac(key: bytes) -> Callable[[bytes], bytes]:
    """Return the function that makes the sixteen octets of AES-CMAC (NIST SP 800-38B) of a message."""
    keyed: CMAC | None = None

    def checksum(message: bytes) -> bytes:
        nonlocal keyed
        if keyed is None:
            keyed = CMAC(AES(key))
        # a copy of the keyed state costs a third of keying anew
        mac = keyed.copy()
        mac.update(message)
        return mac.finalize()

    return checksum
