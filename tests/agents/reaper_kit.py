"""A role that is killed: after any of what it stores, sends or hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Killed(BaseException):
    """Raised in the place of whatever a process that is dead would have done next."""


class Reaper:
    """Kills at one moment of a story, counted from 1; who is dead does nothing any more."""

    def __init__(self) -> None:
        self.moments = 0
        self.fatal = 0
        """The moment; 0: nobody is killed."""

    @property
    def is_dead(self) -> bool:
        """Whether the moment has come."""
        return bool(self.fatal) and self.moments >= self.fatal

    def come(self) -> None:
        """Let a moment come."""
        self.moments += 1
        if self.is_dead:
            raise Killed

    def after(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return *method* with a moment behind it, and nothing of it for the dead."""

        async def mortal(*arguments: Any, **options: Any) -> Any:
            if self.is_dead:
                raise Killed
            result = await method(*arguments, **options)
            self.come()
            return result

        return mortal
