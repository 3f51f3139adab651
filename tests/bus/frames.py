"""Frames and waiting for them, for the tests of the bus."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bus.frame import Bearer, Frame, TraceContext

PATIENCE_S = 20.0


def make_frame(
    number: int = 0, *, pdu: bytes = b"\x40\x05", bearer: Bearer = Bearer.SMS, source: str = "mno"
) -> Frame:
    """Return a frame that *number* tells from others."""
    return Frame(
        bearer=bearer,
        source=source,
        destination="8988000000000000001",
        pdu=pdu,
        reference=number.to_bytes(8, "big"),
        trace=TraceContext(trace_id=b"T" * 16, span_id=b"S" * 8),
        sent_at=1.5,
    )


def as_sent(frame: Frame) -> Frame:
    """Return a frame that came as ``make_frame`` makes one: on its way it had a span of its own."""
    assert frame.trace.span_id != b"S" * 8
    return replace(frame, trace=make_frame().trace)


class Collector:
    """A handler that keeps what it is given and can be awaited for a number of different frames."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.topics: list[str] = []
        self._references: set[bytes] = set()
        self._changed = asyncio.Event()

    def __call__(self, frame: Frame, topic: str) -> None:
        """Keep *frame*."""
        self.frames.append(frame)
        self.topics.append(topic)
        self._references.add(frame.reference)
        self._changed.set()

    async def got(self, count: int) -> set[int]:
        """Wait for *count* different frames; return the numbers of all."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self._references) < count:
                self._changed.clear()
                await self._changed.wait()
        return {int.from_bytes(reference, "big") for reference in self._references}
