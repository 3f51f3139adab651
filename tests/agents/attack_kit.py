"""What attackers of a module use: messages that no honest party can make, and an eye on what they change."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import msgpack

from agents.handset.security_module.definitions import DefinitionTable
from agents.handset.security_module.memory import RECORD_SIZES, Memory, Record
from agents.messages.air import Announce
from agents.messages.codec import encode
from agents.messages.signed import EVERYBODY, Purpose
from tests.agents.module_kit import Market, Supplier, manage
from transport.secured_packet import ResponseStatus

if TYPE_CHECKING:
    from agents.handset.security_module.definitions import Definition

SHOP_TAR: Final = bytes.fromhex("B20001")
UNPROVEN: Final = ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
TURNS: Final = frozenset({Record.COUNTERS, Record.ANSWER})
"""All that a proven command which is refused may change: its turn is used, its answer kept."""


def shop() -> Supplier:
    """Return another supplier than the market's own."""
    return Supplier(suite="p256", name="shop", number="15550300", tar=SHOP_TAR, service="loyalty")


def altered(message: object, place: int, value: object) -> bytes:
    """Return a message, or its octets, with another value in one place, which no class would let it have."""
    values = msgpack.unpackb(message if isinstance(message, bytes) else encode(message))
    values[place] = value
    octets: bytes = msgpack.packb(values)
    return octets


def field(kind: Any, name: str) -> int:
    """Return the place of a field in the array of a message of this class, behind the class's number."""
    return 1 + [each.name for each in dataclasses.fields(kind)].index(name)


def changed(before: bytes, after: bytes) -> set[Record | int]:
    """Return what is different in two images: records of the operating area, and octets beyond them."""
    if before == after:
        return set()
    one, other = Memory.boot(before), Memory.boot(after)
    records = {record for record in RECORD_SIZES if one.get_record(record) != other.get_record(record)}
    rest = range(one.table_start, len(before))
    return records | {place for place in rest if before[place] != after[place]}


def besides_sessions(image: bytes) -> tuple[list[Definition], bytes]:
    """Return what an image holds of resources, but for the counters of their sessions."""
    memory = Memory.boot(image)
    definitions = [dataclasses.replace(each, session=None) for each in DefinitionTable(memory).all()]
    return definitions, image[memory.zone_start :]


def unproven(market: Market, data: bytes) -> str:
    """Send the resource manager what must prove nothing; return why. Nobody is answered, nothing changes."""
    before = market.card.image
    replied = manage(market.card, data)
    assert (replied.status, replied.data) == (UNPROVEN, b"")
    assert market.card.image == before
    return market.card.reasons[-1]


def refused(market: Market, body: object) -> str:
    """Have a proven command refused; return why. Its turn is used, and nothing else changes."""
    before = market.card.image
    answer = market.command(body)
    assert (answer.rsc_id, answer.reason) == (0, market.card.reasons[-1])
    assert changed(before, market.card.image) <= TURNS
    return answer.reason


def announce(market: Market, time: int, *, counter: int) -> None:
    """Have the operator tell the module the time, by a short message."""
    terms: dict[str, Any] = {"ua": EVERYBODY, "purpose": Purpose.ANNOUNCEMENT}
    data = market.operator.signed(Announce(time=time), counter=counter, **terms)
    assert manage(market.card, data).status is ResponseStatus.POR_OK


def unheard(market: Market, supplier: Supplier, packet: bytes) -> str:
    """Send a packet that must not be taken; return why. Nothing changes."""
    before = market.card.image
    octets = market.card.download(packet, sender=supplier.number)
    assert octets
    assert market.card.image == before
    return market.card.reasons[-1]
