"""What tests of more than one floor need: a real broker and a logger."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import shutil
import signal
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import pytest
import structlog
from hypothesis import settings

from agents.fleet.loop import loop_factory
from bus.broker import open_broker
from tests.untraced import is_untraced, without_tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress

_FLEETS = itertools.count(1)

_PLAIN: Final = (
    structlog.processors.add_log_level,
    structlog.dev.set_exc_info,
    structlog.processors.format_exc_info,
    structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
)

# Speed is measured in ``make bench`` and never asserted: on a busy machine an example takes what it takes.
settings.register_profile("otafleet", deadline=None)
settings.load_profile("otafleet")


_MEMORY: Final = Path("/dev/shm")  # noqa: S108 -- pytest makes a directory of its own in there
_ROOM: Final = 2 << 30


def pytest_configure() -> None:
    """Let tests write into memory where that has room: a role waits for the disk at each commit.

    It stores the same in the same way, and no test can pull the plug. Without a disk to wait for, a market is
    through in half the time. Programmes that tests write have to start there.
    """
    if (
        _MEMORY.is_dir()
        and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
        and shutil.disk_usage(_MEMORY).free >= _ROOM
    ):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, object, object]:
    """Import a module of tests with the tracer, then have its thousand cases without it.

    What is wrong with the module comes up again where it is collected, and is told there.
    """
    if not isinstance(collector, pytest.Module):
        return (yield)
    with suppress(Exception, pytest.skip.Exception):
        _ = collector.obj
    with without_tracer():
        return (yield)


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone the tests themselves: each look at them takes half a second."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test that adds nothing to what coverage knows without its tracer."""
    with without_tracer() if is_untraced(item.nodeid) else nullcontext():
        return (yield)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt this process and what it starts, even if a shell had them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests in the loop that fleets run in: uvloop's, where it is installed."""
    return {"loop": loop_factory() or asyncio.new_event_loop}


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerAddress]:
    """Yield the address of a real broker for the whole session: mosquitto if installed, else amqtt."""
    quiet = cast("FilteringBoundLogger", structlog.wrap_logger(structlog.testing.CapturingLogger()))
    opened = open_broker(directory=tmp_path_factory.mktemp("broker"), log=quiet)
    with asyncio.Runner() as runner:
        yield runner.run(opened.__aenter__())
        runner.run(opened.__aexit__(None, None, None))


@pytest.fixture
def fleet() -> str:
    """Return a fleet name of the test's own, so that tests may share a broker."""
    return f"fleet-{os.getpid()}-{next(_FLEETS)}"


@pytest.fixture
def log() -> FilteringBoundLogger:
    """Return a logger whose events ``structlog.testing.capture_logs`` can look at."""
    return cast("FilteringBoundLogger", structlog.get_logger())


@pytest.fixture(autouse=True)
def _fresh_structlog() -> Iterator[None]:
    """Log plainly, since nobody looks unless a test fails; undo what a run inside a test configured.

    Colours and columns take a twentieth of the time of a test with roles. Logging is the one thing that a
    process has once.
    """
    structlog.configure(processors=list(_PLAIN))
    yield
    structlog.reset_defaults()
