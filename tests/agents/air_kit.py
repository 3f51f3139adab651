"""Airs whose fates a test chooses: the seed that draws them is looked for, not guessed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from bus.air import lane_seed
from transport.air import Conditions, Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.frame import Bearer

HALF: Final = Conditions(loss=0.5)
LOST, THROUGH = False, True


def seed_for(bearer: Bearer, key: str, fates: Sequence[bool], conditions: Conditions = HALF) -> bytes:
    """Return a seed with which the first PDUs of the lane *key* meet *fates*."""
    for number in itertools.count():
        seed = number.to_bytes(4, "big")
        lane = Lane(conditions, lane_seed(seed, bearer, key), 0.0, queueing=False)
        if all(bool(lane.carry(1, 0.0)) is fate for fate in fates):
            return seed
    raise AssertionError
