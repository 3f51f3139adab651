"""Wireshark's card application toolkit reads what we write, and pycrate has the same names for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pycrate_mobile.TS31111_SAT import CompTag_dict

from tests.transport.captures import FROM_PHONE, TOWARDS_PHONE, Packet, dissect, write
from transport.apdu import CommandApdu, ResponseApdu
from transport.toolkit import (
    CR,
    MAX_CHANNEL,
    MAX_RECEIVE_DATA,
    MAX_SEND_DATA,
    ChannelOpening,
    ChannelStatus,
    CommandType,
    Envelope,
    EventCode,
    Facility,
    ProactiveCommand,
    Tag,
    TerminalProfile,
    TerminalResponse,
    TerminalResult,
    TransportProtocol,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.transport.toolkit_values import Said

INS = {ProactiveCommand: 0x12, TerminalResponse: 0x14, Envelope: 0xC2}
TLV = "etsi_cat.comp_tlv."
OPENING = ChannelOpening(
    protocol=TransportProtocol.TCP_CLIENT,
    port=1234,
    address=bytes((10, 0, 0, 7)),
    buffer=1400,
    access_name="otafleet",
)


def exchange(value: Said) -> Packet:
    """Return the APDU and its answer that *value* goes in, for a capture."""
    octets = value.encode()
    if isinstance(value, ProactiveCommand):
        command = CommandApdu(cla=0x80, ins=0x12, expected=len(octets))
        return Packet("gsm_sim", FROM_PHONE, command.encode() + ResponseApdu(data=octets).encode())
    command = CommandApdu(cla=0x80, ins=INS[type(value)], data=octets)
    return Packet("gsm_sim", TOWARDS_PHONE, command.encode() + ResponseApdu().encode())


def tshark_reads(path: Path, values: Sequence[Said], fields: Sequence[str]) -> list[list[str]]:
    """Return what tshark finds of *fields* in each of *values*, having found nothing to complain of."""
    complaints = ["_ws.malformed", "_ws.expert.message"]
    wanted = [*complaints, *(TLV + field for field in fields)]
    rows = dissect(write(path / "toolkit.pcap", map(exchange, values)), wanted)
    assert {row[complaint] for row in rows for complaint in complaints} == {""}
    return [[row[TLV + field].lower() for field in fields] for row in rows]


def test_open_channel(tmp_path: Path) -> None:
    """Tshark finds in OPEN CHANNEL its devices, buffer, transport level and address."""
    command = ProactiveCommand(type=CommandType.OPEN_CHANNEL, qualifier=1, opening=OPENING)
    fields = ["cmd_type", "src_dev", "dst_dev", "buffer_size", "transport.ptype", "transport.port"]
    fields += ["other_address.coding", "other_address.ipv4", "bearer.descr"]
    (found,) = tshark_reads(tmp_path, [command], fields)
    assert found == ["0x40", "0x81", "0x82", "1400", "0x02", "1234", "0x21", "10.0.0.7", "0x03"]


def test_opened(tmp_path: Path) -> None:
    """Tshark finds in a response to OPEN CHANNEL its result and buffer, or the cause of a BIP error."""
    opened = TerminalResponse(
        type=CommandType.OPEN_CHANNEL,
        result=TerminalResult.PERFORMED_WITH_MODIFICATION,
        channel_status=ChannelStatus(channel=1, established=True),
        bearer=OPENING.bearer,
        buffer=1000,
    )
    refused = TerminalResponse(type=CommandType.OPEN_CHANNEL, result=TerminalResult.BIP_ERROR, cause=1)
    fields = ["cmd_type", "src_dev", "result", "result.bip", "buffer_size"]
    assert tshark_reads(tmp_path, [opened, refused], fields) == [
        ["0x40", "0x82", "0x07", "", "1000"],
        ["0x40", "0x82", "0x3a", "0x01", ""],
    ]


def test_data(tmp_path: Path) -> None:
    """Tshark takes SEND DATA and the response to RECEIVE DATA at their longest, and finds the channel."""
    sent = ProactiveCommand(type=CommandType.SEND_DATA, qualifier=1, channel=3, data=bytes(MAX_SEND_DATA))
    got = TerminalResponse(type=CommandType.RECEIVE_DATA, data=bytes(MAX_RECEIVE_DATA), length=255)
    asked = ProactiveCommand(type=CommandType.RECEIVE_DATA, channel=7, length=237)
    closed = ProactiveCommand(type=CommandType.CLOSE_CHANNEL, channel=1)
    found = tshark_reads(tmp_path, [sent, got, asked, closed], ["cmd_type", "dst_dev", "cmd_qual.send_data"])
    assert [row[:2] for row in found] == [
        ["0x43", "0x23"],
        ["0x42", "0x81"],
        ["0x42", "0x27"],
        ["0x41", "0x21"],
    ]
    assert found[0][2] in {"1", "true"}


def test_events(tmp_path: Path) -> None:
    """Tshark finds the events that we ask for and that we tell."""
    codes = (EventCode.DATA_AVAILABLE, EventCode.CHANNEL_STATUS)
    asked = ProactiveCommand(type=CommandType.SET_UP_EVENT_LIST, events=codes)
    came, lost = (
        Envelope(
            tag=Tag.EVENT_DOWNLOAD,
            event=code,
            channel_status=ChannelStatus(channel=2),
            length=9 if code is EventCode.DATA_AVAILABLE else None,
        )
        for code in codes
    )
    found = tshark_reads(tmp_path, [asked, came, lost], ["event", "src_dev", "dst_dev"])
    assert found == [["0x09;0x0a", "0x81", "0x82"], ["0x09", "0x82", "0x81"], ["0x0a", "0x82", "0x81"]]


def test_timers(tmp_path: Path) -> None:
    """Tshark finds in TIMER MANAGEMENT and in TIMER EXPIRATION the same hours, minutes and seconds."""
    asked = ProactiveCommand(type=CommandType.TIMER_MANAGEMENT, timer=1, timer_value_s=3723)
    ended = Envelope(tag=Tag.TIMER_EXPIRATION, timer=1, timer_value_s=3723)
    found = tshark_reads(tmp_path, [asked, ended], ["timer_val.hr", "timer_val.min", "timer_val.sec"])
    assert [[int(part, 16) for part in row] for row in found] == [[0x10, 0x20, 0x30]] * 2


PROFILE_FIELDS = {
    Facility.PROFILE_DOWNLOAD: "prof_dld",
    Facility.SMS_PP_DOWNLOAD: "sms_data_dld",
    Facility.CELL_BROADCAST_DOWNLOAD: "cb_data_dld",
    Facility.MENU_SELECTION: "menu_sel",
    Facility.SMS_PP_DOWNLOAD_TOO: "sms_data_dld_support",
    Facility.TIMER_EXPIRATION: "timer_exp",
    Facility.COMMAND_RESULT: "cmd_res",
    Facility.DISPLAY_TEXT: "pa.display_text",
    Facility.GET_INPUT: "pa.get_input",
    Facility.REFRESH: "pa.refresh",
    Facility.SEND_SHORT_MESSAGE: "pa.send_sms",
    Facility.SET_UP_EVENT_LIST: "pa.set_up_evt_list",
    Facility.DATA_AVAILABLE: "evt.data_avail",
    Facility.CHANNEL_STATUS: "evt.chan_status",
    Facility.TIMER_MANAGEMENT: "pa.timer_start_stop",
    Facility.TIMER_CURRENT_VALUE: "pa.timer_get_current",
    Facility.DISPLAY_TEXT_TOO: "display_text",
    Facility.OPEN_CHANNEL: "pa.open_chan",
    Facility.CLOSE_CHANNEL: "pa.close_chan",
    Facility.RECEIVE_DATA: "pa.recv_data",
    Facility.SEND_DATA: "pa.send_data",
    Facility.GET_CHANNEL_STATUS: "pa.get_chan_status",
    Facility.PACKET_BEARER: "bip.gprs",
    Facility.TCP_CLIENT: "bip.tcp_remote",
    Facility.UDP_CLIENT: "bip.udp_remote",
    Facility.TCP_SERVER: "bip.tcp_server",
}
"""What tshark calls each facility of a terminal, behind ``gsm_sim.tp.``."""


def test_terminal_profile(tmp_path: Path) -> None:
    """Of a profile that has one facility tshark finds that one and no other; of one that has all, all."""
    alone = [TerminalProfile.of([each], channels=number % 8) for number, each in enumerate(Facility)]
    profiles = [*alone, TerminalProfile.of(Facility, channels=MAX_CHANNEL)]
    packets = [
        Packet(
            "gsm_sim",
            TOWARDS_PHONE,
            CommandApdu(cla=0x80, ins=0x10, data=profile.octets).encode() + ResponseApdu().encode(),
        )
        for profile in profiles
    ]
    names = {facility: f"gsm_sim.tp.{field}" for facility, field in PROFILE_FIELDS.items()}
    wanted = ["_ws.malformed", "_ws.expert.message", "gsm_sim.tp.num_chans", *names.values()]
    rows = dissect(write(tmp_path / "profiles.pcap", packets), wanted)
    assert PROFILE_FIELDS.keys() == set(Facility)
    for profile, row in zip(profiles, rows, strict=True):
        assert row["_ws.malformed"] == row["_ws.expert.message"] == ""
        found = {facility for facility, name in names.items() if row[name] in {"1", "True"}}
        assert found == {facility for facility in Facility if facility in profile}
        assert int(row["gsm_sim.tp.num_chans"] or "0") == profile.channels


@pytest.mark.parametrize("tag", [tag for tag in Tag if tag < CR], ids=lambda tag: tag.name)
def test_pycrate_calls_the_objects_the_same(tag: Tag) -> None:
    """The name that pycrate has for each tag is the one that we have for it, in other words at times."""
    others = {
        "TPDU": "sms tpdu",
        "DEVICE_IDENTITIES": "device identity",
        "TRANSPORT_LEVEL": "transport level",
        "ADDRESS": "data destination address",
        "ACCESS_NAME": "network access name",
    }
    assert others.get(tag.name, tag.name.lower().replace("_", " ")) in CompTag_dict[tag].lower()
