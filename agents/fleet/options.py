"""What the command line asks of one run, beside its config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.fleet.metrics_server import Endpoint
    from agents.fleet.report import Report


def _nobody(_report: Report) -> None:
    """Take a report that nobody waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """The options of ``otafleet up``."""

    fresh: bool = False
    """Begin anew: what the state directory holds is removed first."""

    stay: bool = False
    """Keep the fleet running after its last step, until the person stops it."""

    broker_url: str | None = field(default=None, repr=False)  # may carry a password
    """Use this broker in place of the config's: ``auto``, or an ``mqtt://`` or ``mqtts://`` URL."""

    workers: int | None = None
    """How many processes host the handsets beside ours; 0 = none, None = what suits fleet and machine."""

    log_level: str = "info"
    """The least level that is written to the log files: ``debug``, ``info`` or ``warning``."""

    capture: str | None = None
    """Write what goes over the air, and what the modules are told, to this pcapng file."""

    otlp: str | None = field(default=None, repr=False)  # may carry a password
    """Export spans to the OpenTelemetry collector at this URL; None: as the environment says."""

    metrics: Endpoint | None = None
    """Where Prometheus may ask how the run goes; None: nowhere."""

    on_report: Callable[[Report], None] = field(default=_nobody, repr=False)
    """Called once, as soon as the last step has ended: with ``stay`` long before the run returns."""
