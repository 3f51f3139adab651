"""An operator that reserves in a domain: the key is asked for when it is to be sent, for that turn alone."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

import pytest

from agents.errors import Refusal, Unanswered
from agents.messages.air import Release
from agents.messages.bearers import GLOBAL_SERVICES
from agents.messages.codec import decode
from agents.messages.inside import ResourceChanged, WrapDomainKey
from agents.messages.signed import Signed
from agents.operator import Operator
from agents.store.group_commit import GroupCommit
from agents.store.registry import Registry
from agents.store.tables import OPERATOR_MODULES, SUBSCRIPTIONS
from agents.subscriptions import SUBSCRIBED, Subscriptions
from tests.agents.broadcast_kit import KEY, NAME, reservation
from tests.agents.desk_kit import Office
from tests.agents.module_kit import SERVICE, TAR, UA
from tests.agents.reaper_kit import Killed, Reaper
from transport.security.domain_key import FIRST_TICKET, wrap

if TYPE_CHECKING:
    from pathlib import Path


class GlobalOffice(Office):
    """An office whose account is a global service, with a domain key that its supplier made."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.terms = {"logic_name": NAME, "message_identifier": GLOBAL_SERVICES[0]}
        self.suppliers.wrap = self.wrapped

    def wrapped(self, question: WrapDomainKey) -> bytes:
        """Return the domain key, wrapped as the operator asks for it."""
        return wrap(
            KEY,
            sealing_public=self.market.sealing_public,
            sealing_suite=self.market.module_suite,
            ua=question.ua.encode(),
            tar=TAR,
            logic_name=NAME.encode(),
            ticket=question.ticket,
        )

    async def fall_behind(self) -> None:
        """Have the module commanded by somebody else, of whom the books know the turns, and nothing more.

        So it is where an operator's books are those of a backup, or somebody had its key.
        """
        assert self.market.command(reservation(self.market)).reason == ""
        assert self.market.command(Release(tar=TAR)).reason == ""
        async with self.commands() as commands:
            module = commands.modules.get(UA)
            assert module is not None
            await commands.modules.put(module.but(command_counter=2))

    async def carry_out(self, *orders: str) -> None:
        """Give the operator these orders, one after the other."""
        async with self.operator() as operator:
            for do in orders:
                assert await Operator.orders[do](operator, self.order(do)) == b""

    async def subscribe(self, **known: object) -> None:
        """Have the books say that the module has subscribed, and what else is *known*."""
        async with self.store() as store:
            subscriptions = Subscriptions(store, self.clock)
            await subscriptions.load()
            await subscriptions.change(UA, SERVICE, state=SUBSCRIBED, **known)

    @property
    def asked(self) -> list[bytes]:
        """The tickets for which the supplier was asked for its domain key."""
        return [one.ticket for one in self.suppliers.told if isinstance(one, WrapDomainKey)]

    @property
    def turns(self) -> list[int]:
        """The counters of what the module was sent."""
        return [decode(octets, Signed).counter for octets in self.air.sent]


@pytest.fixture
def office(tmp_path: Path) -> GlobalOffice:
    """Return an office whose account is global."""
    return GlobalOffice(tmp_path)


async def test_a_key_is_asked_for_with_the_ticket_of_the_last_answer(office: GlobalOffice) -> None:
    """The first time with that of a new module, then with what the release told, in another launch too."""
    await office.carry_out("reserve", "release")
    await office.subscribe()
    await office.carry_out("reserve")
    assert len(set(office.asked)) == len(office.asked) == 2
    assert office.asked[0] == FIRST_TICKET
    assert office.turns == [1, 2, 3]
    assert office.market.card.definition().logic_name == NAME


async def test_an_operator_that_is_behind_asks_anew_by_itself(office: GlobalOffice) -> None:
    """The module refuses what is for another reservation, tells for which, and gets it: one order."""
    await office.fall_behind()
    await office.carry_out("reserve")
    assert office.turns == [3, 4]
    assert office.asked[0] == FIRST_TICKET != office.asked[1]
    assert office.market.card.reasons[-1] == "other-reservation"
    assert office.market.card.definition().logic_name == NAME


async def test_an_audit_tells_an_operator_that_is_behind(office: GlobalOffice) -> None:
    """After it, the key is asked for once."""
    await office.fall_behind()
    await office.carry_out("audit", "reserve")
    assert len(office.asked) == 1
    assert office.market.card.definition().logic_name == NAME


async def test_what_was_kept_of_an_earlier_reservation_reserves_nothing(office: GlobalOffice) -> None:
    """However often it is put into a reservation; asked for honestly, the next one is taken."""
    kept = office.wrapped(WrapDomainKey(ua=UA, service=SERVICE, certificate=b"", ticket=FIRST_TICKET))
    office.suppliers.wrap = lambda _question: kept
    await office.carry_out("reserve", "release")
    await office.subscribe()
    for _ in range(2):
        with pytest.raises(Refusal, match="other-reservation"):
            await office.carry_out("reserve")
    assert office.market.card.module.definitions.all() == []
    office.suppliers.wrap = office.wrapped
    await office.carry_out("reserve")
    assert office.market.card.definition().logic_name == NAME


async def test_a_reservation_is_not_asked_for_twice(office: GlobalOffice) -> None:
    """What was sent and not answered is sent again, with the key that it has; what is done takes none."""
    office.air.lost = 1
    with pytest.raises(Unanswered):
        await office.carry_out("reserve")
    await office.carry_out("reserve", "reserve")
    assert office.asked == [FIRST_TICKET]
    assert office.air.sent == [office.air.sent[0]] * 2


async def test_a_supplier_hears_of_the_release_before_it_is_asked(office: GlobalOffice) -> None:
    """Where the operator was stopped before it could tell, it would take the module for one that has it."""
    await office.subscribe(activated=1, turn=7, told=6)
    await office.carry_out("reserve")
    released, question = office.suppliers.told
    assert isinstance(released, ResourceChanged)
    assert (released.state, released.turn) == ("released", 7)
    assert isinstance(question, WrapDomainKey)


async def test_killed_after_everything_there_is_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind or not, an operator that is given its order again has reserved once, each turn signed once."""
    for fatal in count(1):
        office, reaper = GlobalOffice(tmp_path / str(fatal)), Reaper()
        office.directory.mkdir()
        await office.fall_behind()
        office.air.manage = reaper.after(office.air.manage)  # type: ignore[method-assign, assignment]
        office.suppliers.ask = reaper.after(office.suppliers.ask)  # type: ignore[method-assign, assignment]
        reaper.fatal = fatal
        lived = False
        with monkeypatch.context() as patched, suppress(Killed):
            patched.setattr(GroupCommit, "change", reaper.after(GroupCommit.change))
            await office.carry_out("reserve")
            lived = True
        reaper.fatal = 0
        await office.carry_out("reserve")
        assert office.market.card.definition().logic_name == NAME
        sent = {(decode(octets, Signed).counter, octets) for octets in office.air.sent}
        assert sorted(counter for counter, _ in sent) == [3, 4]
        async with office.store() as store:
            for table in (SUBSCRIPTIONS, OPERATOR_MODULES):
                rows = Registry(store, table)
                await rows.load()
                (row,) = rows.rows()
                assert row.get("state", "reserved") == "reserved"
                assert row.get("ticket", b"") not in office.asked
        if lived:
            break
    # Twice: what is asked, stored, sent and answered, and what becomes of it.
    assert fatal > 2 * 5
