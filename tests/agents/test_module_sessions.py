"""SER through APDUs: supplier and module prove themselves, and packets then go under the session's keys."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.handset.security_module.life_cycle import ResourceState
from agents.handset.security_module.profile import LIGHT_SUITES
from agents.messages.air import Block, Invoke, Prove, Release, Result, Unblock
from agents.messages.codec import decode, encode
from tests.agents.module_kit import (
    NOW,
    SECURED,
    SERVICE,
    TAR,
    UA,
    UNSECURED,
    Market,
    Replied,
    Supplier,
    luhn,
    manage,
    probe,
)
from transport.errors import PacketRejected
from transport.secured_packet import (
    CounterMode,
    Integrity,
    PacketKeys,
    PorDemand,
    ResponseStatus,
    SecurityParameters,
    decode_response,
    encode_command,
)
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from agents.messages.air import Call, DomainCall

ALL_SUITES = pytest.mark.parametrize(
    ("module_suite", "supplier_suite"), list(itertools.product(sorted(LIGHT_SUITES), repeat=2))
)
UNPROVEN = Replied(status=ResponseStatus.INSUFFICIENT_SECURITY_LEVEL, data=b"")
RUN = Invoke(argument=b"\0")
KEYS = PacketKeys(index=1, cipher_key=bytes(16), mac_key=bytes(16))
"""Keys that are no session's."""
_SERVED = Market().served()
"""For what must not change anything, over and over."""


@pytest.fixture
def market() -> Market:
    """Return a module with a resource reserved, and nobody connected."""
    return Market().personalise().reserve()


@pytest.fixture
def served() -> Market:
    """Return a module whose application is loaded and runs."""
    return Market().served()


def _answered(market: Market, call: Call | DomainCall, supplier: Supplier | None = None) -> Prove:
    """Return the supplier's proof for *call*."""
    supplier = supplier or market.supplier
    responder = supplier.responder(UA, market.module_suite, market.public)
    proof = responder.receive(call.opening)
    assert proof is not None
    return Prove(tar=call.tar, proof=proof)


def _refused_proof(market: Market, message: Prove) -> str:
    """Send a proof that must not hold; return the reason noted. The image is as before."""
    before = market.card.image
    assert manage(market.card, encode(message)) == UNPROVEN
    assert market.card.image == before
    return market.card.reasons[-1]


def _refused_packet(market: Market, packet: bytes, spi: SecurityParameters = SECURED) -> ResponseStatus:
    """Send a packet that must not be taken; return the status. The image is as before."""
    before = market.card.image
    response = market.supplier.exchange(market.card, packet, spi=spi)
    assert response.data == b""
    assert market.card.image == before
    return response.status


# --- the secure connection ---


@ALL_SUITES
def test_the_whole_story(module_suite: str, supplier_suite: str) -> None:
    """PERS, RES, SER, load, personalise, invoke, block, unblock, release, in every pair of suites."""
    market = Market(module_suite=module_suite, supplier_suite=supplier_suite, operator_suite=module_suite)
    market.served()
    card, supplier = market.card, market.supplier
    assert supplier.personalise(card, b"KEY").reason == ""
    assert supplier.invoke(card, b"\0challenge").output == b"\x01\0challenge"
    assert card.use_menu(3, SERVICE, "00aa") == ["Result: 0200aa"]
    assert market.command(Block(tar=TAR)).reason == ""
    assert market.command(Unblock(tar=TAR, supplier_public=supplier.key.public)).reason == ""
    market.connect()
    assert supplier.invoke(card).output == b"\x03\0"
    assert market.command(Release(tar=TAR)).reason == ""
    assert card.module.definitions.all() == []


