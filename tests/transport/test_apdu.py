from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.apdu import MAX_DATA, SW_OK, CommandApdu, ResponseApdu
from transport.errors import ApduRejected

# The four cases of ISO/IEC 7816-4 clause 5.1, in the short form.
CASES = pytest.mark.parametrize(
    ("octets", "command"),
    [
        ("80120000", CommandApdu(cla=0x80, ins=0x12)),
        ("8012000017", CommandApdu(cla=0x80, ins=0x12, expected=0x17)),
        ("8012000000", CommandApdu(cla=0x80, ins=0x12, expected=256)),
        ("80e2800503010203", CommandApdu(cla=0x80, ins=0xE2, p1=0x80, p2=5, data=b"\1\2\3")),
        ("00a4040002 3f00 00", CommandApdu(cla=0, ins=0xA4, p1=4, data=b"\x3f\x00", expected=256)),
        ("80c20000ff" + "d1" * 255, CommandApdu(cla=0x80, ins=0xC2, data=b"\xd1" * 255)),
    ],
    ids=["case-1", "case-2", "case-2-le-00", "case-3", "case-4", "case-3-longest"],
)
octet = st.integers(0, 255)
commands = st.builds(
    CommandApdu,
    cla=octet,
    ins=octet,
    p1=octet,
    p2=octet,
    data=st.binary(max_size=MAX_DATA),
    expected=st.none() | st.integers(1, 256),
)


def _parsed(octets: bytes) -> bytes | str:
    """Return the octets of the command that *octets* are, or why they are none."""
    try:
        return CommandApdu.parse(octets).encode()
    except ApduRejected as rejection:
        return rejection.reason


@CASES
def test_whole(octets: str, command: CommandApdu) -> None:
    """Each case of the short form is read as what it says."""
    assert CommandApdu.parse(bytes.fromhex(octets)) == command


@CASES
def test_reencoded(octets: str, command: CommandApdu) -> None:
    """What was read encodes to the octets that it was read from."""
    assert command.encode() == bytes.fromhex(octets)


@CASES
def test_cut(octets: str, command: CommandApdu) -> None:
    """A command cut anywhere is refused, or is another whole command: never one with half its data."""
    whole = bytes.fromhex(octets)
    for end in range(len(whole)):
        cut = _parsed(whole[:end])
        assert cut == "apdu-too-short" if end < 4 else cut in {"apdu-wrong-length", whole[:end]}
        assert cut != command.encode()


@pytest.mark.parametrize("octets", ["80c20000 02d100", "80c20000 02d100 00", "80c20000 01d1 10"])
@pytest.mark.parametrize("trailing", ["0000", "000000", "01d1"])
def test_trailing(octets: str, trailing: str) -> None:
    """More than Le behind the data of a command is refused."""
    assert _parsed(bytes.fromhex(octets + trailing)) == "apdu-wrong-length"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "apdu-too-short"),
        ("80c200", "apdu-too-short"),
        ("80c200000000", "apdu-wrong-length"),
        ("80c2000000000101", "apdu-wrong-length"),
        ("80c200000201", "apdu-wrong-length"),
        ("80c2000001aabbcc", "apdu-wrong-length"),
    ],
    ids=["nothing", "no-header", "lc-of-zero", "extended-form", "data-cut-short", "octets-behind-le"],
)
def test_refused(octets: str, reason: str) -> None:
    """Octets whose lengths do not agree, and the extended form, are refused with their reason."""
    assert _parsed(bytes.fromhex(octets)) == reason


@pytest.mark.parametrize("field", ["cla", "ins", "p1", "p2"])
@pytest.mark.parametrize("value", [-1, 256])
def test_header_misuse(field: str, value: int) -> None:
    """A header that is not four octets is our own mistake."""
    with pytest.raises(ValueError, match="single octets"):
        CommandApdu(**({"cla": 0x80, "ins": 0x12} | {field: value}))  # type: ignore[arg-type]


def test_data_misuse() -> None:
    """More data than a short APDU carries is our own mistake."""
    with pytest.raises(ValueError, match="256 octets of data"):
        CommandApdu(cla=0x80, ins=0xC2, data=bytes(256))


@pytest.mark.parametrize("expected", [-1, 0, 257])
def test_expected_misuse(expected: int) -> None:
    """A number of expected octets that Le cannot say is our own mistake."""
    with pytest.raises(ValueError, match="1 to 256"):
        CommandApdu(cla=0x80, ins=0x12, expected=expected)


@pytest.mark.parametrize(
    ("octets", "data", "status"), [("9000", "", 0x9000), ("027100 9117", "027100", 0x9117)]
)
def test_response(octets: str, data: str, status: int) -> None:
    """A response is its data and, in its last two octets, its status word; both ways."""
    response = ResponseApdu(data=bytes.fromhex(data), status=status)
    assert ResponseApdu.parse(bytes.fromhex(octets)) == response
    assert response.encode() == bytes.fromhex(octets)


@pytest.mark.parametrize("octets", [b"", b"\x90"])
def test_response_cut(octets: bytes) -> None:
    """A response without a whole status word is refused."""
    with pytest.raises(ApduRejected) as refusal:
        ResponseApdu.parse(octets)
    assert refusal.value.reason == "apdu-too-short"


@pytest.mark.parametrize(
    ("status", "length"), [(0x9100, 0), (0x9117, 0x17), (SW_OK, None), (0x6F00, None), (0x9200, None)]
)
def test_proactive_length(status: int, length: int | None) -> None:
    """Only 91xx says that a proactive command waits, and how long it is (TS 102 221 clause 7.4.2.1)."""
    assert ResponseApdu(status=status).proactive_length == length


@pytest.mark.parametrize(
    ("status", "length"), [(0x6100, 256), (0x6117, 0x17), (SW_OK, None), (0x9117, None), (0x6C17, None)]
)
def test_remaining(status: int, length: int | None) -> None:
    """Only 61xx says that GET RESPONSE will bring more, and how much (ISO/IEC 7816-4 clause 5.6)."""
    assert ResponseApdu(status=status).remaining == length


@pytest.mark.parametrize(
    ("status", "good"),
    [(SW_OK, True), (0x9117, True), (0x6117, True), (0x6C17, False), (0x6F00, False), (0x9200, False)],
)
def test_good(status: int, good: bool) -> None:  # noqa: FBT001 -- a case
    """9000, 91xx and 61xx say that the command was done, nothing else does."""
    assert ResponseApdu(status=status).is_good is good


def test_data_stays_out_of_repr() -> None:
    """What an APDU carries, perhaps a key, does not show."""
    command, response = CommandApdu(cla=0, ins=0, data=b"secret"), ResponseApdu(data=b"secret")
    assert "secret" not in repr(command) + repr(response)


@given(commands)
def test_any_command_survives(command: CommandApdu) -> None:
    """Whatever command is encoded comes back."""
    assert CommandApdu.parse(command.encode()) == command


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    """Arbitrary octets are refused in our own words, or encode to themselves."""
    assert _parsed(octets) in {octets, "apdu-too-short", "apdu-wrong-length"}


@given(st.binary(max_size=300))
def test_any_response_octets(octets: bytes) -> None:
    """Arbitrary octets are a response that encodes to themselves, unless they are fewer than two."""
    if len(octets) < 2:
        with pytest.raises(ApduRejected):
            ResponseApdu.parse(octets)
    else:
        assert ResponseApdu.parse(octets).encode() == octets
