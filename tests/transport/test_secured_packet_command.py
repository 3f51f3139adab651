from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport import secured_packet_values as values
from tests.transport.secured_packet_values import (
    CHECKED,
    CIPHERED,
    DIALECTS,
    KEYS,
    PLAIN,
    REDUNDANT,
    SECURE,
    TAR,
    VECTORS,
)
from transport.errors import PacketRejected
from transport.secured_packet import (
    CAT_TP,
    CELL_BROADCAST,
    CRC_16,
    CRC_32,
    REDUNDANCY_CHECKS,
    SMS,
    TCP,
    CommandPacket,
    Dialect,
    Integrity,
    PacketKeys,
    ResponseStatus,
    SecurityParameters,
    decode_command,
    encode_command,
    parse_beginning,
    parse_header,
)

EVERY_DIALECT = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
COMMANDS = pytest.mark.parametrize("vector", VECTORS["command"], ids=lambda vector: vector["id"])


def command(data: bytes = b"data", *, spi: SecurityParameters = SECURE, dialect: Dialect = SMS) -> bytes:
    """Return a command packet for TAR under KEYS."""
    return encode_command(spi=spi, tar=TAR, data=data, counter=5, keys=KEYS, dialect=dialect)


def reencode(packet: CommandPacket, keys: PacketKeys | None, dialect: Dialect = SMS) -> bytes:
    """Return the packet that *packet* was."""
    return encode_command(
        spi=packet.spi,
        tar=packet.tar,
        data=packet.data,
        counter=packet.counter,
        keys=keys,
        kic=packet.kic,
        kid=packet.kid,
        dialect=dialect,
    )


def rejection(
    octets: bytes, keys: PacketKeys | None = KEYS, dialect: Dialect = SMS
) -> tuple[ResponseStatus, str]:
    """Return status and reason of the rejection that *octets* must meet."""
    with pytest.raises(PacketRejected) as caught:
        decode_command(octets, keys, dialect)
    return caught.value.status, caught.value.reason


@COMMANDS
def test_encodes_what_others_publish(vector: dict[str, Any]) -> None:
    """A published command packet comes out octet for octet."""
    octets = encode_command(
        spi=SecurityParameters.parse(bytes.fromhex(vector["spi"])),
        tar=bytes.fromhex(vector["tar"]),
        data=bytes.fromhex(vector["data"]),
        counter=vector["counter"],
        keys=values.vector_keys(vector),
        kic=vector.get("kic"),
        kid=vector.get("kid"),
    )
    assert octets.hex() == vector["octets"]


@COMMANDS
def test_decodes_what_others_publish(vector: dict[str, Any]) -> None:
    """A published command packet opens to its published fields, and re-encodes to itself."""
    keys, octets = values.vector_keys(vector), bytes.fromhex(vector["octets"])
    packet = decode_command(octets, keys)
    assert packet.data.hex() == vector["data"]
    assert packet.tar.hex() == vector["tar"]
    assert packet.counter == vector["counter"]
    assert packet.spi.encode().hex() == vector["spi"]
    assert reencode(packet, keys) == octets


@given(
    values.spis,
    values.keys(),
    values.tars,
    values.counters,
    st.binary(max_size=300),
    st.sampled_from(DIALECTS),
    st.sampled_from([CRC_16, CRC_32]),
)
def test_every_protection_round_trips(
    spi: SecurityParameters,
    keys: PacketKeys,
    tar: bytes,
    counter: int,
    data: bytes,
    dialect: Dialect,
    crc: int,
) -> None:
    """Any SPI, algorithm, key size, check and dialect opens to what was sealed, and re-encodes to itself."""
    kid = crc if spi.integrity is Integrity.RC else keys.kid
    octets = encode_command(spi=spi, tar=tar, data=data, counter=counter, keys=keys, kid=kid, dialect=dialect)
    packet = decode_command(octets, keys, dialect)
    assert packet == CommandPacket(spi=spi, tar=tar, counter=counter, data=data, kic=keys.kic, kid=kid)
    assert reencode(packet, keys, dialect) == octets
    assert parse_header(octets, dialect).tar == tar


@pytest.mark.parametrize("kid", sorted(REDUNDANCY_CHECKS))
@EVERY_DIALECT
def test_redundancy_check_stands_where_a_checksum_would(kid: int, dialect: Dialect) -> None:
    """An RC covers what a CC covers, is as long as it is, and needs no keys."""
    length, check = REDUNDANCY_CHECKS[kid]
    octets = encode_command(spi=REDUNDANT, tar=TAR, data=b"data", kid=kid, dialect=dialect)
    assert octets[-4 - length : -4] == check(octets[: -4 - length] + b"data")
    assert decode_command(octets, None, dialect).data == b"data"