@ALL_SUITES
def test_every_state_survives_a_power_cut(module_suite: str, supplier_suite: str) -> None:
    """The module is switched off after each step and goes on from its pages: keys, counters and data too."""
    market = Market(module_suite=module_suite, supplier_suite=supplier_suite)
    card, supplier = market.card, market.supplier
    supplier.keys = None
    for step in (
        market.personalise,
        lambda: market.reserve(executions=9),
        market.connect,
        market.load,
        lambda: supplier.personalise(card, b"KEY"),
        lambda: supplier.invoke(card),
        lambda: card.use_menu(3, SERVICE, "00"),
        lambda: market.command(Block(tar=TAR)),
        lambda: market.command(Unblock(tar=TAR, supplier_public=supplier.key.public)),
        market.connect,
        lambda: supplier.invoke(card),
    ):
        step()
        before = card.image
        card.power_cycle()
        assert card.module.take_changes() == []
        assert card.image == before
    assert card.reasons == []
    definition = card.definition()
    assert definition.executions_left == 9 - 3
    assert definition.session is not None
    assert definition.session.received_counter == supplier.counter == 1
    data = card.image[definition.data_start : definition.end]
    assert (data[0], data[512:515]) == (3, b"KEY")


def test_the_call_goes_to_the_suppliers_number(market: Market) -> None:
    """A call names the resource, and holds an opening of the handshake and nothing else."""
    call = market.call()
    assert call.tar == TAR
    assert len(call.opening) <= 51
    assert market.card.definition().session is None


def test_two_calls_differ(market: Market) -> None:
    """Each call has a nonce and a share of its own, also after a power cut with the same memory."""
    openings = set()
    for _ in range(4):
        openings.add(market.call().opening)
        market.card.power_cycle()
    assert len(openings) == 4


def test_a_proof_without_a_call_is_refused(market: Market) -> None:
    """The supplier cannot begin, nor finish twice what was begun once."""
    call = market.call()
    proof = _answered(market, call)
    assert manage(market.card, encode(proof)).status is ResponseStatus.POR_OK
    assert _refused_proof(market, proof) == "no-open-call"


def test_a_proof_that_does_not_hold_leaves_the_call_open(market: Market) -> None:
    """Who sends the module false proofs does not cost the supplier the call that he answers."""
    proof = _answered(market, market.call())
    for false in (
        b"",
        b"\x12" + bytes(20),
        b"\x12" + bytes(129),
        proof.proof[:-1] + bytes((proof.proof[-1] ^ 1,)),
    ):
        assert _refused_proof(market, Prove(tar=TAR, proof=false)) != "no-open-call"
    assert manage(market.card, encode(proof)).status is ResponseStatus.POR_OK
    assert _refused_proof(market, proof) == "no-open-call"


def test_a_proof_for_an_unknown_resource_is_refused(market: Market) -> None:
    """A proof names a resource that is there."""
    assert _refused_proof(market, Prove(tar=b"\xb2\0\x09", proof=b"x")) == "no-open-call"


def test_a_power_cut_ends_a_call(market: Market) -> None:
    """An open call is volatile: after a power cut its proof comes to nothing, and a new call succeeds."""
    proof = _answered(market, market.call())
    market.card.power_cycle()
    assert _refused_proof(market, proof) == "no-open-call"
    market.connect()


def test_the_last_call_counts(market: Market) -> None:
    """A second call of the same resource takes the place of the first, whose proof does not hold any more."""
    first = _answered(market, market.call())
    market.call()
    assert _refused_proof(market, first) == "bad-signature"


def test_open_calls_are_bounded(market: Market) -> None:
    """Two calls stay open at once; with a third one the oldest is given up."""
    others = [
        Supplier(
            suite="x25519", name=f"s{at}", service=f"s{at}", tar=bytes((0xB2, 1, at)), number=f"1000{at}"
        )
        for at in range(3)
    ]
    for each in others:
        assert market.command(each.reserve()).reason == ""
    proofs = [_answered(market, market.call(each), each) for each in others]
    assert _refused_proof(market, proofs[0]) == "no-open-call"
    for proof in proofs[1:]:
        assert manage(market.card, encode(proof)).status is ResponseStatus.POR_OK


