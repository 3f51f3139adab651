"""The module's files: what a terminal finds, how it is described, what is in it, the REFRESH for EF.CBMID."""

from __future__ import annotations

import pytest

from agents.handset.security_module.core import EF_CBMID
from agents.handset.security_module.files import CBMID_ENTRIES, FILES, MF, USIM_AID, File, Kind
from agents.handset.security_module.module import INS_FETCH, INS_STORE_DATA
from agents.handset.security_module.personalisation import LAST_BLOCK
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import encode
from tests.agents.module_kit import UA, Card, Market
from transport import apdu, ber_tlv
from transport.apdu import ResponseApdu
from transport.cell_broadcast import MessageFilter
from transport.iccid import iccid_digits
from transport.toolkit import FILE_CHANGE, CommandType, ProactiveCommand

SELECT_USIM = "00a4040c 07 a0000000871002"
SELECT_CBMID = "00a4080c 04 7fff6f48"
CBMID_OCTETS = 2 * CBMID_ENTRIES
NAMED = {
    "mf": "3f00",
    "dir": "2f00",
    "pl": "2f05",
    "arr": "2f06",
    "iccid": "2fe2",
    "ust": "6f38",
    "cbmid": "6f48",
}
ELEMENTARY = [file for file in FILES if file.kind is not Kind.DIRECTORY]


def say(card: Card, octets: str) -> ResponseApdu:
    """Give the module a command in hexadecimal."""
    return card.transmit_octets(bytes.fromhex(octets))


def done(card: Card, octets: str) -> bytes:
    """Give the module a command that it does; return its data."""
    response = say(card, octets)
    assert response.status == apdu.SW_OK, f"{response.status:04X}"
    return response.data


def at(card: Card, file: File) -> bytes:
    """Select *file* from where a reset leaves us; return its FCP template's octets."""
    card.power_cycle()
    if file.aid:
        return done(card, "00a40404 10" + file.aid.hex() + "00")
    if file.parent is not None and file.parent.aid:
        done(card, SELECT_USIM)
    return done(card, f"00a40004 02 {file.identifier.hex()} 00")


def described(card: Card, file: File) -> dict[int, bytes]:
    """Return the objects in the FCP template of *file*."""
    [template] = ber_tlv.parse_all(at(card, file))
    assert template.tag == 0x62
    return {tlv.tag: tlv.value for tlv in ber_tlv.parse_all(template.value)}


def name(file: File) -> str:
    """Return what a test of *file* is called."""
    return file.identifier.hex()


# --- how files are described (TS 102 221 clause 11.1.1.3) ---


@pytest.mark.parametrize("file", FILES, ids=name)
def test_every_file_is_described(file: File) -> None:
    """Descriptor, name, life cycle and access rule of every file; of a directory the PIN status too."""
    found = described(Card(), file)
    assert found[0x82][:2] == bytes((file.kind.value, 0x21))
    assert found[0x8A] == b"\x05"
    assert found[0x8B] == bytes.fromhex("2f06") + bytes((file.rule,))
    assert found[0x84 if file.aid else 0x83] == (file.aid or file.identifier)
    if file.kind is Kind.DIRECTORY:
        assert found[0xC6] == bytes.fromhex("900100 830101")
        assert (0xA5 in found) is (file is MF)
    else:
        assert int.from_bytes(found[0x80], "big") > 0
        assert found[0x88] == bytes((file.sfi << 3,))


def test_the_order_of_a_description() -> None:
    """The objects stand in the order of tables 11.3 and 11.4."""
    card = Card()
    assert [*described(card, MF)] == [0x82, 0x83, 0xA5, 0x8A, 0x8B, 0xC6]
    [iccid] = [file for file in FILES if file.identifier.hex() == NAMED["iccid"]]
    assert [*described(card, iccid)] == [0x82, 0x83, 0x8A, 0x8B, 0x80, 0x88]


