"""The module proves its DEF to the operator: what it holds, for whom, in which state, and what room is left.

The answer is signed, and its counter is the command's, so it is of now and of this module. It goes page by
page, as many resources in each as the record has room for that keeps the answer for a repetition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.handset.security_module.geometry import Record
from agents.handset.security_module.rights import rights_mask
from agents.messages.air import Audited, AuditedResource
from agents.messages.codec import encode
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import Definition
    from agents.handset.security_module.memory import Transaction
    from agents.messages.air import Audit

ENVELOPE_OCTETS: Final = 192
"""What is kept free of the record for names, counter and figures, beside the signature."""


def report(core: Core, _transaction: Transaction, command: Audit) -> Audited:
    """Return the resources behind *command*'s, in the order of their ids, and the state of the memory."""
    table = core.definitions
    left = sorted((each for each in table.all() if each.rsc_id > command.after), key=lambda one: one.rsc_id)
    page: list[bytes] = []
    _, room = core.memory.geometry.slot(Record.ANSWER)
    room -= ENVELOPE_OCTETS + SUITES[core.owner().suite].signature_length
    for definition in left:
        octets = encode(entry(definition))
        room -= len(octets) + 3
        if room < 0:
            break
        page.append(octets)
    return Audited(
        size=core.memory.size,
        free=table.free_octets(),
        largest_free=table.largest_free(),
        time=int(core.time(0)),
        signed_time=core.turns.signed,
        definitions=page,
        complete=len(page) == len(left),
        ticket=core.turns.ticket,
    )


def entry(definition: Definition) -> AuditedResource:
    """Return what is said of one resource; ValueError for one that no reservation makes."""
    return AuditedResource(
        rsc_id=definition.rsc_id,
        tar=definition.tar,
        service=definition.service,
        state=definition.state.value,
        supplier=definition.supplier,
        supplier_digest=definition.supplier_digest,
        usable=bool(definition.supplier_public),
        start=definition.start,
        code_size=definition.code_size,
        data_size=definition.data_size,
        code_length=definition.code_length,
        code_digest=definition.code_digest,
        version=definition.version,
        rights=rights_mask(definition.rights),
        expires_at=definition.expires_at,
        executions_left=definition.executions_left,
        at_end=definition.at_end.value,
    )
