"""The terminal: what a handset does when its module asks."""

from __future__ import annotations

from collections import deque

import pytest

from agents.handset.terminal import MAX_SHOWN, Subscriber, answer
from transport.toolkit import MAX_TEXT, CommandType, ProactiveCommand, TerminalResponse, TerminalResult


def display(text: bytes) -> ProactiveCommand:
    """Return DISPLAY TEXT."""
    return ProactiveCommand(type=CommandType.DISPLAY_TEXT, text=text)


def test_a_text_is_shown() -> None:
    """What the module displays the subscriber has seen, and the module hears so."""
    subscriber = Subscriber()
    assert answer(display(b"Result: 00"), subscriber) == TerminalResponse(type=CommandType.DISPLAY_TEXT)
    assert list(subscriber.shown) == ["Result: 00"]


def test_a_text_that_is_none_is_shown_as_far_as_it_goes() -> None:
    """Octets that are no UTF-8 do not disturb the handset."""
    subscriber = Subscriber()
    answer(display(b"a\xffb"), subscriber)
    assert list(subscriber.shown) == ["a\ufffdb"]


def test_the_display_forgets() -> None:
    """A module that talks without end fills no memory."""
    subscriber = Subscriber()
    for number in range(MAX_SHOWN + 1):
        answer(display(str(number).encode()), subscriber)
    assert list(subscriber.shown) == [str(number) for number in range(1, MAX_SHOWN + 1)]


def test_questions_are_answered_in_order_and_then_no_more() -> None:
    """Each question takes the next answer; without one the terminal is "unable to process"."""
    subscriber = Subscriber(types=deque([b"account", b"00"]))
    question = ProactiveCommand(type=CommandType.GET_INPUT, text=b"?")
    assert [answer(question, subscriber).text for _ in range(2)] == [b"account", b"00"]
    assert answer(question, subscriber).result is TerminalResult.TERMINAL_UNABLE


def test_an_answer_too_long_cannot_be_given() -> None:
    """The longest text that a terminal response holds is given; one octet more is "unable to process"."""
    question = ProactiveCommand(type=CommandType.GET_INPUT, text=b"?")
    longest = answer(question, Subscriber(types=deque([b"x" * MAX_TEXT])))
    assert (longest.result, longest.text) == (TerminalResult.OK, b"x" * MAX_TEXT)
    too_long = answer(question, Subscriber(types=deque([b"x" * (MAX_TEXT + 1)])))
    assert (too_long.result, too_long.text) == (TerminalResult.TERMINAL_UNABLE, b"")


@pytest.mark.parametrize(
    ("sent", "result"), [(True, TerminalResult.OK), (False, TerminalResult.NETWORK_UNABLE)]
)
def test_the_module_hears_whether_its_message_was_sent(sent: bool, result: TerminalResult) -> None:  # noqa: FBT001
    """The network's word on a short message is passed on."""
    command = ProactiveCommand(type=CommandType.SEND_SHORT_MESSAGE, tpdu=b"\x01")
    assert answer(command, Subscriber(), sent=sent).result is result


def test_what_the_subscriber_types_and_sees_is_in_no_repr() -> None:
    """A handset may be logged; its subscriber's business is not in it."""
    subscriber = Subscriber(types=deque([b"typed"]), shown=deque(["shown"]))
    assert "typed" not in repr(subscriber)
    assert "shown" not in repr(subscriber)
