"""Another key of a resource's supplier: when the module takes it, and from whom it takes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.handset.security_module.life_cycle import ResourceState
from agents.messages.air import Announce, Block, Invoke, Prove, Renew, Unblock
from agents.messages.codec import encode
from agents.messages.signed import EVERYBODY, Purpose
from agents.messages.succession import key_digest
from tests.agents.module_kit import NOW, TAR, Market, Operator, Supplier, manage
from tests.agents.succession_kit import change, connect, generation, market_of, sealing_of, side_of
from transport.errors import Rejected
from transport.secured_packet import ResponseStatus
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN, KEY_TRANSPORT, SIGN_THEN_AGREE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.identity import RoleKeys
    from agents.messages.air import ChangeSupplierKey

FORMS: Final = (AGREE_THEN_SIGN, KEY_TRANSPORT, SIGN_THEN_AGREE)
OTHER_TAR: Final = bytes.fromhex("B20001")
END: Final = int(NOW) + 600
FIRST, SECOND, THIRD = (generation("p256", number) for number in range(3))
UNPROVEN: Final = ResponseStatus.INSUFFICIENT_SECURITY_LEVEL


def served(**terms: Any) -> Market:
    """Return a module whose resource is loaded, and known to its supplier by the first key."""
    return connect(market_of(**terms), FIRST).load()


def reason_without(market: Market, keys: RoleKeys, form: str = AGREE_THEN_SIGN) -> str:
    """Try to connect with keys that the module does not know the supplier by; return who notices, and why."""
    side = side_of(market, keys, form)
    try:
        said = side.receive(market.call().opening)
        while said is not None:
            replied = manage(market.card, encode(Prove(tar=TAR, proof=said)))
            if replied.status is UNPROVEN:
                return f"module: {market.card.reasons[-1]}"
            said = side.receive(replied.data)
    except Rejected as rejection:
        return f"supplier: {rejection.reason}"
    return ""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suite", SUITES)
def test_in_every_suite_and_form_the_new_key_serves_and_the_old_one_does_not(suite: str, form: str) -> None:
    """The session of the old key ends; programme and data stay; the new key makes a session, the old none."""
    old, new = generation(suite, 0), generation(suite, 1)
    market = connect(market_of(suite, form), old, form).load()
    assert market.supplier.invoke(market.card).output == b"\x01\0"
    order = market.operator.signed(change(old, new, form=form))
    answer = market.answer(manage(market.card, order))
    assert answer.reason == ""
    assert market.answer(manage(market.card, order)) == answer
    assert market.supplier.unheard(market.card, Invoke(argument=b"\0")) == "no-session"
    definition = market.card.definition()
    assert (definition.supplier_public, definition.supplier_sealing, definition.supplier_digest) == (
        new.signing.public,
        sealing_of(new, form),
        key_digest(new.signing.public),
    )
    assert reason_without(market, old, form) != ""
    connect(market, new, form)
    assert market.supplier.invoke(market.card).output == b"\x02\0"


def test_a_call_that_was_open_under_the_old_key_comes_to_nothing() -> None:
    """The supplier answers with the old key, or with the new one, but to a call from before: no session."""
    for keys in (FIRST, SECOND):
        market = served()
        side = side_of(market, keys)
        said = side.receive(market.call().opening)
        assert said is not None
        assert market.command(change(FIRST, SECOND)).reason == ""
        assert manage(market.card, encode(Prove(tar=TAR, proof=said))).status is UNPROVEN
        assert market.card.reasons[-1] == "no-open-call"
        assert market.card.definition().session is None
        connect(market, SECOND)


def test_keys_come_one_after_the_other() -> None:
    """Each new key by the word of the one before; what came before is never gone by again."""
    market = served()
    for old, new in ((FIRST, SECOND), (SECOND, THIRD)):
        assert market.command(change(old, new)).reason == ""
        connect(market, new)
    for former, new in ((FIRST, SECOND), (SECOND, FIRST), (FIRST, THIRD), (FIRST, FIRST)):
        assert market.command(change(former, new)).reason == "not-the-suppliers-key"
    assert market.supplier.invoke(market.card).reason == ""


# In which state


def hear(market: Market, time: int) -> None:
    """Have the operator tell the module what time it is."""
    market.operator.counter += 1
    said = market.operator.signed(Announce(time=time), ua=EVERYBODY, counter=1, purpose=Purpose.ANNOUNCEMENT)
    manage(market.card, said)


def unblock(market: Market, public: bytes) -> str:
    """Give the resource back, with a key; return why not."""
    return market.command(Unblock(tar=TAR, supplier_public=public)).reason


def renew(market: Market, public: bytes) -> str:
    """Give the resource another end, with a key; return why not."""
    command = Renew(tar=TAR, supplier_public=public, expires_at=END + 600, executions=5)
    return market.command(command).reason


def _blocked(market: Market) -> None:
    market.command(Block(tar=TAR))


def _expired(market: Market) -> None:
    hear(market, END)


def _exhausted(market: Market) -> None:
    for _ in range(2):
        market.supplier.invoke(market.card)


def _suspended(market: Market) -> None:
    market.card.now = END + 1.0
    market.card.power_cycle()
    market.card.use_menu(3, market.supplier.service, "00")


ENDED: Final[dict[ResourceState, tuple[Callable[[Market], None], Callable[[Market, bytes], str]]]] = {
    ResourceState.BLOCKED: (_blocked, unblock),
    ResourceState.EXPIRED: (_expired, renew),
    ResourceState.EXHAUSTED: (_exhausted, renew),
}
"""How a resource comes into a state without its supplier's key, and how that comes back."""


