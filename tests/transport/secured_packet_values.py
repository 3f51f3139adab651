"""Values that the tests of secured packets share: vectors, test keys, and strategies."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from transport.secured_packet import (
    MAX_COUNTER,
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

counters = st.integers(0, MAX_COUNTER)
tars = st.binary(min_size=3, max_size=3)
spis = st.builds(
    SecurityParameters,
    counter=st.sampled_from(CounterMode),
    ciphering=st.booleans(),
    integrity=st.sampled_from([Integrity.NONE, Integrity.CC]),
    por=st.sampled_from(PorDemand),
    por_integrity=st.sampled_from([Integrity.NONE, Integrity.CC]),
    por_ciphering=st.booleans(),
    por_in_submit=st.booleans(),
    reserved=st.sampled_from([0, 0x8040, 0xE0C0]),
)
keys = st.builds(
    PacketKeys,
    index=st.integers(1, 15),
    cipher_key=st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    mac_key=st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    cc_length=st.sampled_from([8, 4]),
)


def vector_keys(vector: dict[str, Any]) -> PacketKeys | None:
    """Return the keyset of a vector, None when it has no keys."""
    if "cipher_key" not in vector:
        return None
    return PacketKeys(
        index=vector["index"],
        cipher_key=bytes.fromhex(vector["cipher_key"]),
        mac_key=bytes.fromhex(vector["mac_key"]),
    )
