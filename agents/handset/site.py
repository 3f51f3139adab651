"""What the handsets of one cell share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agents.handset.chorus import Chorus
from agents.handset.joint_save import JointSave
from agents.handset.terminal import TerminalKind

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
    terminal: TerminalKind = TerminalKind.FULL
    """What kind of handset they all are."""
    capture: Capture | None = None
    chorus: Chorus = field(init=False, repr=False, compare=False)
    """Who speaks for several of them."""
    joint_save: JointSave = field(init=False, repr=False, compare=False)
    """Who stores for several of them."""

    def __post_init__(self) -> None:
        """Let them speak with one voice where they have the same to tell, and store at one go."""
        chorus = Chorus(self.console, self.client, self.group, counters=self.counters, log=self.log)
        object.__setattr__(self, "chorus", chorus)
        object.__setattr__(self, "joint_save", JointSave(self.pages, self.group))
