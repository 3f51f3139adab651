"""A launcher that is killed at a chosen moment.

It is ``python -m tests.scenarios.mortal CONFIG MOMENT COUNT [STEP]``. MOMENT is ``publish`` (before a message
leaves), ``published`` (after the broker has it), ``change`` (before rows go to a store) or ``changed``
(after they are durable), the last two of one table alone if they name it (``changed:reports``); COUNT says
which one of the process, or of what comes from the step with number STEP on. It kills itself with SIGKILL, so
nothing of it can put anything in order. 0 ends the run without being killed and prints how many of each there
were.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Table

from agents.fleet.config import load_config
from agents.fleet.launch import run
from agents.fleet.options import UpOptions
from agents.fleet.progress import Progress
from agents.store.group_commit import GroupCommit
from bus.client import BusClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agents.fleet.config import Step

_PLACES: Final[Mapping[tuple[str, str], tuple[type[Any], str]]] = {
    ("publish", "published"): (BusClient, "publish"),
    ("change", "changed"): (GroupCommit, "change"),
}


class _From(Progress):
    """Begins to count with a step."""

    def __init__(self, seen: Counter[str], step: int) -> None:
        self._seen = seen
        self._step = step

    def step_started(self, index: int, step: Step, total: int) -> None:  # noqa: ARG002
        """Forget what came before step *index*, if that is the one."""
        if index + 1 == self._step:
            self._seen.clear()


def main(config: str, moment: str, count: str, step: str = "") -> None:
    """Run until the moment comes."""
    seen: Counter[str] = Counter()
    if step:
        # Until the step begins, the moment is so far away that it never comes.
        seen[moment] = -(1 << 40)

    def come(now: str, about: object) -> None:
        named = f"{now}:{about.name}" if isinstance(about, Table) else now
        for each in {now, named}:
            seen[each] += 1
            if each == moment and seen[each] == int(count):
                os.kill(os.getpid(), signal.SIGKILL)

    for moments, (owner, name) in _PLACES.items():
        setattr(owner, name, _between(moments, getattr(owner, name), come))
    progress = _From(seen, int(step)) if step else Progress()
    asyncio.run(run(load_config(Path(config)), UpOptions(), progress))
    sys.stdout.write(json.dumps(seen) + "\n")


def _between(
    moments: tuple[str, str], method: Callable[..., Awaitable[Any]], come: Callable[[str, object], None]
) -> Callable[..., Awaitable[Any]]:
    """Return *method* with a moment before and one after it."""

    @functools.wraps(method)
    async def wrapped(*arguments: Any, **options: Any) -> Any:
        come(moments[0], arguments[1])
        result = await method(*arguments, **options)
        come(moments[1], arguments[1])
        return result

    return wrapped


def command() -> None:
    """Run with the words of the command line."""
    main(*sys.argv[1:])


if __name__ == "__main__":
    command()
