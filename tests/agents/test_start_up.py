"""How a handset starts its module: what is said in which order, and what a strange card makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from agents.handset.security_module.files import USIM_AID
from agents.handset.start_up import MOST_APPLICATIONS, Usim
from agents.handset.terminal import PROFILES, TerminalKind
from agents.messages.bearers import ANNOUNCEMENTS
from tests.agents.module_kit import Card, Market
from transport import apdu
from transport.apdu import INSTRUCTIONS, CommandApdu, ResponseApdu
from transport.toolkit import CommandType, Facility, TerminalProfile
from transport.usim import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.handset.slot import Slot

FULL = PROFILES[TerminalKind.FULL]
START = [
    "READ RECORD: 00B201F400",
    f"TERMINAL PROFILE: 80100000{len(FULL.octets):02X}{FULL.octets.hex().upper()}",
    f"SELECT: 00A4040C10{USIM_AID.hex().upper()}",
    "READ BINARY: 00B0840000",
    "READ BINARY: 00B08E0000",
    "STATUS: 80F2010C",
]


def _personalised() -> Card:
    """Return a personalised module that has just got power, and knows of no terminal."""
    card = Market().personalise().card
    card.terminal = b""
    card.power_cycle()
    return card


class Contacts:
    """A slot with a card in it; *answers* are said in the card's place, by the command's octets."""

    def __init__(self, card: Card, answers: Mapping[str, bytes] | None = None) -> None:
        self._card = card
        self._answers = dict(answers or {})
        self.said: list[str] = []
        self.served: list[ResponseApdu] = []

    async def transmit(self, command: bytes) -> ResponseApdu:
        """Transmit, and remember it."""
        self.said.append(f"{INSTRUCTIONS[command[1]]}: {command.hex().upper()}")
        response = self._card.transmit_octets(command)
        replaced = self._answers.get(command[:4].hex())
        return response if replaced is None else ResponseApdu.parse(replaced)

    async def serve(self, response: ResponseApdu) -> None:
        """Remember what was to be served."""
        self.served.append(response)


async def started(contacts: Contacts, profile: TerminalProfile = FULL) -> Usim:
    """Return the USIM of a card that was started."""
    usim = Usim(cast("Slot", contacts), profile)
    await usim.start(contacts.serve)
    return usim


async def test_the_order() -> None:
    """EF.DIR, TERMINAL PROFILE, the USIM by its name, its services, what it wants to hear, STATUS.

    The responses to the profile and to STATUS are served, whatever they announce.
    """
    contacts = Contacts(_personalised())
    usim = await started(contacts)
    assert contacts.said == START
    assert [response.status for response in contacts.served] == [apdu.SW_OK] * 2
    assert usim.services == set(Service)
    assert usim.filter.identifiers == (ANNOUNCEMENTS,)


async def test_what_is_read_again() -> None:
    """A refresh selects the USIM again, which somebody at the contacts may have left, and reads one file."""
    card = _personalised()
    contacts = Contacts(card)
    usim = await started(contacts)
    card.transmit_octets(bytes.fromhex("00a4000c023f00"))
    contacts.said.clear()
    await usim.refresh()
    assert contacts.said == [START[2], START[4]]
    assert usim.filter.identifiers == (ANNOUNCEMENTS,)


async def test_a_blank_module_starts_too() -> None:
    """It has a USIM that wants to hear nothing."""
    usim = await started(Contacts(Card(terminal=b"")))
    assert usim.services == set(Service)
    assert usim.filter.identifiers == ()


async def test_a_handset_without_cell_broadcasts_does_not_ask_for_them() -> None:
    """What it could not pass on it does not read, and listens for nothing."""
    contacts = Contacts(_personalised())
    usim = await started(contacts, PROFILES[TerminalKind.NO_BROADCAST])
    assert START[4] not in contacts.said
    assert usim.filter.identifiers == ()


NO_FILE = apdu.SW_FILE_NOT_FOUND.to_bytes(2, "big")
STRANGE: Mapping[str, tuple[Mapping[str, bytes], list[str], set[Service]]] = {
    "no EF.DIR": ({"00b201f4": NO_FILE}, START[:2], set()),
    "no USIM": (
        {"00b201f4": bytes.fromhex("6109 4f07a0000000871004 9000"), "00b202f4": NO_FILE},
        [START[0], "READ RECORD: 00B202F400", START[1]],
        set(),
    ),
    "USIM second": (
        {"00b201f4": b"\xff\x90\0", "00b202f4": bytes.fromhex("6109 4f07a0000000871002 9000")},
        [START[0], "READ RECORD: 00B202F400", START[1], "SELECT: 00A4040C07A0000000871002", *START[3:]],
        set(Service),
    ),
    "USIM not to be selected": ({"00a4040c": NO_FILE}, START[:3], set()),
    "no services": ({"00b08400": NO_FILE}, [*START[:4], START[5]], set()),
    "no broadcasts": (
        {"00b08400": bytes.fromhex("00000008 9000")},
        [*START[:4], START[5]],
        {Service.SMS_PP_DOWNLOAD},
    ),
    "no EF.CBMID": ({"00b08e00": NO_FILE}, START, set(Service)),
    "EF.CBMID that is none": ({"00b08e00": b"\xff\xff\x10\x80\x90\0"}, START, set(Service)),
    "no profile taken": ({"80100000": b"\x6d\0"}, START, set(Service)),
}
"""What a card may say instead, what is said to it then, and which services it is taken to have."""


@pytest.mark.parametrize("name", STRANGE)
async def test_a_strange_card(name: str) -> None:
    """What is missing or makes no sense says that there is nothing; the start goes on as far as it can."""
    answers, said, services = STRANGE[name]
    contacts = Contacts(Card(terminal=b""), answers)
    usim = await started(contacts)
    assert contacts.said == said
    assert usim.services == services
    assert usim.filter.identifiers == ()


async def test_a_card_with_many_other_applications() -> None:
    """Of a directory without end so many records are read, and no more."""
    other = bytes.fromhex("6109 4f07a0000000871004 9000")
    answers = {f"00b2{number:02x}f4": other for number in range(1, 256)}
    contacts = Contacts(Card(terminal=b""), answers)
    await started(contacts)
    assert len([line for line in contacts.said if line.startswith("READ RECORD")]) == MOST_APPLICATIONS


# --- what the kinds of handset say ---


@pytest.mark.parametrize("kind", TerminalKind, ids=str)
def test_every_kind_can_be_served(kind: TerminalKind) -> None:
    """Each has short messages both ways, a person with display and keys, timers, and reads files again."""
    needs = {
        Facility.PROFILE_DOWNLOAD,
        Facility.SMS_PP_DOWNLOAD,
        Facility.SMS_PP_DOWNLOAD_TOO,
        Facility.SEND_SHORT_MESSAGE,
        Facility.DISPLAY_TEXT,
        Facility.GET_INPUT,
        Facility.MENU_SELECTION,
        Facility.TIMER_MANAGEMENT,
        Facility.TIMER_EXPIRATION,
        Facility.REFRESH,
    }
    assert PROFILES[kind].lack(needs) == ""


def test_what_the_kinds_differ_in() -> None:
    """One has no channels and nothing that belongs to them, one no cell broadcasts; all have their octets."""
    has = {kind: {each for each in Facility if each in PROFILES[kind]} for kind in TerminalKind}
    assert set(Facility) - has[TerminalKind.FULL] == {Facility.TCP_SERVER}
    assert has[TerminalKind.FULL] - has[TerminalKind.NO_BROADCAST] == {Facility.CELL_BROADCAST_DOWNLOAD}
    assert {"open-channel", "tcp-client", "data-available"} <= {
        each.word for each in has[TerminalKind.FULL] - has[TerminalKind.NO_BIP]
    }
    assert [PROFILES[kind].channels for kind in TerminalKind] == [7, 0, 7]
    assert [PROFILES[kind].octets.hex() for kind in TerminalKind] == [
        "3f018502010c00030100001fe200000003",
        "3f0185020100000301",
        "3b018502010c00030100001fe200000003",
    ]


def test_every_kind_tells_what_its_module_takes() -> None:
    """A module takes each profile, and asks a terminal of each kind for a short message."""
    for kind in TerminalKind:
        card = Card(terminal=PROFILES[kind].octets)
        command = CommandApdu(cla=0x80, ins=0xC2, data=bytes.fromhex("d30782020181900109"), expected=256)
        assert card.transmit_octets(command.encode()).proactive_length
        fetched = card.transmit(apdu.INS_FETCH)
        assert CommandType.DISPLAY_TEXT in fetched.data
