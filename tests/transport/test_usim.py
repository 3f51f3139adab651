"""A USIM as its terminal finds it: its table of services, and the record of EF.DIR that names it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport import ber_tlv
from transport.usim import (
    APPLICATION,
    APPLICATION_LABEL,
    APPLICATION_NAME,
    USIM,
    Service,
    service_table,
    services_in,
    usim_in,
)

NAMES = st.binary(max_size=9).map(lambda octets: USIM + octets)


def test_the_numbers_of_services() -> None:
    """Bit 4 and 5 of the fourth octet are data download by short message and by cell broadcast."""
    assert service_table(Service) == bytes.fromhex("00000018")
    assert services_in(bytes.fromhex("00000008")) == {Service.SMS_PP_DOWNLOAD}
    assert services_in(bytes.fromhex("00000010ff")) == {Service.CELL_BROADCAST_DOWNLOAD}


@given(st.binary(max_size=255))
def test_any_octets_are_a_table(table: bytes) -> None:
    """Reading is total; a short table has none of what it leaves out, and what is read is written again."""
    services = services_in(table)
    assert services_in(service_table(services)) == services if services else True
    assert services_in(table[:3]) == frozenset()
    assert services_in(table + b"\0\0") == services


@given(NAMES, st.integers(0, 40))
def test_a_record_that_names_a_usim(name: bytes, fill: int) -> None:
    """The name is found wherever it stands in the template, and what fills the record is let alone."""
    label = ber_tlv.encode(APPLICATION_LABEL, b"label")
    for inside in (
        ber_tlv.encode(APPLICATION_NAME, name),
        ber_tlv.encode(APPLICATION_NAME, name) + label,
        label + ber_tlv.encode(APPLICATION_NAME, name),
    ):
        assert usim_in(ber_tlv.encode(APPLICATION, inside) + b"\xff" * fill) == name


@pytest.mark.parametrize(
    "record",
    [
        "",
        "61",
        "ff" * 20,
        "6182",
        "6103 4f02a0",
        "6109 5007a0000000871002",
        "6109 4f07a0000000871004",
        "6209 4f07a0000000871002",
    ],
    ids=["nothing", "cut", "unused", "length-cut", "inside-cut", "no-name", "isim", "other-template"],
)
def test_a_record_that_names_none(record: str) -> None:
    """What is no template, or another application's, names no USIM."""
    assert usim_in(bytes.fromhex(record)) == b""


@given(st.binary(max_size=60))
def test_any_octets_are_a_record(record: bytes) -> None:
    """Reading is total."""
    name = usim_in(record)
    assert name == b"" or (name.startswith(USIM) and name in record)
