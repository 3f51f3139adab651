"""How a rule is played: on the module and on the model, with power that fails in between if it is to."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from agents.messages.air import Answer, Audited, Result
from agents.messages.codec import decode
from agents.messages.signed import Purpose, Signed
from tests.agents.module_kit import SECURED, UA, Supplier, manage
from tests.agents.module_model.card import SIZE, SLOTS, FilmedMarket, differences
from tests.agents.module_model.model import DONE, NEVER, Model, Outcome
from tests.agents.power_kit import cuts
from transport.secured_packet import ResponseStatus, decode_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from transport.security.keyset import SessionKeys
    from transport.security.suites import SigningKey

TARS: Final = tuple(bytes((0xB2, 0, number)) for number in range(SLOTS + 1))
"""One more than DEF has room for."""
NUMBERS: Final = {"bank": "15550200", "shop": "15550300"}
"""Suppliers and their telephone numbers; each may get any of the TARs."""
KEYS: Final = tuple(f"{name}{later}" for name in NUMBERS for later in ("", "/1", "/2"))
"""What the suppliers' keys are called: the first one as the supplier, and those that come after it."""
picks = st.integers(0, 10_000)
"""Numbers to pick by: what there is to pick from is known only when a rule is played."""


@cache
def signing_key(key: str) -> SigningKey:
    """Return a supplier's key by what it is called."""
    made: SigningKey = Supplier(suite="p256", name=key).key
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A packet as it was sent once, and under which session."""

    tar: bytes
    session: int
    counter: int
    octets: bytes
    number: str


class Teller(RuleBasedStateMachine):
    """Module and model side by side, and all that was ever said, to be said again."""

    def __init__(self) -> None:
        super().__init__()
        self.market = FilmedMarket()
        self.market.personalise()
        self.card = self.market.filmed
        self.operator = self.market.operator
        self.model = Model(zone=(self.card.zone_start, SIZE), slots=SLOTS)
        self.publics = {name: signing_key(name).public for name in KEYS}
        self.cut: int | None = None
        self.moments: list[Model] = []
        self.keys: dict[int, SessionKeys] = {}
        self.counters: dict[int, int] = {}
        self.packets: list[Sent] = []
        self.orders: list[tuple[int, bytes, bytes]] = []
        self.announced: list[tuple[int, bytes]] = []
        self.settle()

    def play(self, act: Callable[[], object]) -> None:
        """Do something to both; let power fail in the middle of it if that was arranged and it writes."""
        self.card.notes.clear()
        self.card.film.writes.clear()
        image, journal = bytes(self.card.film.image), dict(self.card.film.journal)
        self.moments = [deepcopy(self.model)] if self.cut is not None else []
        act()
        self.moment()
        self.settle()
        self.moment()
        if self.cut is not None and self.card.film.writes:
            self.fail(image, journal, self.cut)
        assert self.differences(self.model) == []

    def settle(self) -> None:
        """Let the module look at the time once more, as it does whenever something comes."""
        self.card.start()
        self.model.passes(self.card.now)

    def moment(self) -> None:
        """Remember the model as a power cut may find it."""
        if self.cut is not None:
            self.moments.append(deepcopy(self.model))

    def fail(self, image: bytes, journal: dict[int, bytes], cut: int) -> None:
        """Boot from what a cut at some write leaves: one of the moments, and the right one at both ends."""
        self.cut = None
        last = 4 * len(self.card.film.writes)
        at = cut % (last + 1)
        [left] = islice(cuts(image, journal, self.card.film.writes, seed=at), at, at + 1)
        self.card.boot(left.medium())
        found = [self.differences(each) for each in self.moments]
        assert [] in found, found
        assert at > 0 or not found[0], found[0]
        assert at < last or not found[-1], found[-1]
        self.model = self.moments[found.index([])]
        self.model.power_cut()
        self.forget_untaken()
        self.settle()

    def forget_untaken(self) -> None:
        """Let what the module never took not be said again: it would be no repetition."""
        model = self.model
        received = {each.session: each.received for each in model.resources.values()}
        self.orders = [each for each in self.orders if each[0] <= model.commands]
        self.announced = [each for each in self.announced if each[0] <= model.announcements]
        self.packets = [
            each for each in self.packets if each.counter <= received.get(each.session, each.counter)
        ]

    def differences(self, model: Model) -> list[str]:
        """Return in what the module is not as *model* says."""
        return differences(self.card, model, self.keys)

    # --- who there is ---

    def supplier(self, company: str, tar: bytes) -> Supplier:
        """Return a supplier as a reservation of *tar* names him."""
        service = f"service-{tar.hex()}"
        return Supplier(suite="p256", name=company, number=NUMBERS[company], tar=tar, service=service)

    def aim(self, pick: int, *, state: str = "") -> bytes:
        """Return the TAR of a resource, one in *state* if there is one; or now and then of none."""
        resources = self.model.resources
        known = sorted(tar for tar in resources if resources[tar].state == state) or sorted(resources)
        return TARS[pick // 8 % len(TARS)] if pick % 8 == 7 or not known else known[pick // 8 % len(known)]

    def owner(self, tar: bytes) -> Supplier:
        """Return the supplier of a resource, or somebody if there is none."""
        known = self.model.resources.get(tar)
        if known is None:
            return self.supplier("bank", tar)
        supplier = self.supplier(known.supplier, tar)
        supplier.key = signing_key(known.key)
        return supplier

    def date(self, seconds: int | None) -> int:
        """Return the date so many seconds from now."""
        return NEVER if seconds is None else int(self.card.now) + seconds

    # --- what is said, and what is heard ---

    def expect(self, reason: str, outcome: Outcome) -> None:
        """Expect the refusal that the model foretold, noted as it was answered, or none."""
        if outcome.reasons:
            assert reason in outcome.reasons
            assert self.card.reasons[-1] == reason
        else:
            assert reason == ""

    def order(self, command: object, outcome: Outcome = DONE, *, rsc_id: int = 0) -> Answer | Audited:
        """Send a signed command, of which the model says what comes; return what the module answers."""
        octets = self.operator.signed(command)
        replied = manage(self.card, octets)
        assert replied.status is ResponseStatus.POR_OK
        signed = decode(replied.data, Signed)
        assert (signed.signer, signed.target, signed.counter) == (UA, "mno", self.operator.counter)
        signed.verify(purpose=Purpose.ANSWER, suite="x25519", public=self.market.public)
        self.model.commands = self.operator.counter
        self.orders.append((self.operator.counter, octets, replied.data))
        answer = decode(signed.body, Answer, Audited)
        if isinstance(answer, Answer):
            self.expect(answer.reason, outcome)
            assert answer.rsc_id == (0 if outcome.reasons else rsc_id)
        return answer

    def unproven(self, data: bytes, reason: str) -> None:
        """Send the manager what proves nothing: status 0A, no answer, the reason noted, no change."""
        image = bytes(self.card.film.image)
        replied = manage(self.card, data)
        assert (replied.status, replied.data) == (ResponseStatus.INSUFFICIENT_SECURITY_LEVEL, b"")
        assert self.card.reasons[-1] == reason
        assert self.card.film.image == image

    def tell(
        self, tar: bytes, session: int, message: object, act: Callable[[], Outcome], *, skip: int = 0
    ) -> None:
        """Send *message* to *tar* under *session*; *act* is what the model makes of it, if it is taken."""
        supplier = self.owner(tar)
        supplier.keys, supplier.counter = self.keys[session], self.counters[session] + skip
        packet = supplier.packet(message)
        self.counters[session] = supplier.counter
        gate = self.model.packet(tar, session, supplier.counter)
        sent = Sent(tar=tar, session=session, counter=supplier.counter, octets=packet, number=supplier.number)
        self.packets.append(sent)
        octets = self.card.download(packet, sender=supplier.number)
        if gate.reasons:
            assert self.card.reasons[-1] in gate.reasons
            return
        outcome = act()
        response = decode_response(octets, spi=SECURED, keys=supplier.keys.from_module)
        assert (response.status, response.proven) == (ResponseStatus.POR_OK, True)
        assert (response.tar, response.counter) == (tar, supplier.counter)
        result = decode(response.data, Result)
        if outcome.status:
            assert result.reason in outcome.reasons  # the application's own no, which nobody notes
        else:
            self.expect(result.reason, outcome)
        assert (result.status, result.output) == (outcome.status, outcome.output)
