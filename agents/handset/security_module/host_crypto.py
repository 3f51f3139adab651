"""The cryptography that a programme may ask for, each function behind its right.

All of it is done by ``hashlib``, ``hmac`` and ``cryptography``, and none of it is ever half done: what goes
out is written when it is complete, so a result may lie over what it was made from.
"""

from __future__ import annotations

import hashlib
import hmac as mac
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

from agents.handset.security_module.errors import ExecutionFailed

if TYPE_CHECKING:
    from agents.handset.security_module.host_run import Run

DIGEST: Final = 32
"""Octets that SHA-256 and HMAC-SHA-256 give."""
AES_BLOCK: Final = 16
AES_KEYS: Final = (16, 24, 32)
MAX_SIGNATURE: Final = 4096
"""Octets of the longest signature that any suite may have."""


def random(run: Run, target: memoryview) -> None:
    """Fill *target* with random octets."""
    target[:] = run.services.rng(len(target))


def sha256(_run: Run, octets: memoryview, out: memoryview) -> None:
    """Write the SHA-256 of *octets*."""
    out[:] = hashlib.sha256(octets).digest()


def hmac(_run: Run, key: memoryview, octets: memoryview, out: memoryview) -> None:
    """Write the HMAC-SHA-256 of *octets*."""
    out[:] = mac.digest(key, octets, "sha256")


def aes_cbc_encrypt(
    _run: Run, key: memoryview, vector: memoryview, octets: memoryview, out: memoryview
) -> None:
    """Write *octets*, whole blocks, enciphered in CBC mode (NIST SP 800-38A)."""
    out[:] = _cbc(key, vector, octets).encryptor().update(octets)


def aes_cbc_decrypt(
    _run: Run, key: memoryview, vector: memoryview, octets: memoryview, out: memoryview
) -> None:
    """Write *octets*, whole blocks, deciphered in CBC mode (NIST SP 800-38A)."""
    out[:] = _cbc(key, vector, octets).decryptor().update(octets)


def aes_cmac(_run: Run, key: memoryview, octets: memoryview, out: memoryview) -> None:
    """Write the AES-CMAC of *octets* (NIST SP 800-38B)."""
    keyed = CMAC(_aes(key))
    keyed.update(bytes(octets))
    out[:] = keyed.finalize()


def sign(run: Run, octets: memoryview, out: memoryview) -> int:
    """Write the module's signature over *octets* if *out* has room for it; return its length."""
    signature = run.services.sign(bytes(octets))
    if len(signature) > MAX_SIGNATURE:
        raise ValueError(f"a signature of {len(signature)} octets")
    if len(signature) <= len(out):
        out[: len(signature)] = signature
    return len(signature)


def _cbc(key: memoryview, vector: memoryview, octets: memoryview) -> Cipher[CBC]:
    cipher = Cipher(_aes(key), CBC(vector))
    if len(octets) % AES_BLOCK:
        raise ExecutionFailed("block-length")
    return cipher


def _aes(key: memoryview) -> AES:
    if len(key) not in AES_KEYS:
        raise ExecutionFailed("key-length")
    return AES(key)
