"""What the operator may do: each order is signed, answered signed, and comes to what the model says."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import rule

from agents.handset.security_module.rights import rights_mask
from agents.messages.air import (
    Announce,
    Audit,
    Audited,
    AuditedResource,
    Block,
    ChangeSupplierKey,
    Compact,
    Release,
    Renew,
    Unblock,
)
from agents.messages.codec import decode
from agents.messages.signed import EVERYBODY, Purpose
from agents.messages.succession import succession_statement
from tests.agents.module_kit import manage
from tests.agents.module_model.card import SIZE
from tests.agents.module_model.model import NEVER, UNLIMITED, Resource
from tests.agents.module_model.teller import KEYS, NUMBERS, TARS, Teller, picks, signing_key
from transport.secured_packet import ResponseStatus

FAULTS: Final[dict[str, dict[str, Any]]] = {
    "unknown-suite": {"suite": "rot13"},
    "unknown-form": {"forms": ["nod"]},
    "unknown-right": {"rights": 1 << 31},
    "unknown-end": {"at_end": "linger"},
    "unknown-protection": {"protection": "hope"},
    "unknown-bearer": {"bearers": ["pigeon"]},
    "no-server": {"bearers": ["bip-tcp"]},
    "bad-public-key": {"supplier_public": bytes(40)},
    "no-executions": {"executions": 0},
    "reserved-tar": {"tar": bytes.fromhex("B00000")},
}
"""What a reservation is refused for whatever the module holds, and how it is made."""
executions = st.sampled_from([UNLIMITED, UNLIMITED, 1, 2, 3])
ends = st.sampled_from([900, None, 60, None, 5, -100])
"""Seconds from now; -100 is over already, by the handset's time at least."""
reservations = st.fixed_dictionaries(
    {
        "supplier": st.sampled_from(sorted(NUMBERS)),
        "code_size": st.sampled_from([1024, 1024, 9000, 5000, 300, 1024, 1024]),
        "data_size": st.sampled_from([1024, 1024, 9000, 4000, 0, 1100, 1100]),
        "executions": executions,
        "rights": st.sampled_from([frozenset({"hmac"}), frozenset({"time"})]),
        "delete_at_end": st.booleans(),
    }
)
strangers = st.sampled_from([False, False, False, True])


