from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.vectors import load
from transport.errors import TpduRejected
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

Tpdu = SmsDeliver | SmsSubmit | SmsDeliverReport

KINDS: dict[str, type[Tpdu]] = {"deliver": SmsDeliver, "submit": SmsSubmit, "report": SmsDeliverReport}
VECTORS = load("tpdu")["vector"]
SOUND = pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if "fields" in vector], ids=lambda vector: vector["id"]
)

COMMAND = UserData(header=(InformationElement(iei=IEI_COMMAND_PACKET),), payload=b"packet")
RESPONSE = UserData(header=(InformationElement(iei=IEI_RESPONSE_PACKET),), payload=b"packet")
SMSC = Address(digits="31612345678")
NOON = ServiceCentreTime(octets=bytes.fromhex("62303121000000"))
DELIVER = SmsDeliver(originator=SMSC, user_data=COMMAND, timestamp=NOON)
SUBMIT = SmsSubmit(reference=7, destination=SMSC, user_data=RESPONSE)
REPORT = SmsDeliverReport(user_data=RESPONSE)
TPDUS = pytest.mark.parametrize("tpdu", [DELIVER, SUBMIT, REPORT], ids=lambda tpdu: type(tpdu).__name__)

eight_bit_schemes = st.sampled_from([0x04, 0x15, 0x56, 0xF4, 0xF6, 0xFF])
octet = st.integers(0, 0xFF)
addresses = st.builds(
    Address,
    digits=st.text("0123456789*#abc", max_size=20),
    ton_npi=st.integers(0x80, 0xFF).filter(lambda ton_npi: ton_npi & 0x70 != 0x50),
)
elements = st.builds(InformationElement, iei=octet, data=st.binary(max_size=20))
user_datas = st.builds(
    UserData, header=st.lists(elements, max_size=4).map(tuple), payload=st.binary(max_size=50)
)
times = st.builds(ServiceCentreTime, octets=st.binary(min_size=7, max_size=7))
validities = st.none() | st.sampled_from(ValidityFormat).flatmap(
    lambda kind: st.builds(
        ValidityPeriod,
        format=st.just(kind),
        octets=st.binary(min_size=(size := 1 if kind is ValidityFormat.RELATIVE else 7), max_size=size),
    )
)
delivers = st.builds(
    SmsDeliver,
    originator=addresses,
    user_data=user_datas,
    timestamp=times,
    more_messages=st.booleans(),
    pid=octet,
    dcs=eight_bit_schemes,
    reply_path=st.booleans(),
    status_report_indication=st.booleans(),
    loop_prevention=st.booleans(),
    spare=st.sampled_from([0, 0x10]),
)
submits = st.builds(
    SmsSubmit,
    reference=octet,
    destination=addresses,
    user_data=user_datas,
    pid=octet,
    dcs=eight_bit_schemes,
    validity_period=validities,
    reply_path=st.booleans(),
    status_report_request=st.booleans(),
    reject_duplicates=st.booleans(),
)
causes = st.none() | st.integers(0x80, 0xFF)
reports = st.builds(
    SmsDeliverReport,
    user_data=st.none() | user_datas,
    pid=st.none() | octet,
    dcs=eight_bit_schemes,
    failure_cause=causes,
    spare=st.sampled_from([0, 0x80, 0x3C]),
) | st.builds(SmsDeliverReport, pid=st.none() | octet, dcs=st.none() | octet, failure_cause=causes)


def refusal_of(kind: type[Tpdu], octets: bytes) -> str:
    """Return the reason for which *octets* are no TPDU of *kind*."""
    with pytest.raises(TpduRejected) as refusal:
        kind.parse(octets)
    return refusal.value.reason


def seen(tpdu: Tpdu) -> dict[str, Any]:
    """Return the fields of *tpdu* as the vectors name them."""
    fields = {name: getattr(tpdu, name) for name in tpdu.__dataclass_fields__}
    address = fields.get("originator") or fields.get("destination")
    if address:
        fields |= {"digits": address.digits, "ton_npi": address.ton_npi}
    assert tpdu.user_data is not None
    elements = [element.iei for element in tpdu.user_data.header]
    return fields | {"elements": elements, "payload": tpdu.user_data.payload.hex()}


@SOUND
def test_whole(vector: dict[str, Any]) -> None:
    """Published octets say what their source says they say."""
    fields = seen(KINDS[vector["kind"]].parse(bytes.fromhex(vector["octets"])))
    assert {name: fields[name] for name in vector["fields"]} == vector["fields"]


@SOUND
def test_reencoded(vector: dict[str, Any]) -> None:
    """Published octets are encoded again to the last bit."""
    octets = bytes.fromhex(vector["octets"])
    assert KINDS[vector["kind"]].parse(octets).encode() == octets


