"""Everything the security module may raise that is not a fault of our own code.

Misuse by our own code is a ``ValueError``. What an operator, a supplier, an application or a worn memory does
wrong ends in one of these, and the module is then exactly as it was before::

    ModuleError                  reason: a short stable code; detail: words for a person, never a secret
    ├── ImageRejected            the memory image is not one, or is corrupt
    ├── MemoryFull               no room: in the zone, in DEF, in a record or in a resource's own area
    ├── TransitionRefused        the life cycle does not list this event in this state
    ├── ApplicationRefused       a programme that must not be loaded
    └── ExecutionFailed          a run that trapped, ran out of fuel or broke a rule of the ABI

    CommandRefused               a command of the terminal's that is not done; status: the word that says why
"""

from __future__ import annotations

# ruff: noqa: N818 -- the conditions have names of their own; a suffix would add nothing


class ModuleError(Exception):
    """What the module refuses; ``reason`` is stable enough to count, to answer and to test by."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class ImageRejected(ModuleError):
    """Raised when octets are not a memory image, or are a corrupt one."""


class MemoryFull(ModuleError):
    """Raised when what should be stored has no room."""


class TransitionRefused(ModuleError):
    """Raised when the life cycle does not list an event in the present state."""


class ApplicationRefused(ModuleError):
    """Raised when a programme must not be loaded into the resource it is meant for."""


class ExecutionFailed(ModuleError):
    """Raised when a run did not end well; the memory is as before it."""


class CommandRefused(Exception):
    """Raised when a command cannot be done; ``status`` is the status word of its response."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status:04X}")
        self.status = status
