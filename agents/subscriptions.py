"""What an operator knows of its subscriptions: their states, and what an order needs and makes of them.

A subscription follows its resource in the module, but for what only the module can know: that an execution
was the last one, or that a date has come. That it learns from an audit (see ``audits``), and until then a
subscription says ``active`` of a resource that has ended by itself, and the module refuses what is ordered
for it. However far books and module are apart, an audit brings the books up to date with everything that may
happen, and a release ends the rest: there is nothing in a module that the operator could not be rid of. What
the module was told of a resource (sizes, key, rights, limits) is kept with the subscription: the agreement
may be another one by now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from agents.errors import Refusal
from agents.messages.air import ChangeSupplierKey, Renew, Reserve, Unblock
from agents.messages.inside import ResourceChanged
from agents.messages.succession import key_digest
from agents.store.registry import Registry
from agents.store.tables import SUBSCRIPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agents.messages.air import OperatorCommand
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.clock import Clock

SUBSCRIBED, RESERVED, ACTIVE, BLOCKED, EXPIRED, EXHAUSTED, RELEASED, REFUSED, STRAY = (
    "subscribed",
    "reserved",
    "active",
    "blocked",
    "expired",
    "exhausted",
    "released",
    "refused",
    "stray",
)
HELD: Final = frozenset({RESERVED, ACTIVE, BLOCKED, EXPIRED, EXHAUSTED})
"""The states in which the module holds a resource for the subscription. In ``stray`` it holds one that is
nobody's: an audit found it, and the books knew of none."""
NONE: Final = "none"
"""What stands for the state where there is no subscription."""
SAME: Final = ""
"""What stands for the state that a subscription has, where an order leads nowhere else."""

# What an order needs and makes of a subscription. An order that finds its end already reached is done: the
# one that reached it may have been stopped before it could say so.
BEFORE: Final[Mapping[str, frozenset[str]]] = {
    "reserve": frozenset({SUBSCRIBED, REFUSED}),
    "activate": frozenset({RESERVED}),
    "block": frozenset({RESERVED, ACTIVE}),
    "unblock": frozenset({BLOCKED}),
    # Not of a blocked one: if its date has passed meanwhile, the module would have it of use again.
    "renew": frozenset({RESERVED, ACTIVE, EXPIRED, EXHAUSTED}),
    "release": HELD | {STRAY},
    "revoke-supplier": HELD | {STRAY},
    "roll-supplier-key": HELD,
}
AFTER: Final[Mapping[str, str]] = {
    "reserve": RESERVED,
    "activate": ACTIVE,
    "block": BLOCKED,
    "unblock": ACTIVE,
    "renew": ACTIVE,
    "release": RELEASED,
    "revoke-supplier": RELEASED,
    "roll-supplier-key": SAME,
}
BEYOND: Final[Mapping[str, frozenset[str]]] = {
    # Who has one that has ended needs to hear so: what helps is to renew or to release it.
    "reserve": frozenset({RESERVED, ACTIVE, BLOCKED}),
    "activate": frozenset({ACTIVE}),
    "block": frozenset({BLOCKED}),
    # Reserved, where the supplier has yet to be given it.
    "unblock": frozenset({RESERVED, ACTIVE}),
    # A renewal counts from when it is ordered: ordered twice it is done twice, which comes to the same.
    "renew": frozenset(),
    "release": frozenset({RELEASED}),
    # What a supplier never had, or was not given, need not be taken from it.
    "revoke-supplier": frozenset({RELEASED, SUBSCRIBED, REFUSED, NONE}),
    # Which key is the next one, the supplier says; a resource that has it is told nothing.
    "roll-supplier-key": frozenset(),
}
"""Where a subscription already stands when the order has been carried out before."""
TOLD: Final = frozenset({"block", "unblock", "renew", "release", "roll-supplier-key"})
"""The orders that the supplier is told of, once the module has carried them out."""

_TO_SUPPLIERS: Final[Mapping[str, str]] = {
    RESERVED: ACTIVE,
    **dict.fromkeys((SUBSCRIBED, REFUSED, STRAY), RELEASED),
}
"""What a state of ours is to a supplier: one that it has yet to be given is active to it, once it is, and
what nobody has reserved, or not again, is not its own."""

_MOST_SECONDS: Final = 1 << 32
_MOST_EXECUTIONS: Final = (1 << 31) - 1

_BLANK: Final[Mapping[str, Any]] = {
    "reason": "",
    "rsc_id": 0,
    "reserved_turn": 0,
    "turn": 0,
    "told": 0,
    "activated": 0,
    "code_size": 0,
    "data_size": 0,
    "rights": 0,
    "supplier_digest": b"",
    "expires_at": 0,
    "executions": -1,
    "at_end": "",
}
"""What is known of a subscription that has no resource."""


