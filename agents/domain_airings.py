"""A supplier's roll-overs of domain keys on the air: what is broadcast of each, and that it comes to its end.

That a broadcast has come to its end is stored behind it. One that was cut short, by a kill -9 say, goes on by
itself with the next launch: all of its packets again, for nobody knows which of them were heard, and once.
Whoever gives its order meanwhile joins it: the pages are his from then on, so that handsets tell him, and for
those that told before there is a roll call, the notice alone once more. Who gives it first when that is over
has the roll called as well.

Packets go round in the few message codes that a campaign, which may be on the air, does not use. Rounds are
counted on from each broadcast to the next: another packet under a code has another update number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.causes import continued, export, stored
from agents.errors import Refusal
from agents.messages.codec import decode, encode
from agents.messages.orders import DomainRollOrder
from agents.store.registry import Registry
from agents.store.tables import DOMAIN_ROLLS, RENEWALS
from bus import tracing
from bus.actor import Actor
from transport.cell_broadcast import GeographicScope, Schedule
from transport.diffusion import RENEWAL_CODES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from agents.diffuser import Diffuser
    from agents.role import Desk, Turns
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row
    from bus.frame import TraceContext
    from transport.cell_broadcast import SerialNumber

_ONCE: Final = Schedule(period=1, count=1)


class RenewalAirings(Actor[str]):
    """One supplier's; *services* are its own, and *turns* theirs. What is delivered is a service's name."""

    def __init__(
        self, desk: Desk, store: GroupCommit, diffuser: Diffuser, *, services: Registry, turns: Turns
    ) -> None:
        super().__init__(f"{desk.keys.name}.renewals", desk.group)
        self._desk = desk
        self._diffuser = diffuser
        self._services = services
        self._turns = turns
        self._rolls = Registry(store, DOMAIN_ROLLS)
        self._renewals = Registry(store, RENEWALS)
        self._on_air: dict[str, TraceContext] = {}
        """Whose the pages are that are being broadcast, by service."""
        self._unanswered: dict[str, bytes] = {}
        """What went on by itself, by service: the order for it, of which nobody has been told its end yet."""

    async def load(self) -> None:
        """Read what the store holds."""
        await self._rolls.load()
        await self._renewals.load()

    def last(self, service: str) -> int:
        """Return the number of the last roll-over of *service*, 0 where there was none."""
        row = self._rolls.get(service)
        return int(row["roll"]) if row else 0

    def made(
        self, service: str, said: DomainRollOrder, packets: Sequence[bytes], trace: TraceContext
    ) -> list[Awaitable[None]]:
        """Return the changes that make *said* the last roll-over of *service*, to be broadcast in *trace*."""
        former = [row["number"] for row in self._renewals.rows() if row["service"] == service]
        last = self._rolls.get(service)
        broadcasts = last["broadcasts"] if last else 0
        roll = {
            "service": service,
            "roll": said.roll,
            "ordered": encode(said),
            "broadcasts": broadcasts + RENEWAL_CODES.rounds(len(packets)),
            "aired": broadcasts,
            "trace": stored(trace),
        }
        return [
            *(self._renewals.remove(service, number) for number in former if number >= len(packets)),
            *(
                self._renewals.put({"service": service, "number": number, "octets": octets})
                for number, octets in enumerate(packets)
            ),
            self._rolls.put(roll),
        ]

    def go_on(self) -> None:
        """Go on with what another launch did not broadcast to its end."""
        for row in self._rolls.rows():
            if row["aired"] < row["broadcasts"]:
                self.deliver(row["service"])

    async def handle(self, message: str) -> None:
        """Broadcast the last roll-over of a service, unless an order has had that done meanwhile."""
        async with self._turns.of(message):
            row = self._row(message)
            if row["aired"] == row["broadcasts"]:
                return
            said = decode(row["ordered"], DomainRollOrder)
            try:
                cells = self._diffuser.cells(said.groups)
            except Refusal as refusal:
                self._desk.log.warning("domain_key.lost", service=message, reason=refusal.reason)
                return
            trace = continued(row["trace"])
            export(trace, self._desk.keys.name, message)
            tracing.bind(trace, role=self._desk.keys.role.value)
            self._desk.log.info("domain_key.goes_on", service=message, roll=row["roll"])
            self._unanswered[message] = row["ordered"]
            await self._again(row, said, packets=len(self._packets(message)))
            await self.broadcast(message, cells, trace)

    def join(self, service: str, said: DomainRollOrder, trace: TraceContext) -> bool:
        """Make what is on the air that of an order, if it is what *said* is about; say whether it is.

        It may be over by then, if it went on by itself: the order comes for its answer, and once.
        """
        ordered = encode(said)
        is_on_air = service in self._on_air and self._row(service)["ordered"] == ordered
        if is_on_air:
            self._on_air[service] = trace
        return (self._unanswered.pop(service, b"") == ordered) or is_on_air

    async def broadcast_again(
        self, service: str, said: DomainRollOrder, cells: list[str], trace: TraceContext, *, joined: bool
    ) -> None:
        """Broadcast the last roll-over once more, as if for the first time to who has missed it.

        An order that *joined* what came to its end by now has the roll called instead.
        """
        row = self._row(service)
        is_heard = joined and row["aired"] == row["broadcasts"]
        await self._again(row, said, packets=1 if is_heard else len(self._packets(service)))
        await self.broadcast(service, cells, trace, is_roll_call=is_heard)

    def _row(self, service: str) -> Row:
        row = self._rolls.get(service)
        assert row is not None, "its key was rolled over"
        return row

    def _packets(self, service: str) -> list[bytes]:
        """Return the packets of the last roll-over of *service*, in their order."""
        rows = (row for row in self._renewals.rows() if row["service"] == service)
        return [row["octets"] for row in sorted(rows, key=lambda row: int(row["number"]))]

    async def _again(self, row: Row, said: DomainRollOrder, *, packets: int) -> None:
        rounds = row["broadcasts"] + RENEWAL_CODES.rounds(packets)
        await self._rolls.put(row.but(broadcasts=rounds, ordered=encode(said)))

    async def broadcast(
        self, service: str, cells: list[str], trace: TraceContext, *, is_roll_call: bool = False
    ) -> None:
        """Broadcast the packets of the last roll-over of *service*, and store that they were.

        Each as often as it is repeated before the next one comes: a module holds only a few messages whose
        pages it lacks, and these have up to fifteen. The notice is the last of them.
        """
        packets, published = self._packets(service)[-1 if is_roll_call else 0 :], 0
        rounds = self._row(service)["broadcasts"] + 1 - RENEWAL_CODES.rounds(len(packets))
        self._on_air[service] = trace
        try:
            for number, octets in enumerate(packets):
                serial = RENEWAL_CODES.serial(number, GeographicScope.PLMN, rounds=rounds)
                for _ in range(self._diffuser.aerial.repetitions):
                    published += await self._publish(service, octets, serial, cells)
        finally:
            del self._on_air[service]
        roll = self._row(service)
        await self._rolls.put(roll.but(aired=roll["broadcasts"]))
        self._desk.log.info(
            "domain_key.broadcast",
            service=service,
            packets=len(packets),
            cells=len(cells),
            published=published,
        )

    async def _publish(self, service: str, octets: bytes, serial: SerialNumber, cells: list[str]) -> int:
        known, aerial = self._services.get(service), self._diffuser.aerial
        assert known is not None, "its key was rolled over"
        receipt = await aerial.broadcaster.broadcast(
            octets,
            message_identifier=known["message_identifier"],
            code=serial.code,
            update=serial.update,
            cells=cells,
            scope=serial.scope,
            schedule=_ONCE,
            trace=self._on_air[service],
        )
        await aerial.clock.sleep(receipt.pages * aerial.page_s)
        return receipt.publishes
