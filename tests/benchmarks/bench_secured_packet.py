"""Secured packets a second, beside the bare calls of ``cryptography`` that each of them needs.

Run ``python -m tests.benchmarks.bench_secured_packet``. Rounds of all rows alternate and medians are printed,
so that a busy machine slows all alike. Two measures stand beside ours: the calls as their manual has them
(key objects made before, contexts per packet), and the same with all kept that depends on the key alone,
which no packet codec can beat.
"""

from __future__ import annotations

import os
import sys
from hmac import compare_digest
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

from transport.secured_packet import (
    CounterMode,
    Integrity,
    PacketKeys,
    PorDemand,
    ResponsePacket,
    ResponseStatus,
    SecurityParameters,
    decode_command,
    decode_response,
    encode_command,
    encode_response,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 9
PACKETS: Final = 4_000  # a round
DATA: Final = bytes(range(100))
TAR: Final = bytes.fromhex("B00101")
SPI: Final = SecurityParameters(
    counter=CounterMode.HIGHER,
    ciphering=True,
    integrity=Integrity.CC,
    por=PorDemand.ALWAYS,
    por_integrity=Integrity.CC,
    por_ciphering=True,
)
KEYS: Final = PacketKeys(index=1, cipher_key=bytes(range(16)), mac_key=bytes(range(16, 32)))
COMMAND: Final = encode_command(spi=SPI, tar=TAR, data=DATA, counter=77, keys=KEYS)
ANSWER: Final = ResponsePacket(tar=TAR, counter=77, status=ResponseStatus.POR_OK, data=DATA)
RESPONSE: Final = encode_response(ANSWER, spi=SPI, keys=KEYS)

# what COMMAND hands to cryptography: CNTR to the end to the cipher, all but the CC itself to the checksum
_CIPHERED: Final = COMMAND[10:]
_COVERED: Final = bytes(len(COMMAND) - 8)
_CHECKSUM: Final = bytes(8)
_CIPHER_KEY: Final = AES(KEYS.cipher_key)
_MAC_KEY: Final = AES(KEYS.mac_key)
_SCHEDULED_CIPHER: Final = Cipher(_CIPHER_KEY, CBC(bytes(16)))
_SCHEDULED_MAC: Final = CMAC(_MAC_KEY)


def bare_encode() -> bytes:
    """Checksum and ciphering of one packet, as the manual of ``cryptography`` has them."""
    mac = CMAC(_MAC_KEY)
    mac.update(_COVERED)
    mac.finalize()
    context = Cipher(_CIPHER_KEY, CBC(bytes(16))).encryptor()
    return context.update(_CIPHERED) + context.finalize()


def bare_decode() -> bool:
    """Deciphering and verification of one packet, likewise."""
    context = Cipher(_CIPHER_KEY, CBC(bytes(16))).decryptor()
    context.update(_CIPHERED) + context.finalize()
    mac = CMAC(_MAC_KEY)
    mac.update(_COVERED)
    return compare_digest(mac.finalize()[:8], _CHECKSUM)


def scheduled_encode() -> bytes:
    """Return what ``bare_encode`` does, with everything kept that depends on the key alone."""
    mac = _SCHEDULED_MAC.copy()
    mac.update(_COVERED)
    mac.finalize()
    return _SCHEDULED_CIPHER.encryptor().update(_CIPHERED)


def scheduled_decode() -> bool:
    """Return what ``bare_decode`` does, with everything kept that depends on the key alone."""
    _SCHEDULED_CIPHER.decryptor().update(_CIPHERED)
    mac = _SCHEDULED_MAC.copy()
    mac.update(_COVERED)
    return compare_digest(mac.finalize()[:8], _CHECKSUM)


ROWS: Final[dict[str, Callable[[], object]]] = {
    "bare encode": bare_encode,
    "bare decode": bare_decode,
    "scheduled encode": scheduled_encode,
    "scheduled decode": scheduled_decode,
    "command encode": lambda: encode_command(spi=SPI, tar=TAR, data=DATA, counter=77, keys=KEYS),
    "command decode": lambda: decode_command(COMMAND, KEYS),
    "response encode": lambda: encode_response(ANSWER, spi=SPI, keys=KEYS),
    "response decode": lambda: decode_response(RESPONSE, spi=SPI, keys=KEYS),
}


def packets_per_second(call: Callable[[], object]) -> float:
    """Return how often a second *call* runs, over one round."""
    start = perf_counter()
    for _ in range(PACKETS):
        call()
    return PACKETS / (perf_counter() - start)


def measure() -> dict[str, float]:
    """Return the median rate of every row, in packets a second."""
    rounds = [{name: packets_per_second(call) for name, call in ROWS.items()} for _ in range(ROUNDS)]
    return {name: median(rates[name] for rates in rounds) for name in ROWS}


def main() -> None:
    """Print the table."""
    rates = measure()
    lines = [f"secured packet, {len(DATA)} octets, AES-128 CBC + CMAC, {os.cpu_count()} cores, 1 used"]
    for name in ROWS:
        kind, direction = name.split()
        line = f"  {name:<17} {rates[name]:>9,.0f} packets/s"
        if kind in {"command", "response"}:
            of_bare = rates[name] / rates[f"bare {direction}"]
            of_scheduled = rates[name] / rates[f"scheduled {direction}"]
            line += f"   {of_bare:.2f} of bare   {of_scheduled:.2f} of bare with scheduled keys"
        lines.append(line)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
