"""Mailbox, order, supervision and the end of an actor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog
from structlog.testing import capture_logs

from bus.actor import ATTEMPTS, MAX_DEAD_LETTERS, Actor, ActorGroup
from bus.counters import Counters
from bus.errors import MailboxFull

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class _Recorder(Actor[str]):
    """Keeps what it handled; raises as often as told; can be held at a gate."""

    def __init__(self, name: str, group: ActorGroup, *, capacity: int = 256, concurrency: int = 1) -> None:
        super().__init__(name, group, capacity=capacity, concurrency=concurrency)
        self.handled: list[str] = []
        self.begun: list[str] = []
        self.restarts: list[Exception] = []
        self.crashes: dict[str, list[BaseException]] = {}
        self.restart_crash: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.tasks: set[str] = set()

    async def handle(self, message: str) -> None:
        task = asyncio.current_task()
        self.tasks.add(task.get_name() if task else "")
        self.begun.append(message)
        await self.gate.wait()
        if self.crashes.get(message):
            raise self.crashes[message].pop(0)
        self.handled.append(message)

    async def restart(self, cause: Exception) -> None:
        self.restarts.append(cause)
        await super().restart(cause)
        if self.restart_crash:
            raise self.restart_crash


@pytest.fixture
def counters() -> Counters:
    """Return counts that start at nothing."""
    return Counters()


@pytest.fixture
async def group(counters: Counters) -> AsyncIterator[ActorGroup]:
    """Yield a group whose tasks are cancelled when the test ends."""
    async with ActorGroup(log=structlog.get_logger(), counters=counters) as group:
        yield group
        await group.stop(drain=False)


async def _begun(actor: _Recorder, count: int) -> None:
    """Let the loop run until *actor* has begun *count* messages."""
    for _ in range(100):
        if len(actor.begun) >= count:
            return
        await asyncio.sleep(0)
    pytest.fail(f"{actor.begun} and no more begun")


def _tasks_named(name: str) -> int:
    return sum(task.get_name() == name for task in asyncio.all_tasks())


async def test_messages_are_handled_in_order(group: ActorGroup) -> None:
    """With concurrency 1 a burst is handled one by one in the order of delivery."""
    actor = _Recorder("operator", group)
    sent = [f"m{number}" for number in range(50)]
    for message in sent:
        actor.deliver(message)
    await actor.idle()
    assert actor.handled == sent


async def test_an_actor_at_rest_has_no_task(group: ActorGroup) -> None:
    """The worker is spawned by a delivery, bears the actor's name, and is gone when the mailbox is empty."""
    actor = _Recorder("phone[8988]", group)
    assert _tasks_named("phone[8988]") == 0
    assert actor.is_at_rest
    actor.deliver("a")
    actor.deliver("b")
    assert (_tasks_named("phone[8988]"), actor.is_at_rest) == (1, False)
    await actor.idle()
    await asyncio.sleep(0)
    assert (_tasks_named("phone[8988]"), actor.is_at_rest) == (0, True)
    assert actor.tasks == {"phone[8988]"}
    actor.deliver("c")
    await group.idle()
    assert actor.handled == ["a", "b", "c"]


async def test_an_actor_is_at_rest_before_its_worker_is_gone(group: ActorGroup) -> None:
    """When the last message is handled nothing is waited for; a delivery then is handled all the same."""
    actor = _Recorder("phone", group)
    at_rest: list[bool] = []
    actor.deliver("a")
    (worker,) = (task for task in asyncio.all_tasks() if task.get_name() == "phone")
    worker.add_done_callback(lambda _task: at_rest.append(actor.is_at_rest))
    worker.add_done_callback(lambda _task: actor.deliver("b"))
    await group.idle()
    assert (at_rest, actor.handled) == ([True], ["a", "b"])


async def test_a_held_actor_begins_nothing(group: ActorGroup) -> None:
    """It is not at rest, but takes messages; released it handles them, after the one it is given first."""
    actor = _Recorder("phone", group, capacity=1)
    actor.hold()
    waiting = asyncio.create_task(actor.idle())
    actor.deliver("came meanwhile")
    await asyncio.sleep(0)
    assert (actor.is_at_rest, actor.begun, waiting.done()) == (False, [], False)
    actor.release("comes first")
    await waiting
    assert (actor.is_at_rest, actor.handled) == (True, ["comes first", "came meanwhile"])
    actor.hold()
    actor.release()
    assert actor.is_at_rest
    await actor.idle()


async def test_an_actor_held_while_its_worker_goes(group: ActorGroup) -> None:
    """Neither the end of the worker nor a delivery begins anything; a release does, once."""
    actor = _Recorder("phone", group)
    actor.deliver("a")
    (worker,) = (task for task in asyncio.all_tasks() if task.get_name() == "phone")
    worker.add_done_callback(lambda _task: actor.hold())
    worker.add_done_callback(lambda _task: actor.deliver("b"))
    await group.idle()
    assert (actor.handled, actor.waiting) == (["a"], 1)
    actor.release()
    await actor.idle()
    assert actor.handled == ["a", "b"]