@pytest.mark.parametrize(
    ("proof", "reason"),
    [
        (b"", "unknown-message"),
        (b"\x13" + bytes(80), "out-of-order"),
        (b"\x12" + bytes(20), "bad-length"),
        (b"\x12" + bytes(129), "bad-signature"),
    ],
)
def test_a_proof_that_is_none(market: Market, proof: bytes, reason: str) -> None:
    """Octets that are no second message of the handshake are refused with its reason."""
    market.call()
    assert _refused_proof(market, Prove(tar=TAR, proof=proof)) == reason


@pytest.mark.parametrize("suite", sorted(LIGHT_SUITES))
def test_an_impostor_is_refused(suite: str) -> None:
    """Another key than DEF's proves nothing, even under the supplier's name."""
    market = Market(supplier_suite=suite).personalise().reserve()
    impostor = Supplier(suite=suite, name="bank")
    impostor.key = SUITES[suite].generate_signing_key(lambda count: b"\x07" * count)
    assert _refused_proof(market, _answered(market, market.call(), impostor)) == "bad-signature"


def test_a_proof_meant_for_another_module_is_refused(market: Market) -> None:
    """The supplier's proof holds for one UA."""
    call = market.call()
    responder = market.supplier.responder(luhn("1" * 18), market.module_suite, market.public)
    proof = responder.receive(call.opening)
    assert proof is not None
    assert _refused_proof(market, Prove(tar=TAR, proof=proof)) == "bad-signature"


def test_a_failed_proof_leaves_the_session_before(served: Market) -> None:
    """Who proves nothing does not end a session: packets under it are still taken."""
    served.call()
    assert _refused_proof(served, Prove(tar=TAR, proof=b"\x12" + bytes(129))) == "bad-signature"
    assert served.supplier.invoke(served.card).reason == ""


def test_a_new_session_ends_the_old_one(served: Market) -> None:
    """After another handshake packets under the former keys fail, and counters begin anew."""
    old = served.supplier.keys
    served.connect()
    new, served.supplier.keys = served.supplier.keys, old
    before = served.card.image
    octets = served.card.download(served.supplier.packet(RUN, counter=50), sender=served.supplier.number)
    with pytest.raises(PacketRejected, match="checksum"):
        decode_response(octets, spi=SECURED, keys=old.from_module if old else None)
    assert served.card.image == before
    assert served.card.reasons[-1] == "checksum"
    served.supplier.keys = new
    served.supplier.counter = 0
    assert served.supplier.invoke(served.card).reason == ""


def test_the_supplier_must_be_told_the_right_module(market: Market) -> None:
    """The module's own proof holds for the key that the authority has, and for no other."""
    call = market.call()
    other = SUITES[market.module_suite].generate_signing_key(lambda count: b"\x09" * count)
    responder = market.supplier.responder(UA, market.module_suite, other.public)
    proof = responder.receive(call.opening)
    assert proof is not None
    assert _refused_proof(market, Prove(tar=TAR, proof=proof)) == "bad-signature"


@pytest.mark.parametrize("cut", [False, True], ids=["powered", "after-a-power-cut"])
def test_a_blocked_resource_makes_no_session(served: Market, cut: bool) -> None:  # noqa: FBT001 -- a case
    """Blocking takes supplier key and session: no call, no proof of a call begun before, no packet."""
    proof = _answered(served, served.call())
    assert served.command(Block(tar=TAR)).reason == ""
    definition = served.card.definition()
    assert (definition.supplier_public, definition.session) == (b"", None)
    assert served.supplier.key.public not in served.card.image
    if cut:
        served.card.power_cycle()
    assert served.card.use_menu(2, SERVICE) == ["Refused: blocked"]
    assert served.card.take_sent() == []
    assert _refused_proof(served, proof) == "blocked"
    assert _refused_packet(served, served.supplier.packet(RUN)) is ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert served.card.reasons[-1] == "blocked"


def test_unblocking_needs_a_new_session(served: Market) -> None:
    """After an unblock the old keys are no keys; a new session is made, and the data is as it was."""
    served.supplier.invoke(served.card)
    served.command(Block(tar=TAR))
    served.command(Unblock(tar=TAR, supplier_public=served.supplier.key.public))
    assert served.card.definition().state is ResourceState.LOADED
    assert _refused_packet(served, served.supplier.packet(RUN)) is ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    served.connect()
    assert served.supplier.invoke(served.card).output == b"\x02\0"


