"""Pycrate, an independent decoder, reads the packets that we write, and we read its.

Pycrate knows only the dialect with identifiers and BER lengths; below, the octets between are the same.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrate_mobile.TS102225 import PacketCmd, PacketResp

from tests.transport import secured_packet_values as values
from tests.transport.secured_packet_values import CHECKED, KEYS, PLAIN
from transport.secured_packet import (
    PacketKeys,
    ResponsePacket,
    ResponseStatus,
    SecurityParameters,
    decode_command,
    decode_response,
    encode_command,
    encode_response,
)


def ber_length(length: int) -> bytes:
    """Return *length* as BER has it, up to 255."""
    return bytes([length]) if length < 0x80 else bytes([0x81, length])


def to_pycrate(octets: bytes) -> bytes:
    """Return a packet of the SMS dialect with the identifiers and BER lengths that pycrate wants."""
    header = b"\x00" + ber_length(octets[2]) + octets[3:]
    return b"\x01" + ber_length(len(header)) + header


def from_pycrate(octets: bytes) -> bytes:
    """Return the SMS dialect of what pycrate made."""
    start = 3 if octets[1] == 0x81 else 2
    body = octets[start + 1 :]
    return len(body).to_bytes(2, "big") + body


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
)
def test_pycrate_reads_our_responses(
    protection: tuple[SecurityParameters, PacketKeys | None], response: ResponsePacket
) -> None:
    """Pycrate finds every field of a clear response packet where we put it, and gives back the octets."""
    spi, keys = protection
    octets = encode_response(response, spi=spi, keys=keys)
    packet = in_bits(PacketResp(), fixed=10)
    packet.from_bytes(to_pycrate(octets))
    assert packet["TAR"].get_val() == int.from_bytes(response.tar, "big")
    assert packet["CNTR"].get_val() == response.counter
    assert packet["Status"].get_val() == response.status
    assert packet["Data"].get_val() == response.data
    back = from_pycrate(packet.to_bytes())
    assert decode_response(back, spi=spi, keys=keys) == response