class Renewal(NamedTuple):
    """What a renewal is to give, from now on; 0 = what was agreed. It travels as an order's argument."""

    for_s: int
    executions: int

    def encode(self) -> bytes:
        """Return this as octets."""
        return f"{self.for_s} {self.executions}".encode()

    def command(self, agreement: Row, public: bytes, now: float) -> Renew:
        """Return what the module is told *now*: this, and as agreed where it names nothing."""
        return Renew(
            tar=agreement["tar"],
            supplier_public=public,
            expires_at=int(now) + self.for_s if self.for_s else end_of(agreement, now),
            executions=self.executions or agreement["executions"],
        )

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Read what ``encode`` wrote. Raises Refusal for what it did not, or no resource can be given."""
        try:
            for_s, executions = map(int, octets.decode().split())
        except ValueError:
            raise Refusal("bad-renewal") from None
        renewal = cls(for_s, executions)
        is_possible = 0 <= for_s <= _MOST_SECONDS and 0 <= executions <= _MOST_EXECUTIONS
        if not is_possible or renewal.encode() != octets:
            raise Refusal("bad-renewal")
        return renewal


def end_of(agreement: Row, now: float) -> int:
    """Return when a resource that is reserved or renewed *now* ends, in seconds of the epoch; 0 = never."""
    lifetime: int = agreement["lifetime"]
    expires_at: int = agreement["expires_at"]
    return expires_at or (int(now) + lifetime if lifetime else 0)


def news_of(subscription: Row) -> ResourceChanged:
    """Return what the supplier is told of its resource."""
    return ResourceChanged(
        ua=subscription["ua"],
        service=subscription["service"],
        state=_TO_SUPPLIERS.get(subscription["state"], subscription["state"]),
        turn=subscription["turn"],
        supplier_digest=subscription["supplier_digest"],
    )


class Subscriptions:
    """All subscriptions of one operator."""

    def __init__(self, store: GroupCommit, clock: Clock) -> None:
        self._rows = Registry(store, SUBSCRIPTIONS)
        self._clock = clock

    async def load(self) -> None:
        """Read what the store holds."""
        await self._rows.load()

    def states(self) -> dict[str, int]:
        """Return how many subscriptions are in which state."""
        counts: dict[str, int] = {}
        for row in self._rows.rows():
            counts[row["state"]] = counts.get(row["state"], 0) + 1
        return counts

    def holders(self, service: str) -> list[str]:
        """Return the addresses of the modules in which a service's resource is active."""
        rows = self._rows.rows()
        return [row["ua"] for row in rows if (row["service"], row["state"]) == (service, ACTIVE)]

    def get(self, ua: str, service: str) -> Row | None:
        """Return a subscription, or None."""
        return self._rows.get(ua, service)

    def require(self, ua: str, service: str) -> Row:
        """Return a subscription. Raises Refusal where there is none."""
        row = self._rows.get(ua, service)
        if row is None:
            raise Refusal("subscription-none")
        return row

    def of(self, ua: str, services: Iterable[str]) -> dict[str, Row]:
        """Return the subscriptions of module *ua* to these services, by service."""
        rows = {service: self._rows.get(ua, service) for service in services}
        return {service: row for service, row in rows.items() if row is not None}

    def is_done(self, do: str, ua: str, service: str) -> bool:
        """Say whether the order *do* finds its end already reached. Raises Refusal where it may not be."""
        subscription = self._rows.get(ua, service)
        return is_beyond(do, subscription["state"] if subscription else NONE)

    async def change(self, ua: str, service: str, **changes: Any) -> None:
        """Change what is known of a subscription, and keep the rest; return when that is durable."""
        known = self._rows.get(ua, service) or _BLANK
        names = {"ua": ua, "service": service, "changed_at": self._clock.now()}
        await self._rows.put({**known, **changes, **names})


def is_beyond(do: str, state: str) -> bool:
    """Say whether a subscription in *state* has the end of the order *do* behind it already.

    Raises Refusal (``subscription-…``) where the order can neither begin nor have ended.
    """
    if state not in BEYOND[do] and state not in BEFORE[do]:
        raise Refusal(f"subscription-{state}")
    return state in BEYOND[do]


def after_answer(
    do: str, command: OperatorCommand, *, turn: int, reason: str, rsc_id: int, activated: bool
) -> dict[str, Any]:
    """Return what the module's answer to *command*, of the order *do*, changes about its subscription.

    *reason* is the module's, empty where it was done; *turn* is the command's counter.
    """
    if reason:
        # Things stay as they were, but for a subscription that never got its resource.
        return {"reason": reason} | ({"state": REFUSED} if do == "reserve" else {})
    changes = {"reason": "", "turn": turn} | ({"state": AFTER[do]} if AFTER[do] != SAME else {})
    if isinstance(command, Reserve):
        changes |= {"rsc_id": rsc_id, "reserved_turn": turn, "told": 0, "activated": 0, **_terms(command)}
    elif isinstance(command, (Unblock, Renew)) and not activated:
        changes |= {"state": RESERVED}
    elif isinstance(command, ChangeSupplierKey):
        changes |= {"supplier_digest": key_digest(command.supplier_public)}
    if isinstance(command, Renew):
        changes |= {"expires_at": command.expires_at, "executions": command.executions}
    return changes


def _terms(command: Reserve) -> dict[str, Any]:
    """Return what the module was told of its resource, as an audit has to find it."""
    return {
        "code_size": command.code_size,
        "data_size": command.data_size,
        "rights": command.rights,
        "supplier_digest": key_digest(command.supplier_public),
        "expires_at": command.expires_at,
        "executions": command.executions,
        "at_end": command.at_end,
    }