def test_unblocking_for_another_key(served: Market) -> None:
    """An unblock for a key that was not reserved is refused: who holds it gets no session."""
    served.command(Block(tar=TAR))
    successor = Supplier(suite="p256", name="bank")
    successor.key = SUITES["p256"].generate_signing_key(lambda count: b"\x11" * count)
    unblock = Unblock(tar=TAR, supplier_public=successor.key.public)
    assert served.command(unblock).reason == "not-the-suppliers-key"
    assert served.card.use_menu(2, SERVICE) == ["Refused: blocked"]
    served.command(Unblock(tar=TAR, supplier_public=served.supplier.key.public))
    assert _refused_proof(served, _answered(served, served.call(), successor)) == "bad-signature"
    served.connect()
    assert served.supplier.invoke(served.card).reason == ""


def test_an_expired_resource_makes_no_session(served: Market) -> None:
    """After the expiry date there is no call, and a call opened before it is not finished."""
    supplier = Supplier(suite="x25519", name="s", service="s", tar=b"\xb2\0\x05", number="100")
    assert served.command(supplier.reserve(expires_at=int(NOW) + 60)).reason == ""
    proof = _answered(served, served.call(supplier), supplier)
    served.card.now = NOW + 60
    assert served.card.use_menu(2, "s") == ["Refused: expired"]
    assert served.card.reasons[-1] == "expired"
    assert _refused_proof(served, proof) == "expired"
    served.card.now = NOW
    assert _refused_proof(served, proof) == "expired"
    served.card.power_cycle()
    assert served.card.use_menu(2, "s") == ["Refused: expired"]
    definition = served.card.module.definitions.by_tar(supplier.tar)
    assert definition is not None
    assert definition.session is None


def test_a_released_resource_is_unknown(served: Market) -> None:
    """After a release the TAR is nobody's."""
    served.command(Release(tar=TAR))
    assert _refused_packet(served, served.supplier.packet(RUN)) is ResponseStatus.TAR_UNKNOWN
    assert served.card.reasons[-1] == "unknown-resource"
    assert served.card.use_menu(2, SERVICE) == ["Refused: unknown-resource"]


@pytest.mark.parametrize("likeness", ["name", "key"])
def test_a_supplier_who_is_the_module(likeness: str) -> None:
    """A reservation whose supplier has the module's own name or key is refused: there is nothing to call."""
    market = Market().personalise()
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "name": ({"supplier": UA}, "bad-supplier"),
        "key": ({"supplier_public": market.public, "suite": "x25519"}, "bad-public-key"),
    }
    changes, reason = cases[likeness]
    assert market.command(market.supplier.reserve(**changes)).reason == reason
    assert market.card.use_menu(2, SERVICE) == ["Refused: unknown-resource"]
    assert market.card.take_sent() == []


# --- packets ---


def test_a_packet_without_a_session(market: Market) -> None:
    """Before a session nothing under any keys is taken: status 06, in clear."""
    packet = encode_command(spi=SECURED, tar=TAR, data=encode(RUN), counter=1, keys=KEYS)
    assert _refused_packet(market, packet) is ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert market.card.reasons == ["no-session"]


def test_a_packet_under_another_keyset(served: Market) -> None:
    """The session is keyset 1, and no other number names it."""
    assert served.supplier.keys is not None
    way = served.supplier.keys.to_module
    other = PacketKeys(index=2, cipher_key=way.cipher_key, mac_key=way.mac_key)
    packet = served.supplier.packet(RUN, keys=other)
    assert _refused_packet(served, packet) is ResponseStatus.UNIDENTIFIED_SECURITY_ERROR


def test_an_unknown_address(served: Market) -> None:
    """A packet for a TAR that is nobody's gets status 09."""
    packet = served.supplier.packet(RUN, tar=b"\xb2\0\x09")
    assert _refused_packet(served, packet) is ResponseStatus.TAR_UNKNOWN
    assert served.card.reasons == ["unknown-resource"]


