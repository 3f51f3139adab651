"""An order of the console, and the span that it is: a transaction's root, from giving it to its answer."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agents.console import CONSOLE
from bus import spans

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from agents.messages.orders import Event
    from bus.frame import TraceContext

UNANSWERED: Final = "no-answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an order asks, and of whom."""

    agent: str
    do: str
    ua: str
    service: str
    argument: bytes


@contextmanager
def order_span(
    trace: TraceContext, target: Target, answer: asyncio.Future[Event], attempt: int
) -> Iterator[None]:
    """Tell of the order that *trace* begins with, once the block has waited for its *answer*."""
    if not spans.is_exported():
        yield
        return
    work = spans.Work(trace)
    try:
        yield
    finally:
        said: dict[str, str | int] = {"otafleet.destination": target.agent, "otafleet.attempt": attempt}
        if target.ua:
            said["otafleet.ua"] = target.ua
        if target.service:
            said["otafleet.service"] = target.service
        error = answer.result().reason if answer.done() and not answer.cancelled() else UNANSWERED
        name = f"{target.do} {target.service}".rstrip()
        spans.tell(work, name, spans.Kind.CLIENT, CONSOLE, said, error)
