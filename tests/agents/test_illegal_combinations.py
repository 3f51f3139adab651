"""Suite, form, bearer, protection and profile: what does not go together is refused, wherever it comes up.

By the operator that is asked (AGREE) or is to ask a module (RES), by the module (RES), and by the two sides
of a secure connection (SER); what a config is told is in ``test_illegal_configs``. What is legal is played in
``tests/scenarios/test_secure_connections``.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents import domains
from agents.errors import Refusal
from agents.handset.security_module.profile import STANDARD
from agents.messages.air import Prove
from agents.messages.bearers import CHANNEL_BEARERS
from agents.messages.choices import check_keys, check_names
from agents.messages.codec import encode
from agents.messages.inside import Agree, Agreed
from agents.reservations import reservation
from agents.store.registry import Row
from agents.store.tables import AGREEMENTS, OPERATOR_MODULES
from tests.agents.module_kit import TAR, UA, Market, manage
from tests.agents.role_kit import SUBJECTS, TRACE, open_kit
from tests.transport.security_kit import seeded
from transport.errors import HandshakeRejected, Rejected
from transport.secured_packet import ResponseStatus
from transport.security import domain_key
from transport.security.handshake import Credentials, responder
from transport.security.keyset import PROTECTIONS
from transport.security.suites import SUITES
from transport.security.terms import (
    AGREE_THEN_SIGN,
    DOMAIN_ASYMMETRIC,
    DOMAIN_SYMMETRIC,
    KEY_TRANSPORT,
    SIGN_THEN_AGREE,
    Terms,
)

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from bus.address import BrokerAddress

VECTORS = tomllib.loads((Path(__file__).parents[1] / "transport/vectors/suites.toml").read_text())
MODULI = {one["id"]: bytes.fromhex(one["modulus"]) for one in VECTORS["modulus"]}
SAFE = MODULI["MODP 2048"]
DH_SUITES = ("rsa-ffdh", "rsa-2048-ffdh")
NO_DH_SUITES = tuple(name for name in SUITES if name not in DH_SUITES)
EVERY = replace(STANDARD, suites=list(SUITES), buffer=16_384)
MEMORY = 192 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Illegal:
    """What a service would be agreed and reserved with, but for *sealing* under names that both use."""

    reason: str
    suite: str = "x25519"
    changes: dict[str, Any] = field(default_factory=dict)
    public: bytes | None = None
    sealing: bytes | None = None


def below(length: int) -> bytes:
    """Return a key that is one octet too short."""
    return b"\x01" * (length - 1)


UNSAFE: Final = {
    "a modulus too small": (b"\x02", SAFE[:128], "modulus-too-small"),
    "an even modulus": (b"\x02", SAFE[:-1] + b"\xfe", "modulus-even"),
    "a modulus that is not prime": (b"\x02", SAFE[:-1] + b"\xfd", "modulus-not-prime"),
    "base 1": (b"\x01", SAFE, "base-out-of-range"),
    "base M - 1": (SAFE[:-1] + b"\xfe", SAFE, "base-out-of-range"),
    "base above M": (b"\xff" * 257, SAFE, "base-out-of-range"),
    "b without M": (b"\x02", b"", "modulus-too-small"),
    "M without b": (b"", SAFE, "base-out-of-range"),
    "a leading zero": (b"\x00\x02", SAFE, "leading-zero"),
}
ILLEGAL: Final[dict[str, Illegal]] = {
    "a suite that there is not": Illegal(reason="unknown-suite", changes={"suite": "rot13"}),
    "a form that there is not": Illegal(reason="unknown-form", changes={"forms": [AGREE_THEN_SIGN, "trust"]}),
    "a bearer that there is not": Illegal(reason="unknown-bearer", changes={"bearers": ["sms", "pigeon"]}),
    "a protection that there is not": Illegal(reason="unknown-protection", changes={"protection": "aes-1"}),
    **{
        f"{bearer} without a server": Illegal(
            reason="no-server", changes={"bearers": ["sms", bearer], "server": b""}
        )
        for bearer in CHANNEL_BEARERS
    },
    "half a server": Illegal(reason="bad-server", changes={"bearers": ["bip-tcp"], "server": b"\x0a\0\0\1"}),
    **{
        f"{name} with a key of another length": Illegal(
            reason="bad-public-key", suite=name, public=below(suite.signing_public_length)
        )
        for name, suite in SUITES.items()
    },
    **{
        f"{name} key-transport with no key to seal to": Illegal(
            reason="bad-sealing-key",
            suite=name,
            changes={"forms": [AGREE_THEN_SIGN, KEY_TRANSPORT]},
            sealing=below(suite.sealing_public_length),
        )
        for name, suite in SUITES.items()
    },
    **{
        f"{name} with Diffie-Hellman parameters": Illegal(
            reason="no-parameters", suite=name, changes={"dh_base": b"\x02", "dh_modulus": SAFE}
        )
        for name in NO_DH_SUITES
    },
    **{
        f"{name} with {what}": Illegal(
            reason=reason, suite=name, changes={"dh_base": base, "dh_modulus": modulus}
        )
        for name in DH_SUITES
        for what, (base, modulus, reason) in UNSAFE.items()
    },
    **{
        f"{name} {form} without a domain key": Illegal(
            reason="no-domain-key", suite=name, changes={"forms": [form]}
        )
        for name in SUITES
        for form in (DOMAIN_SYMMETRIC, DOMAIN_ASYMMETRIC)
    },
}
EACH_ILLEGAL: Final = pytest.mark.parametrize("case", ILLEGAL)


def agree(case: Illegal) -> Agree:
    """Return what a supplier asks an operator for."""
    suite = SUITES[case.suite]
    asked: dict[str, Any] = {
        "service": "account",
        "number": SUBJECTS["bank"][2],
        "suite": case.suite,
        "forms": [AGREE_THEN_SIGN],
        "public": b"\x01" * suite.signing_public_length if case.public is None else case.public,
        "sealing": b"\x01" * suite.sealing_public_length if case.sealing is None else case.sealing,
        "code_size": 512,
        "data_size": 64,
        "rights": 0,
        "expires_at": 0,
        "lifetime": 0,
        "executions": -1,
        "at_end": "deactivate",
        "bearers": ["sms"],
        "server": b"",
        "protection": "aes-128",
    }
    return Agree(**(asked | case.changes))


# ---- AGREE -----------------------------------------------------------------------------------------------


@EACH_ILLEGAL
def test_no_operator_agrees_to_it(case: str) -> None:
    """AGREE: the operator's rules refuse it with its own reason, before anything is stored."""
    message = agree(ILLEGAL[case])
    with pytest.raises((Rejected, Refusal)) as caught:  # noqa: PT012 -- in the order in which they are asked
        check_names(message)
        check_keys(message, public=message.public, sealing=message.sealing)
        domains.agreed_key(message, [], seeded(1))
    assert getattr(caught.value, "reason", None) == ILLEGAL[case].reason


