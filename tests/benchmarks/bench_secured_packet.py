"""Secured packets a second, beside the bare calls of ``cryptography`` that each of them needs.

Run ``python -m tests.benchmarks.bench_secured_packet``. Short rounds of all rows alternate, and medians of
rates and of each round's ratios are printed, so that a busy machine slows all alike. Two measures stand with
ours: the calls as their manual has them (key objects made before, contexts per packet), and the same with all
kept that depends on the key alone, but a context for each packet. That is the strict floor that ours is held
to; our cipher also keeps its contexts.

The peer is pycrate (TS102225), which lays packets out and reads them without any cryptography, in the
dialect that it knows: a clear packet with a checksum given to it.
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
from pycrate_mobile.TS102225 import PacketCmd

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

ROUNDS: Final = 60
PACKETS: Final = 500  # a round
PEER_PACKETS: Final = 10  # it takes a hundred times as long
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


_PEER_HEADER: Final = {"CmdPacketId": 1, "CmdHeaderId": 0, "TAR": 0xB00101, "CNTR": 77, "PCNTR": 0}
_PEER_FIELDS: Final = {**_PEER_HEADER, "CmdHeaderLen": 21, "IntegrityCheck": bytes(8), "Data": DATA}


def peer_encode() -> bytes:
    """Lay out one packet with pycrate."""
    octets: bytes = PacketCmd(val=_PEER_FIELDS).to_bytes()
    return octets


_PEER_PACKET: Final = peer_encode()


def peer_decode() -> object:
    """Read that packet with pycrate, its last lengths corrected (0.8.1 takes octets for bits)."""
    packet = PacketCmd()
    packet["IntegrityCheck"].set_blauto(lambda: 64)
    packet["Data"].set_blauto(lambda: 8 * len(DATA))
    packet.from_bytes(_PEER_PACKET)
    return packet


ROWS: Final[dict[str, Callable[[], object]]] = {
    "bare encode": bare_encode,
    "bare decode": bare_decode,
    "scheduled encode": scheduled_encode,
    "scheduled decode": scheduled_decode,
    "command encode": lambda: encode_command(spi=SPI, tar=TAR, data=DATA, counter=77, keys=KEYS),
    "command decode": lambda: decode_command(COMMAND, KEYS),
    "response encode": lambda: encode_response(ANSWER, spi=SPI, keys=KEYS),
    "response decode": lambda: decode_response(RESPONSE, spi=SPI, keys=KEYS),
    "pycrate encode": peer_encode,
    "pycrate decode": peer_decode,
}


def packets_per_second(call: Callable[[], object], packets: int) -> float:
    """Return how often a second *call* runs, over one round of *packets*."""
    start = perf_counter()
    for _ in range(packets):
        call()
    return packets / (perf_counter() - start)


def measure() -> list[dict[str, float]]:
    """Return the rate of every row in every round, in packets a second."""
    sizes = {name: PEER_PACKETS if name.startswith("pycrate") else PACKETS for name in ROWS}
    return [
        {name: packets_per_second(call, sizes[name]) for name, call in ROWS.items()} for _ in range(ROUNDS)
    ]


def main() -> None:
    """Print the table."""
    rounds = measure()

    def ratio(name: str, other: str) -> float:
        return median(rates[name] / rates[other] for rates in rounds)

    lines = [f"secured packet, {len(DATA)} octets, AES-128 CBC + CMAC, {os.cpu_count()} cores, 1 used"]
    for name in ROWS:
        kind, direction = name.split()
        line = f"  {name:<17} {median(rates[name] for rates in rounds):>9,.0f} packets/s"
        if kind in {"command", "response"}:
            of_bare, of_scheduled = ratio(name, f"bare {direction}"), ratio(name, f"scheduled {direction}")
            line += f"   {of_bare:.2f} of bare   {of_scheduled:.2f} of bare with scheduled keys"
        if kind == "command":
            line += f"   {ratio(name, f'pycrate {direction}'):.0f}x pycrate's layout alone"
        lines.append(line)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
