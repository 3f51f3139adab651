"""What everything that is launched in one process shares, and how it gets what is its own alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.console import Console
from agents.randomness import make_rng
from bus.client import BusClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import FilteringBoundLogger

    from agents.fleet.config import FleetConfig
    from agents.fleet.state import Launch
    from bus.actor import ActorGroup
    from bus.address import BrokerAddress
    from bus.capture import Capture
    from bus.client import Companions
    from bus.clock import Clock
    from bus.counters import Counters
    from transport.security.suites import Rng


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What everything that is launched shares."""

    config: FleetConfig
    launch: Launch
    broker: BrokerAddress
    companions: Companions
    clock: Clock
    """Simulated time: of the air, of modules, and of what waits for them."""
    ground: Clock
    """The world's time: of what passes between roles, which goes over no air."""
    counters: Counters
    log: FilteringBoundLogger
    group: ActorGroup
    capture: Capture | None = None

    def rng(self, label: str) -> Rng:
        """Return *label*'s own randomness for this launch."""
        return make_rng(self.config.fleet.seed, f"{self.config.fleet.name}/{self.launch.number}/{label}")

    def client(
        self, name: str, *, persistent: bool = True, owner: Mapping[str, str] | None = None
    ) -> BusClient:
        """Return a connection for *name*, to be entered; of its *owner* the log says so much."""
        return BusClient(
            self.broker,
            identifier=f"otafleet-{self.config.fleet.name}-{name}",
            log=self.log,
            counters=self.counters,
            owner=owner,
            persistent=persistent,
            companions=self.companions,
        )

    def console(self, name: str) -> Console:
        """Return *name*'s end of the console."""
        return Console(
            fleet=self.config.fleet.name,
            run=self.launch.number,
            key=self.launch.console_key,
            clock=self.ground,
            rng=self.rng(f"console/{name}"),
            counters=self.counters,
        )