class OperatorRules(Teller):
    """Reserve, block, unblock, renew, change a key, release, compact, audit, announce."""

    @rule(tar=st.sampled_from(TARS), terms=reservations, seconds=ends)
    def reserve(self, tar: bytes, terms: dict[str, Any], seconds: int | None) -> None:
        """RES, of any size and with any limits."""
        self.make(tar, terms, seconds)

    def make(self, tar: bytes, terms: dict[str, Any], seconds: int | None, *, fault: str = "") -> None:
        """Send a reservation."""
        supplier = self.supplier(terms["supplier"], tar)
        resource = Resource(tar=tar, service=supplier.service, expires_at=self.date(seconds), **terms)
        values = {
            "code_size": resource.code_size,
            "data_size": resource.data_size,
            "executions": resource.executions,
            "expires_at": resource.expires_at,
            "rights": rights_mask(resource.rights),
            "at_end": "delete" if resource.delete_at_end else "deactivate",
        }
        command: object = supplier.reserve(**(values | FAULTS.get(fault, {})))

        def act() -> None:
            outcome = self.model.reserve(resource, fault=fault)
            self.order(command, outcome, rsc_id=resource.rsc_id)

        self.play(act)

    @rule(pick=picks)
    def block(self, pick: int) -> None:
        """REVOKE: the operator deactivates a resource."""
        tar = self.aim(pick)
        self.play(lambda: self.order_block(tar))

    def order_block(self, tar: bytes) -> None:
        """Send the order."""
        self.order(Block(tar=tar), self.model.block(tar), rsc_id=self.rsc_id(tar))

    @rule(pick=picks, stranger=strangers)
    def unblock(self, pick: int, stranger: bool) -> None:  # noqa: FBT001 -- drawn
        """Give a resource back: to its supplier, or to another one."""
        tar = self.aim(pick)
        self.play(lambda: self.order_unblock(tar, self.key_for(tar, stranger=stranger)))

    def order_unblock(self, tar: bytes, key: str) -> None:
        """Send the order, with the key of the supplier called *key*."""
        command = Unblock(tar=tar, supplier_public=self.publics[key])
        self.order(command, self.model.unblock(tar, key), rsc_id=self.rsc_id(tar))

    @rule(pick=picks, stranger=strangers, seconds=ends, count=executions)
    def renew(self, pick: int, stranger: bool, seconds: int | None, count: int) -> None:  # noqa: FBT001 -- drawn
        """Give a resource another date and another count."""
        tar = self.aim(pick)
        key, date = self.key_for(tar, stranger=stranger), self.date(seconds)
        self.play(lambda: self.order_renewal(tar, key, date, count))

    def order_renewal(self, tar: bytes, key: str, date: int, count: int) -> None:
        """Send the order, with the key of the supplier called *key*."""
        command = Renew(tar=tar, supplier_public=self.publics[key], expires_at=date, executions=count)
        self.order(command, self.model.renew(tar, key, date, count), rsc_id=self.rsc_id(tar))

    @rule(
        pick=picks,
        key=st.sampled_from(KEYS),
        stranger=strangers,
        endorsed=st.sampled_from([True, True, False]),
    )
    def change_key(self, pick: int, key: str, stranger: bool, endorsed: bool) -> None:  # noqa: FBT001 -- drawn
        """Have a resource go by another key: by its own key's word, a *stranger*'s, or none."""
        tar = self.aim(pick)
        self.play(
            lambda: self.order_change(tar, self.key_for(tar, stranger=stranger), key, endorsed=endorsed)
        )

    def order_change(self, tar: bytes, former: str, key: str, *, endorsed: bool) -> None:
        """Send the order."""
        public = self.publics[key]
        statement = succession_statement(
            supplier=self.owner(tar).name,
            tar=tar,
            former=self.publics[former],
            public=public,
            sealing=b"",
        )
        command = ChangeSupplierKey(
            tar=tar,
            former_public=self.publics[former],
            supplier_public=public,
            supplier_sealing=b"",
            endorsement=signing_key(former).sign(statement if endorsed else b"anything else"),
        )
        outcome = self.model.change_key(tar, former, key, endorsed=endorsed)
        self.order(command, outcome, rsc_id=self.rsc_id(tar))

    @rule(pick=picks)
    def release(self, pick: int) -> None:
        """REVOKE: the operator deletes a resource."""
        tar = self.aim(pick)
        self.play(lambda: self.order_release(tar))

    def order_release(self, tar: bytes) -> None:
        """Send the order."""
        rsc_id = self.rsc_id(tar)
        self.order(Release(tar=tar), self.model.release(tar), rsc_id=rsc_id)

    @rule()
    def compact(self) -> None:
        """Move what there is together."""
        self.play(lambda: self.order(Compact(), self.model.compact()))

    @rule(seconds=st.sampled_from([0, 10, 100, 1000, -50, -2000]))
    def announce(self, seconds: int) -> None:
        """Tell the module the time, which it trusts over its handset's."""
        self.play(lambda: self.tell_time(int(self.card.now) + seconds))

    def tell_time(self, time: int) -> None:
        """Send an announcement to this module alone, as a short message."""
        counter = self.model.announcements + 1
        data = self.operator.signed(
            Announce(time=time), ua=EVERYBODY, purpose=Purpose.ANNOUNCEMENT, counter=counter
        )
        assert manage(self.card, data).status is ResponseStatus.POR_OK
        assert not self.model.announce(time, counter).reasons
        self.announced.append((counter, data))

    @rule()
    def audit(self) -> None:
        """Have the module prove its DEF: page by page it is the model's."""
        self.play(self.read_audit)

    def read_audit(self) -> None:
        """Ask for pages until the last one."""
        found: list[AuditedResource] = []
        complete = False
        while not complete:
            page = self.order(Audit(after=found[-1].rsc_id if found else 0))
            assert isinstance(page, Audited)
            assert page.definitions or page.complete
            found += [decode(each, AuditedResource) for each in page.definitions]
            rooms = [room for _, room in self.model.gaps()]
            assert (page.size, page.free, page.largest_free) == (SIZE, sum(rooms), max(rooms, default=0))
            assert (page.time, page.signed_time) == (int(self.model.latest), self.model.signed)
            complete = page.complete
        said = sorted(self.model.resources.values(), key=lambda each: each.rsc_id)
        assert [self.audited(each) for each in said] == found

    def audited(self, resource: Resource) -> AuditedResource:
        """Return what the module has to say of a resource; digests are DEF's, and checked there."""
        definition = self.card.definition(resource.tar)
        return AuditedResource(
            rsc_id=resource.rsc_id,
            tar=resource.tar,
            service=resource.service,
            state=resource.state,
            supplier=resource.supplier,
            supplier_digest=definition.supplier_digest,
            usable=resource.has_key,
            start=resource.start,
            code_size=resource.code_size,
            data_size=resource.data_size,
            code_length=len(resource.programme.code) if resource.programme else 0,
            code_digest=definition.code_digest,
            version=resource.version,
            rights=rights_mask(resource.rights),
            expires_at=resource.expires_at,
            executions_left=resource.executions,
            at_end="delete" if resource.delete_at_end else "deactivate",
        )

    def dates(self) -> list[int]:
        """Return when resources expire."""
        return sorted({each.expires_at for each in self.model.resources.values()} - {NEVER})

    def rsc_id(self, tar: bytes) -> int:
        """Return the id of a resource, 0 when there is none."""
        known = self.model.resources.get(tar)
        return known.rsc_id if known else 0

    def key_for(self, tar: bytes, *, stranger: bool) -> str:
        """Return whose key the operator sends: the supplier's, or a *stranger*'s."""
        known = self.model.resources.get(tar)
        key = known.key if known else "bank"
        # A key that it had before, or another supplier's, is a stranger's.
        return next(each for each in reversed(KEYS) if (each != key) is stranger)
