"""A whole handshake, both sides, beside the bare calls of ``cryptography`` that it cannot do without.

Run ``python -m tests.benchmarks.bench_handshake [SUITE…]``. What the bare side does stands in
``bare_handshake``. What is measured is the time of this process. Short rounds of ours and bare alternate, and
what is printed is the median of each and the median of each round's quotient, so that a busy machine slows
both alike. An ML-DSA signature is tried until one will do, four times and more in the mean: its rows waver.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Final

from agents.fleet.cost_sides import Pair, Party, shake
from tests.benchmarks.bare_handshake import bare_handshake
from transport.security.suites import ALL_SUITES
from transport.security.terms import FORM_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROUNDS: Final = 15
ROUND_S: Final = 0.025
GOAL: Final = 1.3


def pairs_of(kinds: Sequence[str]) -> Iterator[tuple[str, str, Callable[[], object], Callable[[], object]]]:
    """Yield each suite and form with our handshake and the bare one."""
    for kind in kinds:
        module, supplier = (Party.of(kind) for _ in range(2))
        for form in FORM_NUMBERS:
            pair = Pair.of(form, kind, module, supplier)
            bare = bare_handshake(form, kind, shake(pair), ALL_SUITES[kind].signature_length)
            yield kind, form, partial(shake, pair), bare


def microseconds(call: Callable[[], object]) -> float:
    """Return what *call* costs, over one round."""
    began, calls = process_time(), 0
    while (spent := process_time() - began) < ROUND_S:
        call()
        calls += 1
    return spent / calls * 1e6


def main() -> None:
    """Print the table."""
    lines = [
        f"handshake, both sides, {os.cpu_count()} cores, 1 used",
        "  suite         form                   ours      bare  ours/bare  handshakes/s",
    ]
    worst = 0.0
    for kind, form, ours, bare in pairs_of(sys.argv[1:] or list(ALL_SUITES)):
        rounds = [(microseconds(ours), microseconds(bare)) for _ in range(ROUNDS)]
        spent, least = (median(each[side] for each in rounds) for side in range(2))
        ratio = median(one / other for one, other in rounds)
        worst = max(worst, ratio)
        lines.append(
            f"  {kind:<13} {form:<17}{spent:>7.0f} us{least:>7.0f} us{ratio:>11.2f}{1e6 / spent:>14,.0f}"
        )
    lines.append(f"  worst {worst:.2f}, goal {GOAL}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
