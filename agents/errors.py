"""Everything the agents floor may raise for what a person or the world got wrong.

Misuse by our own code is a ``ValueError``; octets that do not hold are the transport floor's ``Rejected``; a
broker that does not serve is the bus floor's ``BusError``. What is left is told to a person in sentences::

    Rejected                     (transport) octets from a peer that do not hold
    ├── MessageRejected          a typed message between roles
    │   └── NoSession            a question under a session that is not, or no longer, here
    └── DriverRejected           what a card reader's driver sent

    AgentError
    ├── Unproven                 a message that does not prove who sent it for whom; reason
    ├── Unheard                  what a stranger may have sent, dropped; reason
    ├── Refusal                  another party said no; reason: its own code for why
    │   └── PacketRefused        a module did, with a status other than OK
    ├── Unanswered               a party stayed silent through every attempt
    ├── SwitchedOff              a handset's owner did not wait until it was in reach
    ├── NoProgramme              a file that is no application, or a source that makes none; sentences: why
    ├── ConfigError              a config file that cannot be run; sentences: what is wrong (exit code 2)
    ├── FleetError               a run that cannot begin or go on; sentence: why (exit code 1)
    └── NoTrace                  logs, or an id, that lead to no transaction; sentence: why (exit code 2)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transport.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable


class MessageRejected(Rejected):
    """Raised when octets are not the message between roles that they should be."""


class NoSession(MessageRejected):
    """Raised for a question under a session that we do not have; ``notice`` is what tells its asker so."""

    def __init__(self, *, notice: bytes) -> None:
        super().__init__("no-session")
        self.notice = notice


class DriverRejected(Rejected):
    """Raised when octets are not what a card reader's driver says to a card."""


class AgentError(Exception):
    """The root of what this floor raises."""


class SwitchedOff(AgentError):  # noqa: N818 -- a condition, as the field says it
    """Raised where a handset waits to be in reach, when its owner switches it off."""


class ConfigError(AgentError):
    """Raised when a config cannot be run; each of ``sentences`` names the file, the key and the fault."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = list(sentences)
        super().__init__("\n".join(self.sentences))


class NoProgramme(AgentError):  # noqa: N818 -- a condition, as the field says it
    """Raised when a file gives no programme; each of ``sentences`` names the file and says why."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = list(sentences)
        super().__init__("\n".join(self.sentences))


class FleetError(AgentError):
    """Raised when a run cannot begin or go on; ``sentence`` names the culprit and says what it lacks."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class NoTrace(AgentError):  # noqa: N818 -- likewise
    """Raised when a person asks for a transaction that is not there; ``sentence`` says what is near."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class Unproven(AgentError):  # noqa: N818 -- likewise
    """Raised when a message does not prove who sent it for whom; ``reason`` is one of a closed set."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unheard(AgentError):  # noqa: N818 -- likewise
    """Raised for what a stranger may have sent: it is dropped, and changes and tells nothing; ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Refusal(AgentError):  # noqa: N818 -- likewise
    """Raised when another party said no; ``reason`` is its own code for why.

    ``proven`` says whether it is sure who said so: a response packet without a checksum may be anybody's.
    """

    def __init__(self, reason: str, *, proven: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.proven = proven


class PacketRefused(Refusal):
    """Raised when a module answered a packet with a status other than OK; ``reason`` names the status."""


class Unanswered(AgentError):  # noqa: N818 -- likewise
    """Raised when a party stayed silent through every attempt; ``who`` is its name or address."""

    reason = "no-answer"

    def __init__(self, who: str) -> None:
        super().__init__(f"{who} does not answer")
        self.who = who
