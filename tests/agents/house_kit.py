"""An operator and its allocator without a broker, over the module of ``desk_kit``.

Both keep their books on disk and either can be left and opened again. ``Road`` is in the place of what roles
say to each other: it asks the allocator as the link does, and a test can lose, forge and change what passes.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from agents.allocator import Allocator
from agents.allocators_hand import AllocatorsHand
from agents.errors import Refusal, Unanswered
from agents.identity import RoleKeys
from agents.link import Question
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys
from agents.messages.inside import LookUp, Manage, Managed, ModuleRecord
from agents.messages.signed import Signed
from agents.randomness import make_rng
from agents.store.database import open_store
from agents.store.tables import ALLOCATOR
from tests.agents.desk_kit import Office, Suppliers
from tests.agents.module_kit import UA
from tests.agents.role_kit import TRACE
from transport.errors import Rejected
from transport.security.certificates import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agents.hands import Hand
    from agents.operator_sessions import SessionTerms
    from agents.role import Desk
    from bus.frame import TraceContext

HOST: Final = RoleKeys.make(name="host", role=Role.ALLOCATOR, suite="p256", rng=make_rng(1, "desk/host"))
HOST_NUMBER: Final = "15550110"


class Road(Suppliers):
    """Asks the allocator, and for it the authority; anybody else takes note, as suppliers do."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        self.asked: list[Manage] = []
        """What the allocator was asked, in its order."""
        self.questions_lost = 0
        self.replies_lost = 0
        """How many of the next ones are lost."""
        self.change: Callable[[Managed], Managed] = lambda managed: managed
        """What is made of a reply on its way."""
        self.looked_up: list[str] = []
        self.refuses = ""
        """The authority's reason for telling nothing."""

    async def ask(self, name: str, question: object, *expected: object, trace: TraceContext) -> Any:
        """Ask whom it is for; raise Refusal or Unanswered as a link does."""
        if isinstance(question, LookUp):
            assert name == "root"
            return self._look_up(question)
        if not isinstance(question, Manage):
            return await super().ask(name, question, *expected, trace=trace)
        assert name == "host"
        if self.questions_lost:
            self.questions_lost -= 1
            raise Unanswered(name)
        managed = await self.say(decode(encode(question), Manage))
        if self.replies_lost:
            self.replies_lost -= 1
            raise Unanswered(name)
        return self.change(decode(encode(managed), Managed))

    async def say(self, message: Manage, *, sender: str = "mno", role: Role = Role.OPERATOR) -> Managed:
        """Ask the allocator as *sender*. Raises Refusal with its reason."""
        self.asked.append(message)
        assert self.house.allocator is not None, "the allocator is there"
        question = Question(sender=sender, role=role, message=message, reference=bytes(16), trace=TRACE)
        try:
            managed = await Allocator.questions[Manage](self.house.allocator, question, message)
        except (Refusal, Unanswered, Rejected) as refusal:
            raise Refusal(refusal.reason) from None
        assert isinstance(managed, Managed)
        return managed

    def _look_up(self, question: LookUp) -> ModuleRecord:
        self.looked_up.append(question.ua)
        if self.refuses:
            raise Refusal(self.refuses)
        known = self.house.module()
        return ModuleRecord(certificate=known["certificate"], memory=known["memory"], suites=["x25519"])


class House(Office):
    """The operator's desk and the allocator's, and the module that obeys the allocator."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.session: SessionTerms | None = None
        """What the allocator makes sessions with the module with."""
        self.allocator: Allocator | None = None
        self.announced: list[tuple[tuple[str, ...], Any]] = []
        """What was broadcast: to which groups, and what was said."""
        self.suppliers: Road = Road(self)

    def personalise(self) -> None:
        """PERS: the module becomes the operator's, and obeys the allocator."""
        personal = self.market.personal(
            operator_suite=HOST.suite,
            operator_public=HOST.signing.public,
            allocator=HOST.name,
            allocator_number=HOST_NUMBER,
        )
        signed = decode(self.market.card.store_data(encode(personal)).data, Signed)
        keys = decode(signed.body, ModuleKeys)
        self.market.public, self.market.sealing_public = keys.signing, keys.sealing

    def hand(self, desk: Desk) -> Hand | None:
        """Return the hand of who has an allocator."""
        return AllocatorsHand(desk, HOST.name)

    async def announce(self, groups: Any, *, trace: TraceContext, said: Any) -> None:
        """Take note of a broadcast, as an announcer would make it."""
        assert trace == TRACE
        self.announced.append((tuple(groups), said))

    @asynccontextmanager
    async def allocating(self, *, voice: bool = True) -> AsyncIterator[Allocator]:
        """Open the allocator; to leave and to open again is its next launch."""
        async with open_store(self.directory / "host.db", ALLOCATOR) as store:
            announcer: Any = self if voice else None
            self.allocator = await Allocator.open(
                self.desk(HOST),
                store,
                operator="mno",
                authority="root",
                announcer=announcer,
                session=self.session,
            )
            try:
                yield self.allocator
            finally:
                self.allocator = None

    def asks(self, message: object, turn: int, *, target: str = UA) -> Manage:
        """Return what the operator asks the allocator for a command, or for octets that are none."""
        body = message if isinstance(message, bytes) else encode(message)
        return Manage(target=target, turn=turn, body=body, groups=[])
