"""Audits: what an operator makes of a module's word on itself, whatever that word is."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.audits import Fault, Findings, Reading, compare
from agents.errors import MessageRejected
from agents.handset.security_module.life_cycle import ResourceState
from agents.handset.security_module.memory import MAX_DEFINITIONS
from agents.messages.air import Audited, AuditedResource
from agents.messages.codec import encode
from agents.store.registry import Row
from agents.store.tables import AGREEMENTS, SUBSCRIPTIONS
from agents.subscriptions import (
    ACTIVE,
    BLOCKED,
    EXHAUSTED,
    EXPIRED,
    HELD,
    REFUSED,
    RELEASED,
    RESERVED,
    STRAY,
    SUBSCRIBED,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY: Final = 32_768
NOW: Final = 1_800_000_000
DATE: Final = NOW - 100
"""When the resource ends: the operator's time has passed it, and has told so in ``TOLD``."""
TOLD: Final = NOW - 50
TAR: Final = bytes.fromhex("A00001")
OTHER_TAR: Final = bytes.fromhex("A00002")
DIGEST: Final = hashlib.sha256(b"the supplier's key").digest()
STATES: Final = (SUBSCRIBED, RESERVED, ACTIVE, BLOCKED, EXPIRED, EXHAUSTED, RELEASED, REFUSED, STRAY)


def agreement(service: str = "account", tar: bytes = TAR) -> Row:
    """Return what was agreed about a service, as far as an audit looks at it."""
    return Row(AGREEMENTS, {"service": service, "tar": tar})


def subscription(state: str = ACTIVE, **changes: Any) -> Row:
    """Return what the operator knows of a resource that lives until ``DATE``, for three executions."""
    known = {
        "ua": "8988",
        "service": "account",
        "state": state,
        "rsc_id": 1,
        "code_size": 1024,
        "data_size": 256,
        "rights": 5,
        "supplier_digest": DIGEST,
        "expires_at": DATE,
        "executions": 3,
        "at_end": "deactivate",
    }
    return Row(SUBSCRIPTIONS, known | changes)


def entry(**changes: Any) -> AuditedResource:
    """Return what the module says of that resource: loaded, and as it was reserved."""
    said: dict[str, Any] = {
        "rsc_id": 1,
        "tar": TAR,
        "service": "account",
        "state": "loaded",
        "supplier": "bank",
        "supplier_digest": DIGEST,
        "usable": True,
        "start": 12_000,
        "code_size": 1024,
        "data_size": 256,
        "code_length": 433,
        "code_digest": bytes(32),
        "version": 1,
        "rights": 5,
        "expires_at": DATE,
        "executions_left": 3,
        "at_end": "deactivate",
    }
    return AuditedResource(**(said | changes))


def page(*entries: AuditedResource, complete: bool = True, **changes: Any) -> Audited:
    """Return a page of DEF."""
    said: dict[str, Any] = {
        "size": MEMORY,
        "free": 19_000,
        "largest_free": 19_000,
        "time": NOW,
        "signed_time": TOLD,
        "definitions": [encode(each) for each in entries],
        "complete": complete,
    }
    return Audited(**(said | changes))


def read(*pages: Audited) -> Reading:
    """Return these pages, read as answers of the turns 1, 2, ..."""
    reading = Reading()
    for turn, each in enumerate(pages, 1):
        reading.take(each, turn)
    return reading


def findings(*said: AuditedResource | Audited, known: Row | None = None, **options: Any) -> Findings:
    """Hold what the module *said* against a subscription, by default the active one."""
    pages = [each for each in said if isinstance(each, Audited)]
    entries = [each for each in said if isinstance(each, AuditedResource)]
    row = subscription() if known is None else known
    books: dict[str, Any] = {
        "memory": MEMORY,
        "now": NOW,
        "agreements": {TAR: agreement()},
        "subscriptions": {row["service"]: row},
    }
    return compare(read(*(pages or [page(*entries)])), **(books | options))


def faults(found: Findings) -> list[str]:
    """Return what was found to be wrong."""
    return [fault.what for fault in found.faults]


# Reading


