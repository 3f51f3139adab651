"""Whether what a config's suites and forms come to finds room: in a module's buffer and queue, and on air.

Only what a message has for certain is counted, its keys, signatures and shares, so that nothing is refused
that would have gone. As in ``config_checks``, a problem is ``key: what is wrong``; the config is otherwise
right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.fleet.config_profile import expected_services, profile_table
from agents.fleet.config_steps import Verb
from agents.fleet.expectations import Result
from agents.fleet.houses import allocator_of, authorities_of, authority_of
from transport.cell_broadcast import MAX_CONTENT
from transport.security.suites import SUITES, suite_for
from transport.security.terms import KEY_TRANSPORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.fleet.config import FleetConfig, Offer
    from agents.fleet.config_tables import Allocator, Handsets, Operator
    from agents.handset.security_module.profile import Profile

_PART_OCTETS: Final = 134
"""Of a concatenated short message (TS 23.040 §9.2.3.24.1), but for the first, which has less."""


def check_lengths(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for each message that a step sends and that finds no room where it goes."""
    for index, group in enumerate(config.handsets):
        profile = profile_table(config, group).profile()
        place = f"handsets[{index}]"
        if _succeeds(config, group, Verb.PERSONALISE):
            yield from _check_owners(config, place, group, profile)
        if _succeeds(config, group, Verb.SUBSCRIBE):
            yield from _check_queue(place, group, profile)
        for do, what, length in _operators_own(config, group):
            if length > profile.packet and _succeeds(config, group, do):
                yield f"{place}.operator: {_too_long(length, what, profile)}"
        for name in expected_services(config, group) if _succeeds(config, group, Verb.RESERVE) else ():
            yield from _check_service(config, place, group, profile, config.offers[name])
        if _succeeds(config, group, Verb.RESERVE):
            yield from _check_session(config, place, group, profile)
    yield from _check_broadcasts(config)


def _succeeds(config: FleetConfig, group: Handsets, do: Verb, service: str = "") -> bool:
    """Say whether a step does *do* with *group*'s modules, and expects neither refusals nor failures.

    With *service*, a step that is about this one.
    """
    return any(
        step.do is do
        and (not service or step.service in (None, service))
        and (step.handsets is None or group.name in step.handsets)
        and not (
            step.expect
            and any(step.expect.wants(bad, group.count) for bad in (Result.REFUSED, Result.FAILED))
        )
        for step in config.steps
    )


def _commander(config: FleetConfig, group: Handsets) -> Operator | Allocator:
    """Return whose signature the group's modules obey."""
    operator = next(each for each in config.operators if each.name == group.operator)
    return allocator_of(config, operator.name) or operator


def _check_owners(config: FleetConfig, place: str, group: Handsets, profile: Profile) -> Iterator[str]:
    length = SUITES[_commander(config, group).suite].signing_public_length
    if length > profile.key:
        yield f"{place}.operator: has a key of {length} octets, and its modules take {profile.key} (key)"


def _operators_own(config: FleetConfig, group: Handsets) -> Iterator[tuple[Verb, str, int]]:
    """Yield what the operator says of itself to a module: in which step, what it is, its octets."""
    operator = next(each for each in config.operators if each.name == group.operator)
    authority = next(each for each in authorities_of(config) if each.name == authority_of(operator))
    own = SUITES[_commander(config, group).suite]
    yield Verb.ROLL_OPERATOR_KEY, "next key", own.signature_length + own.signing_public_length
    vouched = SUITES[authority.suite].signature_length + own.signing_public_length
    if authority.certificates and all(step.do is not Verb.ROLL_OPERATOR_KEY for step in config.steps):
        # It is the certificate of the enrolment then, which has both keys.
        vouched += own.sealing_public_length
    yield Verb.INTRODUCE_OPERATOR, "certificate", vouched


def _check_queue(place: str, group: Handsets, profile: Profile) -> Iterator[str]:
    parts = -(-SUITES[group.suite].signature_length // _PART_OCTETS)
    if parts > profile.proactive:
        yield (
            f"{place}.suite: what its modules sign in {group.suite!r} takes {parts} short messages at least,"
            f" and {profile.proactive} may wait for the handset (proactive)"
        )


def _check_service(
    config: FleetConfig, place: str, group: Handsets, profile: Profile, offer: Offer
) -> Iterator[str]:
    service, supplier = offer.service, SUITES[offer.supplier.suite]
    place = f"{place}.services: {service.name}"
    if supplier.signing_public_length > profile.key:
        length = supplier.signing_public_length
        yield f"{place} has a supplier's key of {length} octets, and its modules take {profile.key} (key)"
    agreement = suite_for(supplier.name, bytes.fromhex(service.dh_base), bytes.fromhex(service.dh_modulus))
    seals = KEY_TRANSPORT in service.forms
    reservation = SUITES[_commander(config, group).suite].signature_length + supplier.signing_public_length
    reservation += supplier.sealing_public_length * seals + len(service.dh_base + service.dh_modulus) // 2
    share = supplier.sealed_length(0) if service.forms[0] == KEY_TRANSPORT else agreement.answer_length
    # The key that it has, the next one, and what the one says for the other.
    change = SUITES[_commander(config, group).suite].signature_length + 2 * supplier.signing_public_length
    change += supplier.sealing_public_length * seals + supplier.signature_length
    is_rolled = _succeeds(config, group, Verb.ROLL_SUPPLIER_KEY, service.name)
    for what, length in (
        ("reservation", reservation),
        ("secure connection", supplier.signature_length + share),
        ("supplier's next key", change * is_rolled),
    ):
        if length > profile.packet:
            yield f"{place} {_too_long(length, what, profile)}"


def _too_long(length: int, what: str, profile: Profile) -> str:
    return (
        f"needs packets of more than {length} octets for its {what},"
        f" and its modules take {profile.packet} (buffer)"
    )


def _check_session(config: FleetConfig, place: str, group: Handsets, profile: Profile) -> Iterator[str]:
    operator = next(each for each in config.operators if each.name == group.operator)
    if not operator.operator_session:
        return
    commander = _commander(config, group)
    dh_base, dh_modulus = bytes.fromhex(operator.dh_base), bytes.fromhex(operator.dh_modulus)
    agreement = suite_for(commander.suite, dh_base, dh_modulus)
    length = agreement.signature_length + agreement.answer_length
    if length > profile.packet:
        yield (
            f"{place}.operator: {commander.name!r} needs packets of more than {length} octets for a session,"
            f" and its modules take {profile.packet} (buffer)"
        )


def _check_broadcasts(config: FleetConfig) -> Iterator[str]:
    """Yield a problem for each step that broadcasts more than a cell broadcast holds."""
    for index, step in enumerate(config.steps):
        if step.do is not Verb.ANNOUNCE or (step.expect and step.expect.wants(Result.REFUSED, 1)):
            continue
        for group in config.handsets:
            commander = _commander(config, group)
            length = SUITES[commander.suite].signature_length
            if (step.handsets is None or group.name in step.handsets) and length > MAX_CONTENT:
                yield (
                    f"step[{index}].do: {commander.name!r} signs in {commander.suite!r} with {length} octets,"
                    f" and a cell broadcast has {MAX_CONTENT}"
                )
                break
