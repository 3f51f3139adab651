"""The lines of one transaction as a list, each indented as deep as its span lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agents.traces.listing import outcome, what, who
from agents.traces.plain import duration, harmless
from agents.traces.tally import told_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agents.traces.lookup import Transaction
    from agents.traces.reading import Fields

_MAX_DEPTH: Final = 24
_STEP: Final = "  "
_MESSAGES: Final[Mapping[str, str]] = {
    "message.sent": "sends",
    "message.taken": "takes",
    "message.lost": "loses",
}
_ORDERED: Final = ("do", "service")
"""What the line of an order says of itself."""
_SAID_ELSEWHERE: Final = frozenset(
    {
        *(
            "time",
            "at",
            "seq",
            "process",
            "level",
            "event",
            "agent",
            "role",
            "trace_id",
            "span_id",
            "parent_id",
            "cause_id",
        ),
        *("client", "bearer", "direction", "source", "destination", "reference", "octets"),
    }
)


def heading(transaction: Transaction) -> str:
    """Return what a transaction was, and what became of it."""
    told = [what(transaction), who(transaction), outcome(transaction)]
    counts = [
        f"simulated {duration(transaction.simulated_s)}",
        f"wall {duration(transaction.wall_s)}",
        f"messages {transaction.messages:,}",
        f"retries {transaction.retries:,}",
        f"lost {transaction.lost:,}",
    ]
    return f"{transaction.trace_id}\n{'; '.join(told)}\n{', '.join(counts)}"


def as_list(lines: Iterable[Fields]) -> Iterator[str]:
    """Yield a row for each line: when, by simulated time if it is told, who, and what."""
    told = list(lines)
    depth = depths(told)
    began = min((at for line in told if (at := _when(line)) is not None), default=0.0)
    for line in told:
        at = _when(line)
        since = "" if at is None else f"+{duration(at - began)}"
        yield f"{since:>10} {_STEP * depth.get(str(line.get('span_id')), 0)}{sentence(line)}".rstrip()


def depths(lines: Iterable[Fields]) -> dict[str, int]:
    """Return how deep each span lies below the first that is told of."""
    parents: dict[str, str] = {}
    for line in lines:
        span, parent = line.get("span_id"), line.get("parent_id")
        if isinstance(span, str):
            known = parents.get(span)
            parents[span] = known or (parent if isinstance(parent, str) else "")
        cause = line.get("cause_id")
        if isinstance(parent, str) and isinstance(cause, str):
            parents[parent] = parents.get(parent) or cause
    return {span: _depth(span, parents) for span in parents}


def _depth(span: str, parents: Mapping[str, str]) -> int:
    depth = -1
    while span in parents and depth < _MAX_DEPTH:  # a log that somebody made may lead in a circle
        span = parents[span]
        depth += 1
    return max(0, depth)


def _when(line: Fields) -> float | None:
    at = line.get("at")
    return at if type(at) is float else told_at(line)


def sentence(line: Fields) -> str:
    """Return what one line says."""
    verb = _MESSAGES.get(str(line.get("event")))
    rest = ", ".join(f"{harmless(name)} {harmless(value)}" for name, value in _rest(line) if _says(value))
    if verb is None:
        head = f"{harmless(line.get('agent') or line.get('process'))}: {harmless(line.get('event'))}"
    else:
        head = _message(line, verb)
    return f"{head}; {rest}" if rest else head


def _message(line: Fields, verb: str) -> str:
    source, destination = harmless(line.get("source")), harmless(line.get("destination"))
    bearer, octets = harmless(line.get("bearer")), harmless(line.get("octets"))
    if verb == "takes":
        return f"{destination} takes {bearer} from {source}, {octets} octets"
    return f"{source} {verb} {bearer} to {destination}, {octets} octets"


def _rest(line: Fields) -> Iterator[tuple[str, Any]]:
    """Yield what a line has to say beside who, when and where; of a message, what was not as it should be."""
    if line.get("event") in _MESSAGES:
        attempt = line.get("attempt")
        yield from (("attempt", attempt if attempt != 1 else None), ("reason", line.get("reason")))
        if line.get("do"):
            yield from ((name, line.get(name)) for name in _ORDERED)
        return
    for name, value in line.items():
        if name not in _SAID_ELSEWHERE and value != line.get("agent"):
            yield name, value


def _says(value: object) -> bool:
    return value is not None and value != "" and isinstance(value, (str, int, float, list))
