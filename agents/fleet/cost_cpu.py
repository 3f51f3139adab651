"""What the two sides of a handshake compute, each timed apart from the other, with nothing else around it.

What is measured is the time of this process, so that one that shares its processor is not charged for the
others. A side's time is that from its making to its keys; both keep their long-term keys at hand. Different
forms of a suite take turns, so that a machine that gets slower does so for all.
"""

from __future__ import annotations

from statistics import median
from time import process_time
from typing import TYPE_CHECKING

from agents.fleet.cost_rows import Cpu
from agents.fleet.cost_sides import Pair, Party
from transport.security.handshake import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class _Meter:
    """Sums up the time of whichever side's turn it is."""

    def __init__(self) -> None:
        self.spent = {"module": 0.0, "server": 0.0}
        self._since = process_time()

    def charge(self, whom: str) -> None:
        """Charge *whom* with what has passed since the last charge."""
        now = process_time()
        self.spent[whom] += now - self._since
        self._since = now


def shake_timed(pair: Pair) -> tuple[dict[str, float], list[bytes]]:
    """Shake hands once; return the seconds of each side, and the messages as they went."""
    meter = _Meter()
    opening = pair.opening()
    messages = [opening.start()]
    meter.charge("module")
    answering = pair.answering()
    sides = ((answering, "server"), (opening, "module"))
    while True:
        side, who = sides[(len(messages) - 1) % 2]
        answer = side.receive(messages[-1])
        meter.charge(who)
        if answer is None:
            break
        messages.append(answer)
    assert opening.state is answering.state is State.ESTABLISHED
    return meter.spent, messages


def measure_cpu(
    suite: str, forms: Sequence[str], *, repeat: int, dh_base: bytes = b"", dh_modulus: bytes = b""
) -> Iterator[tuple[str, Cpu]]:
    """Yield each of *forms* in *suite* with what its sides compute, over *repeat* handshakes.

    Raises ParametersRejected for a base and modulus that are nothing to agree with.
    """
    module, supplier = Party.of(suite), Party.of(suite)
    parameters = {"dh_base": dh_base, "dh_modulus": dh_modulus}
    pairs = {form: Pair.of(form, suite, module, supplier, **parameters) for form in forms}
    messages = {form: shake_timed(pair)[1] for form, pair in pairs.items()}  # and nothing is met first below
    spent: dict[str, list[dict[str, float]]] = {form: [] for form in forms}
    for _ in range(repeat):
        for form, pair in pairs.items():
            spent[form].append(shake_timed(pair)[0])
    for form in forms:
        module_s, server_s = ([each[side] for each in spent[form]] for side in ("module", "server"))
        yield (
            form,
            Cpu(
                module_best_s=min(module_s),
                module_median_s=median(module_s),
                server_best_s=min(server_s),
                server_median_s=median(server_s),
                messages=len(messages[form]),
                octets=sum(map(len, messages[form])),
            ),
        )
