"""Readers that others wrote take our short messages apart and find in them what we put there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrate_mobile.TS23040_SMS import (
    SMS_DELIVER,
    SMS_DELIVER_REPORT_RP_ACK,
    SMS_DELIVER_REPORT_RP_ERROR,
    SMS_SUBMIT,
)

from tests.transport.captures import FROM_PHONE, TOWARDS_PHONE, Packet, dissect, write
from transport.concatenation import split
from transport.sms import (
    IEI_COMMAND_PACKET,
    IEI_CONCAT_8,
    IEI_CONCAT_16,
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

digits = st.text("0123456789", min_size=1, max_size=20)
# Identifiers that have no structure of their own, so that any data will do.
free_elements = st.builds(InformationElement, iei=st.integers(0x70, 0x7F), data=st.binary(max_size=8))
user_datas = st.builds(
    UserData,
    header=st.lists(free_elements, min_size=1, max_size=3).map(tuple),
    payload=st.binary(min_size=1, max_size=100),
)


def pycrate_reads(kind: type[Any], octets: bytes) -> dict[str, Any]:
    """Return what pycrate's *kind* reads in *octets*, having written them again to the same octets."""
    message = kind()
    message.from_bytes(octets)
    assert message.to_bytes() == octets
    values: dict[str, Any] = message.get_val_d()
    return values


def elements(values: dict[str, Any]) -> list[tuple[int, Any]]:
    """Return the information elements that pycrate found."""
    return [(element["T"], element["V"]) for element in values["TP_UD"]["UDH"]["UDH"]]


@given(
    number=digits,
    user_data=user_datas,
    more_messages=st.booleans(),
    reply_path=st.booleans(),
    status_report_indication=st.booleans(),
)
def test_pycrate_reads_deliver(
    *,
    number: str,
    user_data: UserData,
    more_messages: bool,
    reply_path: bool,
    status_report_indication: bool,
) -> None:
    """Pycrate finds in an SMS-DELIVER its flags, originator, time stamp, elements and payload."""
    ours = replace(
        DELIVER,
        originator=Address(digits=number),
        user_data=user_data,
        more_messages=more_messages,
        reply_path=reply_path,
        status_report_indication=status_report_indication,
    )
    theirs = pycrate_reads(SMS_DELIVER, ours.encode())
    assert (theirs["TP_MTI"], theirs["TP_UDHI"], theirs["TP_LP"]) == (0, 1, 0)
    assert theirs["TP_MMS"] == (not more_messages)
    assert (theirs["TP_RP"], theirs["TP_SRI"]) == (reply_path, status_report_indication)
    assert theirs["TP_OA"]["Len"] == len(number)
    assert theirs["TP_PID"] == {"Format": 1, "Protocol": 0x3F}
    assert theirs["TP_DCS"] == {"Group": 15, "Charset": 1, "Class": 2}
    assert theirs["TP_SCTS"]["Year"] == {"Y1": 6, "Y0": 2}
    assert theirs["TP_SCTS"]["Hour"] == {"H1": 2, "H0": 1}
    assert elements(theirs) == [(element.iei, element.data) for element in user_data.header]
    assert theirs["TP_UD"]["UDL"] == user_data.length
    assert theirs["TP_UD"]["UD"] == user_data.payload


@given(
    reference=st.integers(0, 255),
    number=digits,
    user_data=user_datas,
    status_report_request=st.booleans(),
    reject_duplicates=st.booleans(),
)
def test_pycrate_reads_submit(
    *,
    reference: int,
    number: str,
    user_data: UserData,
    status_report_request: bool,
    reject_duplicates: bool,
) -> None:
    """Pycrate finds in an SMS-SUBMIT its flags, reference, destination, validity, elements and payload."""
    ours = replace(
        SUBMIT,
        reference=reference,
        destination=Address(digits=number),
        user_data=user_data,
        status_report_request=status_report_request,
        reject_duplicates=reject_duplicates,
    )
    theirs = pycrate_reads(SMS_SUBMIT, ours.encode())
    assert (theirs["TP_MTI"], theirs["TP_UDHI"], theirs["TP_RP"]) == (1, 1, 0)
    assert (theirs["TP_SRR"], theirs["TP_RD"]) == (status_report_request, reject_duplicates)
    assert (theirs["TP_VPF"], theirs["TP_VP"]) == (2, 0xA7)
    assert theirs["TP_MR"] == reference
    assert theirs["TP_DA"]["Len"] == len(number)
    assert elements(theirs) == [(element.iei, element.data) for element in user_data.header]
    assert theirs["TP_UD"]["UD"] == user_data.payload


@pytest.mark.parametrize(
    ("kind", "ours"), [(SMS_DELIVER_REPORT_RP_ACK, ACKNOWLEDGED), (SMS_DELIVER_REPORT_RP_ERROR, FAILED)]
)
def test_pycrate_reads_reports(kind: type[Any], ours: SmsDeliverReport) -> None:
    """Pycrate finds in both forms of report the indicator, the cause and the response packet."""
    theirs = pycrate_reads(kind, ours.encode())
    assert theirs["TP_UDHI"] == 1
    assert theirs.get("TP_FCS") == ours.failure_cause
    assert theirs["TP_PI"] == {"Ext": 0, "reserved": 0, "TP_UDL": 1, "TP_DCS": 1, "TP_PID": 1}
    assert elements(theirs) == [(IEI_RESPONSE_PACKET, b"")]
    assert theirs["TP_UD"]["UD"] == RESPONSE.payload


@pytest.mark.parametrize("wide", [False, True])
def test_pycrate_reads_concatenation(*, wide: bool) -> None:
    """Pycrate finds in each part the reference, the total and the sequence, and 70 in the first alone."""
    reference = 0x0203 if wide else 0x03
    for sequence, part in enumerate(split(PACKET, reference=reference, first=COMMAND, wide=wide), 1):
        found = elements(pycrate_reads(SMS_DELIVER, replace(DELIVER, user_data=part).encode()))
        said = {"MsgRef": reference, "MsgParts": 3, "MsgNum": sequence}
        expected: list[tuple[int, Any]] = [(IEI_CONCAT_16 if wide else IEI_CONCAT_8, said)]
        assert found == ([(IEI_COMMAND_PACKET, b"")] if sequence == 1 else []) + expected


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
