"""The capture of a run: each process writes a part of its own, and one file is made of them at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agents.errors import FleetError
from bus.capture import Capture, merge

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from structlog.typing import FilteringBoundLogger


def part_of(path: Path, number: int) -> Path:
    """Return where handset process *number* (from 1) writes its part; 0 is the launcher."""
    return path.with_name(f"{path.name}.{number}")


def open_capture(stack: AsyncExitStack, path: str | None, log: FilteringBoundLogger) -> Capture | None:
    """Begin a capture at *path*, closed with *stack*; None when there is to be none. Raises FleetError."""
    if path is None:
        return None
    try:
        capture = Capture(Path(path), log=log)
    except OSError as error:
        raise FleetError(f"{path}: cannot write the capture: {error.strerror or error}") from None
    stack.callback(capture.close)
    return capture


def claim(path: Path) -> None:
    """Make sure, before a run, that a capture can be written to *path* after it. Raises FleetError."""
    try:
        if path.exists() and not path.is_file():
            raise FleetError(f"{path}: cannot write the capture: it is no file")
        path.open("ab").close()
    except OSError as error:
        raise FleetError(f"{path}: cannot write the capture: {error.strerror or error}") from None


def gather(path: Path, parts: int) -> None:
    """Make the capture at *path* out of the *parts* that the handset processes wrote. Raises FleetError."""
    try:
        merge([part for number in range(1, parts + 1) if (part := part_of(path, number)).exists()], path)
    except OSError as error:
        raise FleetError(f"{path}: cannot write the capture: {error.strerror or error}") from None
    except ValueError as error:
        raise FleetError(f"{path}: cannot write the capture: {error}") from None