@pytest.mark.parametrize("at", [16, 20, 30, -1])
def test_a_wrong_checksum(served: Market, at: int) -> None:
    """One altered octet of what is ciphered: status 01, under the session's keys, and nothing is done."""
    packet = bytearray(served.supplier.packet(RUN))
    packet[at] ^= 1
    assert _refused_packet(served, bytes(packet)) is ResponseStatus.INTEGRITY_FAILED
    assert served.card.reasons == ["checksum"]
    assert served.supplier.invoke(served.card).output == b"\x01\0"


def test_a_packet_reflected(served: Market) -> None:
    """Each direction has keys of its own: what is protected as the module's words are is not taken."""
    assert served.supplier.keys is not None
    packet = served.supplier.packet(RUN, keys=served.supplier.keys.from_module)
    assert _refused_packet(served, packet) is ResponseStatus.INTEGRITY_FAILED


@pytest.mark.parametrize("cut", [False, True], ids=["powered", "after-a-power-cut"])
def test_a_replayed_packet(served: Market, cut: bool) -> None:  # noqa: FBT001 -- a case
    """A packet that was taken once is refused with status 02 ever after, and so is any older counter."""
    assert served.supplier.invoke(served.card).output == b"\x01\0"
    packet = served.supplier.last_packet
    if cut:
        served.card.power_cycle()
    assert _refused_packet(served, packet) is ResponseStatus.CNTR_LOW
    assert _refused_packet(served, served.supplier.packet(RUN, counter=1)) is ResponseStatus.CNTR_LOW
    assert served.card.reasons == ["counter", "counter"]
    assert served.supplier.invoke(served.card).output == b"\x02\0"


def test_a_counter_may_jump(served: Market) -> None:
    """Mode "higher": a packet that was lost leaves a gap, and what was skipped is gone."""
    skipped = served.supplier.packet(RUN)
    served.supplier.counter += 5
    assert served.supplier.invoke(served.card).reason == ""
    assert _refused_packet(served, skipped) is ResponseStatus.CNTR_LOW


PLUS_ONE = SecurityParameters(
    counter=CounterMode.PLUS_ONE,
    ciphering=True,
    integrity=Integrity.CC,
    por=PorDemand.ALWAYS,
    por_integrity=Integrity.CC,
    por_ciphering=True,
)


def test_a_counter_too_high(served: Market) -> None:
    """Mode "one higher": a gap is status 03."""
    packet = served.supplier.packet(RUN, counter=served.supplier.counter + 2, spi=PLUS_ONE)
    assert _refused_packet(served, packet) is ResponseStatus.CNTR_HIGH


def test_a_blocked_counter(served: Market) -> None:
    """The highest counter is taken once; then status 04 until there is a new session."""
    last = (1 << 40) - 1
    assert (
        served.supplier.exchange(served.card, served.supplier.packet(RUN, counter=last)).status
        is ResponseStatus.POR_OK
    )
    assert _refused_packet(served, served.supplier.packet(RUN, counter=last)) is ResponseStatus.CNTR_BLOCKED
    served.connect()
    assert served.supplier.invoke(served.card).reason == ""


LEVELS = {
    "checksum": SecurityParameters(integrity=Integrity.CC, por=PorDemand.ALWAYS),
    "cipher": SecurityParameters(ciphering=True, counter=CounterMode.HIGHER, por=PorDemand.ALWAYS),
    "no-counter": SecurityParameters(ciphering=True, integrity=Integrity.CC, por=PorDemand.ALWAYS),
    "unchecked": SecurityParameters(
        ciphering=True, integrity=Integrity.CC, counter=CounterMode.NO_CHECK, por=PorDemand.ALWAYS
    ),
}
POR_PROTECTED = {
    "checksum": SecurityParameters(integrity=Integrity.CC, por=PorDemand.ALWAYS, por_integrity=Integrity.CC),
    "cipher": SecurityParameters(ciphering=True, por=PorDemand.ALWAYS, por_ciphering=True),
    "no-counter": SecurityParameters(
        ciphering=True,
        integrity=Integrity.CC,
        por=PorDemand.ALWAYS,
        por_integrity=Integrity.CC,
        por_ciphering=True,
    ),
}
NOTHING = {
    "clear": SecurityParameters(por=PorDemand.ALWAYS),
    "protected": SecurityParameters(por=PorDemand.ALWAYS, por_integrity=Integrity.CC, por_ciphering=True),
    "submit": SecurityParameters(
        por=PorDemand.ALWAYS, por_integrity=Integrity.CC, por_ciphering=True, por_in_submit=True
    ),
}
"""Commands that name no keyset at all, and the responses that they ask for."""


