"""The operator's commands under a keyset, on a real module: how that comes about, and what it then takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.handset.security_module.memory import Memory
from agents.handset.security_module.operator_session import kept
from agents.handset.security_module.profile import LIGHT_SUITES, STANDARD
from agents.messages.air import MANAGER_TAR, Audit, Audited, Block, Compact, Connecting, Prove, Release
from agents.messages.codec import decode, encode
from agents.messages.signed import Purpose, Signed
from tests.agents.module_kit import SECURED, TAR, UA, UNSECURED, Market, Operator, Supplier, manage
from tests.agents.operator_session_kit import EVERY, ROOM, KeysetMarket
from tests.agents.test_module_forms import BASE, MODULUS
from transport import apdu
from transport.secured_packet import ResponseStatus, decode_response, encode_command
from transport.security.keyset import SessionKeys
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN, KEY_TRANSPORT, SIGN_THEN_AGREE

FORMS = (AGREE_THEN_SIGN, SIGN_THEN_AGREE)


def _market(suite: str, form: str, **changes: bytes) -> KeysetMarket:
    """Return a personalised module of an operator of *suite*."""
    terms = {} if suite in LIGHT_SUITES else {"module_profile": EVERY, "size": ROOM}
    # A module that signs in RSA takes its time to make keys, and signs nothing here that the others do not.
    own = "p256" if "rsa" in suite else suite
    market = KeysetMarket(module_suite=own, operator_suite=suite, session_form=form, **terms, **changes)  # type: ignore[arg-type]
    market.personalise()
    return market


def _session(market: Market) -> bytes:
    """Return the keys of the session in the module's memory, none if there is none."""
    session = kept(Memory.boot(market.card.image))
    return session.keys if session else b""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_in_both_forms(suite: str, form: str) -> None:
    """Connect and Prove leave a session behind; commands go under it, from the first to the last."""
    market = _market(suite, form)
    assert market.finish(market.side(), market.opening()) == (2 if form == SIGN_THEN_AGREE else 1)
    assert market.keys is not None
    assert _session(market) == market.keys.dump()
    market.reserve().connect().load()
    market.card.power_cycle()
    assert market.supplier.invoke(market.card).output == b"\x01\0"
    assert market.command(Block(tar=TAR)).reason == ""
    assert market.command(Release(tar=TAR)).reason == ""


@pytest.mark.parametrize("form", FORMS)
def test_a_group_of_the_operators_own(form: str) -> None:
    """B and M are those of the personalisation; an operator who comes with others gets no session."""
    market = _market("rsa-2048-ffdh", form, dh_base=BASE, dh_modulus=MODULUS)
    side = market.side(dh_base=b"", dh_modulus=b"")
    said = side.receive(market.opening())
    assert said is not None
    assert market.proof(said).status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert _session(market) == b""
    market.open()
    assert market.command(Compact()).reason == ""


def test_both_parties_may_be_of_different_suites() -> None:
    """A module signs in its own suite, whatever the operator's is that the agreement is in."""
    for module_suite, suite in (("p256", "x25519"), ("x25519", "p256")):
        market = KeysetMarket(module_suite=module_suite, operator_suite=suite)
        market.personalise()
        assert market.open().command(Compact()).reason == ""


def test_a_new_session_takes_the_place_of_the_old_one() -> None:
    """Not before the module's last word; then the old keys open nothing any more."""
    market = _market("x25519", SIGN_THEN_AGREE).open()
    before, old = _session(market), market.keys
    side = market.side()
    said = side.receive(market.opening())
    assert said is not None
    said = side.receive(market.proof(said).data)
    assert _session(market) == before
    assert market.command(Compact()).reason == ""
    assert said is not None
    side.receive(market.proof(said).data)
    assert _session(market) not in (before, b"")
    octets = market.card.download(market.packet(market.operator.signed(Compact())))
    assert octets[-1] != ResponseStatus.POR_OK
    assert old is market.keys
    market.keys, market.packets = side.keys, 0
    assert market.command(Compact()).reason == ""


def test_a_long_answer_follows_under_the_keyset() -> None:
    """What does not fit the report comes in short messages, ciphered as the report's would be."""
    market = _market("x25519", AGREE_THEN_SIGN).open()
    market.reserve()
    response = market.exchange(market.packet(market.operator.signed(Audit(after=0))))
    assert response.status is ResponseStatus.POR_OK
    audited = decode(decode(response.data, Signed).body, Audited)
    assert len(audited.definitions) == 1


def test_the_packet_has_its_turn_and_the_command_another() -> None:
    """The same command in a new packet is answered as the first time; the same packet is not taken again."""
    market = _market("x25519", AGREE_THEN_SIGN).open()
    signed = market.operator.signed(market.supplier.reserve())
    first = market.exchange(market.packet(signed))
    packet = market.packet(signed)
    again = market.exchange(packet)
    assert (first.status, again.status) == (ResponseStatus.POR_OK, ResponseStatus.POR_OK)
    assert first.data == again.data
    assert market.exchange(packet).status is ResponseStatus.CNTR_LOW
    assert len(market.card.module.definitions.all()) == 1


def test_a_repeated_connect_is_answered_as_the_first_time() -> None:
    """While its call is open; once it is over, or power failed, the operator has to sign another one."""
    market = _market("x25519", AGREE_THEN_SIGN)
    connect = market.connection()
    first, again = manage(market.card, connect), manage(market.card, connect)
    assert first == again
    market.card.power_cycle()
    assert market.bare(connect) is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.card.reasons[-1] == "replayed"
    market.open()
    assert market.bare(market.connection(counter=market.connects)) is (
        ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    )
    assert market.command(Compact()).reason == ""


