from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.secured_packet_values import KEYS, VECTORS, counters
from transport.errors import PacketRejected
from transport.secured_packet import (
    AES_CMAC,
    BLOCKED_COUNTER,
    CIPHERS,
    MACS,
    CounterMode,
    CounterVerdict,
    Integrity,
    PacketKeys,
    PorDemand,
    ResponseStatus,
    SecurityParameters,
    check_counter,
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
    """Every code of TS 102 225 from 00 to 0C is there, in its order."""
    assert [status.value for status in ResponseStatus] == list(range(0x0D))


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


def test_keys_serve_again_and_again() -> None:
    """One keyed object gives the same answer every time: nothing of a packet stays in it."""
    assert KEYS.mac(b"one") == KEYS.mac(b"one") != KEYS.mac(b"two")
    block = KEYS.cipher.encrypt(bytes(32))
    assert KEYS.cipher.encrypt(bytes(32)) == block
    assert KEYS.cipher.decrypt(block) == KEYS.cipher.decrypt(block) == bytes(32)


@pytest.mark.parametrize("number", sorted(CIPHERS))
def test_every_cipher_undoes_itself(number: int) -> None:
    """Each row of the table deciphers what it enciphered, with each of its key sizes."""
    for size in CIPHERS[number].key_sizes:
        cipher = CIPHERS[number].keyed(bytes(range(size)))
        text = bytes(range(2 * cipher.block))
        assert cipher.decrypt(cipher.encrypt(text)) == text != cipher.encrypt(text)


def test_keyset_octets() -> None:
    """KIc and KID are the keyset's index and the algorithm's number."""
    keys = PacketKeys(index=15, cipher_key=bytes(32), mac_key=bytes(24), cc_length=4)
    assert (keys.kic, keys.kid) == (0xF2, 0xF2)


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
        ({"cc_length": 16}, "CC"),
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
