"""What the console says to agents, and what they report back; both travel under the run's console key."""

from __future__ import annotations

from dataclasses import field
from itertools import zip_longest
from struct import Struct
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import Field

from agents.messages.codec import Counter, Name, Reason, Seconds, Secret, message
from transport.diffusion import MAX_VERSION, MAX_WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_NAMED_GROUPS: Final = 32
"""Groups that an order for a broadcast has room to name."""
MAX_TOGETHER: Final = 512
"""Handsets of which an event tells at most."""
MAX_UA: Final = 21
"""Characters that each of them takes, with the space."""

_MOMENT: Final = Struct(">d")
_LATEST_S: Final = 1e12

MAX_STAGES: Final = 32
REFUSED: Final = "refused"
"""An event's result: a party said no."""
UNDER_WAY: Final = "under-way"
"""An event's result that is none: the order is being carried out, and will be for some time."""

Percent = Annotated[int, Field(ge=1, le=100)]
Target = Annotated[str, Field(max_length=32)]


@message(60)
class Order:
    """Do one thing for one target. *run* keeps orders of an earlier run from acting in this one."""

    run: Annotated[int, Field(ge=0, lt=1 << 31)]
    do: Name
    ua: Target
    service: Target
    argument: Secret


@message(61)
class Event:
    """What became of it: ``ok``, ``refused`` (a party said no: *reason*) or ``failed`` (nobody answered).

    Before that, what takes long is ``under-way``; *output* says how far, in words.
    """

    run: Annotated[int, Field(ge=0, lt=1 << 31)]
    do: Name
    ua: Target
    service: Target
    result: Name
    reason: Reason
    output: Secret
    others: Annotated[bytes, Field(max_length=MAX_TOGETHER * MAX_UA)] = b""
    """Further handsets of which the same is to be told, a space between them."""
    heard_at: Annotated[bytes, Field(max_length=MAX_TOGETHER * _MOMENT.size)] = b""
    """When each of them heard the page that it came of: seconds since 1970, in 8 octets (IEEE 754)."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Whom it is told of."""
        return self.ua, *self.others.decode("ascii", errors="replace").split()

    @property
    def heard(self) -> Iterator[tuple[str, float | None]]:
        """Whom it is told of, each with when it heard the page that it came of, if that is told."""
        whole = len(self.heard_at) // _MOMENT.size * _MOMENT.size
        moments = [
            at if 0 <= at < _LATEST_S else None for (at,) in _MOMENT.iter_unpack(self.heard_at[:whole])
        ]
        return zip_longest(self.addresses, moments[: len(self.addresses)])

    @classmethod
    def of_all(cls, handsets: Mapping[str, float], *, run: int, do: str, service: str) -> Self:
        """Return that *do* has ended well for all *handsets*, at most MAX_TOGETHER, of pages heard then."""
        addresses = list(handsets)
        return cls(
            run=run,
            do=do,
            ua=addresses[0],
            service=service,
            result="ok",
            reason="",
            output=b"",
            others=" ".join(addresses[1:]).encode("ascii"),
            heard_at=b"".join(map(_MOMENT.pack, handsets.values())),
        )


@message(62)
class BroadcastOrder:
    """What the order for a broadcast says of it: which version, in whose cells (all for no groups), how.

    Of the modules a share reports, within so many seconds; none unless both are given. ``stages`` are per
    cent of the cells, rising; none is all at once. ``success`` and ``errors`` are shares of the reports that
    are expected, None for no threshold. ``deadline_s`` is in seconds from the order on, 0 for none. Who does
    not ``wait`` is told when the campaign has begun.
    """

    version: Annotated[int, Field(ge=1, le=MAX_VERSION)]
    groups: Annotated[list[Name], Field(max_length=MAX_NAMED_GROUPS)] = field(default_factory=list)
    report_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    report_within_s: Annotated[int, Field(ge=0, le=MAX_WITHIN_S)] = 0
    stages: Annotated[list[Percent], Field(max_length=MAX_STAGES)] = field(default_factory=list)
    success: Annotated[float, Field(gt=0, le=1)] | None = None
    errors: Annotated[float, Field(ge=0, lt=1)] | None = None
    deadline_s: Seconds = 0
    wait: bool = True


@message(74)
class DomainRollOrder:
    """What the order for a roll-over of a domain key says of it: which one it is, and whom to leave out.

    A later roll-over has a higher number; given again, one is the same. It is broadcast in the cells of
    *groups*, in all for none.
    """

    roll: Counter
    groups: Annotated[list[Name], Field(max_length=MAX_NAMED_GROUPS)] = field(default_factory=list)
    leave_out: Annotated[list[Name], Field(max_length=MAX_NAMED_GROUPS)] = field(default_factory=list)
