from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.secured_packet_values import CHECKED, CIPHERED, KEYS, PLAIN, SECURE, VECTORS, counters
from transport.errors import PacketRejected
from transport.secured_packet import (
    AES_CBC,
    AES_CMAC,
    BLOCKED_COUNTER,
    CIPHERS,
    DES_CBC,
    DES_ECB,
    MACS,
    PROPRIETARY_STATUSES,
    REDUNDANCY_CHECKS,
    TRIPLE_DES_2_CBC,
    TRIPLE_DES_3_CBC,
    CommandHeader,
    CounterMode,
    CounterVerdict,
    Integrity,
    Keysets,
    PacketKeys,
    PorDemand,
    ResponseStatus,
    SecurityParameters,
    check_counter,
    decode_command,
    encode_command,
    parse_header,
)


@given(st.binary(max_size=3))
def test_spi_is_read_or_refused(octets: bytes) -> None:
    """Two octets are an SPI and survive unchanged, reserved bits too; only the reserved PoR 3 is not."""
    if len(octets) == 2 and octets[1] & 3 != 3:
        assert SecurityParameters.parse(octets).encode() == octets
        return
    with pytest.raises(PacketRejected) as caught:
        SecurityParameters.parse(octets)
    assert caught.value.status is ResponseStatus.UNIDENTIFIED_SECURITY_ERROR


def test_spi_bits_stand_where_the_specification_has_them() -> None:
    """SPI 1639 reads as the field's engineers read it."""
    assert SecurityParameters.parse(bytes.fromhex("1639")) == SecurityParameters(
        counter=CounterMode.HIGHER,
        ciphering=True,
        integrity=Integrity.CC,
        por=PorDemand.ALWAYS,
        por_integrity=Integrity.CC,
        por_ciphering=True,
        por_in_submit=True,
    )


def test_reserved_holds_only_reserved_bits() -> None:
    """A meaning can not be smuggled in as a reserved bit."""
    with pytest.raises(ValueError, match="0001"):
        SecurityParameters(reserved=0x0001)


@pytest.mark.parametrize(
    ("spi1", "minimum", "enough"),
    [
        ("06", 0x06, True),
        ("16", 0x06, True),
        ("02", 0x06, False),
        ("04", 0x06, False),
        ("01", 0x02, False),
        ("06", 0x16, False),
        ("1e", 0x16, True),
        ("00", 0x00, True),
    ],
)
def test_minimum_security_level(spi1: str, minimum: int, enough: bool) -> None:  # noqa: FBT001 -- a table
    """Each field of the SPI reaches the minimum by itself, or the packet does not."""
    assert SecurityParameters.parse(bytes.fromhex(spi1 + "00")).meets(minimum) is enough


@pytest.mark.parametrize("minimum", [0x20, 0x100, -1])
def test_minimum_security_level_is_five_bits(minimum: int) -> None:
    """A level that sets reserved bits could never be met by anything: it is a mistake."""
    with pytest.raises(ValueError, match="minimum security level"):
        SecurityParameters().meets(minimum)


@pytest.mark.parametrize("status", ResponseStatus, ids=lambda status: status.name)
def test_response_is_wanted_as_demanded(status: ResponseStatus) -> None:
    """Never, always, or when the command was refused: a response still to come is no refusal."""
    wanted = [SecurityParameters(por=por).wants_response(status) for por in PorDemand]
    assert wanted == [False, True, status.value not in {0x00, 0x08, 0x0B, 0x0C}]


def test_status_codes_are_the_specification_s() -> None:
    """Every code of TS 102 225 from 00 to 0C is there, in its order, and proprietary ones have a value."""
    assert [status.value for status in ResponseStatus] == list(range(0x0D))
    assert [ResponseStatus(octet) for octet in PROPRIETARY_STATUSES] == list(range(0xC0, 0xFF))
    assert ResponseStatus(0xC3).reason == "proprietary-c3"


@pytest.mark.parametrize("value", [0x0D, 0xBF, 0xFF, -1, "C0"])
def test_no_other_status_exists(value: Any) -> None:
    """Reserved codes, and what is no octet, are no status."""
    with pytest.raises(ValueError, match="not a valid"):
        ResponseStatus(value)


BLOCKED = ResponseStatus.CNTR_BLOCKED
LOW, HIGH = ResponseStatus.CNTR_LOW, ResponseStatus.CNTR_HIGH


