"""Pycrate finds in our short messages what we put there, and writes the same octets, which we read back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
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

from transport.concatenation import Part, split
from transport.sms import (
    IEI_COMMAND_PACKET,
    IEI_CONCAT_8,
    IEI_CONCAT_16,
    Address,
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
    from collections.abc import Mapping

COMMAND = InformationElement(iei=IEI_COMMAND_PACKET)
SUBMIT = SmsSubmit(reference=5, destination=Address(digits="12345"), user_data=UserData(payload=b"packet"))
CONCATENATIONS = frozenset({IEI_CONCAT_8, IEI_CONCAT_16})

octet = st.integers(0, 0xFF)
addresses = st.builds(
    Address,
    digits=st.text("0123456789*#abc", min_size=1, max_size=20),
    ton_npi=st.integers(0x80, 0xFF).filter(lambda ton_npi: ton_npi & 0x70 != 0x50),
)
# Identifiers that have no structure of their own, so that any data will do; and the concatenations.
free_elements = st.builds(InformationElement, iei=st.integers(0x70, 0x7F), data=st.binary(max_size=8))
narrow = st.builds(InformationElement, iei=st.just(IEI_CONCAT_8), data=st.binary(min_size=3, max_size=3))
wide = st.builds(InformationElement, iei=st.just(IEI_CONCAT_16), data=st.binary(min_size=4, max_size=4))
user_datas = st.builds(
    UserData,
    header=st.lists(free_elements | narrow | wide, max_size=3).map(tuple),
    payload=st.binary(max_size=100),
)
moments = st.builds(
    lambda moment, quarters: moment.replace(tzinfo=timezone(timedelta(minutes=15 * quarters))),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)),  # noqa: DTZ001 -- the zone is added above
    # From ten quarters of an hour on, pycrate 0.8.1 takes the tens for sixteens; tshark agrees with us.
    st.integers(-9, 9),
)
pids = st.integers(0x40, 0xFF)  # below, the octet has another structure
eight_bit_schemes = st.sampled_from([0x04, 0x15, 0x56, 0xF4, 0xF6, 0xFF])
flags = st.booleans()
delivers = st.builds(
    SmsDeliver,
    originator=addresses,
    user_data=user_datas,
    timestamp=moments.map(ServiceCentreTime.of),
    more_messages=flags,
    pid=pids,
    dcs=eight_bit_schemes,
    reply_path=flags,
    status_report_indication=flags,
    loop_prevention=flags,
)
validities = (
    st.none()
    | octet.map(lambda value: ValidityPeriod(format=ValidityFormat.RELATIVE, octets=bytes((value,))))
    | moments.map(
        lambda moment: ValidityPeriod(
            format=ValidityFormat.ABSOLUTE, octets=ServiceCentreTime.of(moment).octets
        )
    )
)
submits = st.builds(
    SmsSubmit,
    reference=octet,
    destination=addresses,
    user_data=user_datas,
    pid=pids,
    dcs=eight_bit_schemes,
    validity_period=validities,
    reply_path=flags,
    status_report_request=flags,
    reject_duplicates=flags,
)
causes = st.none() | st.integers(0x80, 0xFF)
reports = st.builds(
    SmsDeliverReport,
    user_data=st.none() | user_datas,
    pid=st.none() | pids,
    dcs=eight_bit_schemes,
    failure_cause=causes,
) | st.builds(SmsDeliverReport, pid=st.none() | pids, dcs=st.none(), failure_cause=causes)


def address_fields(address: Address) -> dict[str, Any]:
    """Return *address* as pycrate takes it."""
    kind, plan = address.ton_npi >> 4 & 0x07, address.ton_npi & 0x0F
    return {"Ext": 1, "Type": kind, "NumberingPlan": plan, "Num": address.digits}


def moment_fields(octets: bytes) -> tuple[Any, float]:
    """Return a time stamp as pycrate takes it: the date, and the hours before UTC."""
    moment = ServiceCentreTime(octets=octets).moment
    assert moment is not None
    offset = moment.utcoffset()
    assert offset is not None
    return moment.timetuple(), offset / timedelta(hours=1)


def element_fields(element: InformationElement) -> dict[str, Any]:
    """Return *element* as pycrate takes and gives it."""
    value: bytes | dict[str, int] = element.data
    if element.iei in CONCATENATIONS:
        *reference, total, sequence = element.data
        number = int.from_bytes(bytes(reference), "big")
        value = {"MsgRef": number, "MsgParts": total, "MsgNum": sequence}
    return {"T": element.iei, "V": value}


def user_data_fields(user_data: UserData) -> dict[str, Any]:
    """Return *user_data* as pycrate takes them."""
    elements = [element_fields(element) for element in user_data.header]
    return ({"UDH": {"UDH": elements}} if elements else {}) | {"UD": user_data.payload}


def pid_fields(pid: int) -> dict[str, int]:
    """Return a protocol identifier as pycrate takes and gives it."""
    return {"Format": pid >> 6, "Protocol": pid & 0x3F}


def dcs_fields(dcs: int) -> dict[str, int]:
    """Return a data coding scheme as pycrate takes and gives it."""
    return {"Group": dcs >> 4, "Charset": dcs >> 2 & 0x03, "Class": dcs & 0x03}


def pycrate_reads(kind: type[Any], octets: bytes) -> Any:
    """Return what pycrate's *kind* reads in *octets*, having written it again to the same octets."""
    message = kind()
    message.from_bytes(octets)
    assert message.to_bytes() == octets
    return message


