"""What the handsets of one cell share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from agents.console import Console
    from agents.handset.antenna import Antenna
    from agents.handset.security_module.module import SecurityModule
    from agents.store.pages import PageStore
    from bus.actor import ActorGroup
    from bus.capture import Capture
    from bus.client import BusClient
    from bus.clock import Clock
    from bus.counters import Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the handsets of one cell share; *boot* powers a module from the store again, after a crash."""

    fleet: str
    client: BusClient
    antenna: Antenna
    console: Console
    pages: PageStore
    boot: Callable[[str], Awaitable[SecurityModule]]
    clock: Clock
    counters: Counters
    log: FilteringBoundLogger
    group: ActorGroup
    capture: Capture | None = None