@pytest.mark.parametrize("state", ENDED)
def test_what_has_ended_keeps_the_key_away_and_takes_the_new_one_back(state: ResourceState) -> None:
    """Only the digest is another: with the old key it does not come back, with the new one it does."""
    end, give_back = ENDED[state]
    market = served(expires_at=END, executions=2)
    end(market)
    assert market.command(change(FIRST, SECOND)).reason == ""
    definition = market.card.definition()
    assert (definition.state, definition.supplier_public) == (state, b"")
    assert definition.supplier_digest == key_digest(SECOND.signing.public)
    market.card.power_cycle()
    assert give_back(market, FIRST.signing.public) == "not-the-suppliers-key"
    assert give_back(market, SECOND.signing.public) == ""
    assert market.card.definition().supplier_public == SECOND.signing.public
    connect(market, SECOND)
    assert market.supplier.invoke(market.card).reason == ""


def test_what_is_only_suspended_has_its_new_key_at_once() -> None:
    """The handset may be wrong about the time: restored or renewed, it is the new key that serves."""
    market = served(expires_at=END)
    _suspended(market)
    assert market.card.definition().state is ResourceState.SUSPENDED
    assert market.command(change(FIRST, SECOND)).reason == ""
    assert market.card.definition().supplier_public == SECOND.signing.public
    hear(market, int(NOW))
    market.card.now = NOW
    connect(market, SECOND)


def test_what_is_reserved_and_never_served_takes_it_too() -> None:
    """The first session is the new key's."""
    market = market_of()
    assert market.command(change(FIRST, SECOND)).reason == ""
    assert market.card.definition().state is ResourceState.RESERVED
    assert reason_without(market, FIRST) == "module: bad-signature"
    connect(market, SECOND).load()


def test_another_resource_is_not_touched() -> None:
    """The other supplier's key and session stay as they are."""
    market = served()
    shop = Supplier(suite="p256", name="shop", number="15550300", tar=OTHER_TAR, service="loyalty")
    assert market.command(shop.reserve()).reason == ""
    market.connect(shop)
    before = market.card.definition(OTHER_TAR)
    assert market.command(change(FIRST, SECOND)).reason == ""
    assert market.card.definition(OTHER_TAR) == before
    assert market.command(change(FIRST, SECOND, tar=bytes.fromhex("B20002"))).reason == "unknown-resource"


# From whom it takes nothing


