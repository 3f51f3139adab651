from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport import secured_packet_values as values
from tests.transport.secured_packet_values import (
    ANSWERED,
    CHECKED,
    CIPHERED,
    KEYS,
    PLAIN,
    REDUNDANT,
    SECURE,
    TAR,
    VECTORS,
)
from transport.errors import PacketRejected
from transport.secured_packet import (
    ALWAYS_CLEAR,
    CAT_TP,
    CELL_BROADCAST,
    CLEAR_WITHOUT_KEYS,
    CRC_16,
    CRC_32,
    PROPRIETARY_STATUSES,
    REDUNDANCY_CHECKS,
    RESPONSE_USER_DATA_HEADER,
    SMS,
    TCP,
    Dialect,
    Integrity,
    PacketKeys,
    PorDemand,
    ResponsePacket,
    ResponseStatus,
    SecurityParameters,
    decode_response,
    encode_response,
)

RESPONSES = pytest.mark.parametrize("vector", VECTORS["response"], ids=lambda vector: vector["id"])
ANSWER = ResponsePacket(tar=TAR, counter=5, status=ResponseStatus.POR_OK, data=b"\x01\x90\x00")
EVERY_SPI = pytest.mark.parametrize(
    "spi", [SECURE, CHECKED, CIPHERED, PLAIN, REDUNDANT], ids=["secure", "cc", "cipher", "plain", "rc"]
)
EVERY_DIALECT = pytest.mark.parametrize("dialect", ANSWERED, ids=lambda dialect: dialect.name)


def rejection(
    octets: bytes,
    spi: SecurityParameters = SECURE,
    keys: PacketKeys | None = KEYS,
    dialect: Dialect = SMS,
) -> tuple[ResponseStatus, str]:
    """Return status and reason of the rejection that *octets* must meet."""
    with pytest.raises(PacketRejected) as caught:
        decode_response(octets, spi=spi, keys=keys, dialect=dialect)
    return caught.value.status, caught.value.reason


@RESPONSES
def test_reads_the_answers_of_real_cards(vector: dict[str, Any]) -> None:
    """A real card's response packet opens to its published fields, and re-encodes to itself."""
    spi = SecurityParameters.parse(bytes.fromhex(vector["spi"]))
    keys, octets = values.vector_keys(vector), bytes.fromhex(vector["octets"])
    packet = decode_response(octets, spi=spi, keys=keys)
    assert packet == ResponsePacket(
        tar=bytes.fromhex(vector["tar"]),
        counter=vector["counter"],
        status=ResponseStatus(vector["status"]),
        data=bytes.fromhex(vector["data"]),
    )
    assert packet.proven is vector["proven"]
    assert encode_response(packet, spi=spi, keys=keys) == octets


@given(
    values.spis,
    values.keys(),
    st.builds(
        ResponsePacket,
        tar=values.tars,
        counter=values.counters,
        status=st.sampled_from(sorted(set(ResponseStatus) - ALWAYS_CLEAR)),
        data=st.binary(max_size=300),
    ),
    st.sampled_from(ANSWERED),
    st.integers(0, 255),
)
def test_every_protection_round_trips(
    spi: SecurityParameters, keys: PacketKeys, packet: ResponsePacket, dialect: Dialect, kid: int
) -> None:
    """Any PoR that an SPI can ask for opens to what was sealed, and re-encodes to itself."""
    octets = encode_response(packet, spi=spi, keys=keys, dialect=dialect, kid=kid)
    opened = decode_response(octets, spi=spi, keys=keys, dialect=dialect, kid=kid)
    assert opened == packet
    assert opened.proven is (spi.por_integrity is Integrity.CC)
    assert encode_response(opened, spi=spi, keys=keys, dialect=dialect, kid=kid) == octets


@pytest.mark.parametrize(
    ("integrity", "kid", "used"),
    [
        (Integrity.RC, 0x01, CRC_16),
        (Integrity.RC, 0x25, CRC_32),
        (Integrity.NONE, 0x31, CRC_16),
        (Integrity.NONE, 0x00, CRC_32),
        (Integrity.CC, 0x11, CRC_32),
        (Integrity.CC, 0x12, CRC_32),
    ],
)
def test_redundancy_check_is_the_command_s(integrity: Integrity, kid: int, used: int) -> None:
    """A response has the CRC that the command's KID names, else CRC-32, and needs no keys."""
    spi = replace(REDUNDANT, integrity=integrity)
    length, check = REDUNDANCY_CHECKS[used]
    octets = encode_response(ANSWER, spi=spi, kid=kid)
    covered = RESPONSE_USER_DATA_HEADER + octets[:13] + ANSWER.data
    assert octets[13 : 13 + length] == check(covered)
    opened = decode_response(octets, spi=spi, kid=kid)
    assert opened == ANSWER
    assert not opened.proven