@pytest.mark.parametrize("file", ELEMENTARY, ids=name)
def test_sizes_are_as_described(file: File) -> None:
    """As many octets, and as many records of as many octets, can be read as the template says."""
    card = Card()
    found = described(card, file)
    size = int.from_bytes(found[0x80], "big")
    if file.kind is Kind.TRANSPARENT:
        assert len(done(card, "00b0000000")) == size
        return
    length, count = int.from_bytes(found[0x82][2:4], "big"), found[0x82][4]
    records = [done(card, f"00b2{number:02x}0400") for number in range(1, count + 1)]
    assert [len(record) for record in records] == [length] * count
    assert length * count == size
    assert say(card, f"00b2{count + 1:02x}0400").status == apdu.SW_RECORD_NOT_FOUND


@pytest.mark.parametrize("file", ELEMENTARY, ids=name)
def test_access_rules_are_there(file: File) -> None:
    """The record of EF.ARR that a file refers to says: reading always (90), anything else never (97)."""
    card = Card()
    rule = described(card, file)[0x8B]
    done(card, "00a4080c 02" + rule[:2].hex())
    record = done(card, f"00b2{rule[2]:02x}0400").rstrip(b"\xff")
    assert [(tlv.tag, tlv.value) for tlv in ber_tlv.parse_all(record)] == [
        (0x80, b"\x01"),
        (0x90, b""),
        (0x80, b"\x7e"),
        (0x97, b""),
    ]


def test_nothing_refers_to_two_files() -> None:
    """Identifiers and short identifiers are each a file's alone in its directory."""
    for directory in (file for file in FILES if file.kind is Kind.DIRECTORY):
        inside = [file for file in FILES if file.parent is directory]
        assert len({file.identifier for file in inside}) == len(inside)
        short = [file.sfi for file in inside if file.sfi]
        assert len(set(short)) == len(short)


# --- what is in them ---


def test_the_iccid_is_the_address() -> None:
    """EF.ICCID holds the module's address, two digits an octet, the first in the low half."""
    card = Market().personalise().card
    done(card, "00a4000c 02 2fe2")
    octets = done(card, "00b000000a")
    assert iccid_digits(octets) == UA
    assert octets[0] == 0x98


def test_a_blank_module_has_no_iccid() -> None:
    """Before personalisation the file is there, unused."""
    card = Card()
    done(card, "00a4000c 02 2fe2")
    assert done(card, "00b000000a") == b"\xff" * 10


def test_the_applications() -> None:
    """EF.DIR names the USIM, and what it names can be selected (clause 13.1)."""
    card = Card()
    done(card, "00a4000c 02 2f00")
    [template] = ber_tlv.parse_all(done(card, "00b2010400"))
    found = {tlv.tag: tlv.value for tlv in ber_tlv.parse_all(template.value)}
    assert template.tag == 0x61
    assert found[0x4F] == USIM_AID
    assert found[0x4F].hex().startswith("a0000000871002")
    assert done(card, "00a4040c 10" + found[0x4F].hex()) == b""


def test_the_services() -> None:
    """EF.UST says 28 and 29, data download in both ways, and no service whose file is not there.

    TS 31.102 clause 4.2.8; service 29 asks for EF.CBMID (4.2.20), 15 would for EF.CBMI (6F45, 4.2.14).
    """
    card = Card()
    done(card, SELECT_USIM)
    done(card, "00a4000c 02 6f38")
    table = int.from_bytes(done(card, "00b0000000"), "little")
    assert {number for number in range(1, 33) if table >> (number - 1) & 1} == {28, 29}
    done(card, SELECT_CBMID)


# --- EF.CBMID ---


def _wanted(card: Card) -> tuple[int, ...]:
    """Return what the terminal reads in EF.CBMID."""
    done(card, SELECT_USIM)
    done(card, SELECT_CBMID)
    octets = done(card, f"00b00000{CBMID_OCTETS:02x}")
    assert len(octets) == CBMID_OCTETS
    return MessageFilter.parse(octets).identifiers