def assert_same(message: Any, name: str, address: Address) -> None:
    """Check that pycrate read *address* in the field *name*."""
    theirs = message[name].get_val_d()
    assert theirs["Len"] == len(address.digits)
    assert 0x80 | theirs["Type"] << 4 | theirs["NumberingPlan"] == address.ton_npi
    assert message[name]["Num"].decode() == address.digits


def assert_body(values: Mapping[str, Any], ours: SmsDeliver | SmsSubmit | SmsDeliverReport) -> None:
    """Check that pycrate read what all three have in common."""
    user_data = ours.user_data
    assert values["TP_UDHI"] == (user_data is not None and user_data.has_header)
    assert values.get("TP_PID") == (None if ours.pid is None else pid_fields(ours.pid))
    assert values.get("TP_DCS") == (None if ours.dcs is None else dcs_fields(ours.dcs))
    if user_data is None:
        assert "TP_UD" not in values
        return
    elements = values["TP_UD"]["UDH"]["UDH"] if user_data.has_header else []
    found = [{"T": element["T"], "V": element["V"]} for element in elements]
    assert found == [element_fields(element) for element in user_data.header]
    assert (values["TP_UD"]["UDL"], values["TP_UD"]["UD"]) == (user_data.length, user_data.payload)


@given(delivers)
def test_pycrate_reads_deliver(ours: SmsDeliver) -> None:
    """Pycrate finds in an SMS-DELIVER its flags, originator, time stamp, elements and payload."""
    message = pycrate_reads(SMS_DELIVER, ours.encode())
    values = message.get_val_d()
    assert (values["TP_MTI"], values["TP_LP"]) == (0, ours.loop_prevention)
    assert values["TP_MMS"] == (not ours.more_messages)
    assert (values["TP_RP"], values["TP_SRI"]) == (ours.reply_path, ours.status_report_indication)
    assert_same(message, "TP_OA", ours.originator)
    date, hours = moment_fields(ours.timestamp.octets)
    their_date, their_hours = message["TP_SCTS"].decode()
    assert (tuple(their_date)[:6], their_hours) == (tuple(date)[:6], hours)
    assert_body(values, ours)


@given(delivers)
def test_pycrate_writes_deliver(ours: SmsDeliver) -> None:
    """From the same fields pycrate writes the same SMS-DELIVER, and we read them in it."""
    theirs = SMS_DELIVER(
        val={
            "TP_RP": ours.reply_path,
            "TP_UDHI": ours.user_data.has_header,
            "TP_SRI": ours.status_report_indication,
            "TP_LP": ours.loop_prevention,
            "TP_MMS": not ours.more_messages,
            "TP_OA": address_fields(ours.originator),
            "TP_PID": pid_fields(ours.pid),
            "TP_DCS": dcs_fields(ours.dcs),
            "TP_SCTS": moment_fields(ours.timestamp.octets),
            "TP_UD": user_data_fields(ours.user_data),
        }
    ).to_bytes()
    assert SmsDeliver.parse(theirs) == ours
    assert theirs == ours.encode()


@given(submits)
def test_pycrate_reads_submit(ours: SmsSubmit) -> None:
    """Pycrate finds in an SMS-SUBMIT its flags, reference, destination, validity, elements and payload."""
    message = pycrate_reads(SMS_SUBMIT, ours.encode())
    values = message.get_val_d()
    assert (values["TP_MTI"], values["TP_RP"], values["TP_MR"]) == (1, ours.reply_path, ours.reference)
    assert (values["TP_SRR"], values["TP_RD"]) == (ours.status_report_request, ours.reject_duplicates)
    period = ours.validity_period
    assert values["TP_VPF"] == (period.format if period else 0)
    if period and period.format is ValidityFormat.RELATIVE:
        assert values["TP_VP"] == period.octets[0]
    assert_same(message, "TP_DA", ours.destination)
    assert_body(values, ours)


