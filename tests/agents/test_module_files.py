"""The one file that a terminal reads: EF.CBMID, by SELECT and READ BINARY, and the REFRESH for it."""

from __future__ import annotations

import pytest

from agents.handset.security_module.core import EF_CBMID
from agents.handset.security_module.module import (
    CBMID_ENTRIES,
    INS_FETCH,
    INS_READ_BINARY,
    INS_SELECT,
    INS_STORE_DATA,
    INTERINDUSTRY,
)
from agents.handset.security_module.personalisation import LAST_BLOCK
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import encode
from tests.agents.module_kit import Card, Market
from transport import apdu
from transport.apdu import CommandApdu, ResponseApdu
from transport.cell_broadcast import MessageFilter
from transport.toolkit import FILE_CHANGE, CommandType, ProactiveCommand

BY_PATH = 0x08
FILE_OCTETS = 2 * CBMID_ENTRIES


def _select(card: Card, path: bytes, *, p1: int = BY_PATH) -> int:
    command = CommandApdu(cla=INTERINDUSTRY, ins=INS_SELECT, p1=p1, p2=0x0C, data=path)
    return card.transmit_octets(command.encode()).status


def _read(card: Card, *, offset: int = 0, expected: int | None = 256) -> ResponseApdu:
    command = CommandApdu(
        cla=INTERINDUSTRY, ins=INS_READ_BINARY, p1=offset >> 8, p2=offset & 0xFF, expected=expected
    )
    return card.transmit_octets(command.encode())


def _wanted(card: Card) -> tuple[int, ...]:
    """Return what the terminal reads in EF.CBMID."""
    assert _select(card, EF_CBMID) == apdu.SW_OK
    response = _read(card)
    assert (response.status, len(response.data)) == (apdu.SW_OK, FILE_OCTETS)
    return MessageFilter.parse(response.data).identifiers


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


@pytest.mark.parametrize("path", ["7fff6f48", "3f007fff6f48"])
def test_the_path_of_the_file(path: str) -> None:
    """The path counts from the master file, which it may leave out."""
    assert _select(Card(), bytes.fromhex(path)) == apdu.SW_OK


@pytest.mark.parametrize(
    "path",
    ["", "48", "6f48", "ff6f48", "007fff6f48", "7fff6f46", "7fff", "3f00", "3f006f48", "7fff6f487fff6f48"],
)
def test_a_path_that_leads_nowhere(path: str) -> None:
    """No other path, and no half of this one, leads to a file; then there is nothing to read."""
    card = Card()
    assert _select(card, bytes.fromhex(path)) == apdu.SW_FILE_NOT_FOUND
    assert _read(card).status == apdu.SW_CONDITIONS_NOT_SATISFIED


@pytest.mark.parametrize("p1", [0x00, 0x04, 0x09, 0xFF])
def test_a_selection_of_another_kind(p1: int) -> None:
    """Selection is by path from the master file, and in no other way."""
    assert _select(Card(), EF_CBMID, p1=p1) == apdu.SW_FILE_NOT_FOUND


def test_nothing_is_read_before_it_is_selected() -> None:
    """A read needs a selection, which a power cut forgets."""
    card = Market().personalise().card
    assert _read(card).status == apdu.SW_CONDITIONS_NOT_SATISFIED
    assert _wanted(card) == (ANNOUNCEMENTS,)
    card.power_cycle()
    assert _read(card).status == apdu.SW_CONDITIONS_NOT_SATISFIED


@pytest.mark.parametrize("offset", [0, 1, 2, FILE_OCTETS - 1])
@pytest.mark.parametrize("expected", [1, 2, 16, 256, None])
def test_a_part_of_the_file(offset: int, expected: int | None) -> None:
    """A read begins at its offset and brings what was expected, to the end of the file at most."""
    card = Market().personalise().card
    whole = MessageFilter(identifiers=(ANNOUNCEMENTS,)).encode(CBMID_ENTRIES)
    assert _select(card, EF_CBMID) == apdu.SW_OK
    response = _read(card, offset=offset, expected=expected)
    assert response.status == apdu.SW_OK
    assert response.data == whole[offset : offset + (expected or 256)]


@pytest.mark.parametrize("offset", [FILE_OCTETS, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF])
def test_an_offset_beyond_the_file(offset: int) -> None:
    """An offset behind the last octet is a wrong parameter; the file stays selected."""
    card = Card()
    assert _select(card, EF_CBMID) == apdu.SW_OK
    assert _read(card, offset=offset).status == apdu.SW_WRONG_PARAMETERS
    assert _read(card).status == apdu.SW_OK


def test_each_class_has_its_own_commands() -> None:
    """Files are read in the interindustry class, and toolkit commands are there in the proprietary one."""
    card = Card()
    for octets in ("80a4080c047fff6f48", "80b0000000", "0012000000", "00c2000000"):
        assert card.transmit_octets(bytes.fromhex(octets)).status == apdu.SW_INS_NOT_SUPPORTED
