"""What vsmartcard's driver ``vpcd`` says to a card and hears from it, without I/O.

Each message is its length in two octets, high one first, and so many octets. One of a single octet says what
happens to a line of the contacts; a longer one is a command APDU, and its answer a response APDU::

    00  power off        no answer
    01  power on         no answer
    02  reset            no answer
    04  what is the ATR  the ATR; asked all the time, because an answer says that the card is still there

Read in the driver's source (frankmorgner/vsmartcard, ``virtualsmartcard/src/vpcd``) and tried against it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from agents.errors import DriverRejected

HOST: Final = "127.0.0.1"
PORT: Final = 35963
"""Where the driver's first slot listens, unless its configuration says otherwise."""
LENGTH_OCTETS: Final = 2
MAX_MESSAGE: Final = 0xFFFF


class Line(IntEnum):
    """A message of one octet."""

    POWER_OFF = 0x00
    POWER_ON = 0x01
    RESET = 0x02
    ATR = 0x04


Message = Line | bytes
"""What the driver says: a line, or a command APDU."""


def encode(answer: bytes) -> bytes:
    """Return *answer* as a message. ValueError for none, or one that is too long."""
    if not 1 <= len(answer) <= MAX_MESSAGE:
        raise ValueError(f"a message has 1 to {MAX_MESSAGE} octets, not {len(answer)}")
    return len(answer).to_bytes(LENGTH_OCTETS, "big") + answer


class Messages:
    """The driver's stream of octets, cut into messages; it keeps one unfinished message at most."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def receive(self, octets: bytes) -> list[Message]:
        """Return the messages that *octets* complete.

        Raises DriverRejected (``empty-message``, ``unknown-line``): what sent them is no such driver, and the
        stream is of no use any more.
        """
        self._rest += octets
        found: list[Message] = []
        at = 0
        while len(self._rest) - at >= LENGTH_OCTETS:
            begin = at + LENGTH_OCTETS
            end = begin + int.from_bytes(self._rest[at:begin], "big")
            if end > len(self._rest):
                break
            found.append(_message(bytes(self._rest[begin:end])))
            at = end
        del self._rest[:at]
        return found


def _message(octets: bytes) -> Message:
    if not octets:
        raise DriverRejected("empty-message")
    if len(octets) > 1:
        return octets
    if octets[0] not in set(Line):
        raise DriverRejected("unknown-line", octets.hex())
    return Line(octets[0])
