"""Attacks on a module from outside: each is refused with its reason, and changes nothing but its turn.

``ATTACKS`` lists every attack that a module has to withstand, and where it is tried: what programmes do to
the run unit; what anybody says who has no right to say it (most of it here); what is done to resources that
are another's or nobody's, and to the clock (``test_module_attacks_resources``); what a memory may have become
(``test_module_attacks_image``); and what is too much (``test_module_attacks_bounds``).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import pytest

from agents.handset.security_module.module import INS_STORE_DATA
from agents.handset.security_module.personalisation import LAST_BLOCK
from agents.messages.air import (
    MANAGER_TAR,
    OPERATOR_COMMANDS,
    SUPPLIER_COMMANDS,
    Announce,
    Audit,
    Block,
    Call,
    ChangeSupplierKey,
    Compact,
    DomainCall,
    Held,
    Invoke,
    LoadApplication,
    LoadData,
    Prove,
    Push,
    Release,
    Renew,
    RenewDomainKey,
    RollOperatorKey,
    Unblock,
)
from agents.messages.codec import encode
from agents.messages.signed import EVERYBODY, Purpose, Signed
from tests.agents.attack_kit import altered, besides_sessions, field, refused, shop, unheard, unproven
from tests.agents.module_kit import OTHER_UA, TAR, UA, UNSECURED, Market, Operator, manage
from transport import apdu
from transport.secured_packet import CounterMode, Integrity, PorDemand, SecurityParameters, encode_command

SECURED_ALONE: Final = SecurityParameters(
    counter=CounterMode.HIGHER, ciphering=True, integrity=Integrity.CC, por=PorDemand.ALWAYS
)
"""As packets of a session are secured; the response is asked for in clear."""
_APPLICATIONS, _DOWNLOAD, _MANAGER = "test_module_applications", "test_module_download", "test_module_manager"
_PERSONALISATION, _SESSIONS = "test_module_personalisation", "test_module_sessions"
_HERE, _RESOURCES = "test_module_attacks", "test_module_attacks_resources"
_IMAGE, _BOUNDS = "test_module_attacks_image", "test_module_attacks_bounds"
_OWNER = "test_module_owner"
ATTACKS: Final[dict[str, tuple[str, ...]]] = {
    "a programme against its area, the engine and the host functions": (
        "test_run_unit_attacks",
        "test_host_pointers",
        "test_compile_bombs",
    ),
    "loading into another's resource": (
        f"{_RESOURCES}:test_nothing_reaches_another_ones_resource",
        f"{_APPLICATIONS}:test_a_foreign_resource",
    ),
    "loading into a resource that is blocked, suspended, expired, exhausted, deleted or released": (
        f"{_RESOURCES}:test_a_resource_that_ended_takes_nothing",
        f"{_SESSIONS}:test_a_blocked_resource_makes_no_session",
        f"{_APPLICATIONS}:test_an_exhausted_resource_is_closed_to_its_supplier",
    ),
    "what was recorded before a resource ended, played after it was given back": (
        f"{_RESOURCES}:test_nothing_recorded_comes_back_to_life",
        f"{_SESSIONS}:test_a_replayed_packet",
        f"{_MANAGER}:test_a_released_resource_can_be_reserved_anew",
    ),
    "code larger than reserved": (
        f"{_APPLICATIONS}:test_code_too_large",
        f"{_APPLICATIONS}:test_a_piece_too_long",
    ),
    "data larger than reserved": (f"{_APPLICATIONS}:test_data_too_large",),
    "a command unsigned": (f"{_MANAGER}:test_an_unsigned_command_proves_nothing",),
    "a command wrongly signed": (
        f"{_MANAGER}:test_a_wrong_signature_proves_nothing",
        f"{_MANAGER}:test_a_signature_of_another_suite_proves_nothing",
        f"{_MANAGER}:test_an_altered_command_changes_nothing",
        f"{_HERE}:test_a_command_in_part_or_with_more_behind_it",
    ),
    "a command signed by another operator, or by a supplier": (
        f"{_MANAGER}:test_a_foreign_operator_proves_nothing",
        f"{_HERE}:test_a_supplier_at_the_managers_door",
    ),
    "a command signed for another purpose": (
        f"{_MANAGER}:test_another_purpose_proves_nothing",
        f"{_MANAGER}:test_the_modules_own_answer_is_no_command",
        f"{_HERE}:test_an_announcement_commands_nothing",
    ),
    "a command replayed": (
        f"{_MANAGER}:test_a_replayed_command_is_told_so",
        f"{_RESOURCES}:test_a_reservation_is_not_replayed_after_a_release",
    ),
    "a command meant for another module": (f"{_MANAGER}:test_a_command_for_another_module_proves_nothing",),
    "a command out of counter": (
        f"{_MANAGER}:test_another_command_of_the_same_turn_is_a_replay",
        f"{_HERE}:test_a_counter_may_jump_ahead_and_never_back",
    ),
    "another one's key in the place of the operator's": (
        f"{_OWNER}:test_nobody_else_rolls_the_key",
        f"{_OWNER}:test_a_key_that_was_left_commands_nothing",
        f"{_OWNER}:test_a_key_that_cannot_be_rolled_to",
        f"{_OWNER}:test_a_certificate_that_is_none_for_this_operator_now",
        f"{_OWNER}:test_an_old_key_does_not_come_back_by_its_certificate",
        f"{_OWNER}:test_a_stolen_key_is_replaced_whatever_the_thief_did",
    ),
    "a supplier calling operator commands": (f"{_HERE}:test_a_supplier_commands_nothing_under_its_session",),
    "an operator calling supplier commands": (f"{_HERE}:test_an_operator_runs_nothing",),
    "a second personalisation": (
        f"{_PERSONALISATION}:test_a_second_personalisation_is_refused",
        f"{_PERSONALISATION}:test_a_power_cut_forgets_blocks",
        f"{_HERE}:test_two_personalisations_at_once",
    ),
    "DEF overlap by crafted sizes": (
        f"{_RESOURCES}:test_a_size_that_cannot_be",
        f"{_RESOURCES}:test_an_octet_too_many",
        f"{_IMAGE}:test_records_that_no_command_makes",
    ),
    "a record of DEF that outgrows its slot": (
        f"{_RESOURCES}:test_what_is_reserved_never_outgrows_its_slot",
    ),
    "invocation when exhausted, blocked or expired": (
        f"{_APPLICATIONS}:test_executions_are_counted",
        f"{_APPLICATIONS}:test_a_blocked_resource_runs_nothing",
        f"{_APPLICATIONS}:test_a_resource_expires",
    ),
    "a free run by a trap or a power cut": (
        f"{_APPLICATIONS}:test_an_execution_is_counted_before_it_runs",
        "test_power_cuts_module:test_a_cut_at_any_write_leaves_a_state_before_or_after",
    ),
    "a clock set back": (
        f"{_APPLICATIONS}:test_time_never_goes_backwards",
        f"{_RESOURCES}:test_an_application_never_sees_the_time_go_back",
    ),
    "a clock set forward, or to what is no time": (
        f"{_RESOURCES}:test_a_clock_that_lies_is_put_right",
        f"{_RESOURCES}:test_a_clock_beyond_all_times",
    ),
    "a corrupted image at boot": (_IMAGE, "test_memory", "test_power_cuts"),
    "malformed and oversized messages": (
        f"{_BOUNDS}:test_a_bomb_proves_nothing",
        f"{_BOUNDS}:test_a_bomb_that_is_proven",
        f"{_BOUNDS}:test_a_field_of_another_type",
        "test_module_profile",
    ),
    "floods": (
        f"{_BOUNDS}:test_a_flood_costs_bounded_memory",
        f"{_BOUNDS}:test_a_flood_does_not_stop_the_operator",
        f"{_DOWNLOAD}:test_memory_is_bounded",
    ),
}
"""Attack, and the rooms or tests that try it."""


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_is_forgotten(attack: str) -> None:
    """Each attack of the list has its tests, and they are called so."""
    for name in ATTACKS[attack]:
        room, _, test = name.partition(":")
        tests = [each for each in vars(import_module(f"tests.agents.{room}")) if each.startswith("test_")]
        assert test in tests if test else tests


@pytest.fixture
def market() -> Market:
    """Return a module with a loaded resource, and its supplier with a session."""
    market = Market().served()
    market.card.notes.clear()
    return market


# --- commands that are none, or not his who sends them ---


def test_a_command_in_part_or_with_more_behind_it(market: Market) -> None:
    """A signed command that is cut anywhere, or has more behind it, is none, and uses no turn."""
    command = market.operator.signed(Block(tar=TAR))
    for end in range(len(command)):
        assert unproven(market, command[:end]) == "not-msgpack"
    assert unproven(market, command + b"\0") == "not-msgpack"
    one_more = bytes((command[0] + 1,)) + command[1:] + b"\0"
    assert unproven(market, one_more) == "wrong-field-count"
    assert market.answer(manage(market.card, command)).reason == ""


def test_an_announcement_commands_nothing(market: Market) -> None:
    """What is said to everybody is the time and nothing else, and the time is said to everybody."""
    terms: dict[str, Any] = {"ua": EVERYBODY, "purpose": Purpose.ANNOUNCEMENT, "counter": 1}
    for command in (Block(tar=TAR), Release(tar=TAR), Compact(), Audit(after=0)):
        assert unproven(market, market.operator.signed(command, **terms)) == "unexpected-message"
    as_a_command = market.operator.signed(Announce(time=1), ua=EVERYBODY, counter=1)
    assert unproven(market, as_a_command) == "signature"
    assert refused(market, Announce(time=1)) == "unexpected-message"


def test_a_counter_may_jump_ahead_and_never_back(market: Market) -> None:
    """A later turn is taken, and those in between are gone: what was held back on its way stays old."""
    held_back = market.operator.signed(Block(tar=TAR))
    old = market.operator.counter
    market.operator.counter += 1000
    assert market.command(Compact()).reason == ""
    turn = market.operator.counter
    before = market.card.image
    assert market.answer(manage(market.card, held_back), counter=old).reason == "replayed"
    for counter in (turn, turn - 1, 1, 0):
        data = market.operator.signed(Release(tar=TAR), counter=counter)
        assert market.answer(manage(market.card, data), counter=counter).reason == "replayed"
    assert market.card.image == before


def test_a_counter_beyond_the_last(market: Market) -> None:
    """There are 2^40 turns; after the last one there is none, and none is begun anew."""
    last = (1 << 40) - 1
    command = market.operator.signed(Compact(), counter=last)
    assert market.answer(manage(market.card, command), counter=last).reason == ""
    for counter in (last + 1, (1 << 64) - 1, -1):
        assert unproven(market, altered(command, field(Signed, "counter"), counter)) == "bad-field"
    for counter in (0, last):
        data = market.operator.signed(Release(tar=TAR), counter=counter)
        assert market.answer(manage(market.card, data), counter=counter).reason == "replayed"


OPERATORS: Final[dict[str, object]] = {
    "reserve": shop().reserve(),
    "block": Block(tar=TAR),
    "unblock": Unblock(tar=TAR, supplier_public=bytes(33)),
    "release": Release(tar=TAR),
    "renew": Renew(tar=TAR, supplier_public=bytes(33), expires_at=0, executions=-1),
    "compact": Compact(),
    "audit": Audit(after=0),
    "announce": Announce(time=1),
    "change the supplier's key": ChangeSupplierKey(
        tar=TAR,
        former_public=bytes(33),
        supplier_public=bytes(33),
        supplier_sealing=b"",
        endorsement=bytes(64),
    ),
    "roll the operator's key": RollOperatorKey(suite="x25519", public=shop().key.public[:32]),
}
SUPPLIERS: Final[dict[str, object]] = {
    "load": LoadApplication(version=2, total=1, offset=0, octets=b"\0"),
    "personalise": LoadData(octets=b""),
    "invoke": Invoke(argument=b""),
    "push": Push(bearer="bip-tcp"),
    "held": Held(),
    "renew the domain key": RenewDomainKey(octets=b""),
    "call": Call(tar=TAR, opening=b""),
    "call by the domain key": DomainCall(tar=TAR, opening=b"", generation=1),
    "prove": Prove(tar=TAR, proof=b""),
}


def test_every_command_is_tried_in_the_wrong_place() -> None:
    """No command of the operator's or a supplier's is missing in the tables that these tests go through."""
    assert {type(each) for each in OPERATORS.values()} == {*OPERATOR_COMMANDS, Announce}
    assert {type(each) for each in SUPPLIERS.values()} == {*SUPPLIER_COMMANDS, Call, DomainCall, Prove}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("signed", [False, True], ids=["bare", "signed"])
def test_a_supplier_commands_nothing_under_its_session(market: Market, name: str, signed: bool) -> None:  # noqa: FBT001 -- a case
    """An operator's command is none under a session, not even as the operator itself has signed it."""
    before = market.card.image
    command = market.operator.signed(OPERATORS[name]) if signed else encode(OPERATORS[name])
    assert market.supplier.result(market.card, command).reason == "unexpected-message"
    assert besides_sessions(before) == besides_sessions(market.card.image)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_supplier_at_the_managers_door(market: Market, name: str) -> None:
    """A supplier's signature, under its own name or the operator's, and its session's keys, open nothing."""
    impostor = Operator(suite=market.operator_suite, name=market.supplier.name)
    command = OPERATORS[name]
    assert unproven(market, encode(command)) == "unexpected-message"
    assert unproven(market, impostor.signed(command, key=market.supplier.key)) == "not-our-operator"
    assert unproven(market, impostor.signed(command, key=market.supplier.key, signer="mno")) == "signature"
    packet = market.supplier.packet(impostor.signed(command), tar=MANAGER_TAR)
    assert unheard(market, market.supplier, packet) == "response-protection"
    packet = market.supplier.packet(impostor.signed(command), tar=MANAGER_TAR, spi=SECURED_ALONE)
    assert unheard(market, market.supplier, packet) == "kic"


