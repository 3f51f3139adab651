"""Metrics of real runs: scraped over HTTP while the fleet works, and when it has."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from agents.errors import FleetError
from agents.fleet.launch import run
from agents.fleet.metrics_server import Endpoint
from agents.fleet.options import UpOptions
from agents.fleet.progress import Progress
from tests.agents.fleet_kit import fleet_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.fleet.config import Step
    from agents.fleet.report import Report
    from bus.address import BrokerAddress

STORY = """
[air]
speed = 1000
[air.sms]
loss = 0.1
report_timeout_s = 100.0
""" + "".join(
    f'\n[[step]]\ndo = "{do}"\n{keys}'
    for do, keys in (
        ("personalise", ""),
        ("agree", ""),
        ("subscribe", ""),
        ("reserve", ""),
        ("activate", ""),
        ("serve", ""),
        ("invoke", ""),
        ("block", 'service = "account"\n'),
        ("invoke", 'service = "account"\n'),
        ("release", 'service = "loyalty"\n'),
        ("wait", "for_s = 500\n"),
    )
)
"""A story with losses and retries, refusals, resources of several states, and a quiet end."""
SHORT = "".join(f'\n[[step]]\ndo = "{do}"\n' for do in ("personalise", "agree", "subscribe"))
CONSOLE = {"order", "event"}
"""What steers a run is no traffic of the market's: it is scraped, and not reported."""


@pytest.fixture(autouse=True)
def _loud_again() -> Iterator[None]:
    """Leave structlog as it was found: a launch configures it for its process."""
    yield
    structlog.reset_defaults()


class Scrape:
    """What one scrape found: values by name and labels."""

    def __init__(self, page: bytes) -> None:
        self.values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(page.decode())
            for sample in family.samples
        }

    def of(self, name: str, *labels: str, **where: str) -> dict[tuple[str, ...], float]:
        """Return the sums of the metric *name* by the values of *labels*, of samples that are *where*."""
        sums: Counter[tuple[str, ...]] = Counter()
        for (each, pairs), value in self.values.items():
            named = dict(pairs)
            if each == f"otafleet_{name}" and where.items() <= named.items():
                sums[tuple(named[label] for label in labels)] += value  # type: ignore[assignment]
        return dict(sums)


async def scrape(url: str) -> bytes:
    """Return the page at *url*, empty as long as the fleet is not up or when it is no more."""
    host, _, port = url.removeprefix("http://").removesuffix("/metrics").rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return b""
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: fleet\r\n\r\n")
        answer = await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return body if head.startswith(b"HTTP/1.1 200") else b""


class Scraper(Progress):
    """A Prometheus that looks whenever something has ended."""

    def __init__(self) -> None:
        self.pages: list[bytes] = []
        self._url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._moved = asyncio.Event()
        self._found = asyncio.Event()

    def note(self, sentence: str) -> None:
        """Learn where the metrics are."""
        if sentence.startswith("metrics: "):
            self._url.set_result(sentence.removeprefix("metrics: "))

    def step_started(self, index: int, step: Step, total: int) -> None:  # noqa: ARG002
        """Look: the step's targets are open."""
        self._moved.set()

    def advance(self, index: int, n: int = 1) -> None:  # noqa: ARG002
        """Look: another target has ended."""
        self._moved.set()

    async def newer(self) -> Scrape:
        """Look once more, and return what there is."""
        self._found.clear()
        self._moved.set()
        await self._found.wait()
        return Scrape(self.pages[-1])

    async def go_on(self) -> None:
        """Scrape, one page after the other."""
        url = await self._url
        while True:
            await self._moved.wait()
            self._moved.clear()
            page = await scrape(url)
            if page:
                self.pages.append(page)
                self._found.set()