@pytest.mark.parametrize(
    ("mode", "received", "stored", "verdict"),
    [
        (CounterMode.NONE, 9, 5, CounterVerdict(None, 5)),
        (CounterMode.NONE, 0, BLOCKED_COUNTER, CounterVerdict(None, BLOCKED_COUNTER)),
        (CounterMode.NO_CHECK, 9, 5, CounterVerdict(None, 9)),
        (CounterMode.NO_CHECK, 3, 5, CounterVerdict(None, 5)),
        (CounterMode.HIGHER, 9, 5, CounterVerdict(None, 9)),
        (CounterMode.HIGHER, 5, 5, CounterVerdict(LOW, 5)),
        (CounterMode.HIGHER, BLOCKED_COUNTER, 5, CounterVerdict(None, BLOCKED_COUNTER)),
        (CounterMode.HIGHER, 9, BLOCKED_COUNTER, CounterVerdict(BLOCKED, BLOCKED_COUNTER)),
        (CounterMode.PLUS_ONE, 6, 5, CounterVerdict(None, 6)),
        (CounterMode.PLUS_ONE, 7, 5, CounterVerdict(HIGH, 5)),
        (CounterMode.PLUS_ONE, 5, 5, CounterVerdict(LOW, 5)),
        (CounterMode.PLUS_ONE, 6, BLOCKED_COUNTER, CounterVerdict(BLOCKED, BLOCKED_COUNTER)),
    ],
)
def test_counter_rule(mode: CounterMode, received: int, stored: int, verdict: CounterVerdict) -> None:
    """Each mode accepts, refuses and stores as its row says."""
    assert check_counter(mode, received=received, stored=stored) == verdict


@given(st.sampled_from(CounterMode), counters, counters)
def test_counter_never_goes_back(mode: CounterMode, received: int, stored: int) -> None:
    """No packet of any mode lowers the stored counter, and in a checked mode none is accepted twice."""
    verdict = check_counter(mode, received=received, stored=stored)
    assert verdict.stored >= stored
    if mode >= CounterMode.HIGHER and verdict.refusal is None:
        assert check_counter(mode, received=received, stored=verdict.stored).refusal is not None


@pytest.mark.parametrize("vector", VECTORS["cmac"], ids=lambda vector: vector["id"])
def test_checksum_is_the_standard_s(vector: dict[str, Any]) -> None:
    """The table's AES-CMAC gives the published tags, for each key size."""
    mac = MACS[AES_CMAC].keyed(bytes.fromhex(vector["key"]))
    assert mac(bytes.fromhex(vector["message"])).hex() == vector["tag"]


@pytest.mark.parametrize("vector", VECTORS["cbc_mac"], ids=lambda vector: vector["id"])
def test_cbc_mac_is_the_standard_s(vector: dict[str, Any]) -> None:
    """The checksum of DES in CBC mode is the published one, and zeros fill up its last block."""
    mac = MACS[vector["mac"]].keyed(bytes.fromhex(vector["key"]))
    message = bytes.fromhex(vector["message"])
    assert mac(message).hex() == mac(message + bytes(4)).hex() == vector["tag"]
    assert mac(message + bytes(5)).hex() != vector["tag"]


@pytest.mark.parametrize("vector", VECTORS["block"], ids=lambda vector: vector["id"])
def test_block_is_enciphered_as_published(vector: dict[str, Any]) -> None:
    """The tables' ciphers give the published block, there and back."""
    cipher = CIPHERS[vector["cipher"]].keyed(bytes.fromhex(vector["key"]))
    assert cipher.encrypt(bytes.fromhex(vector["clear"])).hex() == vector["ciphered"]
    assert cipher.decrypt(bytes.fromhex(vector["ciphered"])).hex() == vector["clear"]


@pytest.mark.parametrize("vector", VECTORS["redundancy"], ids=lambda vector: vector["id"])
def test_redundancy_check_is_the_standard_s(vector: dict[str, Any]) -> None:
    """Each CRC gives its published values, most significant octet first."""
    length, check = REDUNDANCY_CHECKS[vector["kid"]]
    octets = check(bytes.fromhex(vector["message"]))
    assert (octets.hex(), len(octets)) == (vector["checksum"], length)


