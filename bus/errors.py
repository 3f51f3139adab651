"""Everything the bus floor may raise beside ``ValueError``, which is misuse by our own code.

::

    BusError                     something between us and the network did not hold
    ├── FrameRejected            an MQTT payload that is no frame of ours; reason: one of a closed set
    ├── TopicRejected            a topic that is none of ours
    ├── BrokerError              address: the broker's host and port, for the sentence
    │   ├── BrokerUnavailable    no connection at all: nothing listens there, or no route
    │   ├── BrokerRefused        it listens but will not have us: user, password, identifier, TLS
    │   ├── BrokerLost           it was there and stayed away longer than we were told to wait
    │   └── BrokerFailed         our own child: it did not start, or it will not stay up
    │       └── PortInUse        somebody else listens on the port we were told to use
    ├── ClientClosed             the connection was closed on our side while a call waited for it
    ├── MailboxFull              an actor's mailbox is at its bound; the message was not taken
    └── DeliveryFailed           a bearer gave a packet up; reason, destination, part, attempts
"""

# ruff: noqa: N818 -- errors are named by their condition, as on the transport floor
from __future__ import annotations


class BusError(Exception):
    """Something between us and the network did not hold."""


class FrameRejected(BusError):
    """Raised when an MQTT payload is no frame; ``reason`` is stable enough to count and to test by."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class TopicRejected(BusError):
    """Raised when a topic is none of ours."""

    reason = "unknown-topic"


class BrokerError(BusError):
    """The broker at ``address`` (``host:port``) is not to be had."""

    def __init__(self, address: str, message: str) -> None:
        super().__init__(message)
        self.address = address


class BrokerUnavailable(BrokerError):
    """Raised when no connection to the broker can be made."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(address, f"cannot reach the MQTT broker at {address}: {why}")


class BrokerRefused(BrokerError):
    """Raised when the broker answers but will not have us."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(address, f"the MQTT broker at {address} refused us: {why}")


class BrokerLost(BrokerError):
    """Raised when the broker went away and did not come back for as long as we may wait."""

    def __init__(self, address: str, waited_s: float) -> None:
        super().__init__(
            address, f"the MQTT broker at {address} was lost and did not return in {waited_s:g} s"
        )


class BrokerFailed(BrokerError):
    """Raised when a broker of our own does not start or does not stay up."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(address, f"the MQTT broker for {address} does not run: {why}")


class PortInUse(BrokerFailed):
    """Raised when somebody else already listens where our broker was told to."""

    def __init__(self, address: str) -> None:
        super().__init__(address, "the port is in use by another program; choose another or leave it out")


class ClientClosed(BusError):
    """Raised when our own side closed the connection while, or before, a call needed it."""

    def __init__(self, identifier: str) -> None:
        super().__init__(f"the bus client {identifier} is closed")
        self.identifier = identifier


class MailboxFull(BusError):
    """Raised when an actor's mailbox is at its bound; the message was not taken."""

    def __init__(self, actor: str, capacity: int) -> None:
        super().__init__(f"the mailbox of {actor} holds {capacity} messages and takes no more")
        self.actor = actor
        self.capacity = capacity


class DeliveryFailed(BusError):
    """Raised when a bearer gives a packet up; ``part`` counts from 1, ``attempts`` were made for it."""

    def __init__(self, reason: str, destination: str, part: int, attempts: int) -> None:
        super().__init__(f"{reason}: part {part} to {destination} after {attempts} attempts")
        self.reason = reason
        self.destination = destination
        self.part = part
        self.attempts = attempts
