"""An operator at a desk without a broker: what it sends to the module is in the module's hands at once.

Store, keys and module are real. ``Air`` is in the place of the network, so that a test can lose, keep and
change what is answered; ``Suppliers`` take note of what they are told.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from agents.commands import Commands
from agents.directory import CertificateDirectory
from agents.errors import Unanswered
from agents.handset.security_module.core import Identity
from agents.handset.security_module.memory import Memory, Record
from agents.identity import RoleKeys, certify, certify_module, certify_operator
from agents.messages.codec import decode, encode
from agents.messages.inside import Certified, Certify, Done, WrapDomainKey, WrappedDomainKey
from agents.messages.orders import Order
from agents.messages.signed import Purpose, Signed, sign
from agents.messages.succession import key_digest
from agents.operator import Operator
from agents.randomness import make_rng
from agents.role import Desk, Ordered
from agents.store.database import open_store
from agents.store.registry import Registry
from agents.store.tables import AGREEMENTS, OPERATOR, SUPPLIER_PUBLICS
from agents.subscriptions import SUBSCRIBED, Subscriptions
from bus.actor import ActorGroup
from bus.clock import SystemClock
from bus.counters import Counters
from tests.agents.module_kit import SERVICE, TAR, UA, Market, manage
from tests.agents.role_kit import TRACE
from transport.security.certificates import Role
from transport.security.domain_key import FIRST_TICKET
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agents.commands import Answered
    from agents.hands import Hand
    from agents.store.group_commit import GroupCommit
    from bus.frame import TraceContext
    from transport.security.certificates import Certificate

KEYS = RoleKeys.make(name="mno", role=Role.OPERATOR, suite="x25519", rng=make_rng(1, "desk/mno"))
AUTHORITY = RoleKeys.make(name="root", role=Role.AUTHORITY, suite="x25519", rng=make_rng(1, "desk/root"))


ABOUT_MODULES: Final = frozenset({"audit", "compact", "roll-operator-key", "introduce-operator"})
"""Orders that are about no service."""


class Air:
    """Carries commands to the module and its answers back."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.sent: list[bytes] = []
        """What was sent to the module, in its order."""
        self.lost = 0
        """How many of the next answers are lost: the module has taken the command."""
        self.deaf = False
        """Whether the module hears nothing of what is sent."""
        self.change: Callable[[bytes], bytes] = lambda answer: answer
        """What is made of an answer on its way."""

    async def manage(self, ua: str, data: bytes, *, trace: TraceContext) -> bytes:
        """Bring a command to the module; return its answer, as an exchange does."""
        assert (ua, trace) == (UA, TRACE)
        self.sent.append(data)
        if self.deaf:
            raise Unanswered(ua)
        answer = manage(self.market.card, data).data
        if self.lost:
            self.lost -= 1
            raise Unanswered(ua)
        return self.change(answer)


