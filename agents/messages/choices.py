"""What suite, forms, bearers and protection a service may be agreed and reserved with: the rules of both.

An operator goes by them when it agrees (AGREE), a module when it reserves (RES): what an operator lets
through no module refuses for what it is, only for what this module lacks. Domain keys have their own rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.errors import MessageRejected
from agents.messages.bearers import BEARERS, SERVER_OCTETS, SMS
from agents.messages.signed import check_key
from transport.security.keyset import PROTECTIONS
from transport.security.suites import SUITES, suite_for
from transport.security.terms import FORM_NUMBERS, KEY_TRANSPORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.messages.air import Reserve
    from agents.messages.inside import Agree


def check_names(choice: Agree | Reserve) -> None:
    """Check that there is everything that *choice* names, and a server for bearers that need one.

    Raises MessageRejected: "unknown-suite", "unknown-form", "unknown-protection", "unknown-bearer",
    "bad-server", "no-server".
    """
    for reason in _faults(choice):
        raise MessageRejected(reason)


def _faults(choice: Agree | Reserve) -> Iterator[str]:
    for known, names, reason in (
        (SUITES, [choice.suite], "unknown-suite"),
        (FORM_NUMBERS, choice.forms, "unknown-form"),
        (PROTECTIONS, [choice.protection], "unknown-protection"),
        (BEARERS, choice.bearers, "unknown-bearer"),
    ):
        if any(name not in known for name in names):
            yield reason
    if len(choice.server) not in (0, SERVER_OCTETS):
        yield "bad-server"
    if any(bearer != SMS for bearer in choice.bearers) and not choice.server:
        yield "no-server"


def check_keys(choice: Agree | Reserve, *, public: bytes, sealing: bytes) -> None:
    """Check that *choice*'s suite takes these keys of the supplier, and its Diffie-Hellman parameters.

    Only key-transport needs a sealing key. A group that nobody has used yet costs some seconds of judging,
    and is remembered. Raises MessageRejected: "bad-public-key", "bad-sealing-key"; ParametersRejected.
    """
    check_key(choice.suite, public)
    suite_for(choice.suite, choice.dh_base, choice.dh_modulus)
    if KEY_TRANSPORT in choice.forms and len(sealing) != SUITES[choice.suite].sealing_public_length:
        raise MessageRejected("bad-sealing-key")
