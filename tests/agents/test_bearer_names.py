"""The names of bearers are the same in messages, configs and frames; where a server is."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.messages import bearers
from agents.messages.bearers import BEARERS, CHANNEL_BEARERS, SERVER_OCTETS, ServerAddress
from bus.frame import Bearer
from transport.secured_packet import CAT_TP, TCP
from transport.toolkit import TransportProtocol


def test_a_service_names_bearers_as_frames_do() -> None:
    """A supplier makes a ``Bearer`` of each name, so each must be one."""
    assert {Bearer(name) for name in BEARERS} == {Bearer.SMS, Bearer.BIP_TCP, Bearer.BIP_UDP}
    assert Bearer.SMS.value == bearers.SMS
    assert Bearer.BIP_TCP.value == bearers.BIP_TCP
    assert Bearer.BIP_UDP.value == bearers.BIP_UDP
    assert set(CHANNEL_BEARERS) == {Bearer.BIP_TCP.value, Bearer.BIP_UDP.value}


def test_each_channel_has_its_protocol_and_dialect() -> None:
    """TCP carries the TCP dialect, UDP that of CAT_TP."""
    tcp, udp = CHANNEL_BEARERS[bearers.BIP_TCP], CHANNEL_BEARERS[bearers.BIP_UDP]
    assert (tcp.protocol, tcp.dialect) == (TransportProtocol.TCP_CLIENT, TCP)
    assert (udp.protocol, udp.dialect) == (TransportProtocol.UDP_CLIENT, CAT_TP)


def test_announcements_are_among_secured_data_download() -> None:
    """TS 23.041 clause 9.4.1.2.2: 1080 to 10FF are for secured data download."""
    assert 0x1080 <= bearers.ANNOUNCEMENTS <= 0x10FF


def test_a_servers_address_is_host_and_two_ports() -> None:
    """Eight octets, in network order."""
    address = ServerAddress(host=IPv4Address("192.0.2.1"), tcp_port=0x1234, udp_port=0xABCD)
    assert address.encode() == bytes.fromhex("c0000201 1234 abcd")
    assert address.port(TransportProtocol.TCP_CLIENT) == 0x1234
    assert address.port(TransportProtocol.UDP_CLIENT) == 0xABCD


@given(st.binary(min_size=SERVER_OCTETS, max_size=SERVER_OCTETS))
def test_any_eight_octets_are_an_address(octets: bytes) -> None:
    """What was read is written as it was."""
    assert ServerAddress.parse(octets).encode() == octets


@pytest.mark.parametrize("length", [0, 7, 9])
def test_another_length_is_none(length: int) -> None:
    """It is said with both lengths."""
    with pytest.raises(ValueError, match=f"8 octets, not {length}"):
        ServerAddress.parse(bytes(length))