def test_redundancy_check_is_crc_32_unless_named() -> None:
    """Without a KID the longer check is made, with keys for the cipher only or with none."""
    assert parse_header(encode_command(spi=REDUNDANT, tar=TAR, data=b"")).kid == CRC_32
    spi = SecurityParameters(integrity=Integrity.RC, ciphering=True)
    octets = encode_command(spi=spi, tar=TAR, data=b"data", keys=KEYS)
    assert parse_header(octets).kid == CRC_32
    assert decode_command(octets, KEYS).data == b"data"
    assert rejection(octets, None) == (ResponseStatus.CIPHERING_ERROR, "kic")
    assert rejection(octets, values.OTHER_KEYS)[0] in {
        ResponseStatus.INTEGRITY_FAILED,
        ResponseStatus.CIPHERING_ERROR,
    }


def test_dialects_differ_in_their_frame_only() -> None:
    """Behind the identifier and the lengths the dialects are one; a broadcast is what a short message is."""
    short = command(spi=PLAIN)
    assert command(spi=PLAIN, dialect=CELL_BROADCAST) == short
    assert command(spi=PLAIN, dialect=CAT_TP) == b"\x01" + short[1:]
    assert command(spi=PLAIN, dialect=TCP) == b"\x01" + short[1:]


@pytest.mark.parametrize(
    ("size", "head"),
    [(127, "017f"), (128, "018180"), (255, "0181ff"), (256, "01820100"), (0xFFFF, "0182ffff")],
)
def test_length_takes_the_octets_that_it_needs(size: int, head: str) -> None:
    """CPL of the dialects with identifiers has one, two or three octets, and the checksum covers them."""
    plain = encode_command(spi=PLAIN, tar=TAR, data=bytes(size - 14), dialect=TCP)
    assert plain.startswith(bytes.fromhex(head))
    assert decode_command(plain, dialect=TCP).data == bytes(size - 14)
    octets = encode_command(spi=CHECKED, tar=TAR, data=bytes(size - 22), keys=KEYS, dialect=TCP)
    end = len(head) // 2 + 14
    assert octets[end : end + 8] == KEYS.mac(octets[:end] + octets[end + 8 :])[:8]


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "identifier"),
        ("01", "cpl"),
        ("02", "identifier"),
        ("0180", "cpl"),
        ("0181", "cpl"),
        ("01817f", "cpl"),
        ("018200ff", "cpl"),
        ("0183010000", "cpl"),
        ("01020d00", "short"),
        ("010e0c" + "00" * 13, "chl"),
        ("010e8d" + "00" * 13, "chl"),
    ],
)
def test_frames_that_are_none(octets: str, reason: str) -> None:
    """Another identifier, a length in a longer form, and a packet too short for a header are refused."""
    frame = bytes.fromhex(octets)
    assert rejection(frame, dialect=TCP) == (ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, reason)


def test_length_over_the_limit_is_refused() -> None:
    """A length of four octets is refused even when as many follow."""
    octets = bytes.fromhex("0183010000") + bytes(65_536)
    assert rejection(octets, dialect=CAT_TP) == (ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "cpl")


def test_clear_header_is_read_without_keys() -> None:
    """SPI, KIc, KID, TAR and the keyset are there before any key is."""
    header = parse_header(command())
    assert (header.spi, header.kic, header.kid, header.tar) == (SECURE, 0x12, 0x12, TAR)


@pytest.mark.parametrize(
    ("spi", "kic", "kid", "keyset"),
    [(SECURE, 0x12, 0x12, 1), (CIPHERED, 0x12, 0x35, 1), (CHECKED, 0x35, 0x12, 1), (PLAIN, 0x35, 0x35, 0)],
    ids=["both", "ciphered", "checked", "plain"],
)
def test_keyset_is_read_from_the_octet_in_use(
    spi: SecurityParameters, kic: int, kid: int, keyset: int
) -> None:
    """Only an octet that protects the packet names its keyset, and only such an octet must be the keys'."""
    octets = encode_command(spi=spi, tar=TAR, data=b"data", keys=KEYS, kic=kic, kid=kid)
    assert parse_header(octets).keyset == keyset
    assert reencode(decode_command(octets, KEYS), KEYS) == octets


def test_ciphering_hides_counter_and_data() -> None:
    """With ciphering, neither data nor counter is to be seen, and the header up to TAR is."""
    octets = encode_command(spi=SECURE, tar=TAR, data=b"secret account", counter=0x1122334455, keys=KEYS)
    assert b"secret" not in octets
    assert bytes.fromhex("1122334455") not in octets
    assert octets[3:10] == SECURE.encode() + bytes([0x12, 0x12]) + TAR


