"""What a supplier loads in a module that it serves: the newest version of the programme, then personal data.

Of a global service the module is asked first, under the session: a broadcast may have been there before. It
is given what it lacks, which is the version that was broadcast last. The data part stays or begins anew as
that version has it, so that in the end a module that was served is as one that heard the broadcast.

A broadcast personalises nobody. Data that are for one module alone are given once the programme is there, and
again after a version that began the data part anew. Other data, an opening balance say, are part of the first
load by a supplier: where a broadcast began, the user may have made something of them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from agents.backends import BACKENDS
from agents.errors import Refusal
from agents.messages.air import Held, LoadApplication, LoadData
from agents.usage import ACTIVE, LOADED, READY
from transport.diffusion import DataPart

if TYPE_CHECKING:
    from agents.diffuser import Diffuser
    from agents.offers import Offer
    from agents.role import Desk
    from agents.store.registry import Registry
    from agents.usage import Usage, Use

PIECE_OCTETS: Final = 1024
"""How much of a programme goes into one packet: eight short messages."""


def in_version(offer: Offer, version: int) -> Offer:
    """Return *offer* in one of its versions. Raises Refusal: ``unknown-version``."""
    versions = {update.number: offer.at(update) for update in offer.updates}
    try:
        return (versions | {offer.version: offer})[version]
    except KeyError:
        raise Refusal("unknown-version") from None


class Loading:
    """Loads what a supplier's resources lack; the caller holds the resource's turn."""

    def __init__(self, desk: Desk, usage: Usage, resources: Registry, diffuser: Diffuser) -> None:
        self._usage = usage
        self._resources = resources
        self._diffuser = diffuser
        self._log = desk.log.bind(agent=desk.keys.name)

    async def load(self, use: Use, offer: Offer) -> None:
        """Bring the module the newest version of *offer*, unless it is there."""
        row = self._usage.row(use)
        newest = self._diffuser.newest(offer)
        is_first = row["state"] == ACTIVE
        if not is_first and row["version"] >= newest.version:
            return
        version, digest = await self._held(use, newest)
        # A version on trial, which only some have heard, is newer, and no older one takes its place.
        is_newer = version > newest.version
        is_there = is_newer or (version, digest) == (newest.version, hashlib.sha256(newest.code).digest())
        holds = version if is_newer else newest.version
        await self._bring(use, newest, b"" if is_there else newest.code)
        is_personal = BACKENDS[offer.backend].is_personal
        if is_first:
            lacks_data = is_personal or not version
        else:
            lacks_data = is_personal and self._diffuser.has_reset(offer.service, row["version"])
        state = LOADED if lacks_data or row["state"] == LOADED else READY
        await self._resources.put(self._usage.row(use).but(state=state, version=holds))
        octets = 0 if is_there else len(newest.code)
        who = (use.ua, offer.service, holds)
        if is_there:
            self._diffuser.airings.found.add(who)
        else:
            self._diffuser.airings.brought[who] = self._usage.over(use)
        self._log.info("application.loaded", ua=use.ua, service=offer.service, version=holds, octets=octets)

    async def _held(self, use: Use, offer: Offer) -> tuple[int, bytes]:
        """Return version and SHA-256 of what the module holds; who is alone in loading it need not ask."""
        if not offer.logic_name:
            return 0, b""
        held = await self._usage.command(use, Held())
        return held.status, held.output

    async def _bring(self, use: Use, offer: Offer, code: bytes) -> None:
        for offset in range(0, len(code), PIECE_OCTETS):
            piece = LoadApplication(
                version=offer.version,
                total=len(code),
                offset=offset,
                octets=code[offset : offset + PIECE_OCTETS],
                keep_data=offer.data_part is DataPart.KEEP,
            )
            await self._usage.command(use, piece)

    async def personalise(self, use: Use) -> None:
        """Give the module the data that are for it, if it lacks them."""
        row = self._usage.row(use)
        if row["state"] != LOADED:
            return
        if row["personal"]:
            await self._usage.command(use, LoadData(octets=row["personal"]))
        await self._resources.put(self._usage.row(use).but(state=READY))
