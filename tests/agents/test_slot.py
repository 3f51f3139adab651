"""The slot: stored before it is told, and written to the capture when there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agents.errors import FleetError
from agents.handset.slot import Slot
from agents.store.tables import PAGES
from bus.capture import Capture, Layer, merge
from tests.agents.role_kit import TRACE, Kit
from transport.toolkit import Envelope, Tag

if TYPE_CHECKING:
    from pathlib import Path

    from agents.handset.site import Site

TERMINAL_PROFILE = bytes.fromhex("8010000000")


async def slot_of(kit: Kit, site: Site | None = None) -> Slot:
    """Return the slot of the first handset, with a blank module in it."""
    return Slot(kit.ua(), await kit.boot(kit.ua()), site or kit.site(kit.clients["cell"]), TRACE)


async def test_what_the_module_changed_is_stored_before_it_answers(kit: Kit) -> None:
    """A blank module's first pages are on disk when its first response is there; then nothing changed."""
    slot = await slot_of(kit)
    assert await kit.pages.load(kit.ua()) == []
    assert (await slot.transmit(TERMINAL_PROFILE)).is_good
    stored = await kit.pages.load(kit.ua())
    assert stored
    await slot.transmit(TERMINAL_PROFILE)
    assert await kit.pages.load(kit.ua()) == stored


async def test_what_cannot_be_stored_is_not_told(kit: Kit) -> None:
    """The disk is full: nobody gets the response."""
    slot = await slot_of(kit)
    kit.fail_next_save("handsets", PAGES)
    with pytest.raises(FleetError):
        await slot.transmit(TERMINAL_PROFILE)


async def test_after_a_reboot_the_module_is_as_it_was_stored(kit: Kit) -> None:
    """Another module of the same memory."""
    slot = await slot_of(kit)
    await slot.transmit(TERMINAL_PROFILE)
    before = slot.module
    await slot.reboot()
    assert slot.module is not before
    assert slot.module.ua is None


async def test_what_happened_in_the_module_is_noted(kit: Kit) -> None:
    """A page that the module did not ask for is refused, and the shell may know why."""
    slot = await slot_of(kit)
    response = await slot.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=bytes(88)))
    assert not response.is_good
    assert [(note.name, note.reason) for note in slot.notes] == [("envelope.refused", "message-identifier")]


async def test_apdus_are_captured(kit: Kit, tmp_path: Path) -> None:
    """Command and response in one packet; without a capture nothing is written."""
    part = tmp_path / "part"
    capture = Capture(part, log=kit.log)
    slot = await slot_of(kit, kit.site(kit.clients["cell"], capture=capture))
    await slot.transmit(TERMINAL_PROFILE)
    slot.record(Layer.SMS, b"a tpdu", uplink=True, peer="15550100")
    capture.close()
    octets = part.read_bytes()
    assert 0 < octets.index(TERMINAL_PROFILE[:4]) < octets.index(b"a tpdu")
    assert merge([part], tmp_path / "whole") >= 2
    (await slot_of(kit)).record(Layer.SMS, b"nowhere", uplink=True)