def test_shorter_checksum_is_the_start_of_the_longer() -> None:
    """A CC of four octets is the first half of the one of eight, but for the lengths that it covers."""
    short = PacketKeys(index=1, cipher_key=KEYS.cipher_key, mac_key=KEYS.mac_key, cc_length=4)
    octets = encode_command(spi=CHECKED, tar=TAR, data=b"data", keys=short)
    assert octets[16:20] == KEYS.mac(octets[:16] + b"data")[:4]
    assert rejection(octets) == (ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "chl")


@pytest.mark.parametrize("spi", [SECURE, CHECKED, CIPHERED, PLAIN], ids=["secure", "cc", "cipher", "plain"])
@EVERY_DIALECT
def test_any_cut_is_refused(spi: SecurityParameters, dialect: Dialect) -> None:
    """No proper prefix of a packet is a packet."""
    octets = command(bytes(120), spi=spi, dialect=dialect)
    for length in range(len(octets)):
        status, _ = rejection(octets[:length], dialect=dialect)
        assert status is ResponseStatus.UNIDENTIFIED_SECURITY_ERROR


@EVERY_DIALECT
def test_trailing_octets_are_refused(dialect: Dialect) -> None:
    """CPL ends the packet: what follows is not ignored."""
    octets = command(dialect=dialect) + b"\x00"
    assert rejection(octets, dialect=dialect) == (ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "cpl")


@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    """With a CC, and with an RC, a change of any bit of the packet is noticed."""
    spi = data.draw(st.sampled_from([SECURE, CHECKED, REDUNDANT]))
    dialect = data.draw(st.sampled_from(DIALECTS))
    octets = bytearray(command(data.draw(st.binary(max_size=40)), spi=spi, dialect=dialect))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    rejection(bytes(octets), dialect=dialect)


def test_wrong_keys_are_told_apart() -> None:
    """A wrong MAC key fails the checksum; so does a wrong cipher key, which makes noise of it."""
    assert rejection(command(), values.OTHER_MAC) == (ResponseStatus.INTEGRITY_FAILED, "checksum")
    assert rejection(command(), values.OTHER_KEYS) == (ResponseStatus.INTEGRITY_FAILED, "checksum")
    assert rejection(command(spi=CIPHERED), values.OTHER_KEYS)[0] is ResponseStatus.CIPHERING_ERROR


def test_keys_of_another_index_are_refused() -> None:
    """KIc and KID must name the very keys that are tried."""
    other = PacketKeys(index=2, cipher_key=KEYS.cipher_key, mac_key=KEYS.mac_key)
    assert rejection(command(), other) == (ResponseStatus.CIPHERING_ERROR, "kic")
    assert rejection(command(spi=CHECKED), other) == (ResponseStatus.INTEGRITY_FAILED, "kid")


def test_missing_keys_are_refused() -> None:
    """A protected packet for which there are no keys is the sender's fault, not ours."""
    assert rejection(command(), None) == (ResponseStatus.CIPHERING_ERROR, "kic")
    assert rejection(command(spi=CHECKED), None) == (ResponseStatus.INTEGRITY_FAILED, "kid")


@pytest.mark.parametrize("integrity", [b"\x01", b"\x03"], ids=["rc", "ds"])
def test_integrity_without_algorithm_is_refused(integrity: bytes) -> None:
    """A redundancy check or signature that no table makes is refused, not ignored."""
    octets = command(spi=PLAIN)
    assert rejection(octets[:3] + integrity + octets[4:]) == (ResponseStatus.INTEGRITY_FAILED, "kid")


def test_header_length_must_fit_the_protection() -> None:
    """CHL may neither leave the packet nor disagree with the checksum that the SPI announces."""
    octets = command(bytes(40), spi=PLAIN)
    for chl in (0x00, 0x0C, 0x0E, 0x15, len(octets) - 2, 0xFF):
        changed = octets[:2] + bytes([chl]) + octets[3:]
        assert rejection(changed) == (ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "chl")


def test_reserved_por_demand_is_refused() -> None:
    """SPI2 with both PoR bits set has no meaning."""
    octets = command(spi=PLAIN)
    assert rejection(octets[:4] + b"\x03" + octets[5:]) == (ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "spi")


def ciphered(body: bytes) -> bytes:
    """Return a packet of SPI CIPHERED with *body* from CNTR on, enciphered as it is."""
    clear = bytes([13]) + CIPHERED.encode() + bytes([KEYS.kic, KEYS.kid]) + TAR
    sealed = KEYS.cipher.encrypt(body)
    return (len(clear) + len(sealed)).to_bytes(2, "big") + clear + sealed


