"""Pycrate, an independent decoder, reads the packets that we write, and we read its.

Pycrate knows only the dialect with identifiers and BER lengths, with a header identifier that the dialects of
TCP and CAT_TP leave out; behind that the octets are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrate_mobile.TS102225 import KIc_alg_sel_dict, KID_CC_alg_sel_dict, PacketCmd, PacketResp

from tests.transport import secured_packet_values as values
from tests.transport.secured_packet_values import ANSWERED, CHECKED, KEYS, PLAIN, REDUNDANT, TAR
from transport.secured_packet import (
    AES_CBC,
    AES_CMAC,
    CIPHERS,
    CRC_16,
    CRC_32,
    DES_CBC,
    DES_ECB,
    MACS,
    REDUNDANCY_CHECKS,
    SMS,
    TRIPLE_DES_2_CBC,
    TRIPLE_DES_3_CBC,
    Dialect,
    PacketKeys,
    ResponsePacket,
    ResponseStatus,
    SecurityParameters,
    decode_command,
    decode_response,
    encode_command,
    encode_response,
)

if TYPE_CHECKING:
    from transport.secured_packet.dialect import Framing


def ber_length(length: int) -> bytes:
    """Return *length* as BER has it, up to 255."""
    return bytes([length]) if length < 0x80 else bytes([0x81, length])


def to_pycrate(octets: bytes, start: int = 2) -> bytes:
    """Return a packet whose CHL is at *start* with the identifiers and BER lengths that pycrate wants."""
    header = b"\x00" + octets[start:]
    return b"\x01" + ber_length(len(header)) + header


def from_pycrate(octets: bytes, frame: Framing = SMS.command) -> bytes:
    """Return the packet that pycrate made, in another frame."""
    start = 3 if octets[1] == 0x81 else 2
    body = octets[start + 1 :]
    return frame.head(len(body)) + body


def in_bits(packet: Any, fixed: int) -> Any:
    """Correct pycrate 0.8.1, which gives the lengths of the last two fields in octets where it wants bits.

    *fixed* is what the header length counts besides the checksum.
    """
    packet["IntegrityCheck"].set_blauto(lambda: 8 * (packet[3].get_val() - fixed))
    packet["Data"].set_blauto(
        lambda: 8 * (packet[1].get_val() - packet[3].get_len() - packet[3].get_val() - 1)
    )
    return packet


@settings(max_examples=30)
@given(st.sampled_from([PLAIN, CHECKED]), values.tars, values.counters, st.binary(max_size=100))
def test_pycrate_reads_our_commands(spi: SecurityParameters, tar: bytes, counter: int, data: bytes) -> None:
    """Pycrate finds every field of a clear command packet where we put it."""
    octets = encode_command(spi=spi, tar=tar, data=data, counter=counter, keys=KEYS)
    packet = in_bits(PacketCmd(), fixed=13)
    packet.from_bytes(to_pycrate(octets))
    assert packet["SPI"].to_bytes() == spi.encode()
    assert packet["SPI"]["IntegrityType"].get_val() == spi.integrity
    assert packet["KIc"].to_bytes() == bytes([KEYS.kic])
    assert packet["KID"].to_bytes() == bytes([KEYS.kid])
    assert packet["TAR"].get_val() == int.from_bytes(tar, "big")
    assert packet["CNTR"].get_val() == counter
    assert packet["PCNTR"].get_val() == 0
    assert len(packet["IntegrityCheck"].get_val()) == (8 if spi is CHECKED else 0)
    assert packet["Data"].get_val() == data
    assert packet.to_bytes() == to_pycrate(octets)


PYCRATE_NAMES = {
    DES_CBC: "DES in CBC mode",
    TRIPLE_DES_2_CBC: "Triple-DES in outer-CBC mode with 2 keys",
    TRIPLE_DES_3_CBC: "Triple-DES in outer-CBC mode with 3 keys",
    DES_ECB: "DES in ECB mode",
}
EVERY_DIALECT = pytest.mark.parametrize("dialect", ANSWERED, ids=lambda dialect: dialect.name)


def keys_of(cipher: int, mac: int) -> PacketKeys:
    """Return keys for two algorithms."""
    return PacketKeys(
        index=7,
        cipher_key=bytes(range(min(CIPHERS[cipher].key_sizes))),
        mac_key=bytes(range(min(MACS[mac].key_sizes))),
        cipher_algorithm=cipher,
        mac_algorithm=mac,
        allow_legacy=True,
    )


@EVERY_DIALECT
@pytest.mark.parametrize("mac", sorted(MACS))
@pytest.mark.parametrize("cipher", sorted(CIPHERS))
def test_pycrate_names_our_algorithms(cipher: int, mac: int, dialect: Dialect) -> None:
    """Pycrate reads from KIc and KID the algorithms that we mean, and finds the checksum of each."""
    keys = keys_of(cipher, mac)
    octets = encode_command(spi=CHECKED, tar=TAR, data=b"data", keys=keys, dialect=dialect)
    packet = in_bits(PacketCmd(), fixed=13)
    packet.from_bytes(to_pycrate(octets, dialect.command.start(octets)))
    kic, kid = packet["KIc"], packet["KID"].get_alt()
    assert (kic["Keys"].get_val(), kid["Keys"].get_val()) == (7, 7)
    kic_name = KIc_alg_sel_dict[kic["AlgType"].get_val()][kic["AlgSubtype"].get_val()]
    kid_name = KID_CC_alg_sel_dict[kid["AlgType"].get_val()][kid["AlgSubtype"].get_val()]
    assert kic_name == (PYCRATE_NAMES | {AES_CBC: "AES in CBC mode"})[cipher]
    assert kid_name == (PYCRATE_NAMES | {AES_CMAC: "AES in CMAC mode"})[mac]
    end = len(octets) - 12
    assert packet["IntegrityCheck"].get_val() == keys.mac(octets[:end] + b"data")[:8]
    assert packet["Data"].get_val() == b"data"


@EVERY_DIALECT
@pytest.mark.parametrize(("kid", "name"), [(CRC_16, "CRC-16"), (CRC_32, "CRC-32")])
def test_pycrate_reads_our_redundancy_checks(kid: int, name: str, dialect: Dialect) -> None:
    """Pycrate reads from KID which CRC we mean, and finds it in its length."""
    octets = encode_command(spi=REDUNDANT, tar=TAR, data=b"data", kid=kid, dialect=dialect)
    packet = in_bits(PacketCmd(), fixed=13)
    packet.from_bytes(to_pycrate(octets, dialect.command.start(octets)))
    assert name in packet["KID"].get_alt().show()
    length, check = REDUNDANCY_CHECKS[kid]
    assert packet["IntegrityCheck"].get_val() == check(octets[: -4 - length] + b"data")


@EVERY_DIALECT
@pytest.mark.parametrize("mac", sorted(MACS))
@pytest.mark.parametrize("cipher", sorted(CIPHERS))
def test_we_read_what_pycrate_says_of_algorithms(cipher: int, mac: int, dialect: Dialect) -> None:
    """A packet that pycrate wrote opens under the algorithms that it names, its checksum filled in by us."""
    keys = keys_of(cipher, mac)
    fields = {"CmdPacketId": 1, "CmdHeaderId": 0, "CmdHeaderLen": 21, "TAR": 0xB00010, "CNTR": 77, "PCNTR": 0}
    packet = PacketCmd(val={**fields, "IntegrityCheck": bytes(8), "Data": b"data"})
    packet["SPI"]["IntegrityType"].set_val(2)
    packet["KIc"].from_bytes(bytes([keys.kic]))
    packet["KID"].get_alt().from_bytes(bytes([keys.kid]))
    octets = from_pycrate(packet.to_bytes(), dialect.command)
    sealed = octets[:-12] + keys.mac(octets[:-12] + b"data")[:8] + b"data"
    opened = decode_command(sealed, keys, dialect)
    assert (opened.tar.hex(), opened.counter, opened.data) == ("b00010", 77, b"data")


@settings(max_examples=30)
@given(values.spis)
def test_pycrate_agrees_on_the_spi(spi: SecurityParameters) -> None:
    """Pycrate gives each field of an SPI the value that we give it."""
    packet = in_bits(PacketCmd(), fixed=13)
    packet.from_bytes(to_pycrate(encode_command(spi=spi, tar=bytes(3), data=b"", keys=KEYS)))
    expected = {
        "CounterType": spi.counter,
        "CipherType": spi.ciphering,
        "IntegrityType": spi.integrity,
        "SMSPoR": spi.por_in_submit,
        "PoRCipherType": spi.por_ciphering,
        "PoRIntegrityType": spi.por_integrity,
        "PoRExpect": spi.por,
    }
    assert {name: packet["SPI"][name].get_val() for name in expected} == expected


@pytest.mark.parametrize("data", [b"", b"\x00\xa4\x00\x04\x02\x3f\x00", bytes(110)], ids=len)
def test_we_read_pycrate_s_commands(data: bytes) -> None:
    """A command packet that pycrate encoded opens to the values it was given."""
    fields = {"CmdPacketId": 1, "CmdHeaderId": 0, "CmdHeaderLen": 13, "TAR": 0xB00010, "CNTR": 77, "PCNTR": 0}
    packet = PacketCmd(val={**fields, "IntegrityCheck": b"", "Data": data})
    opened = decode_command(from_pycrate(packet.to_bytes()))
    assert (opened.tar.hex(), opened.counter, opened.data) == ("b00010", 77, data)


@settings(max_examples=30)
@given(
    st.sampled_from([(PLAIN, None), (CHECKED, KEYS)]),
    st.builds(
        ResponsePacket,
        tar=values.tars,
        counter=values.counters,
        status=st.sampled_from([ResponseStatus.POR_OK, ResponseStatus.MORE_TIME]),
        data=st.binary(max_size=100),
    ),
    st.sampled_from(ANSWERED),
)
def test_pycrate_reads_our_responses(
    protection: tuple[SecurityParameters, PacketKeys | None], response: ResponsePacket, dialect: Dialect
) -> None:
    """Pycrate finds every field of a clear response packet where we put it, and gives back the octets."""
    spi, keys = protection
    octets = encode_response(response, spi=spi, keys=keys, dialect=dialect)
    frame = dialect.response
    assert frame is not None
    packet = in_bits(PacketResp(), fixed=10)
    packet.from_bytes(to_pycrate(octets, frame.start(octets)))
    assert packet["TAR"].get_val() == int.from_bytes(response.tar, "big")
    assert packet["CNTR"].get_val() == response.counter
    assert packet["Status"].get_val() == response.status
    assert packet["Data"].get_val() == response.data
    back = from_pycrate(packet.to_bytes(), frame)
    assert decode_response(back, spi=spi, keys=keys, dialect=dialect) == response
