"""Captures of a run: a part for each process, one file in the end, a sentence where none can be."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from agents.errors import FleetError
from agents.fleet.captures import gather, open_capture, part_of
from bus.capture import Layer
from tests.agents.role_kit import TRACE

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger


async def write_part(path: Path, at: float, octets: bytes, log: FilteringBoundLogger) -> None:
    """Write a part with one packet."""
    async with AsyncExitStack() as stack:
        capture = open_capture(stack, str(path), log)
        assert capture is not None
        capture.write(
            Layer.SMS, octets, uplink=True, handset="8988000000000000001", peer="15550100", trace=TRACE, at=at
        )


async def test_no_capture_unless_one_is_wanted(log: FilteringBoundLogger) -> None:
    """Nothing is opened, nothing is closed."""
    async with AsyncExitStack() as stack:
        assert open_capture(stack, None, log) is None


async def test_the_parts_become_one_file_in_order_of_time(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """Parts are named after the file; a process that wrote none is not missed; nothing else stays."""
    path = tmp_path / "run.pcapng"
    assert [part_of(path, number).name for number in (0, 1, 3)] == [
        "run.pcapng.0",
        "run.pcapng.1",
        "run.pcapng.3",
    ]
    await write_part(part_of(path, 1), 20.0, b"the later one", log)
    await write_part(part_of(path, 3), 10.0, b"the earlier one", log)
    gather(path, 3)
    octets = path.read_bytes()
    assert 0 < octets.index(b"the earlier one") < octets.index(b"the later one")
    assert not any(part_of(path, number).exists() for number in (1, 2, 3))


async def test_where_no_file_can_be_it_is_said_in_one_sentence(
    tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """The path and the system's word for it, when a capture is begun and when the parts are gathered."""
    path = tmp_path / "missing" / "run.pcapng"
    async with AsyncExitStack() as stack:
        with pytest.raises(FleetError, match=r"run\.pcapng: cannot write the capture: No such file"):
            open_capture(stack, str(path), log)
    with pytest.raises(FleetError, match=r"run\.pcapng: cannot write the capture: No such file"):
        gather(path, 2)


async def test_what_is_no_part_is_left_where_it_is(tmp_path: Path) -> None:
    """Somebody's file under a part's name is no capture: a sentence, and the file stays."""
    path = tmp_path / "run.pcapng"
    part_of(path, 1).write_bytes(b"years of work, in plain text, and rather long at that" * 4)
    with pytest.raises(FleetError, match="cannot write the capture"):
        gather(path, 1)
    assert part_of(path, 1).exists()