@pytest.mark.parametrize("level", LEVELS)
def test_below_the_minimum_security_level(served: Market, level: str) -> None:
    """Less than checksum, ciphering and a counter that rises is status 0A, even under the right keys."""
    packet = served.supplier.packet(RUN, spi=LEVELS[level])
    status = _refused_packet(served, packet, LEVELS[level])
    assert status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert served.card.reasons == ["minimum-security-level"]


@pytest.mark.parametrize("level", POR_PROTECTED)
def test_below_the_minimum_level_with_a_protected_response(served: Market, level: str) -> None:
    """The refusal is protected as the sender asked, where there is a session to protect it with."""
    packet = served.supplier.packet(RUN, spi=POR_PROTECTED[level])
    before = served.card.image
    response = served.supplier.exchange(served.card, packet, spi=POR_PROTECTED[level])
    assert (response.status, response.data) == (ResponseStatus.INSUFFICIENT_SECURITY_LEVEL, b"")
    assert response.proven is (POR_PROTECTED[level].por_integrity is Integrity.CC)
    assert served.card.reasons == ["minimum-security-level"]
    assert served.card.image == before


@pytest.mark.parametrize("asked", NOTHING)
def test_a_packet_that_names_no_keyset(served: Market, asked: str) -> None:
    """A packet without checksum and ciphering names no session: status 06, in clear and in the report."""
    packet = encode_command(spi=NOTHING[asked], tar=TAR, data=encode(RUN), keys=KEYS)
    status = _refused_packet(served, packet, NOTHING[asked])
    assert status is ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert served.card.reasons == ["no-session"]
    assert served.card.sent == []


@pytest.mark.parametrize("level", POR_PROTECTED)
def test_below_the_minimum_level_without_a_session(market: Market, level: str) -> None:
    """Without a session there is nothing to protect a refusal with: status 06, which goes in clear."""
    packet = encode_command(spi=POR_PROTECTED[level], tar=TAR, data=b"x", keys=KEYS)
    status = _refused_packet(market, packet, POR_PROTECTED[level])
    assert status is ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert market.card.reasons == ["no-session"]


@pytest.mark.parametrize("in_submit", [False, True], ids=["in-report", "in-submit"])
def test_a_response_with_a_redundancy_check(
    served: Market,
    in_submit: bool,  # noqa: FBT001 -- a case
) -> None:
    """Who asks for a redundancy check on the response gets it, whichever way the response goes."""
    spi = SecurityParameters(
        counter=CounterMode.HIGHER,
        ciphering=True,
        integrity=Integrity.CC,
        por=PorDemand.ALWAYS,
        por_integrity=Integrity.RC,
        por_ciphering=True,
        por_in_submit=in_submit,
    )
    keys = served.supplier.keys
    assert keys is not None
    number = served.supplier.number
    octets = served.card.download(served.supplier.packet(RUN, spi=spi), sender=number)
    if in_submit:
        promise = decode_response(octets, spi=spi, keys=keys.from_module)
        assert promise.status is ResponseStatus.RESPONSE_BY_SMS_SUBMIT
        octets = served.card.take_response(number)
    response = decode_response(octets, spi=spi, keys=keys.from_module)
    assert response.status is ResponseStatus.POR_OK
    assert decode(response.data, Result).output == b"\x01\0"