def as_scraped(found: Scrape) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what a scrape says, as far as a report says it too; nothing where that is nothing."""
    traffic = {
        name: {
            bearer: count for bearer, count in found.of(name, "bearer").items() if bearer[0] not in CONSOLE
        }
        for name in ("messages_total", "octets_total", "retries_total", "losses_total")
    }
    others = {
        "dropped_total": found.of("dropped_total", "reason"),
        "refusals_total": found.of("refusals_total", "reason", what="order"),
        "resources": found.of("resources", "state"),
        "step_targets": found.of("step_targets", "number", "result"),
        "step_number": found.of("step_number"),
    }
    return {
        name: {labels: value for labels, value in values.items() if value}
        for name, values in (traffic | others).items()
    }


def as_reported(report: Report) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what the report says of the same things."""
    refused: Counter[str] = Counter()
    targets: dict[tuple[str, ...], float] = {}
    for step in report.steps:
        refused.update(step.reasons)
        for result in ("ok", "refused", "failed"):
            targets[str(step.number), result] = getattr(step, result)
    numbers: dict[str, dict[tuple[str, ...], float]] = {
        "messages_total": {(name,): each.messages for name, each in report.bearers.items()},
        "octets_total": {(name,): each.octets for name, each in report.bearers.items()},
        "retries_total": {(name,): each.retries for name, each in report.bearers.items()},
        "losses_total": {(name,): each.lost for name, each in report.bearers.items()},
        "dropped_total": {(reason,): count for reason, count in report.dropped.items()},
        "refusals_total": {(reason,): count for reason, count in refused.items()},
        "resources": {(state,): count for state, count in report.resources.items()},
        "step_targets": targets,
        "step_number": {(): len(report.steps)},
    }
    return {
        name: {labels: value for labels, value in values.items() if value} for name, values in numbers.items()
    }


@pytest.mark.parametrize(("workers", "story"), [(0, SHORT), (2, STORY)], ids=["alone", "crew"])
async def test_scrapes_follow_a_run_and_end_where_its_report_does(
    broker: BrokerAddress, fleet: str, tmp_path: Path, workers: int, story: str
) -> None:
    """Counters only grow, steps are seen under way, and all processes' counts are in what is served."""
    reports: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
    options = UpOptions(
        broker_url=f"mqtt://{broker.host}:{broker.port}",
        workers=workers,
        stay=True,
        metrics=Endpoint(port=0),
        on_report=reports.set_result,
    )
    scraper = Scraper()
    async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        launched = tasks.create_task(run(fleet_config(tmp_path, story, name=fleet), options, scraper))
        scraping = tasks.create_task(scraper.go_on())
        report = await reports
        # What is served may be some moments old.
        while as_scraped(found := await scraper.newer()) != as_reported(report):
            pass
        if workers:
            await _look_past_a_stuck_process(scraper)
        launched.cancel()
        scraping.cancel()
    assert report.ok
    assert found.of("processes", "state") == {("answering",): 1 + workers, ("late",): 0}
    scrapes = [Scrape(page) for page in scraper.pages]
    assert any(each.of("step_targets", "result").get(("open",)) for each in scrapes)
    _only_grow(scrapes)
    if story is STORY:
        assert as_scraped(found)["losses_total"]
        assert as_scraped(found)["retries_total"]
        assert {labels[0] for labels in found.of("resources", "state")} == {"blocked", "released"}
        assert found.of("refusals_total", "what", reason="blocked")


async def _look_past_a_stuck_process(scraper: Scraper) -> None:
    """Check that a process that does not answer is late, keeps what it said, and is asked again later."""
    stuck = _workers()[0]
    os.kill(stuck, signal.SIGSTOP)
    try:
        before = Scrape(scraper.pages[-1])
        while not (found := await scraper.newer()).of("processes", "state")["late",]:
            before = found
        assert as_scraped(found) == as_scraped(before)
    finally:
        os.kill(stuck, signal.SIGCONT)
    while (await scraper.newer()).of("processes", "state")["late",]:
        pass


def _workers() -> list[int]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    command = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, line in command.items() if b"agents.fleet.worker" in line]


def _only_grow(scrapes: list[Scrape]) -> None:
    """Check that what is a counter never goes back, nor away."""
    assert len(scrapes) > 1
    for one, next_one in pairwise(scrapes):
        for key, value in one.values.items():
            if key[0].endswith("_total"):
                assert next_one.values[key] >= value


async def test_a_taken_port_is_refused_before_anything_is_touched(
    broker: BrokerAddress, fleet: str, tmp_path: Path
) -> None:
    """The run does not begin: not even its state directory is made."""
    config = fleet_config(tmp_path, STORY, name=fleet)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        options = UpOptions(
            broker_url=f"mqtt://{broker.host}:{broker.port}", fresh=True, metrics=Endpoint(port=port)
        )
        with pytest.raises(FleetError, match=f"cannot serve metrics at 127.0.0.1:{port}: the port is in use"):
            await run(config, options, Progress())
    assert not config.state_directory.exists()
