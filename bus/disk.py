"""How much of a disk logs and captures leave alone: what is left is for what the roles have to store."""

from __future__ import annotations

import os
from typing import Final

SPARED: Final = 128 << 20
"""Octets; of a small disk, a twentieth."""


def is_nearly_full(descriptor: int) -> bool:
    """Say whether the disk of an open file has no room for more of what the run could do without."""
    disk = os.fstatvfs(descriptor)
    return disk.f_bavail * disk.f_frsize < min(SPARED, disk.f_blocks * disk.f_frsize // 20)
