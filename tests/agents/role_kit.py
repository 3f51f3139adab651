"""A small market on the real broker, in a directory of the test's own, with a wire to look at.

``open_kit`` gives the surroundings: stores, keys, certificates, a console. Roles are real (``start``) or, in
the place of one, a ``Puppet`` that says what the test wants. Handsets are real as well: module, phone and
cell. Whoever publishes does it through ``WatchedClient``, in which a test can change, withhold or repeat what
leaves. Leaving the kit is like a kill: nothing is drained. Opening it again in the same directory, with the
next ``run``, is the next launch.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wasmtime import wat2wasm

from agents.authority import Authority
from agents.console import COMMAND, CONSOLE, RESPONSE, Console
from agents.enrolment import Enrolled, enrol
from agents.errors import FleetError
from agents.exchange import Exchange
from agents.fleet.addresses import ua_of
from agents.freshness import References
from agents.handset.antenna import Antenna
from agents.handset.cell import Cell
from agents.handset.phone import Phone
from agents.handset.security_module.memory import Memory
from agents.handset.security_module.module import SecurityModule
from agents.handset.security_module.profile import LIGHT_SUITES
from agents.handset.security_module.rights import rights_mask
from agents.handset.site import Site
from agents.identity import RoleKeys
from agents.link import Link, Question
from agents.link_ways import LinkForms
from agents.messages.codec import encode
from agents.messages.inside import Done, Reply
from agents.messages.orders import Event, Order
from agents.offers import Offer
from agents.operator import Operator
from agents.personalizer import Personalizer, WorkOrder
from agents.randomness import make_rng
from agents.role import Desk
from agents.store import tables
from agents.store.database import open_store
from agents.store.pages import PageStore
from agents.supplier import Supplier
from bus.actor import Actor, ActorGroup
from bus.air import AirGate
from bus.bearers.bip import BipServer, BipSettings
from bus.bearers.sms import SmsSender, SmsSettings
from bus.bearers.sms_receiver import SmsReceiver
from bus.client import BusClient
from bus.clock import SystemClock
from bus.counters import Counters
from bus.frame import Bearer, Frame, TraceContext
from bus.topics import Events, everything
from bus.tracing import new_trace
from transport.concatenation import Reassembler
from transport.security.certificates import Role as Certified

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from sqlalchemy import MetaData, Table
    from structlog.typing import FilteringBoundLogger

    from agents.announcer import Announcer
    from agents.diffuser import Aerial
    from agents.directory import Directory
    from agents.messages.bearers import ServerAddress
    from agents.role import Role
    from agents.store.group_commit import GroupCommit
    from bus.address import BrokerAddress
    from bus.client import Handler
    from bus.clock import Clock
    from bus.topics import Topic
    from transport.air import Conditions, Presence
    from transport.security.suites import Rng

PATIENCE_S: Final = 20.0
CONSOLE_KEY: Final = bytes(range(16))
TRACE: Final = TraceContext(trace_id=b"T" * 16, span_id=b"S" * 8)
APPS: Final = Path(__file__).resolve().parents[2] / "configs" / "apps"
# Takes nothing and answers nothing.
SILENT: Final = """(module (memory (export "memory") 16 16 (pagesize 1))
  (func (export "personalise") (result i32) (i32.const 0))
  (func (export "invoke") (result i32) (i32.const 0)))"""

# A custom section of 2,500 octets: section 0, length in LEB128, an empty name.
FILLING: Final = bytes.fromhex("00c41300") + bytes(2499)

SUBJECTS: Final[dict[str, tuple[Certified, str, str]]] = {
    "root": (Certified.AUTHORITY, "x25519", ""),
    "factory": (Certified.PERSONALISER, "x25519", ""),
    "mno": (Certified.OPERATOR, "x25519", "15550100"),
    "other": (Certified.OPERATOR, "p256", "15550101"),
    "host": (Certified.ALLOCATOR, "p256", "15550110"),
    "bank": (Certified.SUPPLIER, "p256", "15550200"),
    "shop": (Certified.SUPPLIER, "x25519", "15550300"),
}
"""Role, suite and short number of everybody in the market; the two operators share an authority."""
ALLOCATORS: Final = {"host": "mno"}
"""In whose place each allocator stands, for the authority; the modules obey the operator itself."""
SUPPLIERS: Final = {"mno": frozenset({"bank", "shop"}), "other": frozenset[str]()}
"""Whom each operator deals with."""
ISSUERS: Final = {
    "root": "root",
    "factory": "root",
    "mno": "root",
    "other": "root",
    "host": "root",
    "bank": "mno",
    "shop": "mno",
}
"""Who vouches for whom, each behind who vouches for it."""
AGENTS: Final = {"personalise": "factory", "subscribe": "", "serve": "", "switch-off": "", "switch-on": ""}
"""Who is ordered to do what; "" is the handset itself, and the operator does what is not listed."""


@cache
def programme(name: str) -> bytes:
    """Return a sample application, or the silent one, as WebAssembly."""
    if name == "large":
        return programme("silent") + FILLING
    text = SILENT if name == "silent" else (APPS / f"{name}.wat").read_text(encoding="ascii")
    return bytes(wat2wasm(text))


def offer(service: str, *, backend: str, code: bytes, data_size: int, rights: tuple[str, ...] = ()) -> Offer:
    """Return an offer without an end."""
    return Offer(
        service=service,
        code=code,
        backend=backend,
        code_size=max(1024, len(code)),
        data_size=data_size,
        rights=rights_mask(rights),
        expires_at=0,
        executions=-1,
    )


def offers_of(supplier: str) -> list[Offer]:
    """Return what *supplier* offers."""
    if supplier == "bank":
        return [
            offer("account", backend="account", code=programme("account"), data_size=256, rights=("hmac",)),
            offer("silent", backend="none", code=programme("silent"), data_size=16),
            offer("large", backend="none", code=programme("large"), data_size=16),
        ]
    return [
        offer("loyalty", backend="loyalty", code=programme("loyalty"), data_size=64),
        # Its application answers nothing where its back end expects a balance.
        offer("liar", backend="loyalty", code=programme("silent"), data_size=16),
    ]


class WatchedClient(BusClient):
    """A client whose publishes a test may change or repeat, and into which it may put frames."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.alter: Callable[[str, Frame], list[Frame]] = lambda _path, frame: [frame]
        """Says what is published in the place of a frame on a topic: nothing, it, another, or several."""
        self.handlers: dict[str, Handler] = {}

    async def publish(self, topic: Topic | str, frame: Frame, span: TraceContext | None = None) -> None:
        """Publish what ``alter`` makes of *frame*; none but itself has its *span*."""
        for each in self.alter(str(topic), frame):
            await super().publish(topic, each, span if each is frame else None)
            span = None

    async def subscribe(self, topics: Any, handler: Handler) -> None:
        """Subscribe, and remember the handler for ``inject``."""
        self.handlers |= {str(topic): handler for topic in topics}
        await super().subscribe(topics, handler)

    def inject(self, topic: Topic, frame: Frame) -> None:
        """Hand *frame* to its handler as the socket's callback would: at once."""
        self.handlers[str(topic)](frame, str(topic))


