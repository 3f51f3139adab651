"""SELECT and STATUS: every way to a file, and where we are afterwards (TS 102 221 clauses 8.4 and 11.1)."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from agents.handset.security_module.files import FILES, USIM_AID, Kind
from tests.agents.module_kit import Card
from transport import apdu, ber_tlv

USIM = USIM_AID.hex()
MF, DIR, ICCID, CBMID, ADF = "3f00", "2f00", "2fe2", "6f48", "7fff"
NAME = 0x84
IDENTIFIER = 0x83


def select(card: Card, p1: int, data: str, *, p2: int = 0x0C) -> int:
    """Select in the way of *p1*; return the status word."""
    octets = bytes.fromhex(data)
    body = bytes((len(octets),)) + octets if octets else b""
    return card.transmit_octets(bytes((0x00, 0xA4, p1, p2)) + body).status


def selected(card: Card) -> str:
    """Return what the current directory calls itself: its identifier, or the application's name."""
    response = card.transmit_octets(bytes.fromhex("80f2000000"))
    assert response.status == apdu.SW_OK
    [template] = ber_tlv.parse_all(response.data)
    found = {tlv.tag: tlv.value.hex() for tlv in ber_tlv.parse_all(template.value)}
    return found[NAME] if NAME in found else found[IDENTIFIER]


def reads(card: Card) -> int:
    """Return how many octets the current file has; 0: there is none."""
    return len(card.transmit_octets(bytes.fromhex("00b0000000")).data)


def in_usim() -> Card:
    """Return a module whose USIM was selected."""
    card = Card()
    assert select(card, 0x04, "a0000000871002") == apdu.SW_OK
    return card


def test_where_a_reset_leaves_us() -> None:
    """A module that was just powered is at its MF, with no file current and no application active."""
    card = Card()
    assert (selected(card), reads(card)) == (MF, 0)
    assert select(card, 0x00, ADF) == apdu.SW_FILE_NOT_FOUND
    assert select(card, 0x08, ADF + CBMID) == apdu.SW_FILE_NOT_FOUND


def test_a_reset_forgets() -> None:
    """After a reset it is there again, whatever was selected before."""
    card = in_usim()
    assert select(card, 0x00, CBMID) == apdu.SW_OK
    card.power_cycle()
    assert (selected(card), reads(card)) == (MF, 0)
    assert select(card, 0x00, ADF) == apdu.SW_FILE_NOT_FOUND


# --- by identifier ---


@pytest.mark.parametrize(
    ("identifier", "found"),
    [(MF, True), (DIR, True), (ICCID, True), (CBMID, False), (ADF, False), ("7f10", False), ("0000", False)],
)
def test_from_the_mf(identifier: str, found: bool) -> None:  # noqa: FBT001 -- a case
    """From the MF its own files are in reach, and the application's are not."""
    assert select(Card(), 0x00, identifier) == (apdu.SW_OK if found else apdu.SW_FILE_NOT_FOUND)


@pytest.mark.parametrize(
    ("identifier", "found"), [(MF, True), (CBMID, True), (ADF, True), (DIR, False), (ICCID, False)]
)
def test_from_the_application(identifier: str, found: bool) -> None:  # noqa: FBT001 -- a case
    """From an application its own files are in reach, itself and the MF, and not what the MF holds."""
    assert select(in_usim(), 0x00, identifier) == (apdu.SW_OK if found else apdu.SW_FILE_NOT_FOUND)


def test_no_identifier_is_the_mf() -> None:
    """SELECT without data and without an answer is the MF (clause 11.1.1.2)."""
    card = in_usim()
    assert select(card, 0x00, "") == apdu.SW_OK
    assert selected(card) == MF
    assert select(card, 0x00, "", p2=0x04) == apdu.SW_LENGTH_AGAINST_P1_P2


def test_an_application_stays_active_outside() -> None:
    """Who went from the application to the MF comes back by identifier 7FFF, or by a path from there."""
    card = in_usim()
    for p1, data in ((0x00, ADF), (0x08, ADF), (0x08, ADF + CBMID)):
        assert select(card, 0x00, MF) == apdu.SW_OK
        assert selected(card) == MF
        assert select(card, p1, data) == apdu.SW_OK
        assert selected(card) == USIM


