"""The state directory: what a run leaves for the next one, and whose it is.

    lock            held by the run that is under way, or by whoever has put a module into a card reader
    fleet.db        which config made it, how many launches it saw, the console key, how far the steps are
    <role>.db       one database for each role; no role reads another's
    modules.db      the memory of every module
    logs/           JSON lines
    broker/         the broker's own files, when we start it

A directory belongs to the config that made it. What may change between two launches is what has not been used
yet (later steps) and what is no state (broker, air, expectations); anything else is refused, naming the
section.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agents.errors import FleetError
from agents.fleet.expectations import Outcome, Result
from agents.store.database import open_store
from agents.store.registry import Registry
from agents.store.tables import FLEET, SETTINGS, STEP_RESULTS
from bus import tracing
from bus.clock import Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from typing import TextIO

    from agents.fleet.config import FleetConfig
    from agents.store.group_commit import GroupCommit
    from bus.clock import Clock

KEY_OCTETS: Final = 16
_FLEET_DB: Final = "fleet.db"
_CLOCK: Final = "clock"
_MARK: Final = "lock"
_ASIDE: Final = ".previous"
"""Where a fresh start keeps what was there, until the new fleet is up."""


class Ledger:
    """What the steps have come to: one row for each target that has ended."""

    def __init__(self, store: GroupCommit) -> None:
        self._results = Registry(store, STEP_RESULTS)
        self.steps: frozenset[int] = frozenset()
        """The steps, from 1, that an earlier launch began."""

    async def load(self) -> None:
        """Read what earlier launches did."""
        await self._results.load()
        self.steps = frozenset(row["step"] for row in self._results.rows())

    def __len__(self) -> int:
        return len(self._results)

    def outcome(self, step: int, ua: str, service: str, *, may_fail: bool = False) -> Outcome | None:
        """Return how a target of step *step* (from 1) ended, if it has.

        One that failed has only where it was to fail: nobody answered then, and somebody may now.
        """
        row = self._results.get(step, ua, service)
        if row is None or (row["outcome"] == Result.FAILED and not may_fail):
            return None
        return Outcome(
            ua=ua,
            service=service,
            result=Result(row["outcome"]),
            reason=row["reason"],
            latency_s=row["latency_s"],
            told_s=row["told_s"],
            heard_s=row["heard_s"],
            output=row["output"],
            started=row["started"],
        )

    async def keep(self, step: int, outcome: Outcome, *, started: float) -> None:
        """Remember how a target ended; returns when that is durable."""
        await self.keep_all(step, [outcome], started=started)

    async def keep_all(self, step: int, outcomes: Iterable[Outcome], *, started: float) -> None:
        """Remember how several targets ended, all at once; returns when that is durable."""
        await self._results.put_all(
            {
                "step": step,
                "ua": outcome.ua,
                "service": outcome.service,
                "outcome": outcome.result.value,
                "reason": outcome.reason,
                "output": outcome.output,
                "started": started,
                "latency_s": outcome.latency_s,
                "told_s": outcome.told_s,
                "heard_s": outcome.heard_s,
            }
            for outcome in outcomes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One launch of a fleet: what its processes share."""

    directory: Path
    number: int
    """From 1: no two launches of a state directory draw the same randomness."""
    console_key: bytes = field(repr=False)
    begun_s: float = 0.0
    """When the first launch began, in simulated seconds since 1970: what the air counts from."""
    origin: Origin | None = None
    """What the clocks of this launch's processes set out from."""

    def database(self, name: str) -> Path:
        """Return where the database of *name* lies."""
        return self.directory / f"{name}.db"

    def log_file(self, process: str) -> Path:
        """Return where *process* logs."""
        return self.directory / "logs" / f"{process}.jsonl"