def test_dialects_with_identifiers() -> None:
    """The identifier 02 stands first and is covered; no user-data header is."""
    octets = encode_response(ANSWER, spi=CHECKED, keys=KEYS, dialect=TCP)
    assert encode_response(ANSWER, spi=CHECKED, keys=KEYS, dialect=CAT_TP) == octets
    assert octets[:3].hex() == "021612"
    assert octets[13:21] == KEYS.mac(octets[:13] + ANSWER.data)[:8]
    assert rejection(b"\x01" + octets[1:], CHECKED, dialect=TCP)[1] == "identifier"


def test_no_response_on_cell_broadcast() -> None:
    """No response packet is defined for pages: neither is one made nor read."""
    with pytest.raises(ValueError, match="cell-broadcast"):
        encode_response(ANSWER, spi=PLAIN, dialect=CELL_BROADCAST)
    with pytest.raises(ValueError, match="cell-broadcast"):
        decode_response(encode_response(ANSWER, spi=PLAIN), spi=PLAIN, dialect=CELL_BROADCAST)


def test_checksum_covers_the_user_data_header() -> None:
    """The CC of a response is computed from the user-data header 02 71 00 on."""
    octets = encode_response(ANSWER, spi=CHECKED, keys=KEYS)
    covered = RESPONSE_USER_DATA_HEADER + octets[:13] + ANSWER.data
    assert octets[13:21] == KEYS.mac(covered)[:8]


@EVERY_SPI
@pytest.mark.parametrize("keys", [KEYS, None], ids=["keys", "no keys"])
def test_unidentified_security_error_is_sent_clear(spi: SecurityParameters, keys: PacketKeys | None) -> None:
    """Status 06 goes out bare, and is read, whatever protection was asked for; it proves nothing."""
    packet = replace(ANSWER, status=ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, data=b"")
    octets = encode_response(packet, spi=spi, keys=keys)
    assert octets.hex() == "000b0ab00101" + "0000000005" + "00" + "06"
    for reader in (KEYS, None):
        opened = decode_response(octets, spi=spi, keys=reader)
        assert opened == packet
        assert not opened.proven


def test_tar_unknown_is_sent_clear_without_keys() -> None:
    """A module without the TAR has no keyset for it, and says so bare; with keys it is protected."""
    packet = replace(ANSWER, status=ResponseStatus.TAR_UNKNOWN, data=b"")
    bare = encode_response(packet, spi=SECURE)
    assert len(bare) == 13
    assert not decode_response(bare, spi=SECURE, keys=KEYS).proven
    assert decode_response(encode_response(packet, spi=SECURE, keys=KEYS), spi=SECURE, keys=KEYS).proven


@pytest.mark.parametrize("status", sorted(set(ResponseStatus) - CLEAR_WITHOUT_KEYS), ids=lambda s: s.name)
def test_no_other_status_may_come_clear(status: ResponseStatus) -> None:
    """A bare response to a command that asked for protection is refused, above all a bare success."""
    bare = encode_response(replace(ANSWER, status=status, data=b""), spi=PLAIN)
    assert rejection(bare, CHECKED) == (ResponseStatus.INTEGRITY_FAILED, "rhl")
    assert rejection(bare, CIPHERED) == (ResponseStatus.CIPHERING_ERROR, "blocks")
    assert rejection(bare, CHECKED, None) == (ResponseStatus.INTEGRITY_FAILED, "keys")
    assert rejection(bare, CIPHERED, None) == (ResponseStatus.INTEGRITY_FAILED, "keys")


def test_clear_refusal_with_data_is_refused() -> None:
    """Data can not ride on a refusal that comes clear."""
    octets = bytearray(encode_response(ANSWER, spi=PLAIN))
    octets[12] = ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert rejection(bytes(octets), CHECKED) == (ResponseStatus.INTEGRITY_FAILED, "rhl")


@EVERY_SPI
@EVERY_DIALECT
def test_any_cut_is_refused(spi: SecurityParameters, dialect: Dialect) -> None:
    """No proper prefix of a response packet is one."""
    octets = encode_response(ANSWER, spi=spi, keys=KEYS, dialect=dialect)
    for length in range(len(octets)):
        status, _ = rejection(octets[:length], spi, dialect=dialect)
        assert status is ResponseStatus.UNIDENTIFIED_SECURITY_ERROR


@EVERY_SPI
@EVERY_DIALECT
def test_trailing_octets_are_refused(spi: SecurityParameters, dialect: Dialect) -> None:
    """RPL ends the packet: what follows is not ignored."""
    octets = encode_response(ANSWER, spi=spi, keys=KEYS, dialect=dialect) + b"\x00"
    assert rejection(octets, spi, dialect=dialect) == (ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "rpl")