class Suppliers:
    """Whoever the operator asks anything: suppliers, and an authority that certifies its keys."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.serial = 1
        """Of the last certificate that the authority gave the operator."""
        self.certify: Callable[[Certify], Certificate] = self._certify
        """What the authority says of a key."""
        self.wrap: Callable[[WrapDomainKey], bytes] = lambda _question: b""
        """What a supplier makes of its domain key for a module."""

    async def ask(
        self, name: str, question: object, *_expected: object, trace: TraceContext
    ) -> Done | Certified | WrappedDomainKey:
        """Take note of what is said."""
        assert trace == TRACE
        if isinstance(question, Certify):
            assert name == "root"
            return Certified(certificate=self.certify(question).encode())
        assert name == "bank"
        self.told.append(question)
        return WrappedDomainKey(octets=self.wrap(question)) if isinstance(question, WrapDomainKey) else Done()

    def _certify(self, asked: Certify) -> Certificate:
        possession = decode(asked.possession, Signed)
        possession.verify(purpose=Purpose.POSSESSION, suite=asked.suite, public=asked.public)
        self.serial += 1
        return certify_operator(
            "mno", asked.suite, asked.public, issuer=AUTHORITY, serial=self.serial, now=SystemClock().now()
        )


class Office:
    """The operator's desk, and the module at the other end of its air."""

    def __init__(self, directory: Path, **personal: Any) -> None:
        """Personalise the module, with these changes."""
        self.directory = directory
        self.clock = SystemClock()
        self.market = Market()
        self.market.operator.key = KEYS.signing
        self.market.card.now = self.clock.now()
        self.personal = {"authority_public": AUTHORITY.signing.public, "operator_serial": 1} | personal
        self.personalise()
        self.air = Air(self.market)
        self.suppliers = Suppliers()
        self.terms: dict[str, Any] = {}
        """What is agreed of the account, where it is not the supplier's own."""
        self.kept: list[Answered] = []

    def personalise(self) -> None:
        """PERS: the module becomes the operator's."""
        self.market.personalise(**self.personal)

    def hand(self, desk: Desk) -> Hand | None:  # noqa: ARG002 -- for who has another
        """Return by whose hand commands go to the module; None: by the operator's own."""
        return None

    async def keep(self, answered: Answered) -> None:
        """Take note of an answer that is kept."""
        self.kept.append(answered)

    @asynccontextmanager
    async def commands(self) -> AsyncIterator[Commands]:
        """Open what the operator knows of its modules and commands; the module is known."""
        async with self.store() as store:
            desk = self.desk()
            commands = Commands(desk, store, authority="root", keep=self.keep, hand=self.hand(desk))
            await commands.load()
            if not commands.modules.get(UA):
                await commands.modules.put(self.module())
            yield commands

    @asynccontextmanager
    async def operator(self, *, lifetime: int = 0, executions: int = -1) -> AsyncIterator[Operator]:
        """Open the operator; the module is known, and has subscribed to the account, which is agreed."""
        async with self.commands():
            pass
        async with self.store() as store:
            await Registry(store, AGREEMENTS).put(self._agreement(lifetime, executions))
            public = self.market.supplier.key.public
            await Registry(store, SUPPLIER_PUBLICS).put(
                {"service": SERVICE, "digest": key_digest(public), "public_key": public}
            )
            subscriptions = Subscriptions(store, self.clock)
            await subscriptions.load()
            if subscriptions.get(UA, SERVICE) is None:
                await subscriptions.change(UA, SERVICE, state=SUBSCRIBED)
            desk = self.desk()
            yield await Operator.open(desk, store, authority="root", hand=self.hand(desk))

    def _agreement(self, lifetime: int, executions: int) -> dict[str, Any]:
        asked = self.market.supplier.reserve(**self.terms)
        return {
            "service": SERVICE,
            "supplier": "bank",
            "number": asked.supplier_number,
            "suite": asked.suite,
            "forms": " ".join(asked.forms),
            "public_key": asked.supplier_public,
            "sealing_key": asked.supplier_sealing,
            "dh_base": asked.dh_base,
            "dh_modulus": asked.dh_modulus,
            "tar": TAR,
            "code_size": asked.code_size,
            "data_size": asked.data_size,
            "rights": asked.rights,
            "expires_at": 0,
            "lifetime": lifetime,
            "executions": executions,
            "at_end": asked.at_end,
            "bearers": "sms",
            "server": b"",
            "protection": asked.protection,
            "logic_name": asked.logic_name,
            "domain_key": b"",
            "message_identifier": asked.message_identifier,
            "agreed_at": self.clock.now(),
        }

    @asynccontextmanager
    async def store(self) -> AsyncIterator[GroupCommit]:
        """Open the operator's database."""
        async with open_store(self.directory / "mno.db", OPERATOR) as store:
            yield store

    def desk(self, keys: RoleKeys = KEYS) -> Desk:
        """Return the desk: who works at it has nobody but the module and the suppliers."""
        log = structlog.get_logger()
        nobody: Any = None
        return Desk(
            fleet="office",
            keys=keys,
            directory=CertificateDirectory(
                certify(AUTHORITY, issuer=AUTHORITY, serial=1, now=self.clock.now()), clock=self.clock
            ),
            client=nobody,
            link=cast("Any", self.suppliers),
            console=nobody,
            clock=self.clock,
            rng=make_rng(1, "desk"),
            counters=Counters(),
            log=log,
            group=ActorGroup(log=log, counters=Counters()),
            exchange=cast("Any", self.air),
        )

    def module(self) -> dict[str, Any]:
        """Return what the authority says of the module."""
        certificate = certify_module(
            UA,
            self.market.module_suite,
            self.market.public,
            self.market.sealing_public,
            issuer=AUTHORITY,
            now=self.clock.now(),
        )
        return {
            "ua": UA,
            "certificate": certificate.encode(),
            "memory": self.market.size,
            "suites": "p256 x25519",
            "generation": 0,
            "command_counter": 0,
            "request_counter": 0,
            "request_window": 0,
            "ticket": FIRST_TICKET,
            "free": 0,
            "largest_free": 0,
            "audited_at": 0.0,
        }

    def order(self, do: str, argument: bytes = b"") -> Ordered:
        """Return an order about the module and, if it is about one, the account."""
        service = "" if do in ABOUT_MODULES else SERVICE
        order = Order(run=1, do=do, ua=UA, service=service, argument=argument)
        return Ordered(order=order, trace=TRACE)

    def says(self, body: bytes, answer: bytes, **changes: Any) -> bytes:
        """Return *body* signed by the module in the place of its *answer*: it may say anything."""
        record = Memory.from_pages(self.market.card.pages.items()).get_record(Record.IDENTITY)
        assert record is not None
        identity = decode(record, Identity)
        terms: dict[str, Any] = {
            "purpose": Purpose.ANSWER,
            "target": KEYS.name,
            "counter": decode(answer, Signed).counter,
            "signer": UA,
            "key": SUITES[identity.suite].load_signing_key(identity.private),
        }
        return encode(sign(body, **(terms | changes)))
