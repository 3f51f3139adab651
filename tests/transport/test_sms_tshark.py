"""Tshark takes our short messages apart and finds in them what we put there."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from tests.transport.captures import FROM_PHONE, TOWARDS_PHONE, Packet, dissect, write
from transport.concatenation import split
from transport.sms import (
    IEI_COMMAND_PACKET,
    IEI_RESPONSE_PACKET,
    Address,
    FailureCause,
    InformationElement,
    ServiceCentreTime,
    SmsDeliver,
    SmsDeliverReport,
    SmsSubmit,
    UserData,
    ValidityFormat,
    ValidityPeriod,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COMMAND = InformationElement(iei=IEI_COMMAND_PACKET)
RESPONSE = UserData(
    header=(InformationElement(iei=IEI_RESPONSE_PACKET),), payload=bytes.fromhex("000e0ab00011")
)
PACKET = bytes(range(256)) + bytes(26)
NOON = ServiceCentreTime.at(1_773_403_200.0)  # 2026-03-13 12:00:00 UTC

DELIVER = SmsDeliver(
    originator=Address(digits="31612345678"),
    user_data=UserData(header=(COMMAND,), payload=b"packet"),
    timestamp=NOON,
)
SUBMIT = SmsSubmit(
    reference=5,
    destination=Address(digits="12345", ton_npi=0x81),
    user_data=RESPONSE,
    validity_period=ValidityPeriod(format=ValidityFormat.RELATIVE, octets=b"\xa7"),
)
ACKNOWLEDGED = SmsDeliverReport(user_data=RESPONSE)
FAILED = replace(ACKNOWLEDGED, failure_cause=FailureCause.DATA_DOWNLOAD_ERROR)


def tshark_reads(path: Path, packets: Sequence[Packet], names: Sequence[str]) -> list[dict[str, str]]:
    """Return what tshark finds of gsm_sms fields *names*, having found nothing malformed."""
    fields = [f"gsm_sms.{name}" for name in names]
    rows = dissect(write(path / "sms.pcap", packets), ["frame.protocols", "_ws.malformed", *fields])
    assert {row["frame.protocols"] for row in rows} == {"exported_pdu:gsm_sms"}
    assert {row["_ws.malformed"] for row in rows} == {""}
    return [{name: row[f"gsm_sms.{name}"] for name in names} for row in rows]


def test_tshark_dissects_deliver(tmp_path: Path) -> None:
    """Tshark finds in an SMS-DELIVER what we put there."""
    packet = Packet("gsm_sms", TOWARDS_PHONE, DELIVER.encode())
    expected = {
        "tp-mti": "0",
        "tp-udhi": "1",
        "tp-mms": "1",
        "tp-rp": "0",
        "tp-lp": "0",
        "tp-sri": "0",
        "tp-oa": "31612345678",
        "tp-pid": "127",
        "tp-dcs": "246",
        "scts.year": "26",
        "scts.month": "3",
        "scts.day": "13",
        "scts.hour": "12",
        "tp.user_data_length": "9",
        "ie_identifier": "0x70",
        "sms_body": b"packet".hex(),
    }
    assert tshark_reads(tmp_path, [packet], list(expected)) == [expected]


@pytest.mark.parametrize("quarters", [-47, -10, -1, 0, 9, 10, 56])
def test_tshark_reads_time_zone(tmp_path: Path, quarters: int) -> None:
    """Tshark finds the quarters of an hour by which a stamp is off UTC, tens and all, east and west."""
    zone = timezone(timedelta(minutes=15 * quarters))
    stamp = ServiceCentreTime.of(datetime(2026, 3, 13, 12, tzinfo=zone))
    packet = Packet("gsm_sms", TOWARDS_PHONE, replace(DELIVER, timestamp=stamp).encode())
    (row,) = tshark_reads(tmp_path, [packet], ["scts.hour", "scts.timezone"])
    assert row == {"scts.hour": "12", "scts.timezone": str(abs(quarters))}


def test_tshark_dissects_submit(tmp_path: Path) -> None:
    """Tshark finds in an SMS-SUBMIT what we put there, each flag by its own name."""
    flagged = [replace(SUBMIT, status_report_request=True), replace(SUBMIT, reply_path=True)]
    flagged.append(replace(SUBMIT, reject_duplicates=True))
    packets = [Packet("gsm_sms", FROM_PHONE, submit.encode()) for submit in [SUBMIT, *flagged]]
    expected = {
        "tp-mti": "1",
        "tp-udhi": "1",
        "tp-srr": "0",
        "tp-rp": "0",
        "tp-rd": "0",
        "tp-vpf": "2",
        "tp-mr": "5",
        "tp-da": "12345",
        "tp-pid": "127",
        "tp-dcs": "246",
        "ie_identifier": "0x71",
        "sms_body": RESPONSE.payload.hex(),
    }
    assert tshark_reads(tmp_path, packets, list(expected)) == [
        expected,
        *(expected | {flag: "1"} for flag in ("tp-srr", "tp-rp", "tp-rd")),
    ]


def test_tshark_dissects_reports(tmp_path: Path) -> None:
    """Tshark finds in both forms of report the parameters, the cause and the response packet."""
    reports = [
        ACKNOWLEDGED,
        FAILED,
        SmsDeliverReport(),
        SmsDeliverReport(failure_cause=FailureCause.TOOLKIT_BUSY),
    ]
    packets = [Packet("gsm_sms", FROM_PHONE, report.encode()) for report in reports]
    full = {"tp-udhi": "1", "tp-fcs": "", "tp.udl.present": "1", "tp-pid": "127", "tp-dcs": "246"}
    full |= {"ie_identifier": "0x71", "sms_body": RESPONSE.payload.hex()}
    bare = full | {"tp-udhi": "0", "tp.udl.present": "0", "ie_identifier": "", "sms_body": ""}
    assert tshark_reads(tmp_path, packets, list(full)) == [
        full,
        full | {"tp-fcs": "0xd5"},
        bare,
        bare | {"tp-fcs": "0xd4"},
    ]


@pytest.mark.parametrize("wide", [False, True])
def test_tshark_reassembles(tmp_path: Path, *, wide: bool) -> None:
    """Tshark puts a concatenated packet together, to the octet."""
    parts = split(PACKET, reference=7, first=COMMAND, wide=wide)
    messages = [
        replace(DELIVER, user_data=part, more_messages=sequence < len(parts))
        for sequence, part in enumerate(parts, 1)
    ]
    packets = [Packet("gsm_sms", TOWARDS_PHONE, message.encode()) for message in messages]
    names = ["tp-mms", "udh.mm.msg_id", "udh.mm.msg_parts", "udh.mm.msg_part", "fragment.count", "sms_body"]
    found = tshark_reads(tmp_path, packets, names)
    assert [row["tp-mms"] for row in found] == ["0", "0", "1"]
    assert [row["udh.mm.msg_part"] for row in found] == ["1", "2", "3"]
    assert {row["udh.mm.msg_parts"] for row in found} == {"3"}
    assert {int(row["udh.mm.msg_id"], 0) for row in found} == {7}
    assert found[-1]["fragment.count"] == "3"
    assert found[-1]["sms_body"] == PACKET.hex()
