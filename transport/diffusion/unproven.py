"""What is kept of campaigns before their manifest is proven: fragments within bounds, and heads that wait.

Nothing here is believed. The campaign that was begun longest ago gives way to a new one, which is why a flood
of campaigns can push out whatever has not yet been proven, and nothing that has.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from transport.diffusion.collection import MAX_COPIES
from transport.diffusion.fragment import FragmentKind
from transport.diffusion.manifest import Head, is_digest_of
from transport.errors import DiffusionRejected
from transport.security.suites import suite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transport.diffusion.fragment import Fragment

MAX_CAMPAIGNS: Final = 4
MAX_WAITING: Final = 4


@dataclass(slots=True, kw_only=True)
class _Campaign:
    """Fragments of one campaign, by kind and number, in the order in which they came."""

    seen_at: float = 0.0
    octets: int = 0
    copies: dict[tuple[int, int], list[Fragment]] = field(default_factory=dict)

    def add(self, fragment: Fragment, max_octets: int) -> None:
        copies = self.copies.get((fragment.kind, fragment.number), [])
        if fragment in copies:
            return
        if len(copies) == MAX_COPIES or self.octets + len(fragment.data) > max_octets:
            raise _full(fragment)
        self.copies.setdefault((fragment.kind, fragment.number), []).append(fragment)
        self.octets += len(fragment.data)


class Unproven:
    """Fragments of at most four campaigns, *max_octets* together, a fourth of that each."""

    def __init__(self, max_octets: int) -> None:
        self._max_octets = max_octets // MAX_CAMPAIGNS
        self._campaigns: OrderedDict[int, _Campaign] = OrderedDict()  # the one begun first, first

    @property
    def octets(self) -> int:
        """The octets of all fragments held."""
        return sum(campaign.octets for campaign in self._campaigns.values())

    def add(self, fragment: Fragment, now: float) -> bool:
        """Keep *fragment*; return whether another campaign gave way to it.

        DiffusionRejected("full") where its campaign, or its name, has no room for it.
        """
        campaign, gave_way = self._campaigns.get(fragment.campaign), False
        if campaign is None:
            if len(fragment.data) > self._max_octets:
                raise _full(fragment)
            gave_way = len(self._campaigns) == MAX_CAMPAIGNS
            if gave_way:
                self._campaigns.popitem(last=False)
            campaign = self._campaigns[fragment.campaign] = _Campaign()
        campaign.seen_at = now
        campaign.add(fragment, self._max_octets)
        return gave_way

    def of(self, campaign: int) -> list[Fragment]:
        """Return what is held of *campaign*, in the order of its first copies."""
        held = self._campaigns.get(campaign)
        return [fragment for copies in held.copies.values() for fragment in copies] if held else []

    def clear(self) -> None:
        """Forget everything."""
        self._campaigns.clear()

    def forget_old(self, limit: float) -> bool:
        """Forget campaigns of which nothing came since *limit*; return whether there were such."""
        old = [number for number, held in self._campaigns.items() if held.seen_at <= limit]
        for number in old:
            del self._campaigns[number]
        return bool(old)


def _full(fragment: Fragment) -> DiffusionRejected:
    return DiffusionRejected("full", f"no room for more of campaign {fragment.campaign}")


class Waiting:
    """A head whose signature comes in parts."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self._found: dict[int, bytes] = {}

    @property
    def octets(self) -> int:
        """The octets held, of the head and of the parts."""
        return len(self.head.encode()) + sum(map(len, self._found.values()))

    @property
    def signature(self) -> bytes | None:
        """The signature, once all parts are there."""
        if len(self._found) < len(self.head.parts):
            return None
        return b"".join(self._found[index] for index in range(len(self.head.parts)))

    def take(self, fragment: Fragment) -> bool:
        """Take a part of the signature; return whether it is one of this head's that was missing."""
        index, part = fragment.number, fragment.data
        if fragment.kind is not FragmentKind.SIGNATURE or index >= len(self.head.parts):
            return False
        if fragment.campaign != self.head.manifest.campaign:
            return False
        room = suite(self.head.suite).signature_length - sum(map(len, self._found.values()))
        if index in self._found or len(part) > room or not is_digest_of(self.head.parts[index], part):
            return False
        self._found[index] = part
        return True

    def take_all(self, fragments: Iterable[Fragment]) -> None:
        """Take what belongs here of *fragments*."""
        for fragment in fragments:
            self.take(fragment)
