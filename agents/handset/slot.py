"""The slot that the module is in: APDUs to it, and what it changed made durable before it is answered."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.core import MAX_NOTES
from agents.handset.security_module.links import FALLBACK
from bus import spans, tracing
from bus.capture import Layer
from bus.fallbacks import fall_back
from transport.apdu import INS_ENVELOPE, INS_STORE_DATA, PROPRIETARY, CommandApdu, ResponseApdu

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.handset.security_module.core import Note
    from agents.handset.security_module.module import SecurityModule
    from agents.handset.site import Site
    from bus.frame import TraceContext
    from transport.toolkit import Envelope


REFUSED: Final = ".refused"
"""How the names of notes end that tell of a refusal."""
GOOD: Final = ResponseApdu().encode()
"""What a module answers that asks for nothing."""


def envelope_command(envelope: Envelope) -> bytes:
    """Return the command APDU that tells a module of an event."""
    return CommandApdu(cla=PROPRIETARY, ins=INS_ENVELOPE, data=envelope.encode(), expected=256).encode()


class Slot:
    """One powered module; *trace* is the transaction that what is transmitted belongs to."""

    def __init__(self, ua: str, module: SecurityModule, site: Site, trace: TraceContext) -> None:
        self.module = module
        self.trace = trace
        self.notes: deque[Note] = deque(maxlen=MAX_NOTES)
        """What happened in the module since somebody cleared them; the oldest give way."""
        self.clock_off_s = 0
        """How far the time that the module is told is off: a handset may lie, and this is all it takes."""
        self._ua = ua
        self._site = site

    async def reboot(self) -> None:
        """Power the module off and on: it comes back as it was last stored."""
        self.module = await self._site.boot(self._ua)

    async def envelope(self, envelope: Envelope) -> ResponseApdu:
        """Tell the module of an event."""
        return await self.transmit(envelope_command(envelope))

    async def transmit(self, command: bytes) -> ResponseApdu:
        """Give the module one APDU; return its response once what it changed is durable."""
        return await self.settle(command, self._give(command))

    def hear(self, command: bytes) -> bytes | None:
        """Give the module one APDU that mostly comes to nothing; None says that it came to just that.

        Else the response is returned, which is nobody's before what the module changed is stored.
        """
        response = self._give(command)
        if response != GOOD or self.module.has_news:
            return response
        if self._site.capture is not None:
            self.record(Layer.APDU, command + response, uplink=False)
        return None

    def log(self, notes: Iterable[Note]) -> None:
        """Log what happened in the module."""
        for note in notes:
            if note.name == FALLBACK:
                self.trace = fall_back(self.trace, self._ua, note.reason)
                tracing.bind(self.trace)
            self._site.log.info(note.name, reason=note.reason, tar=note.tar.hex())
            if note.name.endswith(REFUSED):
                spans.fail(note.reason)

    def _give(self, command: bytes) -> bytes:
        return self.module.process(command, self._site.clock.now() + self.clock_off_s)

    async def settle(self, command: bytes, response: bytes) -> ResponseApdu:
        """Make durable what the module changed at *command*, and log what it says; return its *response*."""
        site = self._site
        notes = self.module.take_notes()
        self.log(notes)
        self.notes.extend(notes)
        changes = self.module.take_changes()
        if changes:
            await site.pages.save(self._ua, changes)
        # The factory is no part of the air, and what it stores may be the module's private keys.
        if command[1:2] != bytes([INS_STORE_DATA]):
            self.record(Layer.APDU, command + response, uplink=False)
        return ResponseApdu.parse(response)

    def record(
        self,
        layer: Layer,
        octets: bytes,
        *,
        uplink: bool,
        peer: str = "",
        trace: TraceContext | None = None,
    ) -> None:
        """Write *octets* to the capture, if there is one; *trace* has a message's own span."""
        if self._site.capture is not None:
            self._site.capture.write(
                layer,
                octets,
                uplink=uplink,
                handset=self._ua,
                peer=peer,
                trace=trace or self.trace,
                at=self._site.clock.now(),
            )
