from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import topics
from bus.errors import TopicRejected

EXAMPLES = [
    (
        topics.ShortMessageTo(fleet="demo", ua="8988000000000000001"),
        "otafleet/demo/sms/mt/8988000000000000001",
    ),
    (topics.ShortMessageFrom(fleet="demo", address="15550100"), "otafleet/demo/sms/mo/15550100"),
    (topics.ReportTo(fleet="demo", address="15550200"), "otafleet/demo/sms/report/15550200"),
    (topics.Inbox(fleet="demo", agent="root"), "otafleet/demo/role/root"),
    (topics.Contact(fleet="demo", ua="8988000000000000001"), "otafleet/demo/contact/8988000000000000001"),
    (topics.ContactReply(fleet="demo", agent="personalizer"), "otafleet/demo/contact-reply/personalizer"),
    (topics.Orders(fleet="demo", agent="bank"), "otafleet/demo/order/bank"),
    (topics.Events(fleet="demo"), "otafleet/demo/event"),
]
FOREIGN = [
    "",
    "event",
    "otafleet",
    "otafleet/demo",
    "otafleet//event",
    "otafleet/demo/event/",
    "otafleet/demo/event/x",
    "otafleet/demo/role",
    "otafleet/demo/role/",
    "otafleet/demo/role/a/b",
    "otafleet/demo/role/+",
    "otafleet/demo/sms/mt/#",
    "otafleet/demo/sms/xx/1",
    "otafleet/demo/role/a b",
    "otafleet/demo/role/" + "a" * 65,
    "fleet/demo/event",
    "/otafleet/demo/event",
]
NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)


@pytest.mark.parametrize(("topic", "path"), EXAMPLES, ids=[type(topic).__name__ for topic, _ in EXAMPLES])
def test_path(topic: topics.Topic, path: str) -> None:
    """Each topic spells its path, and the path gives the topic back."""
    assert topic.path == str(topic) == path
    assert topics.parse(path) == topic


@pytest.mark.parametrize("path", FOREIGN)
def test_foreign(path: str) -> None:
    """A path that is none of ours is refused by type."""
    with pytest.raises(TopicRejected):
        topics.parse(path)


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a b", "é", "a\n", "a" * 65])
def test_bad_name(name: str) -> None:
    """A name that could change the topic's meaning makes no topic."""
    with pytest.raises(ValueError, match="is no name"):
        topics.Inbox(fleet="demo", agent=name)
    with pytest.raises(ValueError, match="is no name"):
        topics.Events(fleet=name)


@given(fleet=NAMES, leaf=NAMES)
def test_round_trip(fleet: str, leaf: str) -> None:
    """Whatever names are allowed, parsing gives back what was spelt."""
    for topic in (topics.Inbox(fleet=fleet, agent=leaf), topics.ShortMessageTo(fleet=fleet, ua=leaf)):
        assert topics.parse(topic.path) == topic


@given(st.one_of(st.text(), st.lists(st.text(max_size=8)).map("/".join), st.just("otafleet/x/role/")))
def test_arbitrary(path: str) -> None:
    """Arbitrary text is refused, or is exactly the path of what it parses to."""
    try:
        topic = topics.parse(path)
    except TopicRejected:
        return
    assert topic.path == path


def test_everything() -> None:
    """The wiretap's wildcard spans one fleet and takes no wildcard for its name."""
    assert topics.everything("demo") == "otafleet/demo/#"
    with pytest.raises(ValueError, match="is no name"):
        topics.everything("+")