def cbc_by_the_book(number: int, key: bytes, text: bytes) -> bytes:
    """Return *text* enciphered by one context of ``cryptography`` for it alone, from a zero vector."""
    if number in {DES_CBC, TRIPLE_DES_2_CBC, TRIPLE_DES_3_CBC}:
        return Cipher(TripleDES((key * 3)[:24]), CBC(bytes(8))).encryptor().update(text)
    return Cipher(AES(key), CBC(bytes(16))).encryptor().update(text)


@pytest.mark.parametrize("number", sorted(set(CIPHERS) - {DES_ECB}))
@given(data=st.data())
def test_messages_of_one_key_do_not_touch(number: int, data: st.DataObject) -> None:
    """However many messages a keyed cipher has had, each is what a cipher of its own makes of it."""
    size = data.draw(st.sampled_from(sorted(CIPHERS[number].key_sizes)))
    key = data.draw(st.binary(min_size=size, max_size=size))
    cipher = CIPHERS[number].keyed(key)
    for blocks in data.draw(st.lists(st.integers(1, 4), max_size=6)):
        length = blocks * cipher.block
        text = data.draw(st.binary(min_size=length, max_size=length))
        enciphered = cipher.encrypt(text)
        assert enciphered == cbc_by_the_book(number, key, text)
        assert cipher.decrypt(enciphered) == text


@pytest.mark.parametrize("number", sorted(MACS))
def test_keys_serve_again_and_again(number: int) -> None:
    """One keyed object gives the same checksum every time: nothing of a packet stays in it."""
    for size in MACS[number].key_sizes:
        mac = MACS[number].keyed(bytes(range(size)))
        assert mac(b"one") == mac(b"one") != mac(b"two")


@pytest.mark.parametrize("number", sorted(CIPHERS))
def test_every_cipher_undoes_itself(number: int) -> None:
    """Each row of the table deciphers what it enciphered, with each of its key sizes."""
    for size in CIPHERS[number].key_sizes:
        cipher = CIPHERS[number].keyed(bytes(range(size)))
        text = bytes(range(2 * cipher.block))
        assert cipher.decrypt(cipher.encrypt(text)) == text != cipher.encrypt(text)


@pytest.mark.parametrize("number", sorted(set(CIPHERS) - {AES_CBC}))
def test_parity_bits_are_ignored(number: int) -> None:
    """DES takes seven bits of each octet of a key: two printings of one key are one key."""
    (size,) = CIPHERS[number].key_sizes
    key = bytes(range(0, 2 * size, 2))
    odd = bytes(octet | 1 for octet in key)
    assert CIPHERS[number].keyed(key).encrypt(bytes(8)) == CIPHERS[number].keyed(odd).encrypt(bytes(8))


def test_keyset_octets() -> None:
    """KIc and KID are the keyset's index and the algorithm's number."""
    keys = PacketKeys(index=15, cipher_key=bytes(32), mac_key=bytes(24), cc_length=4)
    assert (keys.kic, keys.kid) == (0xF2, 0xF2)


@pytest.mark.parametrize(
    ("cipher", "size", "mac", "mac_size"),
    [(DES_CBC, 8, AES_CMAC, 16), (AES_CBC, 16, DES_CBC, 8), (TRIPLE_DES_3_CBC, 24, TRIPLE_DES_2_CBC, 16)],
    ids=["cipher", "mac", "both"],
)
def test_legacy_keys_have_to_be_allowed(cipher: int, size: int, mac: int, mac_size: int) -> None:
    """DES in either place makes keys legacy, which nobody gets without asking for them."""
    fields: dict[str, Any] = {
        "index": 3,
        "cipher_key": bytes(range(size)),
        "mac_key": bytes(range(mac_size)),
        "cipher_algorithm": cipher,
        "mac_algorithm": mac,
    }
    with pytest.raises(ValueError, match="legacy"):
        PacketKeys(**fields)
    keys = PacketKeys(**fields, allow_legacy=True)
    assert keys.legacy
    assert (keys.kic, keys.kid) == (0x30 | cipher, 0x30 | mac)


def test_aes_is_not_legacy() -> None:
    """Allowing legacy algorithms makes none of keys that are not."""
    assert not PacketKeys(index=1, cipher_key=bytes(16), mac_key=bytes(16), allow_legacy=True).legacy


