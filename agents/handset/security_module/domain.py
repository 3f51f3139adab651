"""The domain key (DK) of a global service: how it comes into DEF, and whether what is there can be.

A reservation brings it wrapped to this module; what stands in DEF is what was inside, as it was dumped. A
logic name and a domain key come together or not at all.

It is wrapped for one reservation: for the *ticket* that the module has told, to the operator who asks the
supplier for the key. The module draws another one, in the same transaction, whenever a reservation names a
domain, taken or refused, and whenever a resource with a domain key goes, for then it forgets which one that
was: what was wrapped before opens no more. The answer brings it, and an audit does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.handset.security_module.errors import TransitionRefused
from agents.handset.security_module.files import CBMID_ENTRIES
from agents.messages.bearers import GLOBAL_SERVICES
from transport.security.domain_key import TICKET_OCTETS, DomainKey, Kind, unwrap
from transport.security.suite_base import draw
from transport.security.suites import SUITES
from transport.security.terms import DOMAIN_ASYMMETRIC, DOMAIN_FORMS, DOMAIN_SYMMETRIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agents.handset.security_module.core import Core
    from agents.messages.air import Reserve

MOST_IDENTIFIERS: Final = CBMID_ENTRIES - 1
"""Of global services: EF.CBMID has room for so many beside the operator's announcements."""
_KINDS: Final[Mapping[str, Kind]] = {DOMAIN_SYMMETRIC: Kind.SYMMETRIC, DOMAIN_ASYMMETRIC: Kind.PAIR}
"""What a form wants of the module's domain key."""


def take(core: Core, command: Reserve) -> bytes:
    """Return what DEF keeps of the reservation's domain key, empty where it brings none.

    Raises TransitionRefused (see ``check``, and ``unsupported-suite``); SealRejected, as ``unwrap`` does, for
    one that was not wrapped to this module for this reservation, resource and logic name.
    """
    dumped, identity = b"", core.owner()
    if command.domain_key and command.logic_name:
        key = SUITES[identity.suite].load_sealing_key(identity.sealing_private)
        unwrapped = unwrap(
            command.domain_key,
            key,
            ua=identity.ua.encode(),
            tar=command.tar,
            logic_name=command.logic_name.encode(),
            ticket=core.turns.ticket,
        )
        if unwrapped.suite and unwrapped.suite not in core.profile.suites:
            raise TransitionRefused("unsupported-suite")
        check_apart(unwrapped, command.supplier_public)
        dumped = unwrapped.dump()
    elif command.domain_key:
        raise TransitionRefused("no-logic-name")
    check(command.forms, command.logic_name, dumped)
    return dumped


def next_ticket(core: Core, logic_name: str) -> bytes:
    """Return another ticket where a resource of *logic_name* comes or goes; empty where it has none."""
    return draw(core.rng, TICKET_OCTETS) if logic_name else b""


def check_apart(key: DomainKey, supplier_public: bytes) -> None:
    """Raise TransitionRefused (``bad-domain-key``) for a domain's pair that is the supplier's own.

    What it signs would be the supplier's word and the domain's at once, which proves neither.
    """
    if key.public and key.public == supplier_public:
        raise TransitionRefused("bad-domain-key")


def listen(core: Core, command: Reserve) -> int:
    """Return the message identifier of the reservation's broadcasts, 0 for a service that is not global.

    Raises TransitionRefused: ``bad-message-identifier`` for one that is another's or no global service's, and
    where there should be one and is none or the other way round; ``message-identifiers-full``.
    """
    identifier = command.message_identifier
    if not command.logic_name and not identifier:
        return 0
    taken = {each.message_identifier for each in core.definitions.all()} - {0}
    if not command.logic_name or identifier not in GLOBAL_SERVICES or identifier in taken:
        raise TransitionRefused("bad-message-identifier")
    if len(taken) >= MOST_IDENTIFIERS:
        raise TransitionRefused("message-identifiers-full")
    return identifier


def check(forms: Iterable[str], logic_name: str, dumped: bytes) -> None:
    """Raise TransitionRefused unless the domain key is what logic name and forms want.

    The reason is ``no-domain-key``, ``no-logic-name`` or ``bad-domain-key``.
    """
    domain_forms = DOMAIN_FORMS.intersection(forms)
    if not dumped:
        if domain_forms or logic_name:
            raise TransitionRefused("no-domain-key")
        return
    if not logic_name:
        raise TransitionRefused("no-logic-name")
    try:
        key = DomainKey.load(dumped)
    except ValueError:
        raise TransitionRefused("bad-domain-key") from None
    if key.kind is Kind.PUBLIC_HALF or any(key.kind is not _KINDS[form] for form in domain_forms):
        raise TransitionRefused("bad-domain-key")