@given(submits)
def test_pycrate_writes_submit(ours: SmsSubmit) -> None:
    """From the same fields pycrate writes the same SMS-SUBMIT, and we read them in it."""
    period = ours.validity_period
    theirs = SMS_SUBMIT(
        val={
            "TP_RP": ours.reply_path,
            "TP_UDHI": ours.user_data.has_header,
            "TP_SRR": ours.status_report_request,
            "TP_VPF": period.format if period else 0,
            "TP_RD": ours.reject_duplicates,
            "TP_MR": ours.reference,
            "TP_DA": address_fields(ours.destination),
            "TP_PID": pid_fields(ours.pid),
            "TP_DCS": dcs_fields(ours.dcs),
            "TP_UD": user_data_fields(ours.user_data),
        }
    )
    if period and period.format is ValidityFormat.RELATIVE:
        theirs[10].set_val(period.octets[0])
    elif period:
        theirs[11].set_val(moment_fields(period.octets))
    octets = theirs.to_bytes()
    assert SmsSubmit.parse(octets) == ours
    assert octets == ours.encode()


@pytest.mark.parametrize(
    "octets",
    ["01a70000000000", "021e0000000000", "03214365000000"],
    ids=["relative", "seconds", "hours-minutes-seconds"],
)
def test_pycrate_reads_enhanced_validity(octets: str) -> None:
    """Pycrate agrees that an enhanced validity period has seven octets, and what stands behind them."""
    period = ValidityPeriod(format=ValidityFormat.ENHANCED, octets=bytes.fromhex(octets))
    values = pycrate_reads(SMS_SUBMIT, replace(SUBMIT, validity_period=period).encode()).get_val_d()
    assert (values["TP_VPF"], values["TP_UD"]["UD"]) == (1, b"packet")


def report_kind(ours: SmsDeliverReport) -> type[Any]:
    """Return pycrate's name for a report like *ours*."""
    kind: type[Any] = SMS_DELIVER_REPORT_RP_ACK
    return kind if ours.failure_cause is None else SMS_DELIVER_REPORT_RP_ERROR


@given(reports)
def test_pycrate_reads_report(ours: SmsDeliverReport) -> None:
    """Pycrate finds in both forms of report the indicator, the cause and what the indicator announces."""
    values = pycrate_reads(report_kind(ours), ours.encode()).get_val_d()
    assert (values["TP_MTI"], values.get("TP_FCS")) == (0, ours.failure_cause)
    announced = {"TP_PID": ours.pid, "TP_DCS": ours.dcs, "TP_UDL": ours.user_data}
    present = {name: int(value is not None) for name, value in announced.items()}
    assert values["TP_PI"] == {"Ext": 0, "reserved": 0} | present
    assert_body(values, ours)


@given(reports)
def test_pycrate_writes_report(ours: SmsDeliverReport) -> None:
    """From the same fields pycrate writes the same report, and we read them in it."""
    announced = {"TP_PID": ours.pid, "TP_DCS": ours.dcs, "TP_UDL": ours.user_data}
    fields: dict[str, Any] = {
        "TP_UDHI": ours.user_data is not None and ours.user_data.has_header,
        "TP_PI": {name: int(value is not None) for name, value in announced.items()},
    }
    if ours.failure_cause is not None:
        fields["TP_FCS"] = ours.failure_cause
    if ours.pid is not None:
        fields["TP_PID"] = pid_fields(ours.pid)
    if ours.dcs is not None:
        fields["TP_DCS"] = dcs_fields(ours.dcs)
    if ours.user_data is not None:
        fields["TP_UD"] = user_data_fields(ours.user_data)
    theirs = report_kind(ours)(val=fields).to_bytes()
    assert SmsDeliverReport.parse(theirs) == ours
    assert theirs == ours.encode()


@given(packet=st.binary(min_size=141, max_size=600), reference=st.integers(0, 0xFFFF), wide=flags)
def test_pycrate_reads_concatenation(*, packet: bytes, reference: int, wide: bool) -> None:
    """Pycrate finds in each part the reference, the total and the sequence, and 70 in the first alone."""
    reference &= 0xFFFF if wide else 0xFF
    parts = split(packet, reference=reference, first=COMMAND, wide=wide)
    moment = ServiceCentreTime.of(datetime(2026, 3, 13, 12, tzinfo=UTC))
    payloads = []
    for sequence, part in enumerate(parts, 1):
        deliver = SmsDeliver(originator=Address(digits="1"), user_data=part, timestamp=moment)
        values = pycrate_reads(SMS_DELIVER, deliver.encode()).get_val_d()["TP_UD"]
        said = Part(reference=reference, total=len(parts), sequence=sequence, wide=wide).element()
        expected = ([COMMAND] if sequence == 1 else []) + [said]
        found = [{"T": element["T"], "V": element["V"]} for element in values["UDH"]["UDH"]]
        assert found == [element_fields(element) for element in expected]
        payloads.append(values["UD"])
    assert b"".join(payloads) == packet