def test_a_blank_module_wants_no_broadcast() -> None:
    """Before personalisation every entry of the file is unused."""
    assert _wanted(Card()) == ()


def test_a_personalised_module_wants_announcements() -> None:
    """After personalisation the file names the operator's announcements, a power cut later too."""
    card = Market().personalise().card
    assert _wanted(card) == (ANNOUNCEMENTS,)
    card.power_cycle()
    assert _wanted(card) == (ANNOUNCEMENTS,)


def test_personalisation_refreshes_the_file() -> None:
    """The last block of personalisation is answered 91xx, and the FETCH brings a REFRESH of EF.CBMID."""
    market = Market()
    message = encode(market.personal())
    [block] = [message[at : at + apdu.MAX_DATA] for at in range(0, len(message), apdu.MAX_DATA)]
    response = market.card.transmit(INS_STORE_DATA, block, p1=LAST_BLOCK)
    assert response.proactive_length is not None
    fetched = market.card.transmit(INS_FETCH)
    assert len(fetched.data) == response.proactive_length
    command = ProactiveCommand.parse(fetched.data)
    assert (command.type, command.qualifier) == (CommandType.REFRESH, FILE_CHANGE)
    assert command.files == (EF_CBMID,)


def test_a_power_cut_refreshes_nothing() -> None:
    """A terminal that switches a module on reads the file anyway: there is no REFRESH."""
    card = Market().personalise().card
    card.power_cycle()
    assert card.transmit(INS_FETCH).status == apdu.SW_CONDITIONS_NOT_SATISFIED


# --- reading (clauses 11.1.3 and 11.1.5) ---


@pytest.mark.parametrize("offset", [0, 1, 2, CBMID_OCTETS - 1])
@pytest.mark.parametrize("expected", [1, 2, 16, 32, 33, 255, 256, None])
def test_a_part_of_a_file(offset: int, expected: int | None) -> None:
    """A read brings what was expected; what is not there in that length is told in exact numbers."""
    card = Market().personalise().card
    whole = MessageFilter(identifiers=(ANNOUNCEMENTS,)).encode(CBMID_ENTRIES)
    done(card, SELECT_USIM)
    done(card, SELECT_CBMID)
    le = "" if expected is None else f"{expected & 0xFF:02x}"
    response = say(card, f"00b0{offset:04x}{le}")
    rest = whole[offset:]
    if expected == 256:
        assert response == ResponseApdu(data=rest)
    elif expected is not None and expected <= len(rest):
        assert response == ResponseApdu(data=rest[:expected])
    else:
        assert response == ResponseApdu(status=apdu.SW_EXACT_LENGTH | len(rest))
        assert done(card, f"00b0{offset:04x}{response.status & 0xFF:02x}") == rest


@pytest.mark.parametrize("offset", [10, 11, 0xFF, 0x100, 0x7FFF])
def test_an_offset_beyond_the_file(offset: int) -> None:
    """An offset behind the last octet is a wrong parameter; the file stays selected."""
    card = Card()
    done(card, "00a4000c 02 2fe2")
    assert say(card, f"00b0{offset:04x}01").status == apdu.SW_WRONG_PARAMETERS
    assert done(card, "00b0000901") == b"\xff"


