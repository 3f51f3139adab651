"""Which directory of logs a person means."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agents.errors import NoTrace
from agents.traces.reading import log_files

STATES: Final = Path("state")
_LOGS: Final = "logs"


def logs_in(directory: Path) -> Path:
    """Return the logs of a state directory, or the directory of logs itself. Raises NoTrace."""
    for logs in (directory / _LOGS, directory):
        try:
            next(logs.iterdir(), None)  # what lists files by a pattern keeps to itself that it may not
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise NoTrace(f"{logs}: cannot be read: {(error.strerror or str(error)).lower()}") from None
        if log_files(logs):
            return logs
    raise NoTrace(f"{directory}: there are no logs of a fleet here")


def is_log(path: Path) -> bool:
    """Whether *path* is one log of a fleet, which stands for those beside it."""
    return path in log_files(path.parent)


def latest_logs(states: Path = STATES) -> Path:
    """Return the logs that were written last among the fleets in *states*. Raises NoTrace."""
    written = [
        (log.stat().st_mtime_ns, logs) for logs in states.glob(f"*/{_LOGS}") for log in log_files(logs)
    ]
    if not written:
        raise NoTrace("there are no logs of a fleet here; run 'otafleet up', or name a fleet with --fleet")
    return max(written)[1]