def test_pages_are_read_one_behind_the_other() -> None:
    """Each page is asked for behind the last resource of the one before; the last one's figures count."""
    reading = Reading()
    assert (reading.after, reading.is_complete) == (0, False)
    reading.take(page(entry(rsc_id=1), entry(rsc_id=4), complete=False, free=1), 7)
    assert (reading.after, reading.is_complete) == (4, False)
    reading.take(page(entry(rsc_id=9), free=2), 8)
    assert (reading.after, reading.is_complete, reading.turn) == (9, True, 8)
    assert [each.rsc_id for each in reading.entries] == [1, 4, 9]
    assert reading.figures.free == 2


def test_an_empty_module_is_read_in_one_page() -> None:
    """No resource at all is an answer too."""
    reading = read(page())
    assert (reading.entries, reading.is_complete) == ([], True)


@pytest.mark.parametrize("ids", [(2, 1), (1, 1), (0,)], ids=str)
def test_a_page_out_of_order_is_rejected(ids: tuple[int, ...]) -> None:
    """Ids only rise, within a page and from one to the next; 0 is none."""
    for pages in ([page(*(entry(rsc_id=each) for each in ids))], [page(entry(rsc_id=each)) for each in ids]):
        with pytest.raises(MessageRejected, match="audit-out-of-order"):
            read(*pages)


def test_pages_without_end_are_rejected() -> None:
    """A page that brings nothing and promises more: so would the next."""
    with pytest.raises(MessageRejected, match="audit-without-end"):
        read(page(complete=False))
    with pytest.raises(MessageRejected, match="audit-without-end"):
        read(page(entry(), complete=False), page(complete=False))


def test_more_resources_than_a_module_can_have_are_rejected() -> None:
    """Nobody is asked 65,535 times, however slowly the ids rise."""
    reading = Reading()
    for rsc_id in range(1, MAX_DEFINITIONS + 1):
        reading.take(page(entry(rsc_id=rsc_id), complete=False), rsc_id)
    with pytest.raises(MessageRejected, match="audit-without-end"):
        reading.take(page(entry(rsc_id=MAX_DEFINITIONS + 1)), MAX_DEFINITIONS + 1)


def test_what_is_no_resource_is_rejected() -> None:
    """A definition is one message, and another one is none."""
    for octets in (b"", b"\xc1", encode(page())):
        with pytest.raises(MessageRejected):
            read(page(definitions=[octets]))


# What is as it should be


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    """A module as the operator left it."""
    assert findings(entry()) == Findings()


@pytest.mark.parametrize(
    ("state", "known"),
    [
        ("reserved", RESERVED),
        ("reserved", ACTIVE),
        ("loaded", RESERVED),
        ("loaded", ACTIVE),
        ("suspended", RESERVED),
        ("suspended", ACTIVE),
        ("blocked", BLOCKED),
        ("expired", EXPIRED),
        ("exhausted", EXHAUSTED),
    ],
)
def test_states_that_say_the_same(state: str, known: str) -> None:
    """What the handset's time suspended is in use for the operator, and a resource may be loaded early."""
    assert findings(ended(state), known=subscription(known)) == Findings()


def ended(state: str, **changes: Any) -> AuditedResource:
    """Return the resource in a state, with the key and the executions that go with it."""
    changes = {"usable": state in {"reserved", "loaded", "suspended"}} | changes
    return entry(state=state, **({"executions_left": 0} if state == "exhausted" else {}), **changes)


@pytest.mark.parametrize(
    ("state", "known", "becomes"),
    [
        ("expired", RESERVED, EXPIRED),
        ("expired", ACTIVE, EXPIRED),
        ("expired", BLOCKED, EXPIRED),
        ("expired", EXHAUSTED, EXPIRED),
        ("exhausted", RESERVED, EXHAUSTED),
        ("exhausted", ACTIVE, EXHAUSTED),
    ],
)
def test_what_ended_by_itself_is_taken_over(state: str, known: str, becomes: str) -> None:
    """By its date from wherever the operator had it, by its count only where it could be used."""
    found = findings(ended(state), known=subscription(known))
    assert found == Findings(states={"account": becomes})


