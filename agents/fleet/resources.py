"""What this process takes of the machine."""

from __future__ import annotations

import gc
import os
import resource
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIB: Final = 1024 * 1024
_PYTHONS_OWN: Final = 1_000  # objects that Python may have frozen when it starts: 3.12 some hundred


def peak_mib() -> float:
    """Return the most memory that this process ever held, in MiB."""
    # Linux counts in KiB, macOS in octets.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Let the garbage collector leave alone what is there now, and look at the rest seldom.

    A launched fleet is some hundred thousand objects that all stay, and its messages make few cycles; looking
    for them as often as Python does by default cost a sixth of a run's time. Who runs a fleet in a process of
    his own and has frozen what he has, as the tests do, finds it frozen afterwards.
    """
    before, frozen = gc.get_threshold(), gc.get_freeze_count() > _PYTHONS_OWN
    if not frozen:
        gc.collect()
        gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not frozen:
            gc.unfreeze()


def cores() -> int:
    """Return how many processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
