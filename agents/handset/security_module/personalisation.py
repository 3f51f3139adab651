"""PERS: a blank module becomes somebody's, once.

The factory's machine sends one message in blocks (STORE DATA, P1 bit 8 on the last, P2 the block's number).
The module makes its own key pairs, one to sign with and one to open with, or takes those that the authority
made for it, and answers with their public halves, signed; the private ones never leave. From then on the
command is not there any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.handset.security_module.core import Identity
from agents.handset.security_module.errors import ModuleError, TransitionRefused
from agents.handset.security_module.life_cycle import ModuleEvent, module_transition
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys, Personalise
from agents.messages.signed import Purpose, check_key
from transport import apdu
from transport.apdu import ResponseApdu
from transport.errors import Rejected
from transport.security.suites import SUITES, suite_for
from transport.security.terms import AGREEMENT_FORMS

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core
    from transport.apdu import CommandApdu
    from transport.security.suites import SealingKey, SigningKey

LAST_BLOCK: Final = 0x80
MAX_OCTETS: Final = 32 * 255


def store_data(core: Core, command: CommandApdu, _now: float) -> ResponseApdu:
    """Take one block; after the last, personalise and answer with the signed public key."""
    try:
        module_transition(core.state, ModuleEvent.PERSONALISE)
    except TransitionRefused as refusal:
        core.note("personalise.refused", reason=refusal.reason)
        return ResponseApdu(status=apdu.SW_INS_NOT_SUPPORTED)
    if command.p2 == 0:
        core.blocks = b""
    if command.p2 * apdu.MAX_DATA != len(core.blocks) or len(core.blocks) >= MAX_OCTETS:
        core.blocks = b""
        return ResponseApdu(status=apdu.SW_WRONG_PARAMETERS)
    core.blocks += command.data
    if not command.p1 & LAST_BLOCK:
        return ResponseApdu()
    octets, core.blocks = core.blocks, b""
    try:
        return ResponseApdu(data=_personalise(core, decode(octets, Personalise)))
    except (Rejected, ModuleError) as rejection:
        core.note("personalise.refused", reason=rejection.reason)
        return ResponseApdu(status=apdu.SW_WRONG_DATA)


def _personalise(core: Core, message: Personalise) -> bytes:
    # Whatever it shall check has to be of a suite that it has, and its own key pair too.
    profile = core.profile
    if message.suite not in SUITES:
        raise Rejected("unknown-suite")
    for suite in (message.suite, message.operator_suite, message.authority_suite):
        if suite in SUITES and suite not in profile.suites:
            raise Rejected("unsupported-suite")
    keys = [(message.authority_suite, message.authority_public)]
    if message.operator_public or message.operator_serial:
        keys.append((message.operator_suite, message.operator_public))
    for suite, public in keys:
        check_key(suite, public)
        if len(public) > profile.key:
            raise Rejected("key-too-long")
    if message.operator_suite not in SUITES:
        raise Rejected("unknown-suite")
    _check_session(message)
    check_commander(message)
    key, sealing = _own_keys(core, message)
    identity = Identity(
        ua=message.ua,
        suite=message.suite,
        private=key.private,
        public=key.public,
        sealing_private=sealing.private,
        sealing_public=sealing.public,
        authority=message.authority,
        authority_suite=message.authority_suite,
        authority_public=message.authority_public,
        operator=message.operator,
        operator_number=message.operator_number,
        operator_suite=message.operator_suite,
        operator_public=message.operator_public,
        session_form=message.session_form,
        dh_base=message.dh_base,
        dh_modulus=message.dh_modulus,
        allocator=message.allocator,
        allocator_number=message.allocator_number,
        operator_serial=message.operator_serial,
    )
    with core.memory.transaction() as transaction:
        core.keep_identity(transaction, identity)
    core.renew_filter()
    core.note("module.personalised")
    return _possession(core)


def _check_session(message: Personalise) -> None:
    """Raise Rejected unless the operator's session, if there is to be one, can be made: form, safe group."""
    if not message.session_form:
        if message.dh_base or message.dh_modulus:
            raise Rejected("needless-parameters")
        return
    if message.session_form not in AGREEMENT_FORMS:
        raise Rejected("bad-session-form")
    if message.ua in (message.operator, message.allocator):
        raise Rejected("bad-operator")
    suite_for(message.operator_suite, message.dh_base, message.dh_modulus)


def check_commander(terms: Personalise | Identity) -> None:
    """Check what a module is told, or keeps, of an allocator. Raises Rejected.

    It has a name and a number, or there is none, and its key is the one that the module obeys.
    """
    if bool(terms.allocator) != bool(terms.allocator_number):
        raise Rejected("half-an-allocator")
    if terms.allocator and (not terms.operator_public or terms.allocator == terms.ua):
        raise Rejected("bad-allocator")


def _own_keys(core: Core, message: Personalise) -> tuple[SigningKey, SealingKey]:
    """Return the key pairs that the authority made, or new ones. Raises Rejected for octets that are none."""
    suite = SUITES[message.suite]
    if not (message.private or message.sealing_private):
        return suite.generate_signing_key(core.rng), suite.generate_sealing_key(core.rng)
    try:
        return suite.load_signing_key(message.private), suite.load_sealing_key(message.sealing_private)
    except ValueError:
        # The cause is left out on purpose: it could quote a key.
        raise Rejected("bad-private-key") from None


def get_data(core: Core, _command: CommandApdu, _now: float) -> ResponseApdu:
    """Answer with the signed public key; nothing here is secret, so it is said as often as it is asked."""
    try:
        module_transition(core.state, ModuleEvent.PROVE_POSSESSION)
    except TransitionRefused:
        return ResponseApdu(status=apdu.SW_CONDITIONS_NOT_SATISFIED)
    return ResponseApdu(data=_possession(core))


def _possession(core: Core) -> bytes:
    identity = core.owner()
    keys = ModuleKeys(signing=identity.public, sealing=identity.sealing_public)
    return core.sign(encode(keys), purpose=Purpose.POSSESSION, target=identity.authority, counter=0)