def test_connecting_takes_no_turn_of_the_commands() -> None:
    """A command whose answer was lost under the old session is answered as it was under the new one."""
    market = _market("x25519", AGREE_THEN_SIGN).open()
    signed = market.operator.signed(market.supplier.reserve())
    first = market.exchange(market.packet(signed))
    market.open()
    assert market.exchange(market.packet(signed)).data == first.data


def test_a_connect_may_travel_under_the_old_keyset() -> None:
    """Then nobody hears that there will be another one; it proves itself as it does bare."""
    market = _market("x25519", AGREE_THEN_SIGN).open()
    side = market.side()
    response = market.exchange(market.packet(market.connection()))
    signed = decode(response.data, Signed)
    signed.verify(purpose=Purpose.CONNECTION, suite=market.module_suite, public=market.public)
    assert side.receive(decode(signed.body, Connecting).opening) is not None


def test_an_allocator_has_the_session_in_its_operators_place() -> None:
    """The module opens it to whose key it obeys: no other name, and no command of the operator's own."""
    market = KeysetMarket()
    market.operator.name = "host"
    market.personalise(operator="mno", allocator="host", allocator_number="15550110")
    side = market.side(responder=b"mno")
    said = side.receive(market.opening())
    assert said is not None
    assert market.proof(said).status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    operator = Operator(suite="x25519")
    connect = market.connection(counter=9, operator=operator)
    assert market.bare(connect) is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.card.reasons == ["bad-signature", "not-our-operator"]
    assert market.open().command(Compact()).reason == ""
    response = market.exchange(market.packet(operator.signed(Compact())))
    assert response.status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.card.reasons[-1] == "not-our-operator"


def test_suppliers_calls_do_not_push_out_the_operators() -> None:
    """However many the subscriber makes between Connect and Prove, nor the operator's one of theirs."""
    profile = replace(STANDARD, calls=1)
    market = KeysetMarket(module_profile=profile)
    market.personalise()
    market.open().reserve()
    shop = Supplier(suite="p256", name="shop", number="15550300", tar=b"\xb2\0\1", service="loyalty")
    market.command(shop.reserve())
    side = market.side()
    opening = market.opening()
    market.call()
    call = market.call(shop)
    market.finish(side, opening)
    assert market.command(Compact()).reason == ""
    opening = market.opening()
    responder = shop.responder(UA, market.module_suite, market.public)
    proof = responder.receive(call.opening)
    assert proof is not None
    assert manage(market.card, encode(Prove(tar=shop.tar, proof=proof))).status is ResponseStatus.POR_OK
    assert manage(market.card, encode(Prove(tar=TAR, proof=proof))).status is not ResponseStatus.POR_OK
    assert market.card.reasons[-1] == "no-open-call"


def test_a_module_without_the_terms_takes_no_keyset() -> None:
    """It refuses Connect, and packets under a keyset at the resource manager's TAR."""
    market = KeysetMarket(session_form="")
    market.personalise()
    market.session_form = AGREE_THEN_SIGN
    assert market.bare(market.connection()) is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.card.reasons == ["no-operator-session"]
    keys = SessionKeys(index=1, keys=tuple(bytes([each]) * 16 for each in range(4)))
    packet = encode_command(spi=SECURED, tar=MANAGER_TAR, data=b"", counter=1, keys=keys.to_module)
    octets = market.card.download(packet)
    assert octets[-1] == ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert Market.command(market, Compact()).reason == ""


def test_the_response_repeats_the_counter_of_a_bare_packet() -> None:
    """CNTR of the response is that of the command, whether it was taken or refused (TS 102 225 5.2)."""
    market = _market("x25519", AGREE_THEN_SIGN)
    for data, status in (
        (market.connection(), ResponseStatus.POR_OK),
        (market.operator.signed(Compact()), ResponseStatus.INSUFFICIENT_SECURITY_LEVEL),
        (b"no message", ResponseStatus.INSUFFICIENT_SECURITY_LEVEL),
    ):
        octets = market.card.download(encode_command(spi=UNSECURED, tar=MANAGER_TAR, data=data, counter=77))
        response = decode_response(octets, spi=UNSECURED)
        assert (response.counter, response.status in (status, ResponseStatus.MORE_TIME)) == (77, True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"session_form": KEY_TRANSPORT}, "bad-session-form"),
        ({"session_form": "nod"}, "bad-session-form"),
        ({"dh_base": b"\2", "dh_modulus": b"\x17"}, "no-parameters"),
        ({"session_form": "", "dh_base": b"\2", "dh_modulus": b"\x17"}, "needless-parameters"),
        ({"operator": UA}, "bad-operator"),
        ({"operator_suite": "rot13", "operator_public": b""}, "unknown-suite"),
    ],
    ids=["key-transport", "unknown", "parameters-of-a-curve", "of-no-session", "itself", "unknown-suite"],
)
def test_terms_that_lead_nowhere_are_refused_at_personalisation(
    changes: dict[str, object], reason: str
) -> None:
    """The module stays blank, and becomes the operator's with terms that hold."""
    market = KeysetMarket()
    response = market.card.store_data(encode(market.personal(**changes)))
    assert response.status == apdu.SW_WRONG_DATA
    assert market.card.reasons == [reason]
    market.personalise()


def test_an_unsafe_group_is_refused_at_personalisation() -> None:
    """A modulus too small is judged in the factory, not when the operator first connects."""
    market = KeysetMarket(operator_suite="rsa-2048-ffdh", module_profile=EVERY, size=ROOM)
    response = market.card.store_data(encode(market.personal(dh_base=b"\2", dh_modulus=b"\x17")))
    assert response.status == apdu.SW_WRONG_DATA
    assert market.card.reasons == ["modulus-too-small"]
