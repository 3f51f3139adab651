"""Whether, and where to, a run's spans are exported: the command line, or OpenTelemetry's own environment.

The environment is the standard one. ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``
name a collector, ``OTEL_TRACES_SAMPLER_ARG`` a ratio of the transactions; headers, certificates, compression
and time-outs the library reads by itself. What is set for a whole machine must not end a fleet: where it
cannot be followed, that is said once. What the command line asks for is done, or refused.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agents.console import CONSOLE
from agents.errors import FleetError
from agents.fleet.addresses import server_addresses
from agents.fleet.houses import authorities_of, personalizer_of
from bus.sampling import Sampling
from bus.spans import exported_by, is_ua

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from agents.fleet.config import FleetConfig
    from agents.fleet.config_tables import Allocator, Operator, Supplier
    from agents.fleet.state import Launch
    from bus.clock import Clock
    from bus.otlp import OtlpExport

PATH: Final = "/v1/traces"
HANDSETS: Final = "handsets"
"""The one service that all handsets are: a list of ten thousand would be none."""
OTHERS: Final = "others"
NOT_INSTALLED: Final = "spans are not exported: the extra is not installed: pip install 'otafleet[otel]'"
_PROTOCOL: Final = "http/protobuf"
_SECRET: Final = re.compile(r"\?\S*|(?<=//)[^/\s]*@")
"""The query of a URL, and who asks."""


def endpoint_of(url: str) -> str:
    """Return where spans go for the collector at *url*. Raises ValueError when that is none."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{_shown(url)} is no collector's URL, such as http://127.0.0.1:4318")
    _ = parts.port  # which raises for what is no port
    return url if parts.path.endswith(PATH) else url.rstrip("/") + PATH


def _shown(url: str) -> str:
    """Return *url* without what may be secret in it."""
    return url.partition("?")[0].rpartition("@")[2]


def _told(why: str) -> str:
    """Return *why* spans are not taken, in a library's words, without what may be secret in a URL there."""
    return _SECRET.sub("", why)


def ratio_of(environment: Mapping[str, str]) -> float:
    """Return the ratio of the transactions that the environment asks for. Raises ValueError for none such."""
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").removeprefix("parentbased_")
    if sampler == "always_off":
        return 0.0
    given = environment.get("OTEL_TRACES_SAMPLER_ARG", "")
    if sampler not in {"", "traceidratio"} or not given:
        return 1.0
    try:
        ratio = float(given)
        Sampling(ratio=ratio)
    except ValueError:
        raise ValueError(f"OTEL_TRACES_SAMPLER_ARG: {given!r} is no ratio from 0 to 1") from None
    return ratio


def named_by(environment: Mapping[str, str]) -> str:
    """Return the collector's endpoint by the environment, empty where it names none or wants no spans.

    Raises ValueError for a protocol that is not ours.
    """
    general = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    endpoint = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (general and endpoint_of(general))
    exporters = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    if not endpoint or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ""
    if "otlp" not in exporters.split(","):
        return ""
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = environment.get(name) or ""
        if protocol == _PROTOCOL:
            break
        if protocol:
            raise ValueError(f"{name}: spans are exported by {_PROTOCOL} only, not by {protocol}")
    return endpoint


def services_of(config: FleetConfig) -> Callable[[str], str]:
    """Return what says of each agent which service it is: roles are one each, all handsets are one."""
    authorities = [authority.name for authority in authorities_of(config)]
    names = {name: name for name in (CONSOLE, *authorities, *map(personalizer_of, authorities))}
    roles: tuple[Operator | Supplier | Allocator, ...]
    roles = (*config.operators, *config.suppliers, *config.allocators)
    for role in roles:
        names[role.name] = names[role.number] = role.name  # on the air it goes by its number
    # and on a channel by the address of its server
    names |= {str(server.host): supplier for supplier, server in server_addresses(config).items()}

    def service_of(agent: str) -> str:
        return names.get(agent) or (HANDSETS if is_ua(agent) else OTHERS)

    return service_of


@asynccontextmanager
async def open_spans(
    config: FleetConfig,
    launch: Launch,
    process: str,
    *,
    url: str | None,
    clock: Clock,
    log: FilteringBoundLogger,
    say: Callable[[str], None],
) -> AsyncIterator[None]:
    """Export the spans of *process* inside the block, to the collector at *url* or by the environment.

    *say* tells the person what keeps spans from their collector, at most once each. Raises FleetError, in one
    sentence, when what was asked for cannot be.
    """
    try:
        endpoint = endpoint_of(url) if url else named_by(os.environ)
        ratio = ratio_of(os.environ) if endpoint else 0.0
        export = _opened(endpoint, ratio, config, launch, process, clock, log, say) if ratio else None
    except (ValueError, ImportError) as error:
        sentence = NOT_INSTALLED if isinstance(error, ImportError) else str(error)
        if url:
            raise FleetError(sentence) from None
        log.warning("spans.not_exported", reason=sentence)
        say(sentence)
        export = None
    if export is None:
        yield
        return
    try:
        with exported_by(export):
            yield
    finally:
        await asyncio.to_thread(export.close)


def _opened(
    endpoint: str,
    ratio: float,
    config: FleetConfig,
    launch: Launch,
    process: str,
    clock: Clock,
    log: FilteringBoundLogger,
    say: Callable[[str], None],
) -> OtlpExport:
    from bus.otlp import OtlpExport, exporter_to  # which needs the extra

    def warn(why: str) -> None:
        log.warning("spans.refused", reason=_told(why))
        say(f"the collector at {_shown(endpoint)} does not take spans; the run goes on without")

    def lost(count: int) -> None:
        log.warning("spans.lost", spans=count)
        say(f"{count} spans of {process} were not exported")

    return OtlpExport(
        exporter_to(endpoint),
        sampling=Sampling(ratio=ratio, modules=config.handset_count),
        service_of=services_of(config),
        resource={
            "service.namespace": config.fleet.name,
            "service.instance.id": f"{config.fleet.name}.{launch.number}.{process}",
        },
        now=clock.now,
        warn=warn,
        lost=lost,
    )
