from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.vectors import load
from transport.bip import LinkKind, LinkPdu
from transport.bip.link import HEADER_OCTETS, MAX_PAYLOAD
from transport.errors import BipRejected

VECTORS = load("bip")
EACH = pytest.mark.parametrize("entry", VECTORS["pdu"], ids=lambda entry: str(entry["id"]))
PLACE: dict[str, Any] = {"connection": 1, "port": 2}

pdus = st.one_of(
    st.builds(
        LinkPdu,
        kind=st.sampled_from([LinkKind.OPEN, LinkKind.ACCEPT, LinkKind.REFUSE, LinkKind.CLOSE]),
        connection=st.integers(0, 0xFFFF),
        port=st.integers(0, 0xFFFF),
        sequence=st.integers(0, 0xFFFFFFFF),
    ),
    st.builds(
        LinkPdu,
        kind=st.just(LinkKind.DATA),
        connection=st.integers(0, 0xFFFF),
        port=st.integers(0, 0xFFFF),
        sequence=st.integers(0, 0xFFFFFFFF),
        payload=st.binary(min_size=1, max_size=300),
    ),
    st.builds(
        LinkPdu,
        kind=st.just(LinkKind.DATAGRAM),
        connection=st.integers(0, 0xFFFF),
        port=st.integers(0, 0xFFFF),
        payload=st.binary(max_size=300),
    ),
)


def value(entry: dict[str, Any]) -> LinkPdu:
    """Return the PDU that a vector says."""
    said = dict(entry["says"])
    said["kind"] = LinkKind[said["kind"]]
    return LinkPdu(**{**said, "payload": bytes.fromhex(said.get("payload", ""))})


@EACH
def test_whole(entry: dict[str, Any]) -> None:
    """Each PDU is read as what it says."""
    assert LinkPdu.parse(bytes.fromhex(entry["octets"])) == value(entry)


@EACH
def test_reencoded(entry: dict[str, Any]) -> None:
    """What was read encodes to the octets that it was read from."""
    assert value(entry).encode() == bytes.fromhex(entry["octets"])


@EACH
def test_cut(entry: dict[str, Any]) -> None:
    """A PDU cut within its header is refused."""
    for end in range(HEADER_OCTETS):
        with pytest.raises(BipRejected, match="link-too-short"):
            LinkPdu.parse(bytes.fromhex(entry["octets"])[:end])


@EACH
def test_trailing(entry: dict[str, Any]) -> None:
    """An octet behind a PDU is payload where there is one, and refused elsewhere."""
    octets = bytes.fromhex(entry["octets"]) + b"\0"
    if value(entry).kind in (LinkKind.DATA, LinkKind.DATAGRAM):
        assert LinkPdu.parse(octets).payload == value(entry).payload + b"\0"
    else:
        with pytest.raises(BipRejected, match="link-value"):
            LinkPdu.parse(octets)


@pytest.mark.parametrize("entry", VECTORS["rejected"], ids=lambda entry: str(entry["id"]))
def test_rejected(entry: dict[str, Any]) -> None:
    """What is no PDU is refused with its reason."""
    with pytest.raises(BipRejected) as refusal:
        LinkPdu.parse(bytes.fromhex(entry["octets"]))
    assert refusal.value.reason == entry["reason"]


def test_payload_is_bounded() -> None:
    """A payload has at most 65535 octets."""
    octets = LinkPdu(kind=LinkKind.DATA, payload=bytes(MAX_PAYLOAD), **PLACE).encode()
    assert LinkPdu.parse(octets).encode() == octets
    with pytest.raises(BipRejected, match="link-value"):
        LinkPdu.parse(octets + b"\0")


@pytest.mark.parametrize(
    "changed",
    [
        {"connection": -1},
        {"connection": 0x10000},
        {"port": -1},
        {"port": 0x10000},
        {"sequence": -1},
        {"sequence": 1 << 32},
        {"payload": b"\1"},
        {"kind": LinkKind.DATA},
        {"kind": LinkKind.DATAGRAM, "sequence": 1},
    ],
    ids=str,
)
def test_misuse(changed: dict[str, Any]) -> None:
    """A PDU that its octets could not say refuses to exist."""
    with pytest.raises(ValueError, match=r"."):
        LinkPdu(**{"kind": LinkKind.OPEN, **PLACE, **changed})


def test_payload_stays_out_of_repr() -> None:
    """What a channel carries does not show."""
    assert "secret" not in repr(LinkPdu(kind=LinkKind.DATA, payload=b"secret", **PLACE))


@given(pdus)
def test_any_pdu_survives(pdu: LinkPdu) -> None:
    """Whatever is encoded comes back."""
    assert LinkPdu.parse(pdu.encode()) == pdu


@given(st.binary(max_size=40))
def test_any_octets(octets: bytes) -> None:
    """Arbitrary octets are refused in our own words, or are a PDU that encodes to them."""
    try:
        assert LinkPdu.parse(octets).encode() == octets
    except BipRejected:
        return