@pytest.mark.parametrize("name", SUPPLIERS)
def test_an_operator_runs_nothing(market: Market, name: str) -> None:
    """A supplier's command is none of the operator's, nor does the operator's signature open a resource."""
    assert refused(market, SUPPLIERS[name]) == "unexpected-message"
    signed = market.operator.signed(SUPPLIERS[name])
    packet = encode_command(spi=UNSECURED, tar=TAR, data=signed)
    assert unheard(market, market.supplier, packet) == "no-session"


# --- a second personalisation ---


def test_two_personalisations_at_once() -> None:
    """A machine whose blocks another one's come between has begun in vain: it gets no part of the module."""
    market = Market()
    message = encode(market.personal())
    half = message.ljust(apdu.MAX_DATA, b"\0")
    assert len(message) < apdu.MAX_DATA
    assert market.card.transmit(INS_STORE_DATA, half, p2=0).is_good
    market.personalise()
    before = market.card.image
    theirs = encode(market.personal(ua=OTHER_UA, operator="other-mno"))
    for octets, number, last in (
        (theirs, 1, LAST_BLOCK),
        (half, 0, 0),
        (theirs, 1, 0),
        (theirs, 0, LAST_BLOCK),
    ):
        response = market.card.transmit(INS_STORE_DATA, octets, p1=last, p2=number)
        assert response.status == apdu.SW_INS_NOT_SUPPORTED
        assert market.card.reasons[-1] == "already-personalised"
    assert market.card.image == before
    assert market.card.module.ua == UA