async def test_a_group_that_ends_waits_for_what_is_held(group: ActorGroup) -> None:
    """Who holds an actor is a task of the group: the end waits for it, and for the mailbox after that."""
    actor, gate = _Recorder("phone", group), asyncio.Event()

    async def hold() -> None:
        actor.hold()
        await gate.wait()
        actor.release()

    group.spawn(hold(), name="holder")
    await asyncio.sleep(0)
    actor.deliver("a")
    end = asyncio.create_task(group.stop())
    await asyncio.sleep(0)
    gate.set()
    await end
    assert actor.handled == ["a"]


async def test_a_full_mailbox_takes_no_more(group: ActorGroup) -> None:
    """The message past the bound is refused with a typed error; those before it are handled."""
    actor = _Recorder("operator", group, capacity=2)
    actor.gate.clear()
    actor.deliver("being handled")
    await _begun(actor, 1)
    actor.deliver("first")
    actor.deliver("second")
    with pytest.raises(MailboxFull) as refusal:
        actor.deliver("third")
    assert (refusal.value.actor, refusal.value.capacity) == ("operator", 2)
    assert actor.waiting == 2
    actor.gate.set()
    await actor.idle()
    assert actor.handled == ["being handled", "first", "second"]


async def test_concurrency_bounds_what_runs_at_once(group: ActorGroup) -> None:
    """With concurrency 3, of five messages three are begun and two wait."""
    actor = _Recorder("supplier", group, concurrency=3)
    actor.gate.clear()
    for message in "abcde":
        actor.deliver(message)
    await _begun(actor, 3)
    await asyncio.sleep(0)
    assert (actor.begun, actor.waiting) == (["a", "b", "c"], 2)
    actor.gate.set()
    await actor.idle()
    assert sorted(actor.handled) == list("abcde")


@pytest.mark.parametrize("bounds", [{"capacity": 0}, {"concurrency": 0}])
async def test_an_actor_that_could_never_work_is_refused(group: ActorGroup, bounds: dict[str, int]) -> None:
    """No mailbox or no worker is misuse by our own code."""
    with pytest.raises(ValueError, match="must be positive"):
        _Recorder("operator", group, **bounds)


async def test_a_crash_is_logged_counted_and_the_message_handled_again(
    group: ActorGroup, counters: Counters
) -> None:
    """A handler that raises once loses nothing: restart, then the same message, then the next."""
    actor = _Recorder("operator", group)
    crash = RuntimeError("out of luck")
    actor.crashes["a"] = [crash]
    with capture_logs() as logs:
        actor.deliver("a")
        actor.deliver("b")
        await actor.idle()
    assert actor.begun == ["a", "a", "b"]
    assert actor.handled == ["a", "b"]
    assert actor.restarts == [crash]
    assert counters.snapshot()["crashes"] == {"operator": 1}
    assert [(log["event"], log["agent"], log["message"], log["attempt"]) for log in logs] == [
        ("actor.crashed", "operator", "str", 1)
    ]
    assert actor.dead_letters == ()


async def test_a_message_that_always_crashes_becomes_a_dead_letter(
    group: ActorGroup, counters: Counters
) -> None:
    """After the last attempt the message is kept aside, logged, and the next one has its turn."""
    actor = _Recorder("operator", group)
    actor.crashes["poison"] = [ValueError("a secret") for _ in range(ATTEMPTS)]
    with capture_logs() as logs:
        actor.deliver("poison")
        actor.deliver("b")
        await actor.idle()
    assert actor.handled == ["b"]
    (letter,) = actor.dead_letters
    assert (letter.message, letter.error, letter.attempts) == ("poison", "ValueError", ATTEMPTS)
    assert "poison" not in repr(letter)
    assert "secret" not in repr(letter)
    assert [log["event"] for log in logs] == ["actor.crashed", "actor.crashed", "actor.dead_letter"]
    assert counters.snapshot()["crashes"] == {"operator": ATTEMPTS}


async def test_dead_letters_are_bounded(group: ActorGroup) -> None:
    """Of many messages that were given up the last ones are kept."""
    actor = _Recorder("operator", group)
    messages = [f"m{number}" for number in range(MAX_DEAD_LETTERS + 3)]
    for message in messages:
        actor.crashes[message] = [RuntimeError()] * ATTEMPTS
        actor.deliver(message)
    with capture_logs():
        await actor.idle()
    assert [letter.message for letter in actor.dead_letters] == messages[3:]


