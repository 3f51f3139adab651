"""What a run counts: traffic of each bearer, retries, losses, time on the air; drops, refusals and crashes.

One ``Counters`` serves a process. Everything that touches the bus is given it and adds to it from the event
loop's thread only, so there are no locks. Octets are those of the PDU, that is what would go over the air;
the frame around it costs no air and is not counted. The report reads :meth:`Counters.snapshot` at the end,
and whoever scrapes the run's metrics reads it in between.
"""

from __future__ import annotations

from typing import Final, TypedDict

from bus.topics import INSIDE

# What is counted under a name that a peer could invent is bounded: past this many names the rest share one.
MAX_NAMES: Final = 4096
MAX_REASONS: Final = 256
"""Fewer of refusals, whose reasons other parties put into words."""
OTHERS: Final = "others"


class Traffic(TypedDict):
    """What one end of a bearer saw: how many PDUs, how many octets in them."""

    messages: int
    octets: int


class Way(TypedDict):
    """One direction of one bearer, at both its ends."""

    sent: Traffic
    received: Traffic


class BearerCounts(TypedDict):
    """Both ends of one bearer, how many messages were sent again, and what the air did to them.

    ``sent`` and ``received`` are the sums over ``ways``, one for each direction of ``bus.topics``. ``lost``
    counts what the air did not deliver, ``air_s`` the simulated seconds that PDUs were on the air, those of
    different handsets added up.
    """

    sent: Traffic
    received: Traffic
    ways: dict[str, Way]
    retries: int
    lost: int
    air_s: float


class Snapshot(TypedDict):
    """All counts at one moment, with plain keys: ready for JSON."""

    bearers: dict[str, BearerCounts]
    dropped: dict[str, int]
    refused: dict[str, dict[str, int]]
    """By what was refused, then by the reason."""
    crashes: dict[str, int]


class _Way:
    """Four numbers, in attributes rather than dicts because two of them change with every message."""

    __slots__ = ("octets_in", "octets_out", "received", "sent")

    def __init__(self) -> None:
        self.sent = self.octets_out = self.received = self.octets_in = 0

    def counts(self) -> Way:
        return {
            "sent": {"messages": self.sent, "octets": self.octets_out},
            "received": {"messages": self.received, "octets": self.octets_in},
        }


class _Bearer:
    """What one bearer came to, its traffic by direction."""

    __slots__ = ("air_s", "lost", "retries", "ways")

    def __init__(self) -> None:
        self.ways: dict[str, _Way] = {}
        self.retries = self.lost = 0
        self.air_s = 0.0

    def way(self, direction: str) -> _Way:
        return self.ways.setdefault(str(direction), _Way())

    def counts(self) -> BearerCounts:
        ways = self.ways.values()
        return {
            "sent": {
                "messages": sum(way.sent for way in ways),
                "octets": sum(way.octets_out for way in ways),
            },
            "received": {
                "messages": sum(way.received for way in ways),
                "octets": sum(way.octets_in for way in ways),
            },
            "ways": {direction: way.counts() for direction, way in sorted(self.ways.items())},
            "retries": self.retries,
            "lost": self.lost,
            "air_s": self.air_s,
        }


class Counters:
    """Counts of one process; every method is constant time and never raises for any name."""

    def __init__(self) -> None:
        self._bearers: dict[str, _Bearer] = {}
        self._dropped: dict[str, int] = {}
        self._refused: dict[str, dict[str, int]] = {}
        self._crashes: dict[str, int] = {}

    def sent(self, bearer: str, octets: int, direction: str = INSIDE) -> None:
        """Count one PDU of *octets* octets given to the bus on *bearer*, which goes in *direction*."""
        way = self._way(bearer, direction)
        way.sent += 1
        way.octets_out += octets

    def received(self, bearer: str, octets: int, direction: str = INSIDE) -> None:
        """Count one PDU of *octets* octets taken from the bus on *bearer*, which went in *direction*."""
        way = self._way(bearer, direction)
        way.received += 1
        way.octets_in += octets

    def retried(self, bearer: str) -> None:
        """Count one message of *bearer* that is sent again; :meth:`sent` counts it as well."""
        (self._bearers.get(bearer) or self._bearer(bearer)).retries += 1

    def lost(self, bearer: str) -> None:
        """Count one PDU of *bearer* that the air did not deliver."""
        (self._bearers.get(bearer) or self._bearer(bearer)).lost += 1

    def aired(self, bearer: str, seconds: float) -> None:
        """Add the simulated *seconds* that one PDU of *bearer* was on the air."""
        (self._bearers.get(bearer) or self._bearer(bearer)).air_s += seconds

    def dropped(self, reason: str) -> None:
        """Count one payload that was thrown away for *reason*, a short stable code."""
        _add(self._dropped, reason)

    def refused(self, what: str, reason: str) -> None:
        """Count one refusal, for *reason*, of *what*: an order, or a question between roles."""
        _add(self._refused.setdefault(what, {}), reason, most=MAX_REASONS)

    def crashed(self, agent: str) -> None:
        """Count one crash of the actor named *agent*."""
        _add(self._crashes, agent)

    def snapshot(self) -> Snapshot:
        """All counts so far; the answer is the caller's to keep and does not change afterwards."""
        return {
            "bearers": {name: counts.counts() for name, counts in sorted(self._bearers.items())},
            "dropped": dict(sorted(self._dropped.items())),
            "refused": {what: dict(sorted(reasons.items())) for what, reasons in self._refused.items()},
            "crashes": dict(sorted(self._crashes.items())),
        }

    def absorb(self, counts: Snapshot) -> None:
        """Add what another process counted."""
        for name, bearer in counts["bearers"].items():
            own = self._bearers.get(name) or self._bearer(name)
            for direction, theirs in bearer["ways"].items():
                way = own.way(direction)
                way.sent += theirs["sent"]["messages"]
                way.octets_out += theirs["sent"]["octets"]
                way.received += theirs["received"]["messages"]
                way.octets_in += theirs["received"]["octets"]
            own.retries += bearer["retries"]
            own.lost += bearer["lost"]
            own.air_s += bearer["air_s"]
        for reason, count in counts["dropped"].items():
            _add(self._dropped, reason, count)
        for what, reasons in counts["refused"].items():
            for reason, count in reasons.items():
                _add(self._refused.setdefault(what, {}), reason, count, most=MAX_REASONS)
        for agent, count in counts["crashes"].items():
            _add(self._crashes, agent, count)

    def _way(self, bearer: str, direction: str) -> _Way:
        counts = self._bearers.get(bearer) or self._bearer(bearer)
        return counts.ways.get(direction) or counts.way(direction)

    def _bearer(self, name: str) -> _Bearer:
        # str() turns a member of a StrEnum into the plain string that JSON and reports want as a key.
        return self._bearers.setdefault(_room(self._bearers, str(name)), _Bearer())


def _room(counts: dict[str, _Bearer] | dict[str, int], name: str, most: int = MAX_NAMES) -> str:
    return name if name in counts or len(counts) < most else OTHERS


def _add(counts: dict[str, int], name: str, count: int = 1, *, most: int = MAX_NAMES) -> None:
    name = _room(counts, str(name), most)
    counts[name] = counts.get(name, 0) + count
