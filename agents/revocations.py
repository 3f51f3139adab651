"""Revoked suppliers: whom an operator deals with no more, and what is still done about its resources.

A revocation is stored first, and only then is anything released: whatever stops in between, the supplier is
out. From then on it gets nothing: what is ordered for it is refused, and so are its questions, for the
operator that vouched for it has struck it from the directory. It is not told of its resources' end either,
because a revocation must not wait for whom it is about; its calls end where the modules know it no more.
There is no way back: who is trusted again comes under another name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.errors import Refusal
from agents.store.registry import Registry
from agents.store.tables import REVOKED

if TYPE_CHECKING:
    from agents.messages.orders import Order
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit
    from agents.store.registry import Row

_STILL: Final = frozenset({"block", "release", "revoke-supplier"})
"""What is still ordered for the resources of a revoked supplier: whatever takes them away."""


class Revocations:
    """The suppliers that one operator has revoked."""

    def __init__(self, desk: Desk, store: GroupCommit) -> None:
        self._desk = desk
        self._rows = Registry(store, REVOKED)
        self._names: set[str] = set()
        """Those that are on disk: of the others nobody is told."""

    async def load(self) -> None:
        """Read what the store holds, and strike whom it names again."""
        await self._rows.load()
        for row in self._rows.rows():
            self._strike(row["supplier"])

    async def carry_out(self, order: Order, agreement: Row | None) -> None:
        """Revoke whom *order* names; *agreement* is of the service that it is about, if there is one.

        Raises Refusal for a service of another supplier.
        """
        supplier = order.argument.decode(errors="replace")
        if agreement is not None and agreement["supplier"] != supplier:
            raise Refusal("service-of-another")
        await self.revoke(supplier)

    async def revoke(self, supplier: str) -> None:
        """Deal with *supplier* no more; return when that is durable."""
        if self.has(supplier):
            return
        await self._rows.put({"supplier": supplier, "revoked_at": self._desk.clock.now()})
        self._strike(supplier)
        self._desk.log.info("supplier.revoked", supplier=supplier)

    def has(self, supplier: str) -> bool:
        """Say whether *supplier* is revoked."""
        return supplier in self._names

    def check(self, do: str, supplier: str) -> None:
        """Raise Refusal (``revoked``) if the order *do* would do something for a supplier that is revoked."""
        if do not in _STILL and self.has(supplier):
            raise Refusal("revoked")

    def _strike(self, supplier: str) -> None:
        self._names.add(supplier)
        self._desk.directory.revoke(supplier, by=self._desk.keys.name)