def open_log(launch: Launch, process: str, level: str, clock: Clock) -> tracing.Log:
    """Begin the log of *process*, which tells *clock*'s time. Raises FleetError when it cannot be kept."""
    path = launch.log_file(process)
    try:
        path.parent.mkdir(exist_ok=True)
        return tracing.configure(path, level=level, process=process, now=clock.now)
    except OSError as error:
        raise FleetError(f"{path}: cannot keep the log: {error.strerror}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetState:
    """An open state directory: ours alone until it is closed."""

    launch: Launch
    ledger: Ledger

    @property
    def resumed(self) -> bool:
        """Whether an earlier launch has ended any target already."""
        return len(self.ledger) > 0

    def forget_previous(self) -> None:
        """Remove what a fresh start put aside: the fleet is up, and nobody will want that back."""
        shutil.rmtree(self.launch.directory / _ASIDE, ignore_errors=True)


@asynccontextmanager
async def open_state(config: FleetConfig, *, fresh: bool) -> AsyncIterator[FleetState]:
    """Open, or make, the state directory of *config*.

    Raises FleetError when another run holds it, when another config made it, or when it is none of ours.
    """
    directory = config.state_directory
    lock = _lock(directory)
    try:
        # What a fresh start put aside is there again if that start came to nothing, however it ended.
        _put_back(directory)
        if fresh:
            _put_aside(directory)
        # Before we write anything ourselves.
        last_s = _last_written_s(directory)
        async with open_store(directory / _FLEET_DB, FLEET) as store:
            settings = Registry(store, SETTINGS)
            await settings.load()
            ledger = Ledger(store)
            await ledger.load()
            await _claim(config, settings, ledger)
            launch = await _begin(directory, settings, config.air.speed, last_s)
            yield FleetState(launch=launch, ledger=ledger)
    finally:
        _put_back(directory)
        lock.close()


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Keep a state directory to ourselves, as a run does. Raises FleetError when somebody else holds it."""
    lock = _lock(directory)
    try:
        _put_back(directory)
        yield
    finally:
        lock.close()


def _lock(directory: Path) -> TextIO:
    try:
        foreign = directory.exists() and any(directory.iterdir()) and not (directory / _MARK).exists()
        if foreign:
            raise FleetError(
                f"{directory}: is no state directory of otafleet; give another with fleet.state, or empty it"
            )
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / _MARK).open("a", encoding="utf-8")
    except OSError as error:
        raise FleetError(f"{directory}: cannot be used as state directory: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise FleetError(
            f"{directory}: is in use: a run of this fleet is under way, or a module of it is in a card reader"
        ) from None
    return lock


def _put_aside(directory: Path) -> None:
    """Move everything but the lock that we hold out of the way."""
    aside = directory / _ASIDE
    aside.mkdir()
    for entry in directory.iterdir():
        if entry.name not in (_MARK, _ASIDE):
            entry.rename(aside / entry.name)


def _put_back(directory: Path) -> None:
    """Undo a fresh start that came to nothing: what it made goes, what was there returns."""
    aside = directory / _ASIDE
    if not aside.exists():
        return
    for entry in directory.iterdir():
        if entry.name in (_MARK, _ASIDE):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for entry in aside.iterdir():
        entry.rename(directory / entry.name)
    aside.rmdir()


async def _claim(config: FleetConfig, settings: Registry, ledger: Ledger) -> None:
    directory = config.state_directory
    wanted = {f"config.{section}": digest for section, digest in config.fingerprints().items()}
    for key, digest in wanted.items():
        row = settings.get(key)
        if row is not None and row["value"] != digest.encode():
            section = key.partition(".")[2]
            raise FleetError(
                f"{directory}: was made by another config: [{section}] differs from {config.path}; "
                "use --fresh to begin anew, or another fleet.state"
            )
    for index in range(len(config.steps)):
        row = settings.get(f"step.{index}")
        differs = row is not None and row["value"] != config.step_digest(index).encode()
        if differs and index + 1 in ledger.steps:
            raise FleetError(
                f"{directory}: was made by another config: step {index + 1} differs from {config.path}; "
                "use --fresh to begin anew, or another fleet.state"
            )
    wanted |= {f"step.{index}": config.step_digest(index) for index in range(len(config.steps))}
    for key, digest in wanted.items():
        await settings.put({"key": key, "value": digest.encode()})


async def _begin(directory: Path, settings: Registry, speed: float | str, last_s: float) -> Launch:
    row = settings.get("launches")
    number = int.from_bytes(row["value"], "big") + 1 if row else 1
    await settings.put({"key": "launches", "value": number.to_bytes(4, "big")})
    # Never seeded: whoever knows the seed of a fleet must still not be able to give it orders.
    key_row = settings.get("console-key")
    key: bytes = key_row["value"] if key_row else secrets.token_bytes(KEY_OCTETS)
    await settings.put({"key": "console-key", "value": key})
    begun_s, origin = await _set_out(settings, speed, last_s)
    return Launch(directory=directory, number=number, console_key=key, begun_s=begun_s, origin=origin)


async def _set_out(settings: Registry, speed: float | str, last_s: float) -> tuple[float, Origin]:
    """Return when the fleet first began, and what this launch's clocks set out from.

    Simulated time may be ahead of the world's. It never goes back, or what an earlier launch made would not
    be valid yet: it goes on from where that launch can have been at *last_s*, when it last wrote anything.
    """
    now = time.time()
    row = settings.get(_CLOCK)
    known: dict[str, float] = json.loads(row["value"]) if row else {}
    reached = now
    if known:
        ran_s = max(0.0, min(last_s, now) - known["real_s"])
        reached = known["simulated_s"] + ran_s * known["speed"]
    origin = Origin(real_s=now, simulated_s=max(now, reached))
    begun_s = known.get("begun_s", origin.simulated_s)
    pace = float(speed) if not isinstance(speed, str) else 1.0
    value = {"begun_s": begun_s, "real_s": now, "simulated_s": origin.simulated_s, "speed": pace}
    await settings.put({"key": _CLOCK, "value": json.dumps(value).encode()})
    return begun_s, origin


def _last_written_s(directory: Path) -> float:
    """Return when the fleet last wrote a file; the log of a run is written all the time.

    What was written for whoever reads the log afterwards, an index beside it, says nothing of the fleet.
    """
    files = (*filter(Path.is_file, directory.iterdir()), *(directory / "logs").glob("*.jsonl"))
    return max(entry.stat().st_mtime for entry in files)
