"""Markets for the tests of this floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agents.role_kit import Kit, open_kit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress


@pytest.fixture
async def kit(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> AsyncIterator[Kit]:
    """Yield the surroundings of a market of the test's own; nobody is at his desk yet."""
    async with open_kit(broker, fleet, tmp_path, log) as kit:
        yield kit


@pytest.fixture
async def market(kit: Kit) -> Kit:
    """Return a market with everybody at his desk, the services agreed, and one blank handset."""
    await kit.start("root", "factory", "mno", "other", "bank", "shop")
    await kit.handset()
    await kit.agree("account", "silent", "large", "loyalty", "liar")
    return kit
