"""The engine behind the tables: which objects belong to a value, how each is written and how it is read.

A ``Layout`` is one row: between whom it goes and which fields stand in it, in their order. ``write``,
``read`` and ``check`` work on any flat value whose fields have the names of its row. A field outside the row
must be at its default; a value that says more than its octets could is a mistake of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from transport import ber_tlv
from transport.errors import TlvRejected
from transport.toolkit.tags import CR, Device, Tag

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

COMMAND_NUMBER: Final = 1
"""One command at a time: there is no need for another number (TS 102 223 clause 6.5.1)."""


_KNOWN: Final[dict[type[Any], Mapping[str, Any]]] = {}


class Need(Enum):
    """Whether a field is there: always, always but a reader does without it, or when it says something."""

    MUST = auto()
    USUAL = auto()
    MAY = auto()


@dataclass(frozen=True, slots=True)
class Field:
    """The field *name* of a value: how it becomes whole objects, and how it is found among them (or None)."""

    name: str
    need: Need
    write: Callable[[Any], bytes]
    read: Callable[[Sequence[ber_tlv.Tlv]], Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """The *fields* of one kind of value, and from whom to whom it goes.

    *target* None is the channel that the value is about. *early* fields stand before the device identities
    instead of behind them: so it is with the event list of an event download.
    """

    source: Device
    target: Device | None
    fields: tuple[Field, ...] = ()
    early: tuple[Field, ...] = ()

    @property
    def all_fields(self) -> tuple[Field, ...]:
        """The fields in the order of their objects."""
        return self.early + self.fields


def single(
    name: str,
    tag: int,
    to_octets: Callable[[Any], bytes],
    from_octets: Callable[[bytes], Any],
    need: Need = Need.MUST,
) -> Field:
    """Return the field *name* that is one object *tag*, whose value the two functions write and read."""

    def read(tlvs: Sequence[ber_tlv.Tlv]) -> Any:
        tlv = ber_tlv.find(tlvs, tag)
        return None if tlv is None else from_octets(tlv.value)

    return Field(name, need, lambda value: ber_tlv.encode(tag, to_octets(value)), read)


def command_details(type_: int, qualifier: int) -> bytes:
    """Return the object that names a command in both directions (TS 102 223 clause 8.6)."""
    return ber_tlv.encode(CR | Tag.COMMAND_DETAILS, bytes((COMMAND_NUMBER, type_, qualifier)))


def write(value: Any, layout: Layout, head: bytes = b"") -> bytes:
    """Return the objects of *value*: the early ones, the device identities, *head*, then the others."""
    target = Device(Device.CHANNEL_1 - 1 + value.channel) if layout.target is None else layout.target
    devices = ber_tlv.encode(CR | Tag.DEVICE_IDENTITIES, bytes((layout.source, target)))
    return _objects(value, layout.early) + devices + head + _objects(value, layout.fields)


def read(tlvs: Sequence[ber_tlv.Tlv], layout: Layout) -> dict[str, Any]:
    """Return what the fields of *layout* are among *tlvs*, by name. Raises TlvRejected, or ValueError."""
    found = {} if layout.target is not None else {"channel": _channel(tlvs)}
    for one in layout.all_fields:
        value = one.read(tlvs)
        if value is not None:
            found[one.name] = value
        elif one.need is Need.MUST:
            raise TlvRejected("missing", f"no {one.name.replace('_', ' ')}")
    return found


def check(value: Any, layout: Layout, common: Collection[str]) -> None:
    """Refuse a *value* with a field that neither *layout* nor *common* names, or without one."""
    own = {one.name for one in layout.all_fields}.union(common, () if layout.target else ("channel",))
    for name, default in _defaults(value).items():
        if name not in own and getattr(value, name) != default:
            raise ValueError(f"{name} does not belong to {value.kind}")
    for one in layout.all_fields:
        if one.need is Need.MUST and getattr(value, one.name) is None:
            raise ValueError(f"{value.kind} needs {one.name}")


def inside(octets: bytes, tag: Tag) -> list[ber_tlv.Tlv]:
    """Return the objects inside the one BER-TLV *tag* that *octets* must be. Raises TlvRejected."""
    outer = ber_tlv.parse_all(octets)
    if len(outer) != 1 or outer[0].tag != tag:
        raise TlvRejected("wrong-tag")
    return ber_tlv.parse_all(outer[0].value)


def details(tlvs: Sequence[ber_tlv.Tlv], known: Collection[int]) -> tuple[int, int]:
    """Return the command type, one of *known*, and the qualifier that *tlvs* have. Raises TlvRejected."""
    octets = ber_tlv.require(tlvs, Tag.COMMAND_DETAILS).value
    if len(octets) != 3 or octets[1] not in known:
        raise TlvRejected("unknown-proactive-command")
    return octets[1], octets[2]


def _objects(value: Any, wanted: Sequence[Field]) -> bytes:
    defaults = _defaults(value)
    return b"".join(
        one.write(getattr(value, one.name))
        for one in wanted
        if one.need is not Need.MAY or getattr(value, one.name) != defaults[one.name]
    )


def _defaults(value: Any) -> Mapping[str, Any]:
    """Return the default of each field, found out once for each class."""
    kind = type(value)
    found = _KNOWN.get(kind)
    if found is None:
        found = _KNOWN[kind] = {field.name: field.default for field in fields(value)}
    return found


def _channel(tlvs: Sequence[ber_tlv.Tlv]) -> int:
    devices = ber_tlv.require(tlvs, Tag.DEVICE_IDENTITIES).value
    if len(devices) != 2 or not Device.CHANNEL_1 <= devices[1] <= Device.CHANNEL_7:
        raise TlvRejected("bad-channel")
    return devices[1] - Device.CHANNEL_1 + 1
