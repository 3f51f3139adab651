"""The event loop of our processes: uvloop's where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop for ``asyncio.Runner``; ``uvloop.run`` of 3.11 skips the clean-up."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