async def test_the_supplier_is_told(
    broker: BrokerAddress, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """Over a real broker: each one is refused to the supplier that asks, and the legal next one is agreed."""
    chosen = [name for name, case in ILLEGAL.items() if case.suite == "x25519"]
    async with open_kit(broker, fleet, tmp_path, log) as kit:
        bank = await kit.puppet("bank")
        await kit.start("mno")
        told = {}
        for name in chosen:
            with pytest.raises(Refusal) as caught:
                await bank.desk.link.ask("mno", agree(ILLEGAL[name]), Agreed, trace=TRACE)
            told[name] = caught.value.reason
        assert told == {name: ILLEGAL[name].reason for name in chosen}
        agreed = await bank.desk.link.ask("mno", agree(Illegal(reason="")), Agreed, trace=TRACE)
        assert agreed.service == "account"


# ---- RES -------------------------------------------------------------------------------------------------


@cache
def everything() -> Market:
    """Return a market whose module can do everything that there is; it holds nothing."""
    return Market(size=MEMORY, module_profile=EVERY).personalise()


@EACH_ILLEGAL
def test_no_module_reserves_it(case: str) -> None:
    """RES: a module that can do all there is refuses it for the same reason, signed; its DEF stays empty."""
    illegal, market = ILLEGAL[case], everything()
    message = agree(illegal)
    changes: dict[str, Any] = {
        "suite": message.suite,
        "supplier_public": message.public,
        "supplier_sealing": message.sealing if KEY_TRANSPORT in message.forms else b"",
    }
    for name in ("forms", "bearers", "server", "protection", "dh_base", "dh_modulus"):
        changes[name] = getattr(message, name)
    assert market.command(market.supplier.reserve(**changes)).reason == illegal.reason
    assert market.card.module.definitions.all() == []


LACKING: Final[dict[str, tuple[dict[str, Any], dict[str, Any], str]]] = {
    **{
        f"the suite {name}": (
            {"suites": [other for other in SUITES if other != name]},
            {"suite": name, "supplier_public": b"\x01" * suite.signing_public_length},
            "unsupported-suite",
        )
        for name, suite in SUITES.items()
        if name != "x25519"  # in which its owner speaks
    },
    **{
        f"the protection {name}": (
            {"protections": [other for other in PROTECTIONS if other != name]},
            {"protection": name},
            "unsupported-protection",
        )
        for name in PROTECTIONS
    },
    "room for the key": ({"key": 32}, {}, "key-too-long"),
    "the right": ({"rights": 0}, {}, "unsupported-right"),
}


@pytest.mark.parametrize("what", LACKING)
def test_no_module_reserves_what_it_lacks(what: str) -> None:
    """RES: what there is, but not in this module's profile, is refused; DEF stays empty."""
    profile, changes, reason = LACKING[what]
    market = Market(size=MEMORY, module_profile=replace(EVERY, **profile)).personalise()
    assert market.command(market.supplier.reserve(**changes)).reason == reason
    assert market.card.module.definitions.all() == []


@pytest.mark.parametrize("suite", SUITES)
def test_no_operator_reserves_a_suite_that_the_module_lacks(suite: str) -> None:
    """RES: the authority told the operator what the module can do, so that the module is not even asked."""
    others = [name for name in SUITES if name != suite]
    agreement = {column.name: "" for column in AGREEMENTS.columns} | {"suite": suite}
    module = {column.name: "" for column in OPERATOR_MODULES.columns} | {"suites": " ".join(others)}
    with pytest.raises(Refusal) as caught:
        reservation(Row(AGREEMENTS, agreement), Row(OPERATOR_MODULES, module), 0.0)
    assert caught.value.reason == "unsupported-suite"


# ---- SER -------------------------------------------------------------------------------------------------

ANOTHER: Final[dict[str, dict[str, Any]]] = {
    "another form": {"form": SIGN_THEN_AGREE},
    "a form that is not forward secret": {"form": KEY_TRANSPORT},
    "a domain's form": {"form": DOMAIN_SYMMETRIC, "logic_name": b"points"},
    "a domain's signing form": {"form": DOMAIN_ASYMMETRIC, "logic_name": b"points"},
    "another suite": {"suite": "x25519"},
    "a stronger protection": {"protection": "aes-256"},
    **{f"the legacy protection {name}": {"protection": name} for name in ("des", "3des-2", "3des-3")},
    "another suite of the module": {"initiator_suite": "p256"},
    "a logic name": {"logic_name": b"points"},
    "another keyset": {"key_index": 2},
    "another resource": {"tar": b"\xb2\x00\x01"},
}


def answering(market: Market, **changes: Any) -> Any:
    """Return the side of a supplier who holds the right keys, and other terms."""
    supplier = market.supplier
    terms: dict[str, Any] = {
        "suite": supplier.suite,
        "form": AGREE_THEN_SIGN,
        "initiator": UA.encode(),
        "responder": supplier.name.encode(),
        "tar": TAR,
        "initiator_suite": market.module_suite,
        "responder_suite": supplier.suite,
    }
    made = Terms(**(terms | changes))
    keys = {DOMAIN_SYMMETRIC: domain_key.generate_symmetric(seeded(1))}
    keys[DOMAIN_ASYMMETRIC] = domain_key.generate_asymmetric(supplier.suite, seeded(1)).public_half()
    credentials = Credentials(
        signing_key=supplier.key,
        sealing_key=SUITES[supplier.suite].generate_sealing_key(seeded(2)),
        peer_signing_public=market.public,
        peer_sealing_public=market.sealing_public,
        domain_key=keys.get(made.form),
    )
    return responder(made, credentials, random.Random(7).randbytes)


@pytest.mark.parametrize("case", ANOTHER)
def test_no_session_comes_of_other_terms(case: str) -> None:
    """SER: a supplier who answers with another choice than DEF's gets no session, and the honest one does."""
    market = Market().personalise().reserve()
    opening = market.call().opening
    try:
        proof = answering(market, **ANOTHER[case]).receive(opening)
    except HandshakeRejected:
        proof = None
    if proof is not None:
        replied = manage(market.card, encode(Prove(tar=TAR, proof=proof)))
        assert replied.status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
        assert market.card.reasons
    assert market.card.definition().session is None
    market.connect().load()
    assert market.supplier.invoke(market.card).reason == ""


@pytest.mark.parametrize("changes", [{}, {"form": AGREE_THEN_SIGN}], ids=["none", "the same"])
def test_the_right_terms_make_one(changes: dict[str, Any]) -> None:
    """SER: the same supplier with no other choice than DEF's has a session: the test above can fail."""
    market = Market().personalise().reserve()
    proof = answering(market, **changes).receive(market.call().opening)
    assert manage(market.card, encode(Prove(tar=TAR, proof=proof))).status is ResponseStatus.POR_OK
    assert market.card.definition().session is not None
