"""The ways in which what two roles ask each other is protected, as ``link`` sees them.

There are two: ``link_sealed`` seals each message by itself, ``link_sessions`` makes a secure connection
first. Which one a pair of roles goes is its operator's to say, in the config; both sides know it beforehand,
and what comes the other way is refused. So nobody on the wire can talk a pair into the other way.

A way is sans-IO: octets in, octets out, time as an argument. ``link`` asks, waits, repeats and hands over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from transport.security.terms import PAIR_FORMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.directory import Party

SEALED: Final = "sealed"
LINKS: Final = (SEALED, *sorted(PAIR_FORMS))
"""What a config may name: each message sealed by itself, or sessions made in one of the forms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkForms:
    """How each pair of roles speaks: as it is said of the operator (or the factory) among the two."""

    said: Mapping[str, str] = field(default_factory=dict)
    """By name: ``sealed`` or a form. Each pair has one such name in it; of two the first by the alphabet."""

    def between(self, one: str, other: str) -> str:
        """Return how these two speak, the same whichever of them is asked."""
        return next((self.said[name] for name in sorted((one, other)) if name in self.said), SEALED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What *sender* proved to have said to us: a question, or a reply to the one with that reference."""

    sender: Party
    reference: bytes
    octets: bytes = field(repr=False)
    is_reply: bool
    counter: int = 0
    """Of its packet, in a session."""
    again: bool = False
    """Whether that packet came before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a way itself has to say to the other side, in answer to what came from there."""

    octets: bytes = field(repr=False)
    establishes: bytes = b""
    """The session that may be used once this is sent: see ``Way.sent``."""


class Way(Protocol):
    """One role's end of a way, to all others that it goes with."""

    def session(self, to: str) -> bytes | None:
        """Return the label of what questions to *to* travel under, or None: it has to be opened first.

        Raises Rejected for one to whom nothing can be said.
        """

    def open(self, to: str, now: float, *, patience_s: float) -> Letter | None:
        """Return what begins a new session with *to*; None when that began less than *patience_s* ago."""

    def sent(self, to: str, letter: Letter) -> bool:
        """Take note that *letter* is on its way; return whether there is a new session with *to* now."""

    def question(self, to: str, octets: bytes, reference: bytes) -> bytes:
        """Return a question as it travels."""

    def reply(self, to: str, octets: bytes, reference: bytes) -> tuple[bytes | None, bytes]:
        """Return a reply as it travels, None if it cannot, and what to keep of it for ``again``."""

    def again(self, to: str, kept: bytes, reference: bytes) -> bytes | None:
        """Return as it travels a reply that was given before."""

    def take(self, source: str, octets: bytes, now: float) -> Heard | Letter | None:
        """Return what came from *source*, or what to say to it. Raises Rejected."""

    def forget(self, heard: Heard) -> None:
        """Let a packet be new when it comes again: there was no room for what it said."""
