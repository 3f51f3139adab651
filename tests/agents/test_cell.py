"""A cell: many handsets on one connection, each with a mailbox of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.handset.cell import MOST_OCTETS
from agents.handset.phone import CAPACITY
from bus.errors import FrameRejected, MailboxFull
from bus.frame import Bearer
from bus.topics import BipDown, Broadcast, Contact, ContactReply, Orders, ShortMessageTo

if TYPE_CHECKING:
    from bus.frame import Frame
    from tests.agents.role_kit import Kit

TOPICS: Final[dict[Bearer, Any]] = {
    Bearer.SMS: ShortMessageTo,
    Bearer.BIP_TCP: BipDown,
    Bearer.BIP_UDP: BipDown,
    Bearer.CONTACT: Contact,
}


def contact(kit: Kit, index: int = 1) -> Frame:
    """Return an APDU for a handset, too short to be one, which is answered all the same."""
    return kit.sealed_apdu(b"\x80", ua=kit.ua(index))


async def test_each_handset_gets_what_is_for_it(kit: Kit) -> None:
    """Handsets that were attached together or later answer, each under its own name."""
    for index in (1, 2, 3):
        await kit.handset(kit.ua(index))
    assert list(kit.cell.phones) == [kit.ua(index) for index in (1, 2, 3)]
    for index in (1, 2, 3):
        topic = Contact(fleet=kit.fleet, ua=kit.ua(index))
        await kit.clients["tap"].publish(topic, contact(kit, index))
    answers = await kit.wire.until(ContactReply(fleet=kit.fleet, agent="factory"), 3)
    assert {answer.source for answer in answers} == {kit.ua(index) for index in (1, 2, 3)}


async def test_a_handset_listens_to_network_contacts_and_keys(kit: Kit) -> None:
    """Four topics each, and one of the whole cell's, on the cell's one connection."""
    await kit.handset()
    assert set(kit.clients["cell"].handlers) == {
        ShortMessageTo(fleet=kit.fleet, ua=kit.ua()).path,
        BipDown(fleet=kit.fleet, ua=kit.ua()).path,
        Contact(fleet=kit.fleet, ua=kit.ua()).path,
        Orders(fleet=kit.fleet, agent=kit.ua()).path,
        Broadcast(fleet=kit.fleet, cell="cell").path,
    }


@pytest.mark.parametrize("bearer", TOPICS, ids=str)
async def test_what_no_handset_can_take_waits_in_no_mailbox(kit: Kit, bearer: Bearer) -> None:
    """A frame holds much more than what goes over the air: such is refused where it arrives."""
    phone = await kit.handset()
    topic = TOPICS[bearer](fleet=kit.fleet, ua=kit.ua())
    frame = replace(contact(kit), bearer=bearer, pdu=bytes(MOST_OCTETS[bearer] + 1))
    with pytest.raises(FrameRejected, match="too-large"):
        kit.clients["cell"].inject(topic, frame)
    assert phone.waiting == 0
    kit.clients["cell"].inject(topic, replace(frame, pdu=bytes(MOST_OCTETS[bearer])))
    assert phone.waiting == 1


async def test_a_busy_handset_drops_what_it_cannot_hold(kit: Kit) -> None:
    """Beyond its mailbox a frame is refused to the bus; the handset beside it is not disturbed."""
    first, second = await kit.handset(kit.ua(1)), await kit.handset(kit.ua(2))
    topic = Contact(fleet=kit.fleet, ua=kit.ua(1))
    for _ in range(CAPACITY):
        kit.clients["cell"].inject(topic, contact(kit))
    with pytest.raises(MailboxFull):
        kit.clients["cell"].inject(topic, contact(kit))
    kit.clients["cell"].inject(Contact(fleet=kit.fleet, ua=kit.ua(2)), contact(kit, 2))
    await first.idle()
    await second.idle()
    answers = await kit.wire.until(ContactReply(fleet=kit.fleet, agent="factory"), CAPACITY + 1)
    assert len(answers) == CAPACITY + 1