def test_executions_may_have_been_used() -> None:
    """Fewer than were given are no fault."""
    assert findings(entry(executions_left=1)) == Findings()


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (subscription(ACTIVE, at_end="delete"), TOLD),
        (subscription(RESERVED, at_end="delete", executions=-1), TOLD),
        (subscription(BLOCKED, at_end="delete"), TOLD),
        (subscription(ACTIVE, at_end="delete", expires_at=0), 0),
        (subscription(ACTIVE, at_end="delete"), 0),
    ],
    ids=["by-either", "by-date", "by-date-while-blocked", "by-count", "by-count-before-its-date"],
)
def test_what_deleted_itself_is_taken_for_released(known: Row, told: int) -> None:
    """The reservation said so, and its date has passed or it could be used up."""
    assert findings(page(signed_time=told), known=known) == Findings(states={"account": RELEASED})


@pytest.mark.parametrize("state", sorted(set(STATES) - HELD))
def test_what_is_not_held_is_not_missed(state: str) -> None:
    """A subscription without a resource needs none."""
    assert findings(page(), known=subscription(state)) == Findings()


# Faults


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rsc_id": 2}, "other-resource"),
        ({"code_size": 1025}, "other-size"),
        ({"data_size": 255}, "other-size"),
        ({"supplier_digest": bytes(32)}, "other-supplier"),
        ({"supplier_digest": b""}, "other-supplier"),
        ({"rights": 7}, "other-rights"),
        ({"expires_at": 0}, "other-limits"),
        ({"at_end": "delete"}, "other-limits"),
        ({"executions_left": 4}, "other-executions"),
        ({"executions_left": -1}, "other-executions"),
        ({"usable": False}, "other-key"),
        ({"state": "blocked"}, "other-key"),
        ({"state": "blocked", "usable": False}, "other-state"),
        ({"state": "exhausted", "usable": False}, "other-state"),
        ({"state": "free"}, "other-state"),
        ({"state": "no-such-state"}, "other-state"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(f"{k}={v}" for k, v in value.items()),
)
def test_what_is_otherwise_than_it_was_told_is_a_fault(changes: dict[str, Any], what: str) -> None:
    """Each term of the reservation, the key, the state: the fault names it, and the books stay."""
    found = findings(entry(**changes))
    assert Fault(what, "account", changes.get("rsc_id", 1)) in found.faults
    assert found.states == {}


def test_no_limit_is_not_a_limit() -> None:
    """Given without limit, an application has no number of executions left, however large."""
    assert faults(findings(entry(), known=subscription(executions=-1))) == ["other-executions"]
    assert findings(entry(executions_left=-1), known=subscription(executions=-1)) == Findings()


@pytest.mark.parametrize(
    ("state", "known", "changes"),
    [
        ("expired", ACTIVE, {"signed_time": DATE - 1}),
        ("expired", ACTIVE, {"signed_time": 0}),
    ],
    ids=["before-its-date", "never-told"],
)
def test_a_date_that_has_not_come_ends_nothing(state: str, known: str, changes: dict[str, Any]) -> None:
    """By the time that the operator itself told the module, not by any other."""
    found = findings(page(ended(state), **changes), known=subscription(known))
    assert (faults(found), found.states) == (["other-state"], {})


def test_no_module_was_told_a_time_that_is_still_to_come() -> None:
    """One that claims so has no reason to end a resource before its date, nor to have deleted it."""
    date = NOW + 100
    claims: dict[str, Any] = {"signed_time": date + 1}
    found = findings(page(ended("expired", expires_at=date), **claims), known=subscription(expires_at=date))
    assert (faults(found), found.states) == (["other-state"], {})
    known = subscription(expires_at=date, executions=-1, at_end="delete")
    found = findings(page(**claims), known=known)
    assert (faults(found), found.states) == (["missing-resource"], {})


def test_a_resource_without_a_date_does_not_expire() -> None:
    """0 is never."""
    found = findings(ended("expired", expires_at=0), known=subscription(expires_at=0))
    assert faults(found) == ["other-state"]


@pytest.mark.parametrize(
    ("state", "known"),
    [
        ("reserved", BLOCKED),
        ("loaded", EXPIRED),
        ("suspended", EXHAUSTED),
        ("blocked", RESERVED),
        ("blocked", EXPIRED),
        ("exhausted", BLOCKED),
        ("exhausted", EXPIRED),
    ],
)
def test_a_state_that_the_operator_did_not_bring_about_is_a_fault(state: str, known: str) -> None:
    """What only an order could have changed must be what was ordered."""
    found = findings(ended(state), known=subscription(known))
    assert (faults(found), found.states) == (["other-state"], {})


