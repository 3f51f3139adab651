from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from transport.errors import TpduRejected
from transport.sms import Address, InformationElement, ServiceCentreTime, SmsDeliver, UserData


@pytest.mark.parametrize(
    ("octets", "digits", "ton_npi"),
    [
        ("04802143", "1234", 0x80),  # osmocom/pysim tests/unittests/test_sms.py, Test_AddressField
        ("038021f3", "123", 0x80),
        ("05912143f5", "12345", 0x91),
        ("0591badcfe", "*#abc", 0x91),  # TS 23.040 §9.1.2.3
        ("0081", "", 0x81),
    ],
)
def test_addresses(octets: str, digits: str, ton_npi: int) -> None:
    """Addresses of even, odd and no digits read and write alike, with their count and without."""
    address = Address.parse(bytes.fromhex(octets))
    assert address == Address(digits=digits, ton_npi=ton_npi)
    assert address.encode().hex() == octets
    assert address.encode_value().hex() == octets[2:]


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("1591" + "11" * 11, "bad-address"),
        ("0411214365", "bad-address"),
        ("04d0e575", "bad-address"),
        ("0491f143", "bad-address"),
        ("03912143", "bad-address"),
        ("049121", "truncated"),
        ("0491214300", "trailing-octets"),
    ],
)
def test_bad_addresses(octets: str, reason: str) -> None:
    """Too many digits, a type that is none or text, a misplaced filler and a wrong length are refused."""
    with pytest.raises(TpduRejected) as refusal:
        Address.parse(bytes.fromhex(octets))
    assert refusal.value.reason == reason


@pytest.mark.parametrize("digits", ["1" * 21, "12+3", "1d2"])
def test_digits_misuse(digits: str) -> None:
    """Digits that cannot be encoded are our own mistake."""
    with pytest.raises(ValueError, match="an address is"):
        Address(digits=digits)


@pytest.mark.parametrize("ton_npi", [0x11, 0x100, 0xD0])
def test_type_of_number_misuse(ton_npi: int) -> None:
    """So is a type of number that is none, or text."""
    with pytest.raises(ValueError, match="type of number"):
        Address(digits="1", ton_npi=ton_npi)


@pytest.mark.parametrize(
    ("octets", "moment"),
    [
        # osmocom/pysim tests/unittests/test_sms.py, Test_DELIVER
        ("90709030751300", datetime(2009, 7, 9, 3, 57, 31, tzinfo=UTC)),
        ("62303121000080", datetime(2026, 3, 13, 12, 0, 0, tzinfo=timezone(timedelta(hours=2)))),
        ("6230312100004a", datetime(2026, 3, 13, 12, 0, 0, tzinfo=timezone(-timedelta(hours=6)))),
    ],
)
def test_moments(octets: str, moment: datetime) -> None:
    """A time stamp names its moment, east and west of Greenwich, and the moment gives the stamp."""
    stamp = ServiceCentreTime(octets=bytes.fromhex(octets))
    assert stamp.moment == moment
    assert stamp.moment.utcoffset() == moment.utcoffset()
    assert ServiceCentreTime.of(moment) == stamp


@pytest.mark.parametrize("octets", ["00000000000000", "6a303121000000", "623031210000f0", "62303142000000"])
def test_stamps_that_are_no_date(octets: str) -> None:
    """A stamp that is no date says so, and its message survives to the octet."""
    stamp = ServiceCentreTime(octets=bytes.fromhex(octets))
    assert stamp.moment is None
    message = SmsDeliver(originator=Address(digits="1"), user_data=UserData(payload=b""), timestamp=stamp)
    assert SmsDeliver.parse(message.encode()) == message


def test_stamp_of_now() -> None:
    """Seconds since 1970 become a stamp in UTC; a simulated clock may well start at zero."""
    assert ServiceCentreTime.at(1_773_403_200.9).octets.hex() == "62303121000000"
    assert ServiceCentreTime.at(0.0).octets.hex() == "07101000000000"


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 13, tzinfo=timezone(timedelta(minutes=10))),
        datetime(2026, 3, 13, tzinfo=timezone(timedelta(hours=20))),
        datetime(2026, 3, 13, tzinfo=UTC).replace(tzinfo=None),
    ],
)
def test_moment_misuse(moment: datetime) -> None:
    """A moment whose offset from UTC cannot be written is our own mistake."""
    with pytest.raises(ValueError, match="offset from UTC"):
        ServiceCentreTime.of(moment)


def test_stamp_misuse() -> None:
    """A stamp has seven octets."""
    with pytest.raises(ValueError, match="not 6"):
        ServiceCentreTime(octets=bytes(6))


@pytest.mark.parametrize(
    ("octets", "header", "payload"),
    [
        # osmocom/pysim tests/unittests/test_sms.py, Test_SMS_UDH and Test_ConcatenatedSmsReassembler
        ("027100abcdef", [(0x71, "")], "abcdef"),
        ("03710110", [(0x71, "10")], ""),
        ("0571007001ffabcd", [(0x71, ""), (0x70, "ff")], "abcd"),
        ("0700030102017100", [(0x00, "010201"), (0x71, "")], ""),
        ("080804123402017100", [(0x08, "12340201"), (0x71, "")], ""),
    ],
)
def test_headers(octets: str, header: list[tuple[int, str]], payload: str) -> None:
    """Published user-data headers give their elements and are encoded again to the octet."""
    user_data = UserData.parse(bytes.fromhex(octets), has_header=True)
    assert [(element.iei, element.data.hex()) for element in user_data.header] == header
    assert user_data.payload.hex() == payload
    assert user_data.encode().hex() == octets
    assert user_data.length == len(octets) // 2


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "truncated"),
        ("0570", "truncated"),
        ("00", "bad-header"),
        ("0170", "bad-header"),
        ("03700200", "bad-header"),
        ("03700071", "bad-header"),
    ],
)
def test_bad_headers(octets: str, reason: str) -> None:
    """A header that reaches past the end, is empty, or is not filled by its elements is refused."""
    with pytest.raises(TpduRejected) as refusal:
        UserData.parse(bytes.fromhex(octets), has_header=True)
    assert refusal.value.reason == reason


def test_last_of_repeated_elements() -> None:
    """Of an element that occurs twice the last one counts."""
    twice = UserData(
        header=(InformationElement(iei=5, data=b"1"), InformationElement(iei=5, data=b"2")), payload=b""
    )
    assert twice.find(5) == InformationElement(iei=5, data=b"2")
    assert twice.find(6) is None


def test_assumed_header_that_is_none() -> None:
    """User data that only pretend to have a header are refused as any other."""
    with pytest.raises(TpduRejected, match="bad-header"):
        UserData(payload=b"\0").assume_header()


@pytest.mark.parametrize(("iei", "data"), [(-1, b""), (0x100, b""), (0, bytes(256))])
def test_element_misuse(iei: int, data: bytes) -> None:
    """An element that does not fit its octets is our own mistake."""
    with pytest.raises(ValueError, match="does not fit"):
        InformationElement(iei=iei, data=data)


def test_header_misuse() -> None:
    """So is a header longer than its length octet can say."""
    with pytest.raises(ValueError, match="at most 255"):
        UserData(header=(InformationElement(iei=0, data=bytes(254)),), payload=b"")
