"""The processes that host a fleet's handsets beside ours: started, waited for, asked, ended.

One Python process uses one core. With handsets in processes of their own a large fleet uses the others too;
roles and handsets never met but on the bus, so nothing else changes. A worker that dies ends the run with a
sentence: its handsets are in the state directory, and the next launch goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agents.errors import FleetError
from agents.fleet.captures import part_of
from agents.fleet.figures import CrewFigures, HandsetFigures
from agents.fleet.radio import DATABASE, HandsetSummary
from agents.fleet.resources import cores
from agents.fleet.worker import FIGURES, RECEIVED, SUMMARY, Assignment
from agents.store.database import open_store
from agents.store.tables import MODULES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agents.fleet.config import FleetConfig
    from agents.fleet.options import UpOptions
    from agents.fleet.surroundings import Surroundings

ALONE: Final = 400
"""Up to so many handsets a process of their own costs more time than it saves."""
MAX_LINE: Final = 1024 * 1024
STOP_TIMEOUT_S: Final = 30.0
PATIENCE_S: Final = 2.0
"""How long a worker has to say what its handsets come to; Prometheus waits for ten seconds by default."""


def workers_for(config: FleetConfig, wanted: int | None) -> int:
    """Return how many processes shall host the handsets beside ours: *wanted*, or what suits the machine.

    Never more than there are cells; 0 = our own process hosts them.
    """
    cells = sum(group.cells for group in config.handsets)
    if wanted is None:
        wanted = 0 if config.handset_count <= ALONE else max(1, cores() - 1)
    return min(wanted, cells)


class _Worker:
    """One process, and the lines it says."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.figures = HandsetFigures()
        """What it said last of its handsets."""
        self._turn = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._last_word = "it died"

    async def tell(self, line: str) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        await self.process.stdin.drain()

    async def hear(self) -> dict[str, Any]:
        """Return the next thing it says. Raises FleetError with its own sentence, or that it died."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        values: dict[str, Any] = json.loads(line) if line else {"error": self._last_word}
        if "error" in values:
            self._last_word = values["error"]
            raise FleetError(f"{self.name}: {values['error']}")
        return values

    async def ask(self, question: str) -> dict[str, Any]:
        """Return what it answers, to one who asks at a time. Raises FleetError as ``hear``."""
        async with self._turn:
            await self.tell(question)
            return await self.hear()

    def look(self) -> asyncio.Task[None]:
        """Have it say what its handsets come to; the task ends when it has. It is asked once at a time.

        Who does not wait for that long leaves the task alone: an answer that nobody took would be the next
        one's.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name=f"look[{self.name}]")
        return self._looking

    async def _look(self) -> None:
        # That it died is for who watches the crew to say.
        with contextlib.suppress(FleetError, OSError):
            self.figures = HandsetFigures(**await self.ask(FIGURES))

    async def end(self) -> None:
        """Close its input and wait until it has gone; one that will not go is killed."""
        if self._looking is not None:
            self._looking.cancel()
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


class Crew:
    """The workers of one run, all ready."""

    def __init__(self, workers: list[_Worker]) -> None:
        self._workers = workers

    async def summaries(self) -> list[HandsetSummary]:
        """Return what became of each worker's handsets. Raises FleetError if one has died."""
        return [HandsetSummary(**await worker.ask(SUMMARY)) for worker in self._workers]

    async def figures(self) -> CrewFigures:
        """Return what all handsets come to; of a worker that takes too long to say, what it said last."""
        looks = {worker.look() for worker in self._workers}
        done, _ = await asyncio.wait(looks, timeout=PATIENCE_S)
        return CrewFigures(
            handsets=[worker.figures for worker in self._workers],
            processes=len(self._workers),
            answering=len(done),
        )

    async def received(self) -> int:
        """Return how many pages the cells have received. Raises FleetError if a worker has died."""
        answers = [await worker.ask(RECEIVED) for worker in self._workers]
        return sum(answer[RECEIVED] for answer in answers)

    async def watch(self) -> None:
        """Raise FleetError as soon as a worker dies; returns never."""
        waits = [asyncio.create_task(worker.process.wait(), name=worker.name) for worker in self._workers]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            gone = next(wait for wait in waits if wait.done())
            raise FleetError(f"{gone.get_name()}: died with status {gone.result()} in mid-run")
        finally:
            for wait in waits:
                wait.cancel()


@contextlib.asynccontextmanager
async def open_crew(around: Surroundings, processes: int, options: UpOptions) -> AsyncIterator[Crew]:
    """Start *processes* workers and yield them once all their handsets are on; end them afterwards.

    Each logs, writes its part of the capture and exports its spans as *options* say.

    Raises FleetError when one cannot begin.
    """
    workers: list[_Worker] = []
    # The tables are made here, once: two workers that both find none would both make them.
    async with open_store(around.launch.database(DATABASE), MODULES):
        pass
    try:
        for share in range(processes):
            worker = await _start(around, share, processes, options)
            workers.append(worker)  # one by one: what was started is ended, whatever comes after
        for worker in workers:
            await worker.hear()
        crew = Crew(workers)
        # In the actors' group, where a failure ends the run.
        watch = around.group.spawn(crew.watch(), name="crew.watch")
        try:
            yield crew
        finally:
            watch.cancel()
    finally:
        await asyncio.gather(*(worker.end() for worker in workers))


async def _start(around: Surroundings, share: int, processes: int, options: UpOptions) -> _Worker:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agents.fleet.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE,
    )
    worker = _Worker(f"handset process {share + 1}", process)
    assignment = Assignment(
        config=str(around.config.path),
        fingerprints=around.config.fingerprints(),
        broker=around.broker,
        launch=around.launch,
        share=share,
        processes=processes,
        log_level=options.log_level,
        capture=str(part_of(Path(options.capture), share + 1)) if options.capture else None,
        otlp=options.otlp,
    )
    await worker.tell(assignment.encode())
    return worker