MALLORY: Final = generation("p256", 9)
"""Keys that the operator made itself."""
FALSE: Final[dict[str, tuple[str, ChangeSupplierKey, str]]] = {
    "the-operators-own-key": (
        "not-endorsed",
        change(MALLORY, MALLORY, former_public=FIRST.signing.public),
        "",
    ),
    "a-key-that-its-supplier-did-not-make": (
        "not-endorsed",
        change(FIRST, SECOND, supplier_public=MALLORY.signing.public),
        "",
    ),
    "endorsed-by-another": ("not-the-suppliers-key", change(MALLORY, SECOND), ""),
    "endorsed-for-another-resource": (
        "not-endorsed",
        change(FIRST, SECOND, endorsement=change(FIRST, SECOND, tar=OTHER_TAR).endorsement),
        "",
    ),
    "endorsed-as-another-supplier": (
        "not-endorsed",
        change(generation("p256", 0, "shop"), SECOND, former_public=FIRST.signing.public),
        "",
    ),
    "another-key-to-seal-to": (
        "not-endorsed",
        change(FIRST, SECOND, form=KEY_TRANSPORT, supplier_sealing=THIRD.sealing.public),
        KEY_TRANSPORT,
    ),
    "no-key-to-seal-to": (
        "bad-sealing-key",
        change(FIRST, SECOND, form=KEY_TRANSPORT, supplier_sealing=b""),
        KEY_TRANSPORT,
    ),
    "a-short-key-to-seal-to": (
        "bad-sealing-key",
        change(FIRST, SECOND, form=KEY_TRANSPORT, supplier_sealing=bytes(32)),
        KEY_TRANSPORT,
    ),
    "a-key-to-seal-to-that-no-form-needs": (
        "needless-sealing-key",
        change(FIRST, SECOND, supplier_sealing=SECOND.sealing.public),
        "",
    ),
    "of-another-suite": ("bad-public-key", change(FIRST, generation("x25519", 1)), ""),
    "too-long": ("bad-public-key", change(FIRST, SECOND, supplier_public=bytes(34)), ""),
    "unsigned": ("not-endorsed", change(FIRST, SECOND, endorsement=bytes(64)), ""),
    "a-signature-of-another-length": ("not-endorsed", change(FIRST, SECOND, endorsement=bytes(70)), ""),
}


@pytest.mark.parametrize("case", FALSE)
def test_a_key_that_is_not_the_suppliers_is_refused(case: str) -> None:
    """Signed by the operator all the same: nothing changes, the session goes on, the honest one is taken."""
    expected, command, form = FALSE[case]
    form = form or AGREE_THEN_SIGN
    market = connect(market_of(form=form), FIRST, form).load()
    before = market.card.definition()
    assert market.command(command).reason == expected
    assert market.card.definition() == before
    assert market.supplier.invoke(market.card).reason == ""
    assert market.command(change(FIRST, SECOND, form=form)).reason == ""
    connect(market, SECOND, form)


def test_the_modules_own_key_is_no_suppliers() -> None:
    """Not even by a supplier's word: it would have the module talk to itself."""
    market = market_of("x25519")
    first, second = generation("x25519", 0), generation("x25519", 1)
    assert market.command(change(first, second, supplier_public=market.public)).reason == "bad-public-key"


def test_a_blocked_resource_is_given_to_nobody_else_either() -> None:
    """While its key is away the operator could try: only what the key endorsed counts, by its digest."""
    market = served()
    market.command(Block(tar=TAR))
    assert market.command(FALSE["the-operators-own-key"][1]).reason == "not-endorsed"
    assert market.command(change(MALLORY, SECOND)).reason == "not-the-suppliers-key"
    assert unblock(market, FIRST.signing.public) == ""


def test_another_operator_changes_nothing() -> None:
    """Its signature proves nothing here, however good the supplier's word is."""
    market = served()
    before = market.card.image
    for stranger in (Operator(suite="x25519", name="other"), Operator(suite="p256", name="mno")):
        signed = stranger.signed(change(FIRST, SECOND), counter=99)
        assert manage(market.card, signed).status is UNPROVEN
    assert market.card.image == before


def test_a_roll_over_that_was_recorded_changes_nothing() -> None:
    """An old command is told so, and the key that came after it stays."""
    market = served()
    first = market.operator.signed(change(FIRST, SECOND))
    assert market.answer(manage(market.card, first)).reason == ""
    assert market.command(change(SECOND, THIRD)).reason == ""
    connect(market, THIRD)
    replayed = market.answer(manage(market.card, first), counter=market.operator.counter - 1)
    assert replayed.reason == "replayed"
    assert market.card.definition().supplier_public == THIRD.signing.public
    assert market.supplier.invoke(market.card).reason == ""