@pytest.mark.parametrize("in_submit", [False, True])
def test_a_response_of_a_kind_that_is_not_known(
    served: Market,
    in_submit: bool,  # noqa: FBT001 -- a case
) -> None:
    """Who asks for a signature on the response is refused, and nothing is run."""
    spi = SecurityParameters(
        counter=CounterMode.HIGHER,
        ciphering=True,
        integrity=Integrity.CC,
        por=PorDemand.ALWAYS,
        por_integrity=Integrity.DS,
        por_in_submit=in_submit,
    )
    before = served.card.image
    octets = served.card.download(served.supplier.packet(RUN, spi=spi), sender=served.supplier.number)
    assert octets[-1] == ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert served.card.reasons == ["response-protection"]
    assert served.card.sent == []
    assert served.card.image == before
    assert served.supplier.invoke(served.card).output == b"\x01\0"


def test_no_response_where_none_was_asked_for(served: Market) -> None:
    """A packet may be sent without any response; it is taken all the same."""
    spi = SecurityParameters(counter=CounterMode.HIGHER, ciphering=True, integrity=Integrity.CC)
    assert served.card.download(served.supplier.packet(RUN, spi=spi), sender="15550200") == b""
    assert served.supplier.invoke(served.card).output == b"\x02\0"


def test_a_response_on_error_only(served: Market) -> None:
    """PoR on error: silence when it went well, a status when it did not."""
    spi = SecurityParameters(
        counter=CounterMode.HIGHER, ciphering=True, integrity=Integrity.CC, por=PorDemand.ON_ERROR
    )
    packet = served.supplier.packet(RUN, spi=spi)
    assert served.card.download(packet, sender="15550200") == b""
    assert decode_response(served.card.download(packet), spi=spi).status is ResponseStatus.CNTR_LOW


def test_data_that_is_no_command(served: Market) -> None:
    """Genuine octets that are no command of a supplier are a refused result; their counter is used."""
    for message, reason in (
        (b"\xc1", "not-msgpack"),
        (served.supplier.reserve(), "unexpected-message"),
        (Block(tar=TAR), "unexpected-message"),
    ):
        assert served.supplier.result(served.card, message).reason == reason
        assert served.card.reasons[-1] == reason
    assert served.card.definition().state is ResourceState.LOADED


def test_the_operator_cannot_read_a_session(served: Market) -> None:
    """What goes over the session holds neither programme nor data in clear."""
    secret = b"PERSONAL DATA OF THE SUBSCRIBER"
    served.supplier.personalise(served.card, secret)
    assert secret[:8] not in served.supplier.last_packet
    assert secret in served.card.image
    market = Market().personalise().reserve().connect()
    market.supplier.load(market.card, probe(), piece=len(probe()))
    assert market.card.definition().code_length == len(probe())
    assert probe()[:16] not in market.supplier.last_packet


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_altered_packet_changes_nothing(data: st.DataObject) -> None:
    """One altered octet anywhere in a secured packet: no run, no change, never an exception."""
    market = _SERVED
    packet = bytearray(market.supplier.packet(RUN))
    at = data.draw(st.integers(0, len(packet) - 1))
    packet[at] ^= data.draw(st.integers(1, 255))
    before, runs = market.card.image, len(market.card.notes)
    market.card.transmit_part(bytes(packet), sender="15550200")
    market.card.sent.clear()  # an altered SPI may ask for the refusal in a short message of its own
    assert market.card.image == before
    assert all(note.name != "application.invoked" for note in market.card.notes[runs:])


@settings(max_examples=60, deadline=None)
@given(proof=st.binary(max_size=200))
def test_any_proof_is_refused(proof: bytes) -> None:
    """Arbitrary octets for a proof never make a session and never raise."""
    _SERVED.call()
    assert _refused_proof(_SERVED, Prove(tar=TAR, proof=proof)) != ""


def test_unsecured_octets_to_a_resource(served: Market) -> None:
    """A resource does not listen to what is not secured, whoever sends it."""
    packet = encode_command(spi=UNSECURED, tar=TAR, data=encode(RUN))
    assert _refused_packet(served, packet, UNSECURED) is ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert served.card.reasons == ["no-session"]