@SOUND
def test_cut(vector: dict[str, Any]) -> None:
    """A TPDU cut anywhere is refused as such."""
    octets = bytes.fromhex(vector["octets"])
    reasons = {refusal_of(KINDS[vector["kind"]], octets[:end]) for end in range(len(octets))}
    assert reasons == {"truncated"}


@SOUND
def test_trailing(vector: dict[str, Any]) -> None:
    """Octets behind a TPDU are refused."""
    octets = bytes.fromhex(vector["octets"]) + b"\0"
    assert refusal_of(KINDS[vector["kind"]], octets) == "trailing-octets"


@pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if "refused" in vector], ids=lambda vector: vector["id"]
)
def test_refused_vectors(vector: dict[str, Any]) -> None:
    """Published octets outside what we take are refused with the reason that fits."""
    assert refusal_of(KINDS[vector["kind"]], bytes.fromhex(vector["octets"])) == vector["refused"]


def test_response_without_udhi() -> None:
    """The response packet in a report is read alike whether or not the phone set TP-UDHI."""
    flagged = SmsDeliverReport.parse(bytes.fromhex("40077ff605" + "027100abcd"))
    clear = SmsDeliverReport.parse(bytes.fromhex("00077ff605" + "027100abcd"))
    assert flagged.user_data is not None
    assert clear.user_data is not None
    assert not clear.user_data.has_header
    assert clear.user_data.assume_header() == flagged.user_data.assume_header() == flagged.user_data


@pytest.mark.parametrize(
    ("tpdu", "bits"),
    [
        (DELIVER, 0x44),
        (replace(DELIVER, more_messages=True), 0x40),
        (replace(DELIVER, user_data=UserData(payload=b"")), 0x04),
        (replace(DELIVER, reply_path=True), 0xC4),
        (replace(DELIVER, status_report_indication=True), 0x64),
        (replace(DELIVER, loop_prevention=True), 0x4C),
        (replace(DELIVER, spare=0x10), 0x54),
        (SUBMIT, 0x41),
        (replace(SUBMIT, status_report_request=True), 0x61),
        (replace(SUBMIT, reply_path=True), 0xC1),
        (replace(SUBMIT, reject_duplicates=True), 0x45),
        (replace(SUBMIT, validity_period=ValidityPeriod(format=ValidityFormat.RELATIVE, octets=b"1")), 0x51),
        (
            replace(SUBMIT, validity_period=ValidityPeriod(format=ValidityFormat.ENHANCED, octets=b"7" * 7)),
            0x49,
        ),
        (
            replace(SUBMIT, validity_period=ValidityPeriod(format=ValidityFormat.ABSOLUTE, octets=b"7" * 7)),
            0x59,
        ),
        (REPORT, 0x40),
        (SmsDeliverReport(), 0x00),
        (replace(REPORT, spare=0x04), 0x44),
    ],
)
def test_flags(tpdu: Tpdu, bits: int) -> None:
    """Each flag sets its own bit of the first octet, and is read back from it."""
    octets = tpdu.encode()
    assert octets[0] == bits
    assert type(tpdu).parse(octets) == tpdu


@pytest.mark.parametrize(
    ("report", "octets"),
    [
        (REPORT, "40 07 7f f6 09 027100 7061636b6574"),
        (SmsDeliverReport(), "00 03 7f f6"),
        (SmsDeliverReport(pid=None, dcs=None), "00 00"),
        (SmsDeliverReport(pid=None, dcs=None, failure_cause=FailureCause.TOOLKIT_BUSY), "00 d4 00"),
        (
            replace(REPORT, pid=None, failure_cause=FailureCause.UNSPECIFIED),
            "40 ff 06 f6 09 027100 7061636b6574",
        ),
    ],
)
def test_report_forms(report: SmsDeliverReport, octets: str) -> None:
    """An RP-ACK and an RP-ERROR have the parameters that their indicator announces, and no others."""
    assert report.encode() == bytes.fromhex(octets)
    assert SmsDeliverReport.parse(bytes.fromhex(octets)) == report


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("0008", "unknown-parameter"),
        ("00d4807f", "unknown-parameter"),
        ("4000", "stray-header"),
        ("0004" + "00", "not-eight-bit"),
        ("00067f", "not-eight-bit"),
        ("0006f6a0" + "00" * 160, "too-long"),
        ("00d506f69f" + "00" * 159, "too-long"),
        ("01077ff600", "wrong-type"),
    ],
)
def test_bad_reports(octets: str, reason: str) -> None:
    """A report with unknown parameters, 7-bit or too much user data, or a stray flag is refused."""
    assert refusal_of(SmsDeliverReport, bytes.fromhex(octets)) == reason


