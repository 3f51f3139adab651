"""The capture of a run: tshark and python-pcapng read it, several processes' parts become one, disks fail."""

from __future__ import annotations

import errno
import io
import os
import random
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pcapng import FileScanner
from pcapng.blocks import EnhancedPacket, InterfaceDescription, NameResolution, SectionHeader
from structlog.testing import capture_logs

from bus.capture import Capture, Layer, address, merge
from bus.frame import TraceContext
from tests.transport.captures import complaints, dissect
from transport import ber_tlv
from transport.apdu import CommandApdu
from transport.cat_tp import Flags, Pdu
from transport.cell_broadcast import GeographicScope, Page, SerialNumber
from transport.concatenation import split
from transport.sms import (
    IEI_COMMAND_PACKET,
    IEI_RESPONSE_PACKET,
    Address,
    InformationElement,
    ServiceCentreTime,
    SmsDeliver,
    SmsDeliverReport,
    SmsSubmit,
    UserData,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import FilteringBoundLogger

TRACE = TraceContext(trace_id=bytes(range(16)), span_id=b"\x11" * 8)
IDS = "trace=000102030405060708090a0b0c0d0e0f span=1111111111111111"
UA = "89882110000000123456"
OTHER_UA = "89882110000000123464"
NUMBER = "393200000001"
START_S = 1_700_000_000.25
DEVICES = ber_tlv.encode(0x82, bytes((0x83, 0x81)))
TO_TERMINAL = ber_tlv.encode(0x82, bytes((0x81, 0x82)))


def delivers(packet: bytes, reference: int = 7) -> list[bytes]:
    """Return the SMS-DELIVER TPDUs that bring *packet*."""
    first = InformationElement(iei=IEI_COMMAND_PACKET)
    return [
        SmsDeliver(
            originator=Address(digits=NUMBER), user_data=data, timestamp=ServiceCentreTime.at(START_S)
        ).encode()
        for data in split(packet, reference=reference, first=first)
    ]


def envelope(tag: int, *tlvs: bytes) -> bytes:
    """Return the ENVELOPE whose BER-TLV *tag* holds *tlvs*."""
    return CommandApdu(cla=0x80, ins=0xC2, data=ber_tlv.encode(tag, b"".join(tlvs))).encode()


def fetch(*tlvs: bytes) -> bytes:
    """Return the exchange in which FETCH brings the proactive command that holds *tlvs*."""
    command = ber_tlv.encode(0xD0, b"".join(tlvs))
    return CommandApdu(cla=0x80, ins=0x12, expected=len(command)).encode() + command + b"\x90\x00"


def details(command_type: int) -> bytes:
    """Return the command details of a proactive command."""
    return ber_tlv.encode(0x81, bytes((1, command_type, 0)))


def terminal_response(command_type: int, *tlvs: bytes) -> bytes:
    """Return the exchange in which the terminal tells that it did what the command asked."""
    devices = ber_tlv.encode(0x82, bytes((0x82, 0x81)))
    done = details(command_type) + devices + ber_tlv.encode(0x83, b"\x00") + b"".join(tlvs)
    return CommandApdu(cla=0x80, ins=0x14, data=done).encode() + b"\x90\x00"


def put(capture: Capture, layer: Layer, octets: bytes, *, at: float = START_S, **changes: Any) -> None:
    """Write *octets* with *changes* to what most packets here have."""
    fields: dict[str, Any] = {"uplink": False, "handset": UA, "peer": "operator", "trace": TRACE}
    capture.write(layer, octets, at=at, **(fields | changes))


def blocks(path: Path) -> list[Any]:
    """Return what python-pcapng reads in the file at *path*."""
    return list(FileScanner(io.BytesIO(path.read_bytes())))


def packets(path: Path) -> list[Any]:
    """Return the packets alone."""
    return [block for block in blocks(path) if isinstance(block, EnhancedPacket)]


def notes(path: Path) -> list[str]:
    """Return what the packets of *path* were given as note."""
    return [packet.options["opt_comment"].removeprefix(IDS + " ") for packet in packets(path)]


def write(path: Path, log: FilteringBoundLogger, times: Iterable[float]) -> Path:
    """Write a page at each of *times*, with the time as note."""
    with Capture(path, log=log) as capture:
        for at in times:
            put(capture, Layer.CELL_BROADCAST, bytes(88), at=at, note=str(at))
    return path


# ---- other people's readers ------------------------------------------------------------------------------


def test_python_pcapng_reads_it_back(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """Header, interface, both names, then the packet: its time to the microsecond, comment and octets."""
    with Capture(tmp_path / "run.pcapng", log=log, name="handsets-1") as capture:
        put(capture, Layer.CELL_BROADCAST, b"page", at=START_S + 1e-6, note="repetition 3")
    header, interface, *names, packet = blocks(tmp_path / "run.pcapng")
    assert isinstance(header, SectionHeader)
    assert header.options["shb_userappl"] == "otafleet"
    assert isinstance(interface, InterfaceDescription)
    assert (interface.link_type, interface.options["if_name"]) == (252, "handsets-1")
    assert all(isinstance(name, NameResolution) for name in names)
    assert {name.records[0]["names"][0]: name.records[0]["address"] for name in names} == {
        UA: str(address(UA)),
        "operator": str(address("operator")),
    }
    assert packet.timestamp == pytest.approx(START_S + 1e-6, abs=1e-7)
    assert packet.options["opt_comment"] == f"{IDS} repetition 3"
    assert packet.packet_data.endswith(bytes(4) + b"page")


def test_tshark_dissects_short_messages_by_direction(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """One first octet means SMS-DELIVER downwards and SMS-DELIVER-REPORT upwards; SMS-SUBMIT goes up."""
    response = UserData(header=(InformationElement(iei=IEI_RESPONSE_PACKET),), payload=bytes(14))
    submit = SmsSubmit(destination=Address(digits=NUMBER), user_data=response, reference=1)
    path = tmp_path / "run.pcapng"
    with Capture(path, log=log) as capture:
        put(capture, Layer.SMS, delivers(bytes(30))[0])
        put(capture, Layer.SMS, SmsDeliverReport(user_data=response).encode(), uplink=True)
        put(capture, Layer.SMS, submit.encode(), uplink=True, peer=NUMBER)
    fields = ("gsm_sms.tp-mti", "gsm_sms.tp-oa", "gsm_sms.tp-da", "_ws.col.Source", "_ws.col.Destination")
    handset, operator = str(address(UA)), str(address("operator"))
    assert [tuple(packet.values()) for packet in dissect(path, fields)] == [
        ("0", NUMBER, "", operator, handset),
        ("0", "", "", handset, operator),
        ("1", "", NUMBER, handset, str(address(NUMBER))),
    ]
    assert complaints(path) == []


def test_tshark_shows_comment_time_and_interface(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """Wireshark's columns and filters find a packet by its trace, and see simulated microseconds."""
    path = tmp_path / "run.pcapng"
    with Capture(path, log=log, name="handsets-1") as capture:
        put(capture, Layer.SMS, delivers(bytes(30))[0], at=2_000_000_000.000_001, note="attempt 2")
    fields = ("frame.comment", "frame.time_epoch", "frame.interface_name")
    assert list(dissect(path, fields)[0].values()) == [
        f"{IDS} attempt 2",
        "2000000000.000001000",
        "handsets-1",
    ]


def test_tshark_reassembles_per_handset(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """Two handsets use one reference at a time, and each ENVELOPE repeats a TPDU: all come out whole."""
    path = tmp_path / "run.pcapng"
    messages = {UA: delivers(bytes([1]) * 300), OTHER_UA: delivers(bytes([2]) * 300)}
    order = [
        (ua, tpdu)
        for pair in zip(*messages.values(), strict=True)
        for ua, tpdu in zip(messages, pair, strict=True)
    ]
    with Capture(path, log=log) as capture:
        for ua, tpdu in order:
            put(capture, Layer.SMS, tpdu, handset=ua)
            exchange = envelope(0xD1, DEVICES, ber_tlv.encode(0x8B, tpdu)) + b"\x90\x00"
            put(capture, Layer.APDU, exchange, handset=ua)
    found = dissect(path, ("frame.number", "gsm_sms.reassembled.length", "_ws.col.Info"))
    whole = [packet for packet in found if packet["gsm_sms.reassembled.length"]]
    assert [int(packet["frame.number"]) for packet in whole] == [9, 10, 11, 12]
    assert {packet["gsm_sms.reassembled.length"] for packet in whole} == {"300"}
    assert all("Reassembled" in packet["_ws.col.Info"] for packet in whole)
    assert not any("Illegal" in packet["_ws.col.Info"] for packet in found)
    assert complaints(path) == []


def test_tshark_bears_with_the_air(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """Parts and pages that come twice, late or never, and references used again, are no error."""
    rng = random.Random(3)
    parts = [part for length in (200, 300, 500) for part in delivers(bytes([length & 0xFF]) * length)]
    serial = SerialNumber(scope=GeographicScope.PLMN, code=1)
    pages = [
        Page(serial=serial, message_identifier=0x1080, page_parameter=number << 4 | total, content=bytes(82))
        for total in (2, 3)
        for number in range(1, total + 1)
    ]
    path = tmp_path / "run.pcapng"
    with Capture(path, log=log) as capture:
        for tpdu in rng.choices(parts, k=60):
            put(capture, Layer.SMS, tpdu)
        for page in rng.choices(pages, k=40):
            put(capture, Layer.CELL_BROADCAST, page.encode(), handset=rng.choice(["cell-1", "cell-2"]))
    assert complaints(path) == []


def test_tshark_dissects_a_page(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """A page shows its message identifier and place among the pages."""
    path = tmp_path / "run.pcapng"
    serial = SerialNumber(scope=GeographicScope.PLMN, code=1)
    page = Page(serial=serial, message_identifier=0x1080, page_parameter=0x23, content=bytes(82))
    with Capture(path, log=log) as capture:
        put(capture, Layer.CELL_BROADCAST, page.encode(), handset="cell-1")
    names = ("serial_number", "message-identifier", "current_page", "total_pages")
    found = dissect(path, [f"gsm_cbs.{name}" for name in names])[0].values()
    assert [int(value, 0) for value in found] == [0x4010, 0x1080, 2, 3]
    assert complaints(path) == []


def test_tshark_checks_cat_tp(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """A CAT_TP PDU is dissected, and its checksum called correct, or bad when it is."""
    path = tmp_path / "run.pcapng"
    pdu = Pdu(
        flags=Flags.ACK,
        source_port=1,
        destination_port=4096,
        sequence=5,
        acknowledgement=6,
        window=3,
        payload=b"data",
    )
    with Capture(path, log=log) as capture:
        put(capture, Layer.CAT_TP, pdu.encode(), uplink=True, peer="192.0.2.1")
        put(capture, Layer.CAT_TP, pdu.encode()[:-1] + b"!", uplink=True, peer="192.0.2.1")
    fields = ("cattp.dstport", "cattp.seq", "cattp.ack", "cattp.checksum.status", "_ws.col.Destination")
    right, wrong = dissect(path, fields)
    assert list(right.values()) == ["4096", "5", "6", "1", "::ffff:192.0.2.1"]
    assert wrong["cattp.checksum.status"] == "0"
    assert [complaint[0] for complaint in complaints(path)] == ["2"]


_LARGE = ber_tlv.encode(0xB6, bytes(0xEC))
_SHORT_MESSAGE = SmsSubmit(
    destination=Address(digits=NUMBER), user_data=UserData(payload=bytes(20)), reference=1
)
EXCHANGES = {
    "sms-pp": (
        envelope(0xD1, DEVICES, ber_tlv.encode(0x8B, delivers(bytes(30))[0])) + bytes(20) + b"\x90\x00",
        "SMS-PP Download",
        "gsm_sms",
    ),
    "sms-pp-asking": (
        envelope(0xD1, DEVICES, ber_tlv.encode(0x8B, delivers(bytes(130))[0])) + b"\x91\x2b",
        "SMS-PP Download",
        "gsm_sms",
    ),
    "cell-broadcast": (
        envelope(0xD2, DEVICES, ber_tlv.encode(0x8C, bytes(88))) + b"\x90\x00",
        "Cell Broadcast Download",
        "gsm_sim",
    ),
    "data-available": (
        envelope(
            0xD6,
            ber_tlv.encode(0x99, b"\x09"),
            ber_tlv.encode(0x82, b"\x82\x81"),
            ber_tlv.encode(0xB8, b"\x81\x00"),
            ber_tlv.encode(0xB7, b"\xff"),
        )
        + b"\x91\x0f",
        "Event Download Data available",
        "etsi_cat",
    ),
    "send-short-message": (
        fetch(details(0x13), DEVICES, ber_tlv.encode(0x8B, _SHORT_MESSAGE.encode())),
        "SEND SHORT MESSAGE",
        "gsm_sms",
    ),
    "open-channel": (
        fetch(
            details(0x40),
            TO_TERMINAL,
            ber_tlv.encode(0xB5, b"\x03"),
            ber_tlv.encode(0xB9, b"\x05\xdc"),
            ber_tlv.encode(0xBC, b"\x01\x10\x00"),
            ber_tlv.encode(0xBE, b"\x21\xc0\x00\x02\x01"),
        ),
        "OPEN CHANNEL",
        "etsi_cat",
    ),
    "send-data": (fetch(details(0x43), TO_TERMINAL, _LARGE), "SEND DATA", "etsi_cat"),
    "data-received": (
        terminal_response(0x42, _LARGE, ber_tlv.encode(0xB7, b"\x00")),
        "RECEIVE DATA",
        "etsi_cat",
    ),
    "message-sent": (terminal_response(0x13), "SEND SHORT MESSAGE", "etsi_cat"),
    "select": (bytes.fromhex("00a40804 04 7fff6f48 9000"), "SELECT", "gsm_sim"),
    "read": (bytes.fromhex("00b00000 04 1080ffff 9000"), "READ BINARY", "gsm_sim"),
    "status": (bytes.fromhex("80f20000 02 6f00 9000"), "STATUS", "gsm_sim"),
}


# Name: command, response, the instruction and the word that tshark is to name.
FAILED = {
    "neither-lc-nor-le": ("80ca0000", "6a88", "GET DATA", "0x6a88"),
    "le-and-nothing-back": ("00b000000a", "6a82", "READ BINARY", "0x6a82"),
    "le-and-less-back": ("00b000000a", "01026282", "READ BINARY", "0x6282"),
    "le-256-and-nothing-back": ("8012000000", "6d00", "FETCH", "0x6d00"),
    "nothing-to-fetch": ("8012000028", "6f00", "FETCH", "0x6f00"),
}


@pytest.fixture(scope="module", name="dissected")
def _dissected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """Return what tshark makes of each of the exchanges, by name; it has nothing against any of them.

    They share a capture: to start takes tshark longer than to read one.
    """
    path = tmp_path_factory.mktemp("exchanges") / "run.pcapng"
    log = cast("FilteringBoundLogger", structlog.get_logger())
    exchanges = {name: exchange for name, (exchange, _said, _innermost) in EXCHANGES.items()}
    exchanges |= {name: bytes.fromhex(there + back) for name, (there, back, *_named) in FAILED.items()}
    traces = {
        name: TraceContext(trace_id=bytes([0xA0 + number]) * 16, span_id=TRACE.span_id)
        for number, name in enumerate(exchanges)
    }
    with Capture(path, log=log) as capture:
        for name, exchange in exchanges.items():
            put(capture, Layer.APDU, exchange, trace=traces[name])
    assert complaints(path) == []
    names = {
        f"trace={trace.trace_id.hex()} span={trace.span_id.hex()}": name for name, trace in traces.items()
    }
    found: dict[str, list[dict[str, str]]] = {name: [] for name in exchanges}
    fields = ("_ws.col.Info", "frame.protocols", "gsm_sim.apdu.sw", "_ws.col.Source", "frame.comment")
    for packet in dissect(path, fields):
        found[names[packet["frame.comment"]]].append(packet)
    return found


@pytest.mark.parametrize("name", EXCHANGES)
def test_tshark_dissects_a_whole_exchange(dissected: dict[str, list[dict[str, str]]], name: str) -> None:
    """Command and response in one packet: instruction, toolkit's TLVs and status word are named."""
    exchange, said, innermost = EXCHANGES[name]
    (packet,) = dissected[name]
    assert said in packet["_ws.col.Info"]
    assert packet["frame.protocols"].endswith(innermost)
    assert int(packet["gsm_sim.apdu.sw"], 16) == int.from_bytes(exchange[-2:], "big")


@pytest.mark.parametrize("name", FAILED)
def test_tshark_dissects_what_failed_in_two_packets(
    dissected: dict[str, list[dict[str, str]]], name: str
) -> None:
    """Where P3 promises octets that did not come, the response goes apart, back to the phone."""
    _command, _response, instruction, word = FAILED[name]
    there, back = dissected[name]
    assert instruction in there["_ws.col.Info"]
    assert "Response" in back["_ws.col.Info"]
    assert (there["gsm_sim.apdu.sw"], back["gsm_sim.apdu.sw"]) == ("", word)
    assert there["_ws.col.Source"] == str(address(UA))
    assert back["_ws.col.Source"] == str(address(UA, module=True))


def test_tshark_calls_a_bad_packet_bad(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """An ENVELOPE that lies about its length is shown as malformed: no complaint means something."""
    path = tmp_path / "run.pcapng"
    with Capture(path, log=log) as capture:
        put(capture, Layer.APDU, bytes.fromhex("80c20000 03 d17f01 6a80"))
    assert len(complaints(path)) == 1


# ---- names and notes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module", "expected"),
    [
        pytest.param(UA, False, "fd00:14:0:8988:2110:0:12:3456", id="ua"),
        pytest.param(UA, True, "fd01:14:0:8988:2110:0:12:3456", id="module"),
        pytest.param("+393200000001", False, "fd00:c:0:0:0:3932:0:1", id="number"),
        pytest.param("0393200000001", False, "fd00:d:0:0:0:3932:0:1", id="leading-zero"),
        pytest.param("192.0.2.1", False, "::ffff:192.0.2.1", id="ipv4"),
    ],
)
def test_an_address_can_be_read(name: str, expected: str, *, module: bool) -> None:
    """A UA and a number are legible in their address, an IPv4 address is itself."""
    assert str(address(name, module=module)) == str(type(address(name))(expected))


def test_other_names_have_addresses_of_their_own() -> None:
    """Any other name, even one too long or of no ASCII digits, has one address, and its module another."""
    names = ["operator", "supplier", "", "1" * 25, "\u0661", "192.0.2.256", "\ud800"]
    found = {address(name, module=module) for name in names for module in (False, True)}
    assert len(found) == 2 * len(names)
    assert {str(each)[:4] for each in found} == {"fd02"}
    assert address("operator") == address("operator")


@given(note=st.text(max_size=400), handset=st.text(max_size=40), octets=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_whatever_is_given_is_written(
    tmp_path: Path, log: FilteringBoundLogger, note: str, handset: str, octets: bytes
) -> None:
    """Odd names, notes and octets make a file that can be read, with the octets in it."""
    path = tmp_path / "run.pcapng"
    with Capture(path, log=log, name=handset) as capture:
        for layer in Layer:
            put(capture, layer, octets, handset=handset, note=note, peer=handset)
    found = packets(path)
    assert len(found) >= len(Layer)
    assert found[0].packet_data.endswith(octets)
    assert found[0].options["opt_comment"].startswith(IDS)


@pytest.mark.parametrize("at", [-1.0, 1e12, float("inf"), float("nan")], ids=str)
def test_a_time_that_is_none_is_refused(tmp_path: Path, log: FilteringBoundLogger, at: float) -> None:
    """A fault of our own is told at once."""
    with (
        Capture(tmp_path / "run.pcapng", log=log) as capture,
        pytest.raises(ValueError, match="cannot be written"),
    ):
        put(capture, Layer.SMS, b"", at=at)


def test_memory_is_bounded(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """Ten thousand handsets cost what their names do, not what they send after their first packet."""
    with Capture(tmp_path / "run.pcapng", log=log) as capture:
        for number in range(10_000):
            put(capture, Layer.CELL_BROADCAST, bytes(88), handset=f"cell-{number}")
        tracemalloc.start()
        for number in range(10_000):
            put(capture, Layer.CELL_BROADCAST, bytes(88), handset=f"cell-{number}")
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert grown < 3_000_000
    assert (tmp_path / "run.pcapng").stat().st_size > 3_400_000


# ---- several files into one ------------------------------------------------------------------------------


def test_parts_become_one_in_order(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """Three processes' packets stand in one section in order of time, names first; the parts are gone."""
    rng = random.Random(1)
    parts: list[list[float]] = [[], [], []]
    for at in range(300):
        rng.choice(parts).append(float(at))
    files = [write(tmp_path / f"run.pcapng.{n}", log, times) for n, times in enumerate(parts)]
    into = tmp_path / "run.pcapng"
    assert merge([*files, tmp_path / "never-begun"], into) == 300
    assert notes(into) == [str(float(at)) for at in range(300)]
    assert [type(block) for block in blocks(into)[:3]] == [
        SectionHeader,
        InterfaceDescription,
        NameResolution,
    ]
    assert sum(isinstance(block, SectionHeader) for block in blocks(into)) == 1
    assert list(tmp_path.iterdir()) == [into]


def test_equal_times_keep_the_order_of_parts(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """What was written first stays first, and an earlier part goes before a later one."""
    files = [write(tmp_path / str(n), log, [5.0, 5.0]) for n in range(2)]
    merge(files, tmp_path / "run.pcapng")
    assert [packet.timestamp for packet in packets(tmp_path / "run.pcapng")] == [5.0] * 4


def test_a_late_packet_is_put_in_its_place(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """A process that writes a packet after later ones does not put the whole out of order."""
    times = [float(at) for at in range(600)]
    shuffled = [*times[:100], *times[101:200], times[100], *times[200:]]
    files = [write(tmp_path / "a", log, shuffled), write(tmp_path / "b", log, [100.5])]
    merge(files, tmp_path / "run.pcapng")
    assert [float(note) for note in notes(tmp_path / "run.pcapng")] == sorted([*times, 100.5])


@pytest.mark.parametrize("kept", [0, 5, 11, 12, 40, 500, -1, -30], ids=str)
def test_a_part_cut_short_counts_as_far_as_it_goes(
    tmp_path: Path, log: FilteringBoundLogger, kept: int
) -> None:
    """A process killed in mid-write loses its last packet, in the header all; the others lose nothing."""
    whole = write(tmp_path / "whole", log, [1.0, 3.0])
    cut = write(tmp_path / "cut", log, [0.0, 2.0, 4.0])
    octets = cut.read_bytes()
    cut.write_bytes(octets[:kept])
    into = tmp_path / "run.pcapng"
    count = merge([whole, cut], into)
    found = notes(into)
    assert count == len(found)
    assert {"1.0", "3.0"} <= set(found)
    assert found == sorted(found)
    if kept < 0:
        assert found == ["0.0", "1.0", "2.0", "3.0"]


@given(junk=st.binary(max_size=60), at=st.integers(0, 600))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_damaged_part_is_no_disaster(
    tmp_path: Path, log: FilteringBoundLogger, junk: bytes, at: int
) -> None:
    """Wherever octets are overwritten, merging ends, and what it made can be merged again."""
    damaged = write(tmp_path / "damaged", log, [0.0, 2.0, 4.0])
    octets = damaged.read_bytes()
    at = max(12, min(at, len(octets)))
    damaged.write_bytes(octets[:at] + junk + octets[at + len(junk) :])
    once = tmp_path / "once"
    count = merge([damaged, write(tmp_path / "whole", log, [1.0])], once)
    assert count >= 1
    assert merge([once], tmp_path / "twice") == count


def test_a_stranger_is_not_merged(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """A file of another kind is refused, and nothing is removed."""
    stranger = tmp_path / "stranger"
    stranger.write_bytes(b"not a capture at all")
    part = write(tmp_path / "part", log, [1.0])
    with pytest.raises(ValueError, match="stranger"):
        merge([part, stranger], tmp_path / "run.pcapng")
    assert part.exists()
    assert stranger.exists()


def test_a_file_is_not_made_of_itself(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """A part that is the goal would be emptied before it is read."""
    part = write(tmp_path / "part", log, [1.0])
    with pytest.raises(ValueError, match="of itself"):
        merge([part], part)
    assert len(packets(part)) == 1


def test_merging_to_a_full_disk_keeps_the_parts(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """What cannot be written as one file is still there as several."""
    part = write(tmp_path / "part", log, [1.0])
    with pytest.raises(OSError, match="No space left"):
        merge([part], Path("/dev/full"))
    assert len(packets(part)) == 1


def test_merging_holds_little_in_memory(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """Merging six megabytes takes a fraction of that."""
    files = [write(tmp_path / str(n), log, map(float, range(n, 20_000, 2))) for n in range(2)]
    octets = sum(path.stat().st_size for path in files)
    tracemalloc.start()
    merge(files, tmp_path / "run.pcapng")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < octets / 4


# ---- disks that fail -------------------------------------------------------------------------------------


def test_a_full_disk_is_told_at_once(log: FilteringBoundLogger) -> None:
    """Who begins a capture where nothing fits hears of it before the run begins."""
    with pytest.raises(OSError, match="No space left") as caught:
        Capture(Path("/dev/full"), log=log)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("name", ["missing/run.pcapng", ""], ids=["no-directory", "a-directory"])
def test_a_path_that_cannot_be_opened_is_told(tmp_path: Path, log: FilteringBoundLogger, name: str) -> None:
    """The error names the path."""
    with pytest.raises(OSError, match="directory") as caught:
        Capture(tmp_path / name, log=log)
    assert caught.value.filename == str(tmp_path / name)


def test_a_path_without_permission_is_told(tmp_path: Path) -> None:
    """A user who may not write there hears so; root, who may, becomes nobody in a process of its own."""
    tmp_path.chmod(0o555)
    program = (
        "import os, sys, structlog\nfrom pathlib import Path\nfrom bus.capture import Capture\n"
        "if os.getuid() == 0:\n    os.setuid(65534)\n"
        "try:\n    Capture(Path(sys.argv[1]), log=structlog.get_logger())\n"
        "except PermissionError as error:\n    print('refused', error.filename)\n"
    )
    where = Path("/proc/sys/kernel/ostype") if os.getuid() == 0 else tmp_path / "run.pcapng"
    done = subprocess.run(
        [sys.executable, "-c", program, str(where)], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"refused {where}\n"


def test_a_disk_that_fills_up_ends_the_capture_not_the_run(tmp_path: Path) -> None:
    """The file stays whole blocks, there is one warning with the reason, and writing stays allowed."""
    path = tmp_path / "run.pcapng"
    program = (
        "import resource, sys, structlog\nfrom pathlib import Path\nfrom bus.capture import Capture, Layer\n"
        "from bus.frame import TraceContext\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "trace = TraceContext(trace_id=b'T' * 16, span_id=b'S' * 8)\n"
        "with structlog.testing.capture_logs() as logs:\n"
        "    with Capture(Path(sys.argv[1]), log=structlog.get_logger()) as capture:\n"
        "        for at in range(3_000):\n"
        "            capture.write(Layer.SMS, bytes(50), uplink=False, handset='1', trace=trace, at=at)\n"
        "        capture.flush()\n"
        "print(logs)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == str(
        [{"reason": "File too large", "event": "capture.stopped", "log_level": "warning"}]
    )
    assert done.stderr == f"otafleet: no more capture in {path}: File too large; the run goes on\n"
    found = [packet.timestamp for packet in packets(path)]
    assert 100 < len(found) < 3_000
    assert found == [float(at) for at in range(len(found))]


def test_a_reader_that_goes_away_ends_the_capture(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """Wireshark may listen at a pipe; when it leaves, the capture stops with one warning, and closes well."""
    path = tmp_path / "live"
    os.mkfifo(path)
    begun: list[bytes] = []
    said: list[str] = []

    def listen() -> None:
        with path.open("rb", buffering=0) as file:
            begun.append(file.read(4))

    reader = threading.Thread(target=listen)
    reader.start()
    with capture_logs() as logs:
        capture = Capture(path, log=log, warn=said.append)
        reader.join()
        put(capture, Layer.SMS, bytes(20))
        capture.flush()
        put(capture, Layer.SMS, bytes(20))
        capture.flush()
        capture.close()
        capture.close()
    assert begun == [b"\x0a\x0d\x0d\x0a"]
    assert logs == [{"event": "capture.stopped", "log_level": "warning", "reason": "Broken pipe"}]
    assert said == [f"no more capture in {path}: Broken pipe; the run goes on"]


def test_what_is_flushed_can_be_read_in_mid_run(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """Somebody who looks while the run goes on sees what was flushed."""
    path = tmp_path / "run.pcapng"
    with Capture(path, log=log) as capture:
        put(capture, Layer.CELL_BROADCAST, bytes(88))
        assert packets(path) == []
        capture.flush()
        assert len(packets(path)) == 1