@pytest.mark.parametrize(
    "known",
    [
        subscription(ACTIVE),
        subscription(ACTIVE, at_end="delete", expires_at=NOW + 1, executions=-1),
        subscription(ACTIVE, at_end="delete", expires_at=0, executions=-1),
        subscription(BLOCKED, at_end="delete", expires_at=0),
    ],
    ids=["not-to-be-deleted", "not-yet", "never", "blocked-and-so-not-used-up"],
)
def test_what_should_be_there_and_is_not_is_missing(known: Row) -> None:
    """Nothing but a release takes it away, and there was none."""
    found = findings(page(), known=known)
    assert found == Findings(faults=[Fault("missing-resource", "account", 1)])


@pytest.mark.parametrize("state", sorted(set(STATES) - HELD))
def test_what_nobody_reserved_is_unknown_and_stray_in_the_books(state: str) -> None:
    """The books had no resource for the subscription; so that it can be released, they have one now."""
    found = findings(entry(), known=subscription(state))
    assert found.faults == [Fault("unknown-resource", "account", 1)]
    assert found.states == {"account": STRAY}


def test_what_nobody_subscribed_to_is_stray_too() -> None:
    """No subscription at all, but the operator's own TAR: an order can name it."""
    found = findings(entry(), subscriptions={})
    assert (faults(found), found.states) == (["unknown-resource"], {"account": STRAY})


def test_a_tar_that_was_never_agreed_is_unknown() -> None:
    """There is no service that an order could name; and what should be there is not."""
    found = findings(entry(tar=OTHER_TAR))
    assert (faults(found), found.states) == (["unknown-resource", "missing-resource"], {})


def test_a_tar_of_another_service_is_unknown() -> None:
    """The resource under the account's TAR says that it is for something else."""
    found = findings(entry(service="loyalty"))
    assert [*found.faults] == [
        Fault("unknown-resource", "loyalty", 1),
        Fault("missing-resource", "account", 1),
    ]
    assert found.states == {}


def test_a_resource_that_is_there_twice_is_another_the_second_time() -> None:
    """Under one TAR there is one resource."""
    found = findings(entry(), entry(rsc_id=2, start=14_000))
    assert found.faults == [Fault("other-resource", "account", 2)]


def test_resources_overlap() -> None:
    """By an octet or wholly, in whatever order their ids are; one behind the other do not."""
    agreements = {TAR: agreement(), OTHER_TAR: agreement("loyalty", OTHER_TAR)}
    rows = {"account": subscription(), "loyalty": subscription(service="loyalty", rsc_id=2)}
    loyalty = entry(rsc_id=2, tar=OTHER_TAR, service="loyalty", start=12_000 + 1280)
    books: dict[str, Any] = {"agreements": agreements, "subscriptions": rows}
    assert findings(entry(), loyalty, **books) == Findings()
    for start, service, rsc_id in (
        (13_279, "loyalty", 2),
        (12_000, "loyalty", 2),
        (11_000, "account", 1),
    ):
        found = findings(entry(), replace(loyalty, start=start), **books)
        assert found.faults == [Fault("overlapping-resource", service, rsc_id)]


@pytest.mark.parametrize(
    "figures",
    [
        {"size": MEMORY + 256},
        {"free": MEMORY + 1, "largest_free": 0},
        {"free": 100, "largest_free": 101},
        {"free": MEMORY - 1279},
    ],
    ids=["size", "more-free-than-there-is", "largest-larger-than-all", "what-is-taken-is-not-free"],
)
def test_a_memory_that_cannot_be(figures: dict[str, Any]) -> None:
    """Its size is the one it was registered with, and no octet is free twice."""
    assert faults(findings(page(entry(), **figures))) == ["other-memory"]


def test_every_fault_is_told() -> None:
    """Nothing stops at the first."""
    found = findings(page(entry(rsc_id=3, rights=0, usable=False, state="blocked"), size=0))
    assert faults(found) == ["other-memory", "other-resource", "other-rights", "other-state"]


# A module that says anything

