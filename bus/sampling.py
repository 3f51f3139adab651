"""Which spans are exported, decided alike in every process, by ids and addresses alone.

A *ratio* of the transactions, by the lower half of the trace id as OpenTelemetry's sampler of that name
decides it. A broadcast is one transaction with a branch for each module: of a fleet of more than
:data:`BRANCHES` handsets only about so many branches are exported, of the same modules in each broadcast, by
a hash of the address.

Whose transaction a frame is nobody proves. So it is a broadcast's where pages of it are sent; where they are
heard, in other processes, what began with a page is its branch, and nothing else: who forges a page under a
transaction's id keeps nothing of that from being exported.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from bus.frame import Bearer
from bus.spans import Kind

if TYPE_CHECKING:
    from bus.spans import Span

BRANCHES: Final = 100
"""Of a broadcast to more modules about so many are followed."""
REMEMBERED: Final = 256
"""Broadcasts that are known as such at a time."""
STEPS: Final = 16_384
"""Spans of branches that are not followed, of which more may come, at a time."""
_PAGE: Final = str(Bearer.CELL_BROADCAST)


class Sampling:
    """Decides for a fleet of *modules*; raises ValueError for a *ratio* that is none."""

    def __init__(self, *, ratio: float = 1.0, modules: int = 0) -> None:
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"a ratio of transactions is from 0 to 1, not {ratio}")
        self._below = round(ratio * 2**64)
        self._share = round(min(1.0, BRANCHES / max(1, modules)) * 2**32)
        self._broadcasts: OrderedDict[bytes, None] = OrderedDict()
        self._steps: OrderedDict[bytes, None] = OrderedDict()

    def wants(self, span: Span) -> bool:
        """Whether *span* is to be exported."""
        trace_id = span.trace.trace_id
        if int.from_bytes(trace_id[8:], "big") >= self._below:
            return False
        if span.kind is Kind.PRODUCER and span.attributes.get("otafleet.bearer") == _PAGE:
            _remember(self._broadcasts, trace_id, REMEMBERED)
        ua = span.attributes.get("otafleet.ua")
        if ua is None or self._follows(str(ua)) or not self._is_of_broadcast(span):
            return True
        _remember(self._steps, span.trace.span_id, STEPS)
        return False

    def _is_of_broadcast(self, span: Span) -> bool:
        return span.of_page or span.trace.trace_id in self._broadcasts or span.trace.parent_id in self._steps

    def _follows(self, ua: str) -> bool:
        return zlib.crc32(ua.encode()) < self._share


def _remember(ids: OrderedDict[bytes, None], one: bytes, most: int) -> None:
    ids[one] = None
    if len(ids) > most:
        ids.popitem(last=False)
