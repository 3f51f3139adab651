"""What a phone does with the pages of cell broadcasts: gives its module those that it asked for.

They come by the hundred, to all handsets of a cell at once, and of most of them nothing comes but that the
module has them: such a page is taken where it arrives. If something does come of one, it takes the shortest
way that there is for it: what is only to be logged is logged at once; what is to be stored, or told to the
console, is stored and told together with the other handsets of the cell; and only if the module asks for
something does the page get a turn of its own.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import domain_renewal
from agents.handset.security_module.diffusion import KNOWN, LOADED
from agents.handset.security_module.manager import ANNOUNCED
from agents.handset.slot import GOOD, envelope_command
from bus import spans, tracing
from bus.capture import Layer
from transport.cell_broadcast import Page
from transport.toolkit import Envelope, Tag

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from agents.handset.security_module.core import Note
    from agents.handset.serving import Serving
    from agents.handset.site import Site
    from agents.handset.slot import Slot
    from bus.frame import Frame

    class Turns(Protocol):
        """The actor whose pages these are."""

        def hold(self) -> None:
            """See ``Actor.hold``."""

        def release(self, first: Frame | None = None) -> None:
            """See ``Actor.release``."""


PAGES: Final = 512
"""Pages that are kept read, for all handsets of the process."""
_HEARD: Final = {
    ANNOUNCED: "announce",
    LOADED: "broadcast",
    KNOWN: "broadcast",
    domain_renewal.RENEWED: "roll-domain-key",
    domain_renewal.KNOWN: "roll-domain-key",
}
"""What a handset tells the console of what its module heard, by the note that the module leaves."""


class Paging:
    """One powered module's pages. *turns* is the phone, which takes nothing else while they are stored."""

    def __init__(self, ua: str, site: Site, slot: Slot, serving: Serving, turns: Turns) -> None:
        self._ua = ua
        self._site = site
        self._slot = slot
        self._serving = serving
        self._turns = turns
        self._answered: tuple[Frame, bytes | Exception] | None = None
        """A page that the module has taken already, and what it answered, or how it crashed over it."""

    def wants(self, page: Page) -> bool:
        """Whether the module asked for such pages; until it is started, nobody knows, and it is asked."""
        return not self._serving.is_started or self._serving.usim.filter.passes(page.message_identifier)

    def take(self, frame: Frame) -> bool:
        """Take a page that is wanted, at a phone that is at rest; False: it needs its turn, in ``handle``."""
        if not self._serving.is_started:
            return False
        self._slot.trace = frame.trace
        if self._site.capture is not None:
            self._record(frame)
        answer: bytes | Exception | None
        try:
            answer = self._slot.hear(_command(frame.pdu))
        except Exception as error:  # noqa: BLE001 -- raised again in its turn, where it is supervised
            self._answered = (frame, error)
            return False
        # Where spans are exported, what comes of a page is a piece of work like any other, with its times.
        if answer is not None and (answer != GOOD or spans.is_exported()):
            self._answered = (frame, answer)
            return False
        if answer is not None:
            self._settle(frame)
        return True

    async def handle(self, frame: Frame) -> None:
        """Take a page in its turn, and do what its module then asks for."""
        command, answered, self._answered = _command(frame.pdu), self._answered, None
        if answered is not None and answered[0] is frame:
            if isinstance(answered[1], Exception):
                raise answered[1]
            response = await self._slot.settle(command, answered[1])
        else:
            if not self.wants(_parsed(frame.pdu)):
                return
            self._record(frame)
            response = await self._slot.transmit(command)
        await self._serving.serve(response)
        self._tell(self._slot.notes, frame)

    def _settle(self, frame: Frame) -> None:
        """Have stored what a page changed in the module, and then told what it came to."""
        module = self._slot.module
        changes, notes = module.take_changes(), module.take_notes()
        if changes:
            self._site.joint_save.save(self._ua, changes, partial(self._saved, frame, notes))
            self._turns.hold()
        else:
            self._say(frame, notes)

    def _saved(self, frame: Frame, notes: Iterable[Note], failure: Exception | None) -> None:
        if failure is None:
            self._say(frame, notes)
            self._turns.release()
        else:
            self._answered = (frame, failure)
            self._turns.release(frame)

    def _say(self, frame: Frame, notes: Iterable[Note]) -> None:
        with tracing.bound(tracing.child(frame.trace), agent=self._ua, role="handset", ua=self._ua):
            self._slot.log(notes)
            self._slot.record(Layer.APDU, _command(frame.pdu) + GOOD, uplink=False)
            self._tell(notes, frame)

    def _tell(self, notes: Iterable[Note], frame: Frame) -> None:
        """Tell the console, with the other handsets of the cell, what the module heard."""
        for note in notes:
            do = _HEARD.get(note.name)
            if do is not None:
                resource = self._slot.module.definitions.by_tar(note.tar)
                service = resource.service if resource else ""
                self._site.log.info("order.ended", do=do, service=service, result="ok", reason="")
                self._site.chorus.tell(do, self._ua, service, heard_at=frame.sent_at, trace=frame.trace)

    def _record(self, frame: Frame) -> None:
        self._slot.record(Layer.CELL_BROADCAST, frame.pdu, uplink=False, peer=frame.source, trace=frame.trace)


@lru_cache(maxsize=PAGES)
def _parsed(pdu: bytes) -> Page:
    """Return the page in *pdu*: handsets of a cell hear the same ones."""
    return Page.parse(pdu)


@lru_cache(maxsize=PAGES)
def _command(pdu: bytes) -> bytes:
    """Return the command APDU that brings the page in *pdu* to a module."""
    return envelope_command(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=pdu))