@pytest.mark.parametrize(
    "body",
    [
        bytes(5) + b"\x10" + bytes(26),
        bytes(5) + b"\x0b" + bytes(10),
        bytes(5) + b"\x02" + b"12345678\x01\x00",
    ],
    ids=["a whole block", "more than there is", "not zeros"],
)
def test_padding_has_one_spelling(body: bytes) -> None:
    """PCNTR counts zeros that were needed to fill a block, and nothing else."""
    assert rejection(ciphered(body)) == (ResponseStatus.CIPHERING_ERROR, "padding")


def test_padding_of_a_clear_packet_is_refused() -> None:
    """PCNTR is zero where nothing is ciphered."""
    octets = bytearray(command(spi=PLAIN))
    octets[15] = 1
    assert rejection(bytes(octets)) == (ResponseStatus.UNIDENTIFIED_SECURITY_ERROR, "padding")


def test_ciphered_part_is_whole_blocks() -> None:
    """A ciphered part that ends within a block is refused before it is deciphered."""
    octets = command(spi=CIPHERED)[2:-1]
    octets = len(octets).to_bytes(2, "big") + octets
    assert rejection(octets) == (ResponseStatus.CIPHERING_ERROR, "blocks")


@given(st.binary(max_size=200), st.sampled_from([KEYS, None]), st.sampled_from(DIALECTS))
def test_arbitrary_octets_are_refused_or_read(
    octets: bytes, keys: PacketKeys | None, dialect: Dialect
) -> None:
    """Whatever arrives, the outcome is a packet that re-encodes to itself or a PacketRejected."""
    try:
        packet = decode_command(octets, keys, dialect)
    except PacketRejected:
        return
    assert reencode(packet, keys, dialect) == octets


@given(st.binary(min_size=14, max_size=200), st.sampled_from([KEYS, None]), st.sampled_from(DIALECTS))
def test_arbitrary_octets_behind_good_lengths(
    octets: bytes, keys: PacketKeys | None, dialect: Dialect
) -> None:
    """As before, past the length checks that noise hardly ever gets through."""
    chl = 13 + (0, 2 if octets[3] & 4 == 0 else 4, 8, 0)[octets[0] & 3]
    framed = bytes([chl]) + octets
    framed = dialect.command.head(len(framed)) + framed
    try:
        packet = decode_command(framed, keys, dialect)
    except PacketRejected:
        return
    assert reencode(packet, keys, dialect) == framed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tar": b"\x00\x00"}, "TAR"),
        ({"counter": -1}, "counter"),
        ({"counter": 1 << 40}, "counter"),
        ({"data": bytes(65_536)}, "do not fit"),
        ({"keys": None}, "integrity"),
        ({"keys": None, "spi": CIPHERED}, "ciphering"),
        ({"spi": REDUNDANT, "kid": 0x12}, "RC"),
        ({"spi": SecurityParameters(integrity=Integrity.DS)}, "DS"),
        ({"kic": 0x22}, "22"),
        ({"kid": 0x22}, "22"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else value,
)
def test_misuse_is_a_value_error(changes: dict[str, Any], words: str) -> None:
    """Our own mistakes in making a packet are ValueErrors that say which."""
    fields: dict[str, Any] = {"spi": SECURE, "tar": TAR, "data": b"", "counter": 1, "keys": KEYS}
    with pytest.raises(ValueError, match=words):
        encode_command(**(fields | changes))


def test_the_longest_packet_fits() -> None:
    """CPL reaches FFFF, and no packet that long is refused."""
    data = bytes(0xFFFF - 14)
    octets = encode_command(spi=PLAIN, tar=TAR, data=data)
    assert octets[:2] == b"\xff\xff"
    assert decode_command(octets).data == data


def test_nothing_secret_in_words() -> None:
    """Neither a packet's repr nor a rejection shows data, keys or checksums."""
    octets = command(b"account 12345")
    assert "12345" not in repr(decode_command(octets, KEYS))
    with pytest.raises(PacketRejected) as caught:
        decode_command(octets, values.OTHER_MAC)
    assert str(caught.value) == "checksum: the RC or CC does not verify"


@given(st.binary(max_size=24))
def test_the_beginning_of_a_packet(data: bytes) -> None:
    """The first part of a packet tells its header and its length, once it holds the clear octets."""
    octets = command(data)
    for length in range(10, len(octets) + 1):
        assert parse_beginning(octets[:length]) == (parse_header(octets), len(octets))
    for length in range(10):
        with pytest.raises(PacketRejected) as caught:
            parse_beginning(octets[:length])
        assert caught.value.reason == "short"
