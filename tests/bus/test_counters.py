"""What the counters of a process count, and how they hand it over."""

from __future__ import annotations

import json
from enum import StrEnum

from bus.counters import MAX_NAMES, MAX_REASONS, OTHERS, Counters
from bus.topics import DOWN, INSIDE, UP

NOTHING = {"messages": 0, "octets": 0}


class _Bearer(StrEnum):
    SMS = "sms"


def test_nothing_counted_is_empty() -> None:
    """A fresh process reports no bearers rather than invented zeros."""
    assert Counters().snapshot() == {"bearers": {}, "dropped": {}, "refused": {}, "crashes": {}}


def test_traffic_is_counted_per_bearer_and_direction() -> None:
    """Each way and end, retried and lost messages and seconds on the air add up apart from each other."""
    counters = Counters()
    counters.sent("sms", 140, DOWN)
    counters.sent("sms", 60, UP)
    counters.received("sms", 12, DOWN)
    counters.retried("sms")
    counters.lost("sms")
    counters.aired("sms", 1.5)
    counters.aired("sms", 0.25)
    counters.received("role", 300)
    assert counters.snapshot()["bearers"] == {
        "role": {
            "sent": {"messages": 0, "octets": 0},
            "received": {"messages": 1, "octets": 300},
            "ways": {INSIDE: {"sent": NOTHING, "received": {"messages": 1, "octets": 300}}},
            "retries": 0,
            "lost": 0,
            "air_s": 0.0,
        },
        "sms": {
            "sent": {"messages": 2, "octets": 200},
            "received": {"messages": 1, "octets": 12},
            "ways": {
                DOWN: {
                    "sent": {"messages": 1, "octets": 140},
                    "received": {"messages": 1, "octets": 12},
                },
                UP: {"sent": {"messages": 1, "octets": 60}, "received": NOTHING},
            },
            "retries": 1,
            "lost": 1,
            "air_s": 1.75,
        },
    }


def test_drops_and_crashes_are_counted_by_name() -> None:
    """Each reason and each agent has its own count."""
    counters = Counters()
    for reason in ("too-large", "not-msgpack", "too-large"):
        counters.dropped(reason)
    counters.crashed("operator")
    snapshot = counters.snapshot()
    assert snapshot["dropped"] == {"not-msgpack": 1, "too-large": 2}
    assert snapshot["crashes"] == {"operator": 1}


def test_counts_of_another_process_are_added() -> None:
    """What another process counted comes as JSON and adds up with our own, name by name."""
    ours, theirs = Counters(), Counters()
    for counters in (ours, theirs):
        counters.sent("sms", 140, DOWN)
        counters.received("sms", 12, UP)
        counters.retried("sms")
        counters.lost("sms")
        counters.aired("sms", 0.5)
        counters.dropped("late")
        counters.refused("order", "blocked")
        counters.crashed("operator")
    theirs.lost("bip-udp")
    ours.absorb(json.loads(json.dumps(theirs.snapshot())))
    snapshot = ours.snapshot()
    assert snapshot["bearers"]["sms"] == {
        "sent": {"messages": 2, "octets": 280},
        "received": {"messages": 2, "octets": 24},
        "ways": {
            DOWN: {"sent": {"messages": 2, "octets": 280}, "received": NOTHING},
            UP: {"sent": NOTHING, "received": {"messages": 2, "octets": 24}},
        },
        "retries": 2,
        "lost": 2,
        "air_s": 1.0,
    }
    assert snapshot["bearers"]["bip-udp"]["lost"] == 1
    assert (snapshot["dropped"], snapshot["crashes"]) == ({"late": 2}, {"operator": 2})
    assert snapshot["refused"] == {"order": {"blocked": 2}}


def test_a_snapshot_does_not_move() -> None:
    """What was handed over stays as it was while counting goes on."""
    counters = Counters()
    counters.sent("sms", 1)
    before = counters.snapshot()
    counters.sent("sms", 1)
    counters.dropped("late")
    assert before["bearers"]["sms"]["sent"] == {"messages": 1, "octets": 1}
    assert before["dropped"] == {}


def test_members_of_an_enum_become_plain_names() -> None:
    """A bearer given as a StrEnum is the same name in JSON as the plain string."""
    counters = Counters()
    counters.sent(_Bearer.SMS, 1)
    counters.sent("sms", 1)
    counters.dropped(_Bearer.SMS)
    snapshot = counters.snapshot()
    assert snapshot["bearers"]["sms"]["sent"]["messages"] == 2
    assert type(next(iter(snapshot["bearers"]))) is str
    assert type(next(iter(snapshot["dropped"]))) is str
    assert json.loads(json.dumps(snapshot)) == snapshot


def test_invented_names_cost_bounded_memory() -> None:
    """A flood of new names ends in one shared count, and no event goes uncounted."""
    counters = Counters()
    for number in range(MAX_NAMES + 10):
        counters.dropped(f"reason-{number}")
        counters.sent(f"bearer-{number}", 1)
        counters.refused("order", f"reason-{number}")
    snapshot = counters.snapshot()
    assert len(snapshot["dropped"]) == MAX_NAMES + 1
    assert snapshot["dropped"][OTHERS] == 10
    assert snapshot["bearers"][OTHERS]["sent"] == {"messages": 10, "octets": 10}
    assert len(snapshot["refused"]["order"]) == MAX_REASONS + 1
    assert sum(snapshot["refused"]["order"].values()) == MAX_NAMES + 10


def test_refusals_are_counted_by_what_was_refused_and_why() -> None:
    """An order and a question that are refused for one reason are two refusals."""
    counters = Counters()
    for what, reason in (("order", "blocked"), ("order", "blocked"), ("question", "blocked")):
        counters.refused(what, reason)
    assert counters.snapshot()["refused"] == {"order": {"blocked": 2}, "question": {"blocked": 1}}