def test_a_file_makes_its_directory_current() -> None:
    """Selecting an elementary file by path makes the directory that it is in the current one."""
    card = in_usim()
    assert select(card, 0x08, ICCID) == apdu.SW_OK
    assert (selected(card), reads(card)) == (MF, 10)
    assert select(card, 0x08, ADF + CBMID) == apdu.SW_OK
    assert (selected(card), reads(card)) == (USIM, 32)


def test_a_directory_leaves_no_file_current() -> None:
    """Selecting a directory, even the current one, ends the selection of a file (clause 8.4.1)."""
    card = Card()
    for again in (MF, ""):
        assert select(card, 0x00, ICCID) == apdu.SW_OK
        assert reads(card) == 10
        assert select(card, 0x00, again) == apdu.SW_OK
        assert reads(card) == 0


# --- by other ways ---


@pytest.mark.parametrize("identifier", [MF, DIR, ADF, "7f10"])
def test_there_is_no_child_directory(identifier: str) -> None:
    """P1 01 looks for directories inside the current one, and neither has any."""
    for card in (Card(), in_usim()):
        assert select(card, 0x01, identifier) == apdu.SW_FILE_NOT_FOUND


def test_the_parent() -> None:
    """P1 03 leads from the application to the MF, from the MF nowhere, and takes no data."""
    card = in_usim()
    assert select(card, 0x03, MF) == apdu.SW_LENGTH_AGAINST_P1_P2
    assert select(card, 0x03, "") == apdu.SW_OK
    assert selected(card) == MF
    assert select(card, 0x03, "") == apdu.SW_FILE_NOT_FOUND


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (ICCID, apdu.SW_OK),
        (MF + ICCID, apdu.SW_OK),
        (MF, apdu.SW_OK),
        (ADF, apdu.SW_OK),
        (ADF + CBMID, apdu.SW_OK),
        (MF + ADF + CBMID, apdu.SW_OK),
        (MF + MF, apdu.SW_FILE_NOT_FOUND),
        (MF + ADF + MF, apdu.SW_FILE_NOT_FOUND),
        (CBMID, apdu.SW_FILE_NOT_FOUND),
        (ADF + ICCID, apdu.SW_FILE_NOT_FOUND),
        (ADF + ADF, apdu.SW_FILE_NOT_FOUND),
        (ICCID + ICCID, apdu.SW_FILE_NOT_FOUND),
        (ADF + CBMID + CBMID, apdu.SW_FILE_NOT_FOUND),
        ("7f10" + CBMID, apdu.SW_FILE_NOT_FOUND),
        ("", apdu.SW_LENGTH_AGAINST_P1_P2),
        ("2f", apdu.SW_LENGTH_AGAINST_P1_P2),
        (ICCID + "00", apdu.SW_LENGTH_AGAINST_P1_P2),
    ],
)
def test_a_path_from_the_mf(path: str, status: int) -> None:
    """A path counts from the MF, whose identifier it may begin with, or from the active application."""
    assert select(in_usim(), 0x08, path) == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (CBMID, apdu.SW_OK),
        (ADF + CBMID, apdu.SW_FILE_NOT_FOUND),
        (MF, apdu.SW_FILE_NOT_FOUND),
        (ICCID, apdu.SW_FILE_NOT_FOUND),
        ("", apdu.SW_LENGTH_AGAINST_P1_P2),
        ("6f", apdu.SW_LENGTH_AGAINST_P1_P2),
    ],
)
def test_a_path_from_here(path: str, status: int) -> None:
    """A path from the current directory leads only downwards."""
    assert select(in_usim(), 0x09, path) == status


# --- by name ---


@pytest.mark.parametrize("name", [USIM, USIM[:14], "a0000000871002ff", "a000000087", "a0"])
def test_a_name_or_its_beginning(name: str) -> None:
    """An application is selected by its whole name and by any beginning of it (clause 8.5.1.2)."""
    card = Card()
    assert select(card, 0x04, name) == apdu.SW_OK
    assert selected(card) == USIM


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("a0000000871004", apdu.SW_FILE_NOT_FOUND),
        ("a000000151000000", apdu.SW_FILE_NOT_FOUND),
        (USIM[2:], apdu.SW_FILE_NOT_FOUND),
        (MF, apdu.SW_FILE_NOT_FOUND),
        ("", apdu.SW_LENGTH_AGAINST_P1_P2),
        (USIM + "00", apdu.SW_LENGTH_AGAINST_P1_P2),
    ],
)
def test_another_name(name: str, status: int) -> None:
    """Any other name, an ISIM's or a security domain's, is not found."""
    card = Card()
    assert select(card, 0x04, name) == status
    assert selected(card) == MF


