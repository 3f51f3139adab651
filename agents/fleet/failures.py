"""What ends a run or a worker, as the one error that is told to a person."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from agents.errors import FleetError
from bus.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def as_fleet_error() -> Iterator[None]:
    """Turn what a run may end in into a FleetError; a fault of our own comes through as it is.

    A task group wraps what ended it; a person wants the first cause.
    """
    try:
        yield
    except BusError as error:
        raise FleetError(str(error)) from error
    except ExceptionGroup as group:
        known = group.subgroup((BusError, FleetError))
        if known is None:
            raise
        raise FleetError(str(_first(known))) from group


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
