from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrate_asn1dir.TCAP_MAPv2v3 import MAP_Errors, MAP_ShortMessageServiceOperations  # type: ignore[import-untyped]

from bus.bearers.notice import Notice
from bus.errors import FrameRejected


@pytest.mark.parametrize("notice", Notice)
def test_notices_survive(notice: Notice) -> None:
    """Each notice is one octet, and is read back from it."""
    assert len(notice.encode()) == 1
    assert Notice.parse(notice.encode()) is notice


def test_codes_are_those_of_real_networks() -> None:
    """The octets are the codes that pycrate knows from the ASN.1 of TS 29.002."""
    assert MAP_Errors.absentSubscriberSM.get_val()["errorCode"] == ("local", Notice.ABSENT)
    operation = MAP_ShortMessageServiceOperations.alertServiceCentre.get_val()
    assert operation["operationCode"] == ("local", Notice.ALERT)


@pytest.mark.parametrize("octets", [b"", b"\x00", b"\x07", b"\x06\x06"], ids=bytes.hex)
def test_what_is_no_notice(octets: bytes) -> None:
    """No octet, an unknown one and one too many are refused."""
    with pytest.raises(FrameRejected) as refusal:
        Notice.parse(octets)
    assert refusal.value.reason == "bad-notice"


@given(st.binary(max_size=3))
def test_any_octets(octets: bytes) -> None:
    """Arbitrary octets are refused in our own words, or encode to themselves."""
    try:
        notice = Notice.parse(octets)
    except FrameRejected:
        return
    assert notice.encode() == octets
