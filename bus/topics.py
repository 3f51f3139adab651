"""A value type for every MQTT topic; nowhere else is a topic spelt.

All topics lie under ``otafleet/<fleet>/``. Names in them are 1 to 64 of ``A-Z a-z 0-9 . _ -``: no wildcard,
no separator, nothing that a log or a terminal would trip over.

==================  =====================  ============================================================
type                path below the fleet   what travels there
==================  =====================  ============================================================
ShortMessageTo      sms/mt/<ua>            SMS-DELIVER, network to handset
ShortMessageFrom    sms/mo/<address>       SMS-SUBMIT, handset to the role with this short number
ReportTo            sms/report/<address>   SMS-DELIVER-REPORT, to the sender of the short message
Broadcast           cb/<cell>              cell broadcast pages, to every handset in the cell
BipUp               bip/up/<server>        what handsets send to the server at this IPv4 address
BipDown             bip/down/<ua>          what servers send to the handset
Inbox               role/<agent>           one role to another
Contact             contact/<ua>           APDUs over the module's contacts: personalisation
ContactReply        contact-reply/<agent>  the answers of a contacted module
Orders              order/<agent>          the person at the handset or the console, played by the fleet
Events              event                  what agents tell the fleet's runner
==================  =====================  ============================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final

from bus.errors import TopicRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = "otafleet"
UP: Final = "up"
DOWN: Final = "down"
INSIDE: Final = "inside"
"""Over the air from a handset or to it, and on the ground."""
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_name(text: str) -> bool:
    """Say whether *text* may stand for one level of a topic, or as an agent's name."""
    return NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic of one fleet. Raises ValueError if a name does not suit a topic."""

    fleet: str
    room: ClassVar[str]
    leaf: ClassVar[str]  # the field whose value ends the path; empty: the room itself is the topic
    direction: ClassVar[str] = INSIDE

    def __post_init__(self) -> None:
        for level in self._levels():
            if not is_name(level):
                raise ValueError(f"{level[:80]!r} is no name for a topic: 1 to 64 of A-Z a-z 0-9 . _ -")

    def _levels(self) -> tuple[str, ...]:
        return (self.fleet, getattr(self, self.leaf)) if self.leaf else (self.fleet,)

    @property
    def path(self) -> str:
        """The topic as MQTT spells it."""
        return f"{ROOT}/{'/'.join((self.fleet, self.room, *self._levels()[1:]))}"

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortMessageTo(Topic):
    """SMS-DELIVER for the handset that hosts module *ua*."""

    ua: str
    room: ClassVar[str] = "sms/mt"
    leaf: ClassVar[str] = "ua"
    direction: ClassVar[str] = DOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortMessageFrom(Topic):
    """SMS-SUBMIT to the role whose short number is *address*."""

    address: str
    room: ClassVar[str] = "sms/mo"
    leaf: ClassVar[str] = "address"
    direction: ClassVar[str] = UP


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTo(Topic):
    """SMS-DELIVER-REPORT to the role whose short number is *address*."""

    address: str
    room: ClassVar[str] = "sms/report"
    leaf: ClassVar[str] = "address"
    direction: ClassVar[str] = UP


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast(Topic):
    """Pages for all handsets of *cell*: one publish reaches them all."""

    cell: str
    room: ClassVar[str] = "cb"
    leaf: ClassVar[str] = "cell"
    direction: ClassVar[str] = DOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class BipUp(Topic):
    """What handsets send to the server at IPv4 address *server*, in dotted decimals."""

    server: str
    room: ClassVar[str] = "bip/up"
    leaf: ClassVar[str] = "server"
    direction: ClassVar[str] = UP


@dataclass(frozen=True, slots=True, kw_only=True)
class BipDown(Topic):
    """What servers send to the handset that hosts module *ua*."""

    ua: str
    room: ClassVar[str] = "bip/down"
    leaf: ClassVar[str] = "ua"
    direction: ClassVar[str] = DOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox(Topic):
    """Messages from other roles to *agent*."""

    agent: str
    room: ClassVar[str] = "role"
    leaf: ClassVar[str] = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact(Topic):
    """Command APDUs over the contacts of module *ua*."""

    ua: str
    room: ClassVar[str] = "contact"
    leaf: ClassVar[str] = "ua"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactReply(Topic):
    """Response APDUs for *agent*, which holds the module by its contacts."""

    agent: str
    room: ClassVar[str] = "contact-reply"
    leaf: ClassVar[str] = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders(Topic):
    """What the person at *agent*'s keys wants it to do."""

    agent: str
    room: ClassVar[str] = "order"
    leaf: ClassVar[str] = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Events(Topic):
    """What agents tell the runner of the fleet."""

    room: ClassVar[str] = "event"
    leaf: ClassVar[str] = ""


_KINDS: Final[Mapping[str, type[Topic]]] = {
    kind.room: kind
    for kind in (
        ShortMessageTo,
        ShortMessageFrom,
        ReportTo,
        Broadcast,
        BipUp,
        BipDown,
        Inbox,
        Contact,
        ContactReply,
        Orders,
        Events,
    )
}


def parse(path: str) -> Topic:
    """Return the topic that *path* spells. Raises TopicRejected if it is none of ours."""
    root, _, below = path.partition("/")
    fleet, _, rest = below.partition("/")
    room, _, leaf = rest.rpartition("/")
    kind = _KINDS.get(room or rest)
    if root != ROOT or kind is None or bool(kind.leaf) != bool(room):
        raise TopicRejected(f"{path[:80]!r} is no topic of a fleet")
    try:
        return kind(fleet=fleet, **({kind.leaf: leaf} if kind.leaf else {}))
    except ValueError as error:
        raise TopicRejected(f"{path[:80]!r} is no topic of a fleet: {error}") from None


@lru_cache(maxsize=4096)
def direction_of(path: str) -> str:
    """Return which way goes what travels on the topic *path*: ``up``, ``down`` or ``inside``."""
    room = path.split("/", 2)[-1].rpartition("/")[0]
    kind = _KINDS.get(room)
    return kind.direction if kind else INSIDE


def everything(fleet: str) -> str:
    """Return the wildcard over all topics of *fleet*, for a wiretap. Raises ValueError for a bad name."""
    return f"{ROOT}/{Events(fleet=fleet).fleet}/#"