_NAMES = st.sampled_from(["account", "loyalty", "", "x"]).filter(bool)
_NUMBERS = st.sampled_from([0, 1, 2, 255, 1024, 4 << 20]) | st.integers(0, 4 << 20)
_DATES = st.sampled_from([0, DATE, TOLD, NOW + 1, (1 << 40) - 1]) | st.integers(0, (1 << 40) - 1)
_BITS = st.sampled_from([0, 5, (1 << 32) - 1])
_ENTRIES = st.builds(
    AuditedResource,
    rsc_id=st.integers(0, 0xFFFF),
    tar=st.sampled_from([TAR, OTHER_TAR, bytes(3)]),
    service=_NAMES,
    state=st.sampled_from([*ResourceState, *STATES]).map(str)
    | st.from_regex(r"[A-Za-z0-9._-]{1,32}", fullmatch=True),
    supplier=_NAMES,
    supplier_digest=st.sampled_from([DIGEST, b""]) | st.binary(max_size=32),
    usable=st.booleans(),
    start=_NUMBERS,
    code_size=_NUMBERS,
    data_size=_NUMBERS,
    code_length=_NUMBERS,
    code_digest=st.binary(max_size=32),
    version=_BITS,
    rights=_BITS,
    expires_at=_DATES,
    executions_left=st.sampled_from([-1, 0, 3, (1 << 31) - 1]),
    at_end=st.sampled_from(["deactivate", "delete", "x"]),
)
_PAGES = st.builds(
    Audited,
    size=_NUMBERS | st.just(MEMORY),
    free=_NUMBERS,
    largest_free=_NUMBERS,
    time=_DATES,
    signed_time=_DATES,
    definitions=st.lists(_ENTRIES.map(encode) | st.binary(max_size=64), max_size=6),
    complete=st.booleans(),
)
_ROWS = st.builds(
    subscription,
    st.sampled_from(STATES),
    expires_at=_DATES,
    executions=st.sampled_from([-1, 0, 3]),
    at_end=st.sampled_from(["deactivate", "delete"]),
)


@settings(deadline=None)
@given(pages=st.lists(_PAGES, min_size=1, max_size=4), known=_ROWS)
@example(pages=[page(entry(state="no-such-state"))], known=subscription())
def test_whatever_a_module_says_is_found_or_rejected(pages: list[Audited], known: Row) -> None:
    """No word of a module raises anything but a rejection, and the books only go where orders begin."""
    reading = Reading()
    try:
        for turn, each in enumerate(pages, 1):
            reading.take(each, turn)
            if reading.is_complete:
                break
    except MessageRejected:
        return
    found = compare(
        reading,
        memory=MEMORY,
        now=NOW,
        agreements={TAR: agreement(), OTHER_TAR: agreement("loyalty", OTHER_TAR)},
        subscriptions={"account": known},
    )
    assert found.states.keys() <= {"account", "loyalty"}
    assert set(found.states.values()) <= {EXPIRED, EXHAUSTED, RELEASED, STRAY}
    assert all(fault.rsc_id <= 0xFFFF for fault in found.faults)


def test_an_audit_without_fault_leaves_books_and_module_alike() -> None:
    """All states with all ends: where nothing is found, both say the same, and only such states are left."""
    left = set()
    for said, known in _all_states():
        found = findings(said, known=known)
        if found.faults:
            assert found.states in ({}, {"account": STRAY})
            continue
        state = found.states.get("account", known["state"])
        assert said.executions_left <= known["executions"]
        assert said.usable == (said.state in {"reserved", "loaded", "suspended"})
        assert said.state == state or (said.usable and state in {RESERVED, ACTIVE})
        left.add((said.state, state))
    in_use = set(product(("reserved", "loaded", "suspended"), (RESERVED, ACTIVE)))
    ended = {("blocked", BLOCKED), ("expired", EXPIRED), ("exhausted", EXHAUSTED)}
    assert left == in_use | ended


def _all_states() -> Iterator[tuple[AuditedResource, Row]]:
    states, counts = (str(each) for each in ResourceState), (-1, 0, 3)
    for state, usable, left, granted, known, date in product(
        states, (True, False), counts, counts, STATES, (0, DATE, NOW + 1)
    ):
        yield (
            entry(state=state, usable=usable, executions_left=left, expires_at=date),
            subscription(known, executions=granted, expires_at=date),
        )
