"""The two ends of a message in the log: that it was sent, and that it was taken, or what became of it.

A message on its way is a span, which begins in the one that sent it; who takes it begins a span in the
message's. So the lines of both ends carry the message's own span, whichever processes wrote them, and a
repetition, sent under the same reference, is a span beside the first. A message that both ends tell of is
whole; one with a first end alone is on its way still, unless a loss is told of it.

Pages of a cell broadcast are told at the level debug: each is for many, and there are many. What a broadcast
came to is told by whoever broadcasts it, and by each module that took it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bus import tracing
from bus.frame import Bearer

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from bus.frame import Frame, TraceContext

SENT: Final = "message.sent"
TAKEN: Final = "message.taken"
LOST: Final = "message.lost"
_QUIET: Final = frozenset({Bearer.CELL_BROADCAST})


def tell(
    log: FilteringBoundLogger,
    event: str,
    frame: Frame,
    direction: str,
    *,
    span: TraceContext | None = None,
    reason: str = "",
) -> None:
    """Log one end of *frame*'s way, or its loss for *reason*; *span* is the message's where it begins."""
    say = log.debug if frame.bearer in _QUIET else log.info
    say(
        event,
        **tracing.ids(span or frame.trace),
        bearer=str(frame.bearer),
        direction=direction,
        source=frame.source,
        destination=frame.destination,
        reference=frame.reference.hex(),
        attempt=frame.attempt,
        octets=len(frame.pdu),
        **({"reason": reason} if reason else {}),
    )