class WatchedCounters(Counters):
    """Counters that a test can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Condition()

    def dropped(self, reason: str) -> None:
        """Count, and tell who waits."""
        super().dropped(reason)
        _tell(self.changed)

    def crashed(self, agent: str) -> None:
        """Count, and tell who waits."""
        super().crashed(agent)
        _tell(self.changed)

    def drops(self, reason: str) -> int:
        """Return how many payloads were dropped for *reason*."""
        return self.snapshot()["dropped"].get(reason, 0)

    def retries(self, bearer: Bearer) -> int:
        """Return how many messages of *bearer* were sent again."""
        counts = self.snapshot()["bearers"].get(bearer)
        return counts["retries"] if counts else 0

    async def until_dropped(self, reason: str, count: int = 1) -> None:
        """Return when *count* payloads were dropped for *reason*."""
        await _until(self.changed, lambda: self.drops(reason) >= count)


class Wire:
    """Everything that is published in the fleet, in the order of the broker."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, Frame]] = []
        self.changed = asyncio.Condition()

    def __call__(self, frame: Frame, topic: str) -> None:
        """Keep a frame."""
        self.frames.append((topic, frame))
        _tell(self.changed)

    def on(self, topic: Topic) -> list[Frame]:
        """Return what has passed on *topic*."""
        return [frame for path, frame in self.frames if path == topic.path]

    async def until(self, topic: Topic, count: int = 1) -> list[Frame]:
        """Return what has passed on *topic*, once that is *count* frames or more."""
        await _until(self.changed, lambda: len(self.on(topic)) >= count)
        return self.on(topic)