ONE = KEYS
TWO = PacketKeys(index=2, cipher_key=bytes(32), mac_key=bytes(24), cc_length=4)
OLD = PacketKeys(
    index=3,
    cipher_key=bytes(range(16)),
    mac_key=bytes(range(8)),
    cipher_algorithm=TRIPLE_DES_2_CBC,
    mac_algorithm=DES_CBC,
    allow_legacy=True,
)
KEYSETS = Keysets((ONE, TWO, OLD))


def header(spi: SecurityParameters, kic: int, kid: int) -> CommandHeader:
    """Return a clear header."""
    return CommandHeader(spi=spi, kic=kic, kid=kid, tar=bytes(3))


@pytest.mark.parametrize(
    ("spi", "kic", "kid", "found"),
    [
        (SECURE, 0x12, 0x12, ONE),
        (SECURE, 0x22, 0x22, TWO),
        (SECURE, 0x35, 0x31, OLD),
        (SECURE, 0x31, 0x31, None),
        (SECURE, 0x42, 0x12, None),
        (SECURE, 0x12, 0x42, None),
        (CIPHERED, 0x22, 0x00, TWO),
        (CHECKED, 0x00, 0x22, TWO),
        (PLAIN, 0x12, 0x12, None),
        (SecurityParameters(por=PorDemand.ALWAYS, por_integrity=Integrity.CC), 0x00, 0x12, ONE),
        (SecurityParameters(por=PorDemand.ON_ERROR, por_ciphering=True), 0x12, 0x00, ONE),
        (SecurityParameters(por_integrity=Integrity.CC, por_ciphering=True), 0x12, 0x12, None),
        (SecurityParameters(ciphering=True, integrity=Integrity.RC), 0x12, 0x05, ONE),
    ],
)
def test_header_names_its_keys(spi: SecurityParameters, kic: int, kid: int, found: PacketKeys | None) -> None:
    """KIc and KID are looked up where the packet or its response uses them, and nowhere else."""
    assert KEYSETS.for_header(header(spi, kic, kid)) is found


def test_header_names_two_keysets() -> None:
    """A packet may be ciphered under one keyset and checked under another."""
    keys = KEYSETS.for_header(header(SECURE, 0x35, 0x22))
    assert keys is not None
    assert (keys.kic, keys.kid, keys.cc_length, keys.legacy) == (0x35, 0x22, 4, True)
    assert keys.cipher.encrypt(bytes(8)) == OLD.cipher.encrypt(bytes(8))
    assert keys.mac(b"message") == TWO.mac(b"message")
    octets = encode_command(spi=SECURE, tar=bytes(3), data=b"data", keys=keys)
    assert decode_command(octets, KEYSETS.for_header(parse_header(octets))).data == b"data"


def test_keysets_that_can_not_be() -> None:
    """Each keyset has an index of its own, and one index for both its keys."""
    with pytest.raises(ValueError, match="same index"):
        Keysets((ONE, KEYS))
    mixed = PacketKeys(index=1, mac_index=2, cipher_key=bytes(16), mac_key=bytes(16))
    with pytest.raises(ValueError, match="one index"):
        Keysets((mixed,))
    assert "sets" in repr(KEYSETS)
    assert "cipher_key" not in repr(KEYSETS)


def test_keys_are_not_in_their_words() -> None:
    """A keyset's repr shows its index and no key."""
    assert repr(KEYS) == (
        "PacketKeys(index=1, cc_length=8, cipher_algorithm=2, mac_algorithm=2, kic=18, kid=18)"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"index": 0}, "index"),
        ({"index": 16}, "index"),
        ({"mac_index": 16}, "index"),
        ({"cc_length": 16}, "CC"),
        ({"cc_length": 4, "mac_algorithm": DES_CBC, "mac_key": bytes(8), "allow_legacy": True}, "CC"),
        ({"cipher_algorithm": DES_ECB, "cipher_key": bytes(16)}, "KIc: a key of 16"),
        ({"cipher_algorithm": 3}, "KIc: no algorithm"),
        ({"mac_algorithm": 3}, "KID: no algorithm"),
        ({"cipher_key": bytes(8)}, "KIc: a key of 8"),
        ({"mac_key": bytes(8)}, "KID: a key of 8"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else value,
)
def test_keys_that_can_not_be(changes: dict[str, Any], words: str) -> None:
    """A keyset that no header can name or no algorithm can use does not come to be."""
    fields: dict[str, Any] = {"index": 1, "cipher_key": bytes(16), "mac_key": bytes(16)}
    with pytest.raises(ValueError, match=words):
        PacketKeys(**(fields | changes))
