"""What a boot looks at besides CRCs: whether a module could ever have come to be as its memory says it is.

A CRC tells of worn memory, not of memory that somebody wrote. A record that no command makes could lead
where no command leads: to a key that nobody reserved, a state without a way out, a name that no table knows.
So a module whose records are not such as it writes itself does not boot; nor does one with octets where
nothing is, for the next supplier would be given them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import audit, domain, operator_session, owner
from agents.handset.security_module.allocation import gaps
from agents.handset.security_module.errors import ImageRejected, ModuleError
from agents.handset.security_module.life_cycle import AtEnd, ResourceState
from agents.handset.security_module.personalisation import check_commander
from agents.messages.bearers import BEARERS, GLOBAL_SERVICES, SERVER_OCTETS, SMS
from agents.messages.signed import check_key
from transport.errors import Rejected
from transport.security.keyset import PROTECTIONS, SessionKeys
from transport.security.suites import SUITES
from transport.security.terms import FORM_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.handset.security_module.core import Core, Identity
    from agents.handset.security_module.definitions import Definition
    from agents.handset.security_module.memory import Memory

_S = ResourceState
_KEY_AND_PROGRAMME: Final[Mapping[ResourceState, tuple[bool, bool | None]]] = {
    _S.RESERVED: (True, False),
    _S.LOADED: (True, True),
    _S.SUSPENDED: (True, None),
    _S.BLOCKED: (False, None),
    _S.EXPIRED: (False, None),
    _S.EXHAUSTED: (False, None),
}
"""Whether a resource in a state has the supplier's key, and a programme; None: it may have one."""
_SPENT: Final = frozenset({_S.LOADED, _S.EXPIRED, _S.EXHAUSTED})
"""Where no execution may be left: LOADED, when power failed in the last one."""
_DEACTIVATED: Final = frozenset({_S.EXPIRED, _S.EXHAUSTED})


def check(core: Core) -> None:
    """Raise ImageRejected unless the module's records are such as it writes itself."""
    definitions = core.definitions.all()
    if core.identity is not None:
        _check_identity(core.identity)
    elif definitions:
        raise ImageRejected("bad-definition", "resources of a module that is nobody's")
    operator_session.check(core.memory, core.identity)
    for definition in definitions:
        _check_definition(definition)
    if len({each.service for each in definitions}) != len(definitions):
        raise ImageRejected("duplicate-service")
    identifiers = [each.message_identifier for each in definitions if each.message_identifier]
    if len(set(identifiers)) != len(identifiers):
        raise ImageRejected("duplicate-message-identifier")
    _check_empty(core.memory, definitions)


def _check_identity(identity: Identity) -> None:
    try:
        for suite, public in (
            (identity.suite, identity.public),
            (identity.authority_suite, identity.authority_public),
        ):
            check_key(suite, public)
        check_commander(identity)
        owner.check(identity)
        own = SUITES[identity.suite].load_signing_key(identity.private)
        opening = SUITES[identity.suite].load_sealing_key(identity.sealing_private)
    except (Rejected, ValueError):
        # The cause is left out on purpose: it could quote a key.
        raise ImageRejected("bad-identity") from None
    if (own.public, opening.public) != (identity.public, identity.sealing_public):
        raise ImageRejected("bad-identity", "a public key is not the private key's")


def _check_definition(definition: Definition) -> None:
    for what, holds in _RULES:
        if not holds(definition):
            raise ImageRejected("bad-definition", f"resource {definition.rsc_id}: {what}")


def _can_be_told(definition: Definition) -> bool:
    try:
        audit.entry(definition)
    except ValueError:
        return False
    return True


def _is_reachable(definition: Definition) -> bool:
    return all(bearer == SMS for bearer in definition.bearers) or len(definition.server) == SERVER_OCTETS


def _key_is_the_reserved_one(definition: Definition) -> bool:
    digest = hashlib.sha256(definition.supplier_public).digest()
    return not definition.supplier_public or digest == definition.supplier_digest


def _session_holds(definition: Definition) -> bool:
    if definition.session is None:
        return True
    try:
        keys = SessionKeys.load(definition.session.keys)
    except ValueError:
        return False
    return bool(definition.supplier_public) and keys.protection == definition.protection


def _state_holds(definition: Definition) -> bool:
    has_key, has_programme = _KEY_AND_PROGRAMME[definition.state]
    if has_programme is None:
        has_programme = bool(definition.code_length)
    return (bool(definition.supplier_public), bool(definition.code_length)) == (has_key, has_programme)


def _count_holds(definition: Definition) -> bool:
    if definition.executions_left == 0:
        return definition.state in _SPENT
    return definition.state is not _S.EXHAUSTED


def _end_holds(definition: Definition) -> bool:
    return definition.at_end is AtEnd.DEACTIVATE or definition.state not in _DEACTIVATED


def _domain_key_holds(definition: Definition) -> bool:
    try:
        domain.check(definition.forms, definition.logic_name, definition.domain_key)
    except ModuleError:
        return False
    return True


def _identifier_holds(definition: Definition) -> bool:
    is_one = definition.message_identifier in GLOBAL_SERVICES
    return is_one if definition.logic_name else not definition.message_identifier


_RULES: Final[tuple[tuple[str, Callable[[Definition], bool]], ...]] = (
    ("a value that no reservation can have", _can_be_told),
    ("an unknown suite", lambda each: each.suite in SUITES),
    ("an unknown form of secure connection", lambda each: set(each.forms) <= FORM_NUMBERS.keys()),
    ("a domain key that its forms have no use for, or none", _domain_key_holds),
    ("a message identifier that no reservation can have", _identifier_holds),
    ("an unknown protection", lambda each: each.protection in PROTECTIONS),
    ("an unknown bearer", lambda each: set(each.bearers) <= BEARERS),
    ("no server for its bearers", _is_reachable),
    ("a key that was not reserved", _key_is_the_reserved_one),
    ("a session without a key, or of another protection", _session_holds),
    ("a key or a programme that its state has not got", _state_holds),
    ("a version without a programme", lambda each: bool(each.version) is bool(each.code_length)),
    ("a count that its state has not got", _count_holds),
    ("an end that should have deleted it", _end_holds),
)


def _check_empty(memory: Memory, definitions: list[Definition]) -> None:
    """Expect zeros in what is free, and in an area that nobody has loaded anything into yet."""
    empty = gaps(memory.zone_start, memory.size, [(each.start, each.end) for each in definitions])
    empty += [(each.start, each.end) for each in definitions if not each.code_length]
    for start, end in empty:
        if not memory.is_empty(start, end):
            raise ImageRejected("octets-where-nothing-is", f"in {start}..{end}")
