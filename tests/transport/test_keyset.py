from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.transport.security_kit import name_of, vectors
from transport.secured_packet import (
    CounterMode,
    Integrity,
    PacketKeys,
    SecurityParameters,
    decode_command,
    encode_command,
)
from transport.security.keyset import PROTECTIONS, SessionKeys, derive_keys, expand, extract

SECRET, TRANSCRIPT = bytes(range(32)), bytes(range(32, 64))


def key_octets(secret: bytes, transcript: bytes, index: int = 1) -> list[bytes]:
    """Return every key that one agreement yields."""
    schedule = derive_keys(secret, transcript, index)
    ways = (schedule.session.to_module, schedule.session.from_module)
    packet_keys = [key for way in ways for key in (way.cipher_key, way.mac_key)]
    return [*packet_keys, schedule.initiator_confirms, schedule.responder_confirms]


@pytest.mark.parametrize("vector", vectors("hkdf"), ids=name_of)
def test_hkdf_vectors(vector: dict[str, str]) -> None:
    """Extract and expand give the published pseudorandom key and output."""
    prk = extract(bytes.fromhex(vector["salt"]), bytes.fromhex(vector["secret"]))
    assert prk.hex() == vector["prk"]
    okm = bytes.fromhex(vector["okm"])
    assert expand(prk, bytes.fromhex(vector["info"]), len(okm)) == okm


@pytest.mark.parametrize("vector", vectors("cmac"), ids=name_of)
def test_cmac_vectors(vector: dict[str, str]) -> None:
    """The checksum that a session's KID computes is the published AES-CMAC, in all sizes of key."""
    key = bytes.fromhex(vector["key"])
    blank = bytes(len(key))
    keys = SessionKeys(index=1, keys=(blank, key, blank, blank), protection=f"aes-{8 * len(key)}").to_module
    assert keys.mac(bytes.fromhex(vector["message"])).hex() == vector["mac"]


@pytest.mark.parametrize(
    "fault",
    [{"index": 0}, {"index": 16}, {"keys": (bytes(16),) * 3}, {"keys": (bytes(16),) * 3 + (bytes(15),)}],
    ids=["index-0", "index-16", "three-keys", "short-key"],
)
def test_session_keys_that_cannot_be(fault: dict[str, Any]) -> None:
    """An index beyond 1 to 15 and keys of another number or length raise ValueError, and quote no key."""
    with pytest.raises(ValueError, match=r"keyset|session keys") as caught:
        replace(SessionKeys(index=1, keys=(bytes(16),) * 4), **fault)
    assert "\\x00" not in str(caught.value)


def test_all_keys_of_a_session_differ() -> None:
    """KIc and KID of each direction and both confirmation keys are six different keys of the right length."""
    keys = key_octets(SECRET, TRANSCRIPT)
    assert len(set(keys)) == 6
    assert [len(key) for key in keys] == [16, 16, 16, 16, 32, 32]


def test_keys_depend_on_secret_and_transcript() -> None:
    """Another secret or another transcript leaves no key as it was; the same ones give the same keys."""
    keys = key_octets(SECRET, TRANSCRIPT)
    assert keys == key_octets(SECRET, TRANSCRIPT)
    for others in (key_octets(SECRET[::-1], TRANSCRIPT), key_octets(SECRET, TRANSCRIPT[::-1])):
        assert not set(keys) & set(others)


def test_a_session_becomes_a_keyset_of_its_index() -> None:
    """Both directions carry the keyset index in KIc and KID, with AES and a checksum of eight octets."""
    session = derive_keys(SECRET, TRANSCRIPT, 3).session
    assert isinstance(session.to_module, PacketKeys)
    for way in (session.to_module, session.from_module):
        assert (way.kic, way.kid, way.cc_length) == (0x32, 0x32, 8)


@pytest.mark.parametrize("index", [0, 16])
def test_there_are_fifteen_keysets(index: int) -> None:
    """An index that a header cannot name raises ValueError."""
    with pytest.raises(ValueError, match="index"):
        derive_keys(SECRET, TRANSCRIPT, index)


def test_no_key_is_shown() -> None:
    """The repr of a schedule, a session and a keyset shows no octet of a key."""
    schedule = derive_keys(SECRET, TRANSCRIPT, 1)
    shown = repr(schedule) + repr(schedule.session) + repr(schedule.session.to_module)
    for key in key_octets(SECRET, TRANSCRIPT):
        assert key.hex() not in shown
        assert repr(key)[2:-1] not in shown


@pytest.mark.parametrize("name", PROTECTIONS)
def test_each_protection(name: str) -> None:
    """A session's keys have the sizes and algorithms of its protection, and survive storage as such."""
    row = PROTECTIONS[name]
    session = derive_keys(SECRET, TRANSCRIPT, 2, name).session
    for way in (session.to_module, session.from_module):
        assert (way.kic, way.kid) == (0x20 | row.cipher, 0x20 | row.mac)
        assert (len(way.cipher_key), len(way.mac_key)) == (row.key_octets, row.key_octets)
        assert (way.cc_length, way.legacy) == (row.cc_length, row.legacy)
    again = SessionKeys.load(session.dump())
    assert again == session
    assert again.protection == name
    spi = SecurityParameters(counter=CounterMode.HIGHER, ciphering=True, integrity=Integrity.CC)
    packet = encode_command(spi=spi, tar=b"TAR", data=b"data", counter=1, keys=session.to_module)
    assert decode_command(packet, again.to_module).data == b"data"


@given(st.integers(1, 15), st.binary(min_size=64, max_size=64))
def test_sessions_survive_storage(index: int, keys: bytes) -> None:
    """What was dumped loads as the same keys and dumps as the same octets."""
    octets = bytes([index, 1]) + keys
    session = SessionKeys.load(octets)
    assert session.dump() == octets
    assert SessionKeys.load(session.dump()) == session


def is_session(octets: bytes) -> bool:
    """Say whether octets may be stored keys: index, protection, and four keys of its size."""
    sizes = {row.number: row.key_octets for row in PROTECTIONS.values()}
    return (
        len(octets) > 1
        and 1 <= octets[0] <= 15
        and octets[1] in sizes
        and len(octets) == 2 + 4 * sizes[octets[1]]
    )


@given(st.binary(max_size=80).filter(lambda octets: not is_session(octets)))
@example(b"")
@example(b"\1\1" + bytes(63))
@example(b"\1\0" + bytes(64))
@example(b"\0\1" + bytes(64))
def test_stored_octets_that_are_no_session(octets: bytes) -> None:
    """Stored octets of another length, protection or index raise ValueError."""
    with pytest.raises(ValueError, match=r"octets|index|protection"):
        SessionKeys.load(octets)
