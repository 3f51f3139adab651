"""Two CAT_TP connections and the network between them: seeded, simulated, remembering all that was sent."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import TYPE_CHECKING

from transport.cat_tp import (
    CARD_SETTINGS,
    CatTpConnection,
    CatTpSettings,
    Closed,
    Opened,
    Pdu,
    SduReceived,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from transport.cat_tp import Event

MODULE_PORT, SERVER_PORT = 0x0401, 0x0402
ICCID = bytes.fromhex("988812010000000010f5")
UP, DOWN = "up", "down"
PATIENT = CatTpSettings(retransmission_timeout_s=1.0, max_retransmissions=60, close_wait_s=5.0)


def module_end(settings: CatTpSettings = CARD_SETTINGS, initial_sequence: int = 100) -> CatTpConnection:
    """Return the module's end, closed."""
    return CatTpConnection(
        local_port=MODULE_PORT,
        remote_port=SERVER_PORT,
        settings=settings,
        identification=ICCID,
        initial_sequence=initial_sequence,
    )


def server_end(settings: CatTpSettings | None = None, initial_sequence: int = 9000) -> CatTpConnection:
    """Return the server's end, closed."""
    return CatTpConnection(
        local_port=SERVER_PORT,
        remote_port=MODULE_PORT,
        settings=settings,
        initial_sequence=initial_sequence,
    )


class Network:
    """The air between the two ends: a share of datagrams is lost or doubled, each takes its own time.

    With *jitter_s* they overtake one another; ``delay_s`` is what each takes at least. *trace* is all that
    was sent, lost or not (True), and all that arrived (False), each with its way; *events* what each end
    told.
    """

    def __init__(
        self, *, seed: int = 1, loss: float = 0.0, duplication: float = 0.0, jitter_s: float = 0.0
    ) -> None:
        self.now = 0.0
        self.trace: list[tuple[bool, str, bytes]] = []
        self.events: dict[str, list[Event]] = {UP: [], DOWN: []}
        self.loss = loss
        self.delay_s = 0.01
        self._rng = Random(seed)
        self._duplication = duplication
        self._jitter_s = jitter_s
        self._under_way: list[tuple[float, int, str, bytes]] = []
        self._tickets = count()
        self._ends: dict[str, CatTpConnection] = {}

    def join(self, module: CatTpConnection, server: CatTpConnection) -> None:
        """Put the two ends on the network."""
        self._ends = {UP: module, DOWN: server}

    @property
    def wire(self) -> list[tuple[str, bytes]]:
        """All that was sent, with its way."""
        return [(way, octets) for sent, way, octets in self.trace if sent]

    def sdus(self, way: str) -> list[bytes]:
        """Return the SDUs that arrived at the end to which *way* leads."""
        receiver = DOWN if way == UP else UP
        return [event.octets for event in self.events[receiver] if isinstance(event, SduReceived)]

    def told(self, way: str) -> list[Event]:
        """Return what the end that sends *way* told, but for SDUs."""
        return [event for event in self.events[way] if not isinstance(event, SduReceived)]

    def flush(self) -> None:
        """Take what both ends have for the network and for their shells."""
        for way, end in self._ends.items():
            self.events[way] += end.events_received()
            for octets in end.datagrams_to_send():
                self.trace.append((True, way, octets))
                for arrival in self.arrivals(way, octets):
                    heappush(self._under_way, (arrival, next(self._tickets), way, octets))

    def arrivals(self, way: str, octets: bytes) -> Iterable[float]:  # noqa: ARG002 -- both ways are alike
        """Return when copies of a datagram that is sent now arrive."""
        copies = 1 + (self._rng.random() < self._duplication)
        draws = [(self._rng.random() >= self.loss, self._rng.random()) for _ in range(copies)]
        return [self.now + self.delay_s + late * self._jitter_s for passes, late in draws if passes]

    def repeats(self) -> int:
        """Return how many PDUs that take a number went again."""
        numbered = [
            (way, pdu.sequence) for way, octets in self.wire if (pdu := Pdu.parse(octets)).takes_number
        ]
        return len(numbered) - len(set(numbered))

    def due(self) -> float:
        """Return when the next thing happens, if ever."""
        arrival = self._under_way[0][0] if self._under_way else inf
        return min([arrival, *(at for at, _ in self._timers())])

    def _timers(self) -> list[tuple[float, str]]:
        return [(at, way) for way, end in self._ends.items() if (at := end.next_timer()) is not None]

    def step(self) -> bool:
        """Let the next thing happen, an arrival or a timer; False when nothing ever will."""
        self.flush()
        timers = self._timers()
        if self._under_way and self._under_way[0][0] <= min(timers, default=(inf, ""))[0]:
            arrival, _, way, octets = heappop(self._under_way)
            self.now = max(self.now, arrival)
            self.trace.append((False, way, octets))
            self._ends[DOWN if way == UP else UP].receive_datagram(octets, self.now)
        elif timers:
            at, way = min(timers)
            self.now = max(self.now, at)
            self._ends[way].handle_timer(self.now)
        else:
            return False
        self.flush()
        return True

    def run(self, until: Callable[[], bool], limit: int = 100_000) -> bool:
        """Let things happen until *until*; False when nothing happens any more before that."""
        for _ in range(limit):
            if until():
                return True
            if not self.step():
                return until()
        raise AssertionError("there is no end to it")

    def settle(self) -> None:
        """Let things happen until nothing does."""
        self.run(lambda: False)


def open_pair(
    network: Network,
    *,
    module: CatTpSettings = CARD_SETTINGS,
    server: CatTpSettings = PATIENT,
    sequences: tuple[int, int] = (100, 9000),
) -> tuple[CatTpConnection, CatTpConnection]:
    """Return two ends on *network* between which the module opened a connection."""
    ends = module_end(module, sequences[0]), server_end(server, sequences[1])
    network.join(*ends)
    ends[1].listen()
    ends[0].connect(network.now)
    assert network.run(lambda: all(end.state is State.OPEN for end in ends))
    return ends


def over(events: list[Event]) -> bool:
    """Whether *events* begin with an opening, if any, and end with one closing."""
    kinds = [type(event) for event in events]
    return kinds in ([Closed], [Opened, Closed])
