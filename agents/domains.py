"""Domain keys (DK) as roles handle them: of which kind one is, who makes it, and what of it goes where.

A global service has one DK, of one kind for all its forms: a pair where the modules sign with it, else 32
octets. Who makes it is the service's *custody*. By default that is the supplier, who wraps DK to each module
that the authority has certified, so that the operator forwards what it cannot read. With the operator, as the
method's text has it, the operator knows DK and could pose as a module of the domain; it still cannot pose as
the supplier, whose signature every form demands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agents.errors import Refusal
from agents.messages.bearers import GLOBAL_SERVICES
from transport.security import domain_key
from transport.security.domain_key import DomainKey, Kind
from transport.security.terms import DOMAIN_ASYMMETRIC, DOMAIN_FORMS, DOMAIN_SYMMETRIC

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.messages.inside import Agree, PublicKeys
    from agents.store.registry import Row
    from transport.security.suites import Rng

BY_SUPPLIER: Final = "supplier"
BY_OPERATOR: Final = "operator"
KINDS: Final = {DOMAIN_SYMMETRIC: Kind.SYMMETRIC, DOMAIN_ASYMMETRIC: Kind.PAIR}
"""The kind of domain key that a form wants of a module."""


def fits(forms: Iterable[str], key: DomainKey) -> bool:
    """Say whether *key* is what each of the *forms* that want a domain key wants of a module."""
    return all(KINDS[form] is key.kind for form in DOMAIN_FORMS.intersection(forms))


def one_kind(forms: Iterable[str]) -> bool:
    """Say whether there is a domain key that all *forms* can be used with."""
    return len({KINDS[form] for form in DOMAIN_FORMS.intersection(forms)}) < 2


def new_key(forms: Iterable[str], suite: str, rng: Rng, *, generation: int = 1) -> DomainKey:
    """Return a new domain key for a service with these forms, whose sessions are of *suite*."""
    if DOMAIN_ASYMMETRIC in forms:
        return domain_key.generate_asymmetric(suite, rng, generation=generation)
    return domain_key.generate_symmetric(rng, generation=generation)


def agreed_key(message: Agree, agreements: Iterable[Row], rng: Rng) -> DomainKey | None:
    """Return the domain key that the operator makes for a service, the one it has if it is agreed again.

    None for one that is not global, or whose supplier makes the key. Raises Refusal for a domain that cannot
    be: ``bad-domain``, ``no-domain-key``, ``logic-name-taken``.
    """
    if bool(message.logic_name) != bool(message.custody) or not one_kind(message.forms):
        raise Refusal("bad-domain")
    if DOMAIN_FORMS.intersection(message.forms) and not message.logic_name:
        raise Refusal("no-domain-key")
    kept = b""
    for row in agreements:
        if row["service"] == message.service:
            kept = row["domain_key"]
        elif message.logic_name and row["logic_name"] == message.logic_name:
            raise Refusal("logic-name-taken")
    if message.custody != BY_OPERATOR:
        return None
    key = DomainKey.load(kept) if kept else None
    return key if key is not None and fits(message.forms, key) else new_key(message.forms, message.suite, rng)


def agreed_identifier(message: Agree, agreements: Iterable[Row]) -> int:
    """Return the message identifier of a global service, the one it has if it is agreed again; 0 for another.

    Raises Refusal (``no-message-identifier``) when the operator has given out all.
    """
    if not message.logic_name:
        return 0
    given = {row["message_identifier"]: row["service"] for row in agreements}
    own = [number for number, service in given.items() if number and service == message.service]
    free = (number for number in GLOBAL_SERVICES if number not in given)
    identifier = own[0] if own else next(free, None)
    if identifier is None:
        raise Refusal("no-message-identifier")
    return identifier


def for_supplier(key: DomainKey) -> DomainKey:
    """Return what a supplier needs of a key that he has not made: of a pair the public half."""
    return key.public_half() if key.kind is Kind.PAIR else key


def wrap(
    key: DomainKey,
    module: PublicKeys,
    *,
    ua: str,
    tar: bytes,
    logic_name: str,
    oldest: int = 0,
    ticket: bytes = b"",
) -> bytes:
    """Return *key* for module *ua* with these keys alone, which shall take no version before *oldest*.

    With *ticket* for one reservation alone; without, for who has the key before this one. Raises ValueError
    for a public half; SealRejected.
    """
    return domain_key.wrap(
        replace(key, oldest=oldest),
        sealing_public=module.sealing_public,
        sealing_suite=module.suite,
        ua=ua.encode(),
        tar=tar,
        logic_name=logic_name.encode(),
        ticket=ticket,
    )