def test_a_file_by_its_short_identifier() -> None:
    """P1 names a file of the current directory, which is read and current from then on."""
    card = Market().personalise().card
    assert iccid_digits(done(card, "00b082000a")) == UA
    assert len(done(card, "00b0000802")) == 2
    done(card, SELECT_USIM)
    assert done(card, "00b08e0002") == ANNOUNCEMENTS.to_bytes(2, "big")
    assert say(card, "00b082000a").status == apdu.SW_FILE_NOT_FOUND


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("00b08000 01", apdu.SW_WRONG_P1_P2),
        ("00b0a200 01", apdu.SW_WRONG_P1_P2),
        ("00b0c200 01", apdu.SW_WRONG_P1_P2),
        ("00b09f00 01", apdu.SW_FILE_NOT_FOUND),
        ("00b0820a 01", apdu.SW_WRONG_PARAMETERS),
        ("00b09e00 01", apdu.SW_INCOMPATIBLE_FILE),
        ("00b00000 01", apdu.SW_NO_FILE_SELECTED),
        ("00b00000", apdu.SW_NO_FILE_SELECTED),
        ("00b20104 01", apdu.SW_NO_FILE_SELECTED),
        ("00b20114 01", apdu.SW_INCOMPATIBLE_FILE),
        ("00b201fc 01", apdu.SW_FILE_NOT_FOUND),
        ("00b201f4 01", apdu.SW_EXACT_LENGTH | 30),
        ("00b201f4", apdu.SW_EXACT_LENGTH | 30),
        ("00b202f4 1e", apdu.SW_RECORD_NOT_FOUND),
        ("00b200f4 1e", apdu.SW_RECORD_NOT_FOUND),
        ("00b201f2 1e", apdu.SW_WRONG_P1_P2),
        ("00b201f0 1e", apdu.SW_WRONG_P1_P2),
        ("00b201f5 1e", apdu.SW_WRONG_P1_P2),
    ],
)
def test_a_read_that_is_refused(command: str, status: int) -> None:
    """Each wrong reference has its status word, and afterwards no more is current than before."""
    card = Card()
    assert say(card, command).status == status
    assert say(card, "00b0000001").status == apdu.SW_NO_FILE_SELECTED


def test_records_one_after_the_other() -> None:
    """Next and previous move along the records and stop at both ends; absolute moves nothing."""
    card = Card()
    done(card, "00a4000c 02 2f06")
    first, second = (done(card, f"00b2{number:02x}0400") for number in (1, 2))
    assert first != second
    assert say(card, "00b2000400").status == apdu.SW_RECORD_NOT_FOUND
    assert done(card, "00b2000200") == first
    assert done(card, "00b2000400") == first
    assert done(card, "00b2020400") == second
    assert done(card, "00b2000200") == second
    assert say(card, "00b2000200").status == apdu.SW_RECORD_NOT_FOUND
    assert done(card, "00b2000400") == second
    assert done(card, "00b2000300") == first
    assert say(card, "00b2000300").status == apdu.SW_RECORD_NOT_FOUND
    done(card, "00a4000c 02 2f06")
    assert done(card, "00b2000300") == second


def test_a_short_identifier_begins_anew() -> None:
    """A file that is named in the command is selected by it: no record of it is current then."""
    card = Card()
    first = done(card, "00b2003200")
    assert done(card, "00b2003200") == first
    assert done(card, "00b2000200") != first
    assert say(card, "00b2003400").status == apdu.SW_RECORD_NOT_FOUND


def test_a_read_of_the_wrong_length_moves_nothing() -> None:
    """A record that is asked for with a wrong Le is still the next one when it is asked for rightly."""
    card = Card()
    done(card, "00a4000c 02 2f06")
    first = done(card, "00b2010400")
    assert say(card, "00b2000201").status == apdu.SW_EXACT_LENGTH | len(first)
    assert done(card, f"00b20002{len(first):02x}") == first


@pytest.mark.parametrize("file", ELEMENTARY, ids=name)
def test_nobody_writes(file: File) -> None:
    """No file can be updated over the contacts, by either command; what it holds stays."""
    card = Market().personalise().card
    binary, record = "00d6000001aa", "00dc010401aa"
    right, wrong = (binary, record) if file.kind is Kind.TRANSPARENT else (record, binary)
    at(card, file)
    assert say(card, right).status == apdu.SW_SECURITY_STATUS_NOT_SATISFIED
    assert say(card, wrong).status == apdu.SW_INCOMPATIBLE_FILE
    assert say(card, right[:8]).status == apdu.SW_WRONG_LENGTH
    card.power_cycle()
    assert say(card, binary).status == apdu.SW_NO_FILE_SELECTED