def test_first_last_next_previous() -> None:
    """There is one application: it is the first and the last, and the next one unless we are there."""
    for occurrence in (0x0C, 0x0D, 0x0E, 0x0F):
        card = Card()
        assert select(card, 0x04, "a0", p2=occurrence) == apdu.SW_OK
        assert selected(card) == USIM
    card = in_usim()
    assert select(card, 0x04, "a0", p2=0x0C) == select(card, 0x04, "a0", p2=0x0D) == apdu.SW_OK
    assert select(card, 0x04, "a0", p2=0x0E) == select(card, 0x04, "a0", p2=0x0F) == apdu.SW_FILE_NOT_FOUND
    assert selected(card) == USIM


def test_the_end_of_a_session() -> None:
    """P2 may end an application's session: then we are at the MF, and 7FFF leads nowhere any more."""
    card = Card()
    assert select(card, 0x04, USIM, p2=0x4C) == apdu.SW_FILE_NOT_FOUND
    assert select(card, 0x04, USIM) == apdu.SW_OK
    assert select(card, 0x04, USIM, p2=0x4C) == apdu.SW_OK
    assert selected(card) == MF
    assert select(card, 0x00, ADF) == apdu.SW_FILE_NOT_FOUND


# --- parameters and answers ---


@pytest.mark.parametrize("p1", sorted({*range(0x100)} - {0x00, 0x01, 0x03, 0x04, 0x08, 0x09}))
def test_no_such_way(p1: int) -> None:
    """Ways to select that clause 11.1.1.2 does not list are wrong parameters."""
    assert select(Card(), p1, ICCID) == apdu.SW_WRONG_P1_P2


@pytest.mark.parametrize(
    ("p1", "data", "allowed"),
    [
        (0x00, ICCID, {0x04, 0x0C}),
        (0x08, ICCID, {0x04, 0x0C}),
        (0x04, USIM, {0x04, 0x05, 0x06, 0x07, 0x0C, 0x0D, 0x0E, 0x0F}),
    ],
    ids=["by-identifier", "by-path", "by-name"],
)
def test_no_such_answer(p1: int, data: str, allowed: set[int]) -> None:
    """P2 says FCP (04) or nothing (0C); of a name also which one; everything else is a wrong parameter."""
    ending = {p2 | 0x40 for p2 in allowed} if p1 == 0x04 else set()
    for p2 in range(0x100):
        status = select(Card(), p1, data, p2=p2)
        if p2 in ending:
            assert status == apdu.SW_FILE_NOT_FOUND, "no session to end"
        elif p2 in allowed:
            assert status == apdu.SW_OK or status & 0xFF00 == apdu.SW_MORE_DATA
        else:
            assert status == apdu.SW_WRONG_P1_P2


@pytest.mark.parametrize("data", ["", "2f", "2fe200"])
def test_an_identifier_of_another_length(data: str) -> None:
    """An identifier has two octets."""
    assert select(Card(), 0x00, data, p2=0x04) == apdu.SW_LENGTH_AGAINST_P1_P2


def test_what_is_not_found_changes_nothing() -> None:
    """After a selection that failed, directory, file and application are as before."""
    card = in_usim()
    assert select(card, 0x00, CBMID) == apdu.SW_OK
    for p1, data in ((0x00, ICCID), (0x04, "a1"), (0x08, CBMID), (0x09, DIR), (0x01, ADF)):
        assert select(card, p1, data) == apdu.SW_FILE_NOT_FOUND
        assert (selected(card), reads(card)) == (USIM, 32)


# --- STATUS ---


def test_status_says_what_select_said() -> None:
    """STATUS describes the current directory with the octets that its selection would answer."""
    for select_directory in ("00a40004023f0000", "00a40404 10" + USIM + "00"):
        card = Card()
        described = card.transmit_octets(bytes.fromhex(select_directory)).data
        for p1 in ("00", "01", "02"):
            response = card.transmit_octets(bytes.fromhex(f"80f2{p1}0000"))
            assert (response.data, response.status) == (described, apdu.SW_OK)
        exact = card.transmit_octets(bytes.fromhex(f"80f20000{len(described):02x}"))
        assert (exact.data, exact.status) == (described, apdu.SW_OK)