_TELLERS: Final[set[asyncio.Task[None]]] = set()


def _tell(condition: asyncio.Condition) -> None:
    async def notify() -> None:
        async with condition:
            condition.notify_all()

    task = asyncio.get_running_loop().create_task(notify())
    _TELLERS.add(task)
    task.add_done_callback(_TELLERS.discard)


async def _until(condition: asyncio.Condition, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S), condition:
        await condition.wait_for(holds)


class Puppet(Actor[Question]):
    """In the place of a role: keeps the questions it gets and gives the replies that the test says."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.keys.name, desk.group)
        self.desk = desk
        self.questions: list[Question] = []
        self.changed = asyncio.Condition()
        self.says: Callable[[Question], Reply | None] = lambda _question: Done()

    async def start(self) -> None:
        """Listen to the other roles."""
        await self.desk.link.start(self.deliver)

    async def handle(self, message: Question) -> None:
        """Keep the question; reply, unless the answer is None."""
        if message.answered:
            await self.desk.link.repeat(message)
            return
        self.questions.append(message)
        reply = self.says(message)
        if reply is not None:
            await self.desk.link.reply(message, reply)
        _tell(self.changed)

    async def until_asked(self, count: int = 1) -> list[Question]:
        """Return the questions, once there are *count*."""
        await _until(self.changed, lambda: len(self.questions) >= count)
        return self.questions


class Kit:
    """The surroundings of one launch."""

    def __init__(
        self,
        stack: AsyncExitStack,
        *,
        broker: BrokerAddress,
        fleet: str,
        directory: Path,
        log: FilteringBoundLogger,
        run: int,
        clock: Clock | None = None,
        by_certificate: bool = True,
        issuers: Mapping[str, str] | None = None,
    ) -> None:
        self.broker = broker
        self.by_certificate = by_certificate
        self.issuers = ISSUERS | dict(issuers or {})
        self.fleet = fleet
        self.run = run
        self.log = log
        self.directory = directory
        self.clock: Clock = clock or SystemClock()
        self.counters = WatchedCounters()
        self.group = ActorGroup(log=log, counters=self.counters)
        self.console = Console(
            fleet=fleet, run=run, key=CONSOLE_KEY, clock=self.clock, rng=self.rng("console")
        )
        self.keys = {
            name: RoleKeys.make(name=name, role=role, suite=suite, rng=make_rng(1, f"{fleet}/keys/{name}"))
            for name, (role, suite, _number) in SUBJECTS.items()
        }
        self.wire = Wire()
        self.events: list[Event] = []
        self.heard_at: list[tuple[str, float | None]] = []
        """When each handset heard what an event tells of it."""
        self.told = asyncio.Condition()
        self.clients: dict[str, WatchedClient] = {}
        self.gate: AirGate
        self.antenna: Antenna
        self.cell: Cell
        self._cell_client: WatchedClient
        self.pages: PageStore
        self.directory_of_roles: Directory
        self.work: dict[str, WorkOrder] = {}
        self.roles: dict[str, Role] = {}
        self.offers: dict[str, list[Offer]] = {}
        """What a supplier offers in the place of ``offers_of``, from its start on."""
        self.servers: dict[str, ServerAddress] = {}
        """Where modules are told that a supplier's server is."""
        self.listening: dict[str, BipSettings] = {}
        """Whose server is there, and how patient it is."""
        self.bip: dict[str, BipServer] = {}
        self.sms = SmsSettings(report_timeout_s=PATIENCE_S, attempts=1)
        self.forms = LinkForms()
        """How each pair of roles speaks."""
        self.announcer: Callable[[Desk], Announcer | None] = lambda _desk: None
        """What an operator broadcasts with."""
        self.aerial: Callable[[Desk], Aerial | None] = lambda _desk: None
        """What a supplier broadcasts with."""
        self._references = References(self.clock, self.rng("references"))
        self._stack = stack
        self._links = itertools.count()
        self._stores: dict[str, GroupCommit] = {}

    def rng(self, label: str) -> Rng:
        """Return *label*'s own randomness for this run."""
        return make_rng(1, f"{self.fleet}/{self.run}/{label}")

    async def open(self) -> None:
        """Certify everybody, listen to the wire and to events, put up a cell."""
        stores = {
            "root": await self.store("root", tables.AUTHORITY),
            "mno": await self.store("mno", tables.OPERATOR),
        }
        root, *others = (
            # Who vouches for nobody needs no store.
            Enrolled(keys=self.keys[name], store=stores.get(name, stores["root"]), issuer=issuer)
            for name, issuer in self.issuers.items()
        )
        self.directory_of_roles = await enrol(
            root, others, clock=self.clock, by_certificate=self.by_certificate
        )
        tap = await self.client("tap", persistent=False)
        await tap.subscribe([everything(self.fleet)], self._tapped)
        await self.client("console", persistent=False)
        self.pages = PageStore(await self.store("handsets", tables.MODULES))
        await self.put_up_cell("cell")

    async def put_up_cell(
        self,
        name: str,
        conditions: Mapping[Bearer, Conditions] | None = None,
        *,
        seed: bytes = b"role kit",
        wait: bool = False,
    ) -> Cell:
        """Put up a cell with an air of its own; handsets that are switched on from now on are in it."""
        cell = await self.client(name)
        self.gate = await self._stack.enter_async_context(
            AirGate(
                clock=self.clock,
                seed=seed,
                conditions=conditions or {},
                counters=self.counters,
                log=self.log,
                wait=wait,
            )
        )
        self.antenna = await self._stack.enter_async_context(
            Antenna(cell, self.gate, name=name, counters=self.counters, log=self.log)
        )
        self.cell = Cell(name, self.site(cell))
        self._cell_client = cell
        return self.cell

    def fresh(self) -> bytes:
        """Return a reference of now that nobody has used."""
        return self._references.next()

    async def client(self, name: str, *, persistent: bool = True) -> WatchedClient:
        """Return the connection of *name*."""
        if name not in self.clients:
            client = WatchedClient(
                self.broker,
                identifier=f"{self.fleet}-{name}",
                log=self.log,
                counters=self.counters,
                persistent=persistent,
            )
            self.clients[name] = client
            await self._stack.enter_async_context(client)
        return self.clients[name]

    async def store(self, name: str, metadata: MetaData) -> GroupCommit:
        """Return the database of *name*."""
        if name not in self._stores:
            opened = open_store(self.directory / f"{name}.db", metadata)
            self._stores[name] = await self._stack.enter_async_context(opened)
        return self._stores[name]

    def link(self, name: str, client: WatchedClient, keys: RoleKeys | None = None) -> Link:
        """Return *name*'s end of the inside road; with other *keys*, an impostor's."""
        return Link(
            client,
            fleet=self.fleet,
            keys=keys or self.keys[name],
            directory=self.directory_of_roles,
            clock=self.clock,
            # Each has randomness of its own, as each launch has.
            rng=self.rng(f"link/{name}/{client.identifier}/{next(self._links)}"),
            counters=self.counters,
            log=self.log,
            group=self.group,
            forms=self.forms,
        )

    async def desk(self, name: str) -> Desk:
        """Return *name*'s desk."""
        client = await self.client(name)
        number = SUBJECTS[name][2]
        return Desk(
            fleet=self.fleet,
            keys=self.keys[name],
            directory=self.directory_of_roles,
            client=client,
            link=self.link(name, client),
            console=self.console,
            clock=self.clock,
            rng=self.rng(f"role/{name}"),
            counters=self.counters,
            log=self.log,
            group=self.group,
            exchange=self.exchange(client, number, self._server(name, client)) if number else None,
        )

    def exchange(self, client: WatchedClient, number: str, server: BipServer | None = None) -> Exchange:
        """Return a number on the network, and a server on the packet network."""
        sender = SmsSender(
            client,
            fleet=self.fleet,
            address=number,
            settings=self.sms,
            clock=self.clock,
            rng=self.rng(f"sms/{number}"),
            counters=self.counters,
            log=self.log,
        )
        self._stack.push_async_callback(sender.close)
        return Exchange(
            client,
            fleet=self.fleet,
            number=number,
            sender=sender,
            receiver=SmsReceiver(Reassembler(), counters=self.counters, log=self.log),
            clock=self.clock,
            counters=self.counters,
            log=self.log,
            server=server,
        )

    def _server(self, name: str, client: WatchedClient) -> BipServer | None:
        settings = self.listening.get(name)
        if settings is None:
            return None
        address = self.servers[name]
        server = BipServer(
            client,
            fleet=self.fleet,
            address=str(address.host),
            tcp_port=address.tcp_port,
            udp_port=address.udp_port,
            settings=settings,
            clock=self.clock,
            rng=self.rng(f"bip/{name}"),
            counters=self.counters,
            log=self.log,
        )
        self._stack.push_async_callback(server.close)
        self.bip[name] = server
        return server

    # ---- roles -------------------------------------------------------------------------------------------

    async def start(self, *names: str) -> None:
        """Start these roles, real ones."""
        for name in names:
            self.roles[name] = await self._open_role(name)
            await self.roles[name].start()

    async def _open_role(self, name: str) -> Role:
        desk, role = await self.desk(name), SUBJECTS[name][0]
        if role is Certified.AUTHORITY:
            return await Authority.open(desk, await self.store(name, tables.AUTHORITY), allocators=ALLOCATORS)
        if role is Certified.PERSONALISER:
            return Personalizer(desk, authority="root", directory=self.directory_of_roles, work=self.work)
        if role is Certified.OPERATOR:
            operators = await self.store(name, tables.OPERATOR)
            return await Operator.open(
                desk,
                operators,
                authority="root",
                announcer=self.announcer(desk),
                suppliers=SUPPLIERS[name],
            )
        store = await self.store(name, tables.SUPPLIER)
        number = SUBJECTS[name][2]
        address = self.servers.get(name)
        return await Supplier.open(
            desk,
            store,
            operator="mno",
            number=number,
            offers=self.offers.get(name) or offers_of(name),
            server=address.encode() if address else b"",
            aerial=self.aerial(desk),
        )

    def operator(self) -> Operator:
        """Return the operator ``mno``."""
        role = self.roles["mno"]
        assert isinstance(role, Operator)
        return role

    def fail_next_save(self, name: str, table: Table) -> None:
        """Make the next save of *table* in the database of *name* fail."""
        store = self._stores[name]
        change = store.change

        async def fail(about: Table, **changes: Any) -> None:
            if about is table:
                store.change = change  # type: ignore[method-assign]
                raise FleetError("the disk is full")
            await change(about, **changes)

        store.change = fail  # type: ignore[method-assign, assignment]

    async def puppet(self, name: str) -> Puppet:
        """Put a puppet in the place of *name*."""
        puppet = Puppet(await self.desk(name))
        await puppet.start()
        return puppet

    # ---- handsets ----------------------------------------------------------------------------------------

    def ua(self, index: int = 1) -> str:
        """Return an address of this fleet."""
        return ua_of(self.fleet, 1, index)

    def site(self, client: BusClient, **changes: Any) -> Site:
        """Return what the handsets of the cell share, with *changes*."""
        shared: dict[str, Any] = {
            "fleet": self.fleet,
            "client": client,
            "antenna": self.antenna,
            "console": self.console,
            "pages": self.pages,
            "boot": self.boot,
            "clock": self.clock,
            "counters": self.counters,
            "log": self.log,
            "group": self.group,
        }
        return Site(**(shared | changes))

    async def boot(self, ua: str) -> SecurityModule:
        """Return the module as it was last stored, or a blank one."""
        pages = await self.pages.load(ua)
        rng = self.rng(f"module/{ua}")
        if pages:
            return SecurityModule(Memory.from_pages(pages), rng=rng)
        return SecurityModule.blank(32_768, rng=rng)

    async def handset(
        self,
        ua: str = "",
        *,
        operator: str = "mno",
        suite: str = "x25519",
        takes_keys: bool = False,
        presence: Presence | None = None,
        **changes: Any,
    ) -> Phone:
        """Switch a handset on: by default the first, of the operator ``mno``."""
        ua = ua or self.ua()
        number = SUBJECTS[operator][2]
        self.work[ua] = WorkOrder(
            operator=operator,
            operator_number=number,
            suite=suite,
            memory=32_768,
            suites=LIGHT_SUITES,
            takes_keys=takes_keys,
        )
        phone = Phone(ua, await self.boot(ua), self.site(self._cell_client, **changes))
        await self.cell.attach([phone], {} if presence is None else {ua: presence})
        return phone

    # ---- the person at the console -----------------------------------------------------------------------

    def _tapped(self, frame: Frame, topic: str) -> None:
        # Events are heard on the wire: whoever waits for one finds there whatever was published before it.
        self.wire(frame, topic)
        if topic == Events(fleet=self.fleet).path:
            event = self.console.open(frame, Event, to=CONSOLE)
            self.events += [replace(event, ua=ua, others=b"", heard_at=b"") for ua in event.addresses]
            self.heard_at += event.heard
            _tell(self.told)

    async def order(
        self, do: str, service: str = "", *, agent: str = "", ua: str | None = None, argument: bytes = b""
    ) -> Event:
        """Give an order, by default for the first handset; return what becomes of it."""
        ua = self.ua() if ua is None else ua
        seen = len(self.events)
        agent = agent or AGENTS.get(do, "mno") or ua
        await self.send_order(do, service, agent=agent, ua=ua, argument=argument)
        return await self.event(do, ua=ua, after=seen)

    async def send_order(
        self, do: str, service: str = "", *, agent: str, ua: str, argument: bytes = b""
    ) -> None:
        """Give an order, and do not wait for what becomes of it."""
        await self.console.order(
            self.clients["console"],
            agent,
            do=do,
            ua=ua,
            service=service,
            argument=argument,
            trace=new_trace(self.console.rng),
        )

    def sealed(
        self,
        octets: bytes,
        *,
        use: str,
        bearer: Bearer,
        to: str,
        source: str = CONSOLE,
        console: Console | None = None,
        trace: TraceContext = TRACE,
    ) -> Frame:
        """Return a frame around what the console, or another *console*, seals for one use to one agent."""
        reference = self.fresh()
        sealer = console or self.console
        return Frame(
            bearer=bearer,
            source=source,
            destination=to,
            pdu=sealer.wrap(use, octets, to=to, reference=reference, trace=trace),
            reference=reference,
            trace=trace,
            sent_at=0.0,
        )

    def sealed_order(
        self,
        do: str,
        service: str = "account",
        *,
        agent: str,
        argument: bytes = b"",
        console: Console | None = None,
    ) -> Frame:
        """Return the frame of an order to *agent*; of another *console*, when one is given."""
        run = (console or self.console).run
        order = Order(run=run, do=do, ua=self.ua(), service=service, argument=argument)
        return self.sealed(encode(order), use="Order", bearer=Bearer.ORDER, to=agent, console=console)

    def sealed_apdu(self, command: bytes, *, ua: str = "", use: str = COMMAND) -> Frame:
        """Return the frame of an APDU over the contacts, from the factory."""
        return self.sealed(
            command,
            use=self.console.contact(use),
            bearer=Bearer.CONTACT,
            to=ua or self.ua(),
            source="factory",
        )

    def apdu_in(self, frame: Frame) -> bytes:
        """Return the APDU in a frame to or from the contacts of a module."""
        is_reply = frame.destination == "factory"
        use = self.console.contact(RESPONSE if is_reply else COMMAND)
        return self.console.unwrap(use, frame, to=frame.destination)

    async def event(self, do: str, *, ua: str | None = None, after: int = 0) -> Event:
        """Return the first event about *do* and *ua* behind the first *after* events, once it is there."""
        ua = self.ua() if ua is None else ua

        def found() -> Iterable[Event]:
            return (event for event in self.events[after:] if (event.do, event.ua) == (do, ua))

        await _until(self.told, lambda: any(True for _ in found()))
        return next(iter(found()))

    async def take(self, *steps: str, service: str = "account", ua: str | None = None) -> None:
        """Give these orders one after the other, for one handset and service; each must end well."""
        for step in steps:
            about = "" if step == "personalise" else service
            event = await self.order(step, about, ua=ua)
            assert (step, event.result, event.reason) == (step, "ok", "")

    async def agree(self, *services: str) -> None:
        """Have the suppliers agree on these services with the operator."""
        for service in services:
            agent = "shop" if service in {"loyalty", "liar"} else "bank"
            event = await self.order("agree", service, agent=agent, ua="")
            assert (event.result, event.reason) == ("ok", "")


@asynccontextmanager
async def open_kit(
    broker: BrokerAddress,
    fleet: str,
    directory: Path,
    log: FilteringBoundLogger,
    *,
    run: int = 1,
    clock: Clock | None = None,
    by_certificate: bool = True,
    issuers: Mapping[str, str] | None = None,
) -> AsyncIterator[Kit]:
    """Open the surroundings of launch *run* of *fleet* in *directory*; leaving ends everything at once."""
    async with AsyncExitStack() as stack:
        kit = Kit(
            stack,
            broker=broker,
            fleet=fleet,
            directory=directory,
            log=log,
            run=run,
            clock=clock,
            by_certificate=by_certificate,
            issuers=issuers,
        )
        await kit.open()
        async with kit.group:
            try:
                yield kit
            finally:
                await kit.group.stop(drain=False)
