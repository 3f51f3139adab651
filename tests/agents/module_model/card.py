"""What stands between a module and its model: a card that films, and a comparison, octet by octet."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agents.handset.security_module.core import Turns
from agents.handset.security_module.medium import PAGE
from agents.handset.security_module.memory import SHEET, Memory, Record
from agents.handset.security_module.module import SecurityModule
from agents.messages.codec import decode
from tests.agents.module_kit import Card, Market, probe
from tests.agents.module_model.model import Programme
from tests.agents.power_kit import FilmedMedium

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agents.handset.security_module.definitions import Definition
    from tests.agents.module_model.model import Model, Resource
    from transport.security.keyset import SessionKeys

SIZE: Final = 32 * 1024
SLOTS: Final = 4
_SHOWN: Final = 16
_CLOCK: Final = "(i64.store (i32.const 32) (call $time)) (call $output_write (i32.const 32) (i32.const 8))"
PROGRAMMES: Final = (
    Programme(name="plain", code=probe()),
    Programme(name="marked", code=probe(more="(i32.store8 (i32.const 14) (i32.const 66))"), mark=66),
    Programme(
        name="clock",
        code=probe(imports='(import "otafleet" "time" (func $time (result i64)))', more=_CLOCK),
        right="time",
    ),
    Programme(name="garbage", code=b"garbage" * 40, refused="not-webassembly"),
)
"""No two are of one length."""


@dataclass(slots=True, kw_only=True)
class FilmedCard(Card):
    """A card whose memory, with few slots in DEF, lies on a medium that films every write."""

    film: FilmedMedium = field(init=False)

    def __post_init__(self) -> None:
        self.boot(FilmedMedium(bytearray(bytes(Memory.format(SIZE, SLOTS)))))

    def boot(self, medium: FilmedMedium) -> None:
        """Power the module from what lies on *medium*; ``start`` tells it what its handset can do."""
        self.seed += 1
        self.film = medium
        self.module = SecurityModule(Memory(medium), rng=random.Random(self.seed).randbytes)
        image = bytes(medium.image)
        self.pages = {
            number: image[number * PAGE : (number + SHEET) * PAGE] for number in range(0, SIZE // PAGE, SHEET)
        }

    @property
    def zone_start(self) -> int:
        """Where the zone begins."""
        return Memory(FilmedMedium(bytearray(self.film.image))).zone_start

    def power_cycle(self) -> None:
        """Switch the module off and boot it from the pages that it handed out."""
        self.boot(FilmedMedium(bytearray(self.image)))


class FilmedMarket(Market):
    """A market whose module is filmed."""

    def __post_init__(self) -> None:
        Market.__post_init__(self)
        self.card = FilmedCard()

    @property
    def filmed(self) -> FilmedCard:
        """The handset, as what it is."""
        assert isinstance(self.card, FilmedCard)
        return self.card


def turns_of(card: FilmedCard) -> Turns:
    """Return the counters and times that the module keeps."""
    octets = Memory(FilmedMedium(bytearray(card.film.image))).get_record(Record.COUNTERS)
    return decode(octets, Turns) if octets else Turns()


def differences(card: FilmedCard, model: Model, keys: Mapping[int, SessionKeys]) -> list[str]:
    """Return in what the module is not as *model* says; *keys* are those of each session."""
    known = {each.tar: each for each in card.module.definitions.all()}
    if known.keys() != model.resources.keys():
        return [f"resources {sorted(known)}, not {sorted(model.resources)}"]
    turns = turns_of(card)
    pairs: list[tuple[str, object, object]] = [
        ("commands", turns.command, model.commands),
        ("announcements", turns.announcement, model.announcements),
        ("signed time", turns.signed, model.signed),
        ("claimed time", turns.claimed, model.claimed),
    ]
    for tar, resource in model.resources.items():
        pairs += _pairs(card, known[tar], resource, keys)
    return [f"{what} {_short(is_so)}, not {_short(said)}" for what, is_so, said in pairs if is_so != said]


def _short(value: object) -> str:
    """Show a value; of many octets how many there are, and which of them are not zeros."""
    if not isinstance(value, bytes) or len(value) <= 2 * _SHOWN:
        return repr(value)
    others = {place: octet for place, octet in enumerate(value) if octet}
    return f"{len(value)} octets with {dict(list(others.items())[:_SHOWN])}"


def _pairs(
    card: FilmedCard, definition: Definition, resource: Resource, keys: Mapping[int, SessionKeys]
) -> Iterator[tuple[str, object, object]]:
    """Yield what DEF says of a resource, beside what the model says."""
    table, session = card.module.definitions, definition.session
    code = resource.programme.code if resource.programme else b""
    expected = b"" if resource.session is None else keys[resource.session].dump()
    for what, is_so, said in (
        ("id", definition.rsc_id, resource.rsc_id),
        ("service", definition.service, resource.service),
        ("supplier", definition.supplier, resource.supplier),
        ("state", definition.state.value, resource.state),
        ("start", definition.start, resource.start),
        ("code size", definition.code_size, resource.code_size),
        ("data size", definition.data_size, resource.data_size),
        ("rights", definition.rights, resource.rights),
        ("date", definition.expires_at, resource.expires_at),
        ("executions", definition.executions_left, resource.executions),
        ("end", definition.at_end == "delete", resource.delete_at_end),
        ("supplier's key", bool(definition.supplier_public), resource.has_key),
        ("session", session.keys if session else b"", expected),
        ("counter", session.received_counter if session else 0, resource.received),
        ("version", definition.version, resource.version),
        ("programme", table.read_code(definition), code),
        ("data", table.read_data(definition), resource.data),
    ):
        yield f"{resource.tar.hex()}: {what}", is_so, said
    behind = card.film.image[definition.start + len(code) : definition.data_start]
    yield f"{resource.tar.hex()}: zeros behind the programme", any(behind), False


def check_sound(
    card: FilmedCard, model: Model, keys: Mapping[int, SessionKeys], publics: Mapping[str, bytes]
) -> None:
    """Expect areas apart, zeros where nothing is, and each secret where it belongs or nowhere."""
    image = bytes(card.film.image)
    at = model.zone[0]
    for each in model.areas():
        assert at <= each.start
        at = each.end
    assert at <= model.zone[1]
    for start, room in model.gaps():
        assert not image[start : start + room].strip(b"\0")
    resources = model.resources.values()
    for key, public in publics.items():
        assert (public in image) is any(each.key == key and each.has_key for each in resources)
    for number, session in keys.items():
        assert (session.dump() in image) is any(each.session == number for each in resources)
    assert not card.film.journal
    assert image == card.image