def test_status_names_the_application() -> None:
    """P2 01 is the name of the active application, also when we are elsewhere; without one, no condition."""
    card = Card()
    assert card.transmit_octets(bytes.fromhex("80f2000100")).status == apdu.SW_CONDITIONS_NOT_SATISFIED
    card = in_usim()
    assert select(card, 0x00, MF) == apdu.SW_OK
    response = card.transmit_octets(bytes.fromhex("80f2000100"))
    assert response.data.hex() == f"8410{USIM}"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("80f2000c", apdu.SW_OK),
        ("80f2000c00", apdu.SW_OK),
        ("80f20300", apdu.SW_WRONG_P1_P2),
        ("80f2ff0c", apdu.SW_WRONG_P1_P2),
        ("80f20002", apdu.SW_WRONG_P1_P2),
        ("80f20004", apdu.SW_WRONG_P1_P2),
        ("80f20000", apdu.SW_EXACT_LENGTH | 31),
        ("80f2000001", apdu.SW_EXACT_LENGTH | 31),
        ("80f20000ff", apdu.SW_EXACT_LENGTH | 31),
        ("00f2000000", apdu.SW_INS_NOT_SUPPORTED),
    ],
)
def test_status_words_of_status(command: str, status: int) -> None:
    """Parameters that are none, and an Le that does not fit, have their status words."""
    response = Card().transmit_octets(bytes.fromhex(command))
    assert (response.data, response.status) == (b"", status)


class Walk(RuleBasedStateMachine):
    """A terminal that selects at random, and a model of three variables beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.card = Card()
        self.directory = MF
        self.file = ""
        self.active = False

    def _check(self) -> None:
        assert selected(self.card) == self.directory
        sizes = {"": 0, DIR: 0, ICCID: 10, CBMID: 32}
        assert reads(self.card) == sizes[self.file]

    @rule(identifier=st.sampled_from([MF, DIR, ICCID, CBMID, ADF]))
    def by_identifier(self, identifier: str) -> None:
        """Children, the MF, and 7FFF while an application is active."""
        below = {MF: {DIR, ICCID}, USIM: {CBMID}}[self.directory]
        ok = identifier in below or identifier == MF or (identifier == ADF and self.active)
        assert select(self.card, 0x00, identifier) == (apdu.SW_OK if ok else apdu.SW_FILE_NOT_FOUND)
        if identifier in below:
            self.file = identifier
        elif ok:
            self.directory, self.file = {MF: MF, ADF: USIM}[identifier], ""
        self._check()

    @rule(path=st.sampled_from([ICCID, MF + DIR, ADF, ADF + CBMID, CBMID]))
    def by_path(self, path: str) -> None:
        """From the MF, or from the application while one is active."""
        ok = path in (ICCID, MF + DIR) or (path.startswith(ADF) and self.active)
        assert select(self.card, 0x08, path) == (apdu.SW_OK if ok else apdu.SW_FILE_NOT_FOUND)
        if ok:
            self.directory = USIM if path.startswith(ADF) else MF
            self.file = "" if path == ADF else path[-4:]
        self._check()

    @rule(ends=st.booleans())
    def by_name(self, ends: bool) -> None:  # noqa: FBT001 -- drawn
        """Begin with the USIM, or end it if it had begun."""
        ok = self.active or not ends
        status = select(self.card, 0x04, "a0000000871002", p2=0x4C if ends else 0x0C)
        assert status == (apdu.SW_OK if ok else apdu.SW_FILE_NOT_FOUND)
        if ok:
            self.directory, self.file, self.active = (MF if ends else USIM), "", not ends
        self._check()

    @rule()
    def power_cycle(self) -> None:
        """Everything is forgotten."""
        self.card.power_cycle()
        self.directory, self.file, self.active = MF, "", False
        self._check()


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_the_table_has_what_these_tests_know() -> None:
    """The directories are the MF and the USIM's: a further one belongs into these tests."""
    assert [file.identifier.hex() for file in FILES if file.kind is Kind.DIRECTORY] == [MF, ADF]
