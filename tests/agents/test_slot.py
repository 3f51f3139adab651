"""The slot: stored before it is told, and written to the capture when there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agents.errors import FleetError
from agents.handset.security_module.module import SecurityModule
from agents.handset.slot import Slot
from agents.store.tables import PAGES
from bus.capture import Capture, Layer, merge
from tests.agents.role_kit import TRACE, Kit
from transport.toolkit import Envelope, Tag

if TYPE_CHECKING:
    from pathlib import Path

    from agents.handset.security_module.memory import Memory
    from agents.handset.site import Site
    from transport.security.suites import Rng

TERMINAL_PROFILE = bytes.fromhex("801000000113")


class Listening(SecurityModule):
    """A module that keeps what it is told of the time."""

    def __init__(self, memory: Memory, *, rng: Rng) -> None:
        super().__init__(memory, rng=rng)
        self.told: list[float] = []

    def process(self, command: bytes, now: float) -> bytes:
        """Process."""
        self.told.append(now)
        return super().process(command, now)


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


async def test_the_module_is_told_the_handsets_time(kit: Kit) -> None:
    """The clock's, and as far off as the handset is: a module has no other."""
    slot = await slot_of(kit)
    listening = slot.module = Listening.blank(32_768, rng=kit.rng("listening"))
    assert isinstance(listening, Listening)
    begun = kit.clock.now()
    for off_s in (0, 86_400, -86_400):
        slot.clock_off_s = off_s
        await slot.transmit(TERMINAL_PROFILE)
    ended = kit.clock.now()
    assert all(
        begun <= now - off_s <= ended for now, off_s in zip(listening.told, (0, 86_400, -86_400), strict=True)
    )


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
