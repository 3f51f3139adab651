"""Envelopes: the events that the terminal tells the module (TS 102 223 clause 7; TS 31.111 clause 7.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from transport import ber_tlv
from transport.errors import TlvRejected
from transport.toolkit import objects
from transport.toolkit.fields import Layout, check, inside, read, write
from transport.toolkit.tags import MAX_TIMER, MAX_TIMER_S, MAX_TOLD, PAGE_OCTETS, Device, EventCode, Tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transport.toolkit.channels import ChannelStatus

# TS 31.111 clauses 7.1.1.2 and 7.1.2; TS 102 223 clauses 7.2, 7.4.1, 7.5.10 and 7.5.11.
_LAYOUTS: Final[Mapping[tuple[Tag, EventCode | None], Layout]] = {
    (Tag.SMS_PP_DOWNLOAD, None): Layout(Device.NETWORK, Device.UICC, (objects.TPDU,)),
    (Tag.CELL_BROADCAST_DOWNLOAD, None): Layout(Device.NETWORK, Device.UICC, (objects.PAGE,)),
    (Tag.MENU_SELECTION, None): Layout(Device.KEYPAD, Device.UICC, (objects.ITEM,)),
    (Tag.TIMER_EXPIRATION, None): Layout(Device.TERMINAL, Device.UICC, (objects.TIMER, objects.TIMER_VALUE)),
    (Tag.EVENT_DOWNLOAD, EventCode.DATA_AVAILABLE): Layout(
        Device.TERMINAL, Device.UICC, (objects.STATUS, objects.LENGTH), early=(objects.EVENT,)
    ),
    (Tag.EVENT_DOWNLOAD, EventCode.CHANNEL_STATUS): Layout(
        Device.TERMINAL, Device.UICC, (objects.STATUS,), early=(objects.EVENT,)
    ),
}
_TAGS: Final = frozenset(tag for tag, _ in _LAYOUTS)
_COMMON: Final = frozenset({"tag"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An event that the terminal tells the module; which fields belong to it, *tag* and *event* say.

    SMS_PP_DOWNLOAD: *tpdu*. CELL_BROADCAST_DOWNLOAD: *page*, 88 octets. MENU_SELECTION: *item*.
    TIMER_EXPIRATION: *timer* (1..8) and *timer_value_s*. EVENT_DOWNLOAD: *event* with *channel_status*, and
    of DATA_AVAILABLE *length*, what there is to fetch (255: 255 octets or more). ``ValueError`` for a field
    that is out of its range, missing, or does not belong, and for what one ENVELOPE could not hold.
    """

    tag: Tag
    tpdu: bytes = field(default=b"", repr=False)
    item: int = 0
    page: bytes = field(default=b"", repr=False)
    event: EventCode | None = None
    channel_status: ChannelStatus | None = None
    length: int | None = None
    timer: int = 0
    timer_value_s: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be said."""
        layout = _LAYOUTS.get((self.tag, self.event))
        if layout is None:
            raise ValueError(f"{self.kind} is no envelope")
        check(self, layout, _COMMON)
        if self.tag is Tag.CELL_BROADCAST_DOWNLOAD and len(self.page) != PAGE_OCTETS:
            raise ValueError(f"a page has {PAGE_OCTETS} octets")
        if self.tag is Tag.TIMER_EXPIRATION and not 1 <= self.timer <= MAX_TIMER:
            raise ValueError(f"a timer is 1..{MAX_TIMER}")
        if not 0 <= self.item <= 0xFF or not 0 <= (self.length or 0) <= 0xFF:
            raise ValueError("an item or a length is out of the range of one octet")
        if not 0 <= self.timer_value_s <= MAX_TIMER_S:
            raise ValueError(f"a timer runs for at most {MAX_TIMER_S} s")
        if len(self.encode()) > MAX_TOLD:
            raise ValueError(f"an ENVELOPE has at most {MAX_TOLD} octets")

    @property
    def kind(self) -> str:
        """The name of the envelope, and of its event."""
        return self.tag.name if self.event is None else f"{self.tag.name} of {self.event.name}"

    def encode(self) -> bytes:
        """Return the data of an ENVELOPE."""
        return ber_tlv.encode(self.tag, write(self, _LAYOUTS[self.tag, self.event]))

    @classmethod
    def parse(cls, octets: bytes) -> Envelope:
        """Read the data of an ENVELOPE. Raises TlvRejected, also for an event that is not known here."""
        if octets[:1] == b"" or octets[0] not in _TAGS:
            raise TlvRejected("unknown-envelope")
        tag = Tag(octets[0])
        tlvs = inside(octets, tag)
        try:
            event = objects.EVENT.read(tlvs) if tag is Tag.EVENT_DOWNLOAD else None
            layout = _LAYOUTS.get((tag, event))
            if layout is None:
                raise TlvRejected("missing", "no event list")
            return cls(tag=tag, **read(tlvs, layout))
        except ValueError as error:
            raise TlvRejected("bad-value", str(error)) from None