def test_packet_without_a_header_is_refused() -> None:
    """A length that is right does not make a response of a few octets."""
    assert rejection(b"\x00\x02\x0a\x00", PLAIN)[1] == "short"


@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    """With a CC, and with an RC, a change of any bit of the response is noticed."""
    spi = data.draw(st.sampled_from([SECURE, CHECKED, REDUNDANT]))
    dialect = data.draw(st.sampled_from(ANSWERED))
    octets = bytearray(encode_response(ANSWER, spi=spi, keys=KEYS, dialect=dialect))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    rejection(bytes(octets), spi, dialect=dialect)


def test_wrong_keys_are_refused() -> None:
    """A response under other keys does not verify."""
    octets = encode_response(ANSWER, spi=SECURE, keys=KEYS)
    assert rejection(octets, keys=values.OTHER_MAC) == (ResponseStatus.INTEGRITY_FAILED, "checksum")
    assert rejection(octets, keys=values.OTHER_KEYS) == (ResponseStatus.INTEGRITY_FAILED, "checksum")


@pytest.mark.parametrize("rhl", [0x00, 0x09, 0x0B, 0x12, 0xFF])
def test_header_length_must_fit_the_protection(rhl: int) -> None:
    """RHL may neither leave the packet nor disagree with the checksum that was asked for."""
    octets = encode_response(replace(ANSWER, data=bytes(40)), spi=PLAIN)
    assert rejection(octets[:2] + bytes([rhl]) + octets[3:], PLAIN)[1] == "rhl"


@pytest.mark.parametrize("status", [PROPRIETARY_STATUSES[0], 0xC3, PROPRIETARY_STATUSES[-1]])
def test_proprietary_status_is_read(status: int) -> None:
    """C0 to FE come out as refusals with a number, and go back in."""
    octets = bytearray(encode_response(ANSWER, spi=PLAIN))
    octets[12] = status
    packet = decode_response(bytes(octets), spi=PLAIN)
    assert packet.status == status
    assert packet.status.is_error
    assert packet.status.name == f"PROPRIETARY_{status:02X}"
    assert encode_response(packet, spi=PLAIN) == octets


@pytest.mark.parametrize("status", [0x0D, 0xBF, 0xFF])
def test_reserved_status_is_refused(status: int) -> None:
    """Reserved statuses are refused rather than taken for success."""
    octets = bytearray(encode_response(ANSWER, spi=PLAIN))
    octets[12] = status
    assert rejection(bytes(octets), PLAIN) == (ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "status")


@given(st.binary(max_size=100), values.spis, st.sampled_from([KEYS, None]), st.sampled_from(ANSWERED))
def test_arbitrary_octets_are_refused_or_read(
    octets: bytes, spi: SecurityParameters, keys: PacketKeys | None, dialect: Dialect
) -> None:
    """Whatever arrives, the outcome is a response or a PacketRejected, with right lengths too."""
    assert dialect.response is not None
    rhl = 10 + (0, 4, 8, 0)[spi.por_integrity]
    framed = dialect.response.head(len(octets) + 1) + bytes([rhl]) + octets
    for candidate in (octets, framed):
        try:
            packet = decode_response(candidate, spi=spi, keys=keys, dialect=dialect)
        except PacketRejected:
            continue
        assert isinstance(packet, ResponsePacket)


@pytest.mark.parametrize(
    ("packet", "spi", "keys", "words"),
    [
        (replace(ANSWER, tar=b""), PLAIN, None, "TAR"),
        (replace(ANSWER, counter=1 << 40), PLAIN, None, "counter"),
        (replace(ANSWER, data=bytes(65_536)), PLAIN, None, "do not fit"),
        (ANSWER, CHECKED, None, "integrity"),
        (ANSWER, CIPHERED, None, "ciphering"),
        (ANSWER, SecurityParameters(por=PorDemand.ALWAYS, por_integrity=Integrity.DS), KEYS, "DS"),
        (replace(ANSWER, status=ResponseStatus.UNIDENTIFIED_SECURITY_ERROR), SECURE, KEYS, "no data"),
    ],
    ids=["tar", "counter", "data", "no keys for cc", "no keys for cipher", "ds", "data in clear"],
)
def test_misuse_is_a_value_error(
    packet: ResponsePacket, spi: SecurityParameters, keys: PacketKeys | None, words: str
) -> None:
    """Our own mistakes in making a response are ValueErrors that say which."""
    with pytest.raises(ValueError, match=words):
        encode_response(packet, spi=spi, keys=keys)


def test_nothing_secret_in_words() -> None:
    """A response's repr shows no data."""
    assert "data" not in repr(replace(ANSWER, data=b"12345"))