def test_report_has_more_room() -> None:
    """A report holds 159 octets of user data as RP-ACK and 158 as RP-ERROR."""
    acknowledged = SmsDeliverReport(user_data=UserData(payload=bytes(159)))
    assert SmsDeliverReport.parse(acknowledged.encode()) == acknowledged
    with pytest.raises(ValueError, match="do not fit in 158"):
        replace(acknowledged, failure_cause=FailureCause.UNSPECIFIED)


@pytest.mark.parametrize("kind", [SmsDeliver, SmsSubmit])
def test_bad_messages(kind: type[SmsDeliver | SmsSubmit]) -> None:
    """A message of another type, with 7-bit text or with 141 octets of user data is refused."""
    head = "04 0081 7f{dcs}" + "00" * 7 if kind is SmsDeliver else "01 00 0081 7f{dcs}"
    sound = bytes.fromhex(head.format(dcs="f6"))
    assert refusal_of(kind, bytes((sound[0] ^ 0x03,)) + sound[1:] + b"\0") == "wrong-type"
    assert refusal_of(kind, bytes.fromhex(head.format(dcs="00")) + b"\0") == "not-eight-bit"
    assert refusal_of(kind, sound + b"\x8d" + bytes(141)) == "too-long"


@pytest.mark.parametrize(
    ("dcs", "taken"),
    [
        (0x00, False),
        (0x04, True),
        (0x24, False),
        (0x08, False),
        (0x44, True),
        (0xF2, False),
        (0xF7, True),
        (0xE4, False),
    ],
)
def test_data_coding_schemes(dcs: int, *, taken: bool) -> None:
    """Only schemes of uncompressed 8-bit data are taken, from a peer and from our own code."""
    octets = bytearray(DELIVER.encode())
    octets[octets.index(b"\x7f\xf6") + 1] = dcs
    if taken:
        assert SmsDeliver.parse(bytes(octets)) == replace(DELIVER, dcs=dcs)
        return
    assert refusal_of(SmsDeliver, bytes(octets)) == "not-eight-bit"
    with pytest.raises(ValueError, match="8-bit"):
        replace(DELIVER, dcs=dcs)


@TPDUS
@pytest.mark.parametrize("fields", [{"pid": 256}, {"pid": -1}, {"user_data": UserData(payload=bytes(160))}])
def test_tpdu_misuse(tpdu: Tpdu, fields: dict[str, Any]) -> None:
    """Fields that do not fit are our own mistake."""
    with pytest.raises(ValueError, match=r"one octet|do not fit"):
        replace(tpdu, **fields)


@pytest.mark.parametrize("fields", [{"failure_cause": 0x7F}, {"failure_cause": 0x100}, {"dcs": None}])
def test_report_misuse(fields: dict[str, Any]) -> None:
    """A cause that is none, and user data without their coding scheme, are our own mistake."""
    with pytest.raises(ValueError, match=r"failure cause|8-bit"):
        replace(REPORT, **fields)


@pytest.mark.parametrize("tpdu", [DELIVER, REPORT], ids=lambda tpdu: type(tpdu).__name__)
def test_spare_misuse(tpdu: SmsDeliver | SmsDeliverReport) -> None:
    """A spare bit that is in use is our own mistake."""
    with pytest.raises(ValueError, match="in use"):
        replace(tpdu, spare=0x40)


@pytest.mark.parametrize("kind", ValidityFormat)
def test_validity_misuse(kind: ValidityFormat) -> None:
    """A validity period of another length than its format's is our own mistake."""
    with pytest.raises(ValueError, match=kind.name):
        ValidityPeriod(format=kind, octets=b"12")


@TPDUS
def test_payload_stays_out_of_repr(tpdu: Tpdu) -> None:
    """What a short message carries does not show."""
    assert "packet" not in repr(tpdu)


@given(delivers | submits | reports)
def test_any_tpdu_survives(tpdu: Tpdu) -> None:
    """Whatever TPDU is encoded comes back, and never differs the second time."""
    octets = tpdu.encode()
    assert type(tpdu).parse(octets) == tpdu
    assert tpdu.encode() == octets


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=200))
def test_any_octets(kind: str, octets: bytes) -> None:
    """Arbitrary octets are refused in our own words, or encode to themselves."""
    try:
        tpdu = KINDS[kind].parse(octets)
    except TpduRejected:
        return
    assert tpdu.encode() == octets


@given(delivers | submits | reports, st.integers(0, 200), octet)
def test_any_octet_changed(tpdu: Tpdu, place: int, value: int) -> None:
    """A sound TPDU with one octet changed is refused in our own words, or encodes to itself."""
    octets = bytearray(tpdu.encode())
    octets[place % len(octets)] = value
    try:
        changed = type(tpdu).parse(bytes(octets))
    except TpduRejected:
        return
    assert changed.encode() == octets
