"""Messages cut by hand, for the tests of their reassembly."""

from __future__ import annotations

from transport.concatenation import Part, Reassembler
from transport.sms import IEI_COMMAND_PACKET, IEI_RESPONSE_PACKET, InformationElement, UserData

COMMAND = InformationElement(iei=IEI_COMMAND_PACKET)
RESPONSE = InformationElement(iei=IEI_RESPONSE_PACKET)
PACKET = bytes(range(256)) + bytes(26)


def whole(packet: bytes = PACKET) -> UserData:
    """Return the command packet as it is before it is cut and after it is joined."""
    return UserData(header=(COMMAND,), payload=packet)


def part_of(total: int, sequence: int, payload: bytes = b"", *, reference: int = 1) -> UserData:
    """Return one hand-made part."""
    element = Part(reference=reference, total=total, sequence=sequence).element()
    return UserData(header=(element,), payload=payload)


def feed(reassembler: Reassembler, *parts: UserData, sender: str = "a", now: float = 0.0) -> UserData | None:
    """Feed *parts* in turn; all but the last leave the message incomplete. Return what the last gave."""
    for part in parts[:-1]:
        assert reassembler.receive(sender, part, now) is None
    return reassembler.receive(sender, parts[-1], now)
