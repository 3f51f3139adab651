"""Values that the tests of secured packets share: vectors, test keys, and strategies."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from transport.secured_packet import (
    AES_CBC,
    AES_CMAC,
    CAT_TP,
    CELL_BROADCAST,
    CIPHERS,
    MACS,
    MAX_COUNTER,
    SMS,
    TCP,
    CounterMode,
    Integrity,
    PacketKeys,
    PorDemand,
    SecurityParameters,
)

VECTORS: dict[str, list[dict[str, Any]]] = tomllib.loads(
    (Path(__file__).parent / "vectors" / "secured_packet.toml").read_text()
)
TAR = bytes.fromhex("B00101")
KEYS = PacketKeys(index=1, cipher_key=bytes(range(16)), mac_key=bytes(range(16, 32)))
OTHER_KEYS = PacketKeys(index=1, cipher_key=bytes(16), mac_key=bytes(range(16, 32)))
OTHER_MAC = PacketKeys(index=1, cipher_key=bytes(range(16)), mac_key=bytes(16))
SECURE = SecurityParameters(
    counter=CounterMode.HIGHER,
    ciphering=True,
    integrity=Integrity.CC,
    por=PorDemand.ALWAYS,
    por_integrity=Integrity.CC,
    por_ciphering=True,
)
PLAIN = SecurityParameters(por=PorDemand.ALWAYS)
CHECKED = SecurityParameters(integrity=Integrity.CC, por=PorDemand.ALWAYS, por_integrity=Integrity.CC)
CIPHERED = SecurityParameters(ciphering=True, por=PorDemand.ALWAYS, por_ciphering=True)
REDUNDANT = SecurityParameters(integrity=Integrity.RC, por=PorDemand.ALWAYS, por_integrity=Integrity.RC)
DIALECTS = [SMS, CELL_BROADCAST, CAT_TP, TCP]
ANSWERED = [SMS, CAT_TP, TCP]

counters = st.integers(0, MAX_COUNTER)
tars = st.binary(min_size=3, max_size=3)
spis = st.builds(
    SecurityParameters,
    counter=st.sampled_from(CounterMode),
    ciphering=st.booleans(),
    integrity=st.sampled_from([Integrity.NONE, Integrity.RC, Integrity.CC]),
    por=st.sampled_from(PorDemand),
    por_integrity=st.sampled_from([Integrity.NONE, Integrity.RC, Integrity.CC]),
    por_ciphering=st.booleans(),
    por_in_submit=st.booleans(),
    reserved=st.sampled_from([0, 0x8040, 0xE0C0]),
)


@st.composite
def keys(draw: st.DrawFn) -> PacketKeys:
    """Draw keys for any cipher with any MAC, of each size they take."""
    cipher, mac = draw(st.sampled_from(sorted(CIPHERS))), draw(st.sampled_from(sorted(MACS)))
    cipher_size, mac_size = (
        draw(st.sampled_from(sorted(row.key_sizes))) for row in (CIPHERS[cipher], MACS[mac])
    )
    return PacketKeys(
        index=draw(st.integers(1, 15)),
        cipher_key=draw(st.binary(min_size=cipher_size, max_size=cipher_size)),
        mac_key=draw(st.binary(min_size=mac_size, max_size=mac_size)),
        cc_length=draw(st.sampled_from(MACS[mac].cc_lengths)),
        cipher_algorithm=cipher,
        mac_algorithm=mac,
        allow_legacy=True,
    )


def vector_keys(vector: dict[str, Any]) -> PacketKeys | None:
    """Return the keyset of a vector, None when it has no keys."""
    if "cipher_key" not in vector:
        return None
    return PacketKeys(
        index=vector["index"],
        cipher_key=bytes.fromhex(vector["cipher_key"]),
        mac_key=bytes.fromhex(vector["mac_key"]),
        cipher_algorithm=vector.get("cipher", AES_CBC),
        mac_algorithm=vector.get("mac", AES_CMAC),
        allow_legacy=vector.get("legacy", False),
    )