async def test_a_restart_that_fails_costs_one_message_at_most(group: ActorGroup) -> None:
    """A crash inside restart is logged too and neither ends the actor nor skips the other attempts."""
    actor = _Recorder("operator", group)
    actor.crashes["a"] = [RuntimeError()]
    actor.restart_crash = OSError("no state")
    with capture_logs() as logs:
        actor.deliver("a")
        await actor.idle()
    assert actor.handled == ["a"]
    assert [log["event"] for log in logs] == ["actor.crashed", "actor.restart_failed"]


async def test_a_crash_in_one_actor_leaves_the_others_alone(group: ActorGroup) -> None:
    """The group's other actors go on while one of them gives a message up."""
    bad, good = _Recorder("bad", group), _Recorder("good", group)
    bad.crashes["a"] = [RuntimeError()] * ATTEMPTS
    with capture_logs():
        bad.deliver("a")
        good.deliver("b")
        await group.idle()
    assert good.handled == ["b"]


async def test_a_foreign_cancellation_is_a_crash_like_any_other(group: ActorGroup) -> None:
    """When something the handler awaits was cancelled, the worker is not: the message is handled again."""
    actor = _Recorder("operator", group)
    actor.crashes["a"] = [asyncio.CancelledError()]
    with capture_logs() as logs:
        actor.deliver("a")
        actor.deliver("b")
        await actor.idle()
    assert actor.handled == ["a", "b"]
    assert [log["event"] for log in logs] == ["actor.crashed"]


async def test_a_worker_cancelled_alone_leaves_its_messages_to_another(group: ActorGroup) -> None:
    """Cancelling the task of an actor loses neither the message in hand nor those that wait."""
    actor = _Recorder("operator", group)
    actor.gate.clear()
    actor.deliver("a")
    actor.deliver("b")
    await _begun(actor, 1)
    (worker,) = (task for task in asyncio.all_tasks() if task.get_name() == "operator")
    worker.cancel()
    await asyncio.wait([worker])
    actor.gate.set()
    await actor.idle()
    assert actor.handled == ["a", "b"]


async def test_leaving_the_group_empties_the_mailboxes(counters: Counters) -> None:
    """What was delivered before the block ends is handled; what comes afterwards is refused."""
    async with ActorGroup(log=structlog.get_logger(), counters=counters) as group:
        actor = _Recorder("operator", group)
        for message in "abc":
            actor.deliver(message)
    assert actor.handled == ["a", "b", "c"]
    with pytest.raises(MailboxFull) as refusal:
        actor.deliver("d")
    assert refusal.value.capacity == 0


async def test_stop_drains_unless_told_otherwise(counters: Counters) -> None:
    """Stop lets workers finish; without draining it cancels them and what waits is not begun."""
    async with ActorGroup(log=structlog.get_logger(), counters=counters) as group:
        drained = _Recorder("drained", group)
        drained.deliver("a")
        await group.stop()
        assert drained.handled == ["a"]
    async with ActorGroup(log=structlog.get_logger(), counters=counters) as group:
        cancelled = _Recorder("cancelled", group)
        cancelled.gate.clear()
        cancelled.deliver("a")
        cancelled.deliver("b")
        await _begun(cancelled, 1)
        await group.stop(drain=False)
        assert cancelled.begun == ["a"]
        assert cancelled.handled == []


async def test_an_error_in_the_block_cancels_the_workers(counters: Counters) -> None:
    """The error comes out as it went in and no task is left behind."""
    with pytest.raises(ExceptionGroup) as raised:
        await _raise_beside_a_worker(counters)
    assert raised.group_contains(LookupError)
    assert _tasks_named("operator") == 0


async def _raise_beside_a_worker(counters: Counters) -> None:
    async with ActorGroup(log=structlog.get_logger(), counters=counters) as group:
        actor = _Recorder("operator", group)
        actor.gate.clear()
        actor.deliver("a")
        actor.deliver("b")
        await _begun(actor, 1)
        raise LookupError("the body failed")


async def test_a_group_that_a_failure_is_ending_takes_no_more() -> None:
    """While a failed task takes its group down, a delivery is refused like one to a stopped group."""
    handled: list[str] = []
    refused: list[MailboxFull] = []

    class Late(Actor[str]):
        async def handle(self, message: str) -> None:
            handled.append(message)

    async def fail() -> None:
        raise ValueError("down")

    async def deliver_when_cancelled(actor: Late) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with pytest.raises(MailboxFull) as caught:
                actor.deliver("late")
            refused.append(caught.value)

    with pytest.raises(ExceptionGroup):  # noqa: PT012 -- the group is what raises, at its end
        async with ActorGroup(log=structlog.get_logger(), counters=Counters()) as group:
            actor = Late("late", group)
            group.spawn(deliver_when_cancelled(actor), name="last words")
            group.spawn(fail(), name="failure")
            await asyncio.Event().wait()
    assert refused[0].capacity == 0
    assert not handled
