"""RES and REVOKE through APDUs: what the operator, and nobody else, may do to the module's resources."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.handset.security_module.life_cycle import ResourceState
from agents.handset.security_module.profile import LIGHT_SUITES
from agents.messages.air import (
    MANAGER_TAR,
    Answer,
    Block,
    LoadData,
    OperatorCommand,
    Release,
    Reserve,
    Subscribe,
    Unblock,
)
from agents.messages.codec import decode, encode
from agents.messages.signed import Purpose, Signed, sign
from tests.agents.module_kit import (
    OPERATOR_NUMBER,
    OTHER_UA,
    TAR,
    UA,
    UNSECURED,
    Market,
    Operator,
    Replied,
    Supplier,
    manage,
    probe,
)
from transport.errors import PacketRejected
from transport.secured_packet import (
    Integrity,
    PacketKeys,
    PorDemand,
    ResponseStatus,
    SecurityParameters,
    decode_response,
    encode_command,
)
from transport.security.suites import SUITES

EACH_OPERATOR = pytest.mark.parametrize("suite", sorted(LIGHT_SUITES))
UNPROVEN = ResponseStatus.INSUFFICIENT_SECURITY_LEVEL


@pytest.fixture
def market() -> Market:
    """Return a personalised module with nothing reserved."""
    return Market().personalise()


def _unproven(market: Market, data: bytes) -> str:
    """Send what must prove nothing; return the reason noted. It gets no signed answer, nothing changes."""
    before = market.card.image
    replied = manage(market.card, data)
    assert (replied.status, replied.data) == (UNPROVEN, b"")
    assert market.card.image == before
    return market.card.reasons[-1]


def _resources(market: Market) -> list[tuple[int, bytes, ResourceState]]:
    return [(each.rsc_id, each.tar, each.state) for each in market.card.module.definitions.all()]


def _refused(market: Market, command: OperatorCommand) -> str:
    """Have a proven command refused; return the reason answered, which is also noted. DEF is as before."""
    before, counter = market.card.module.definitions.all(), market.operator.counter
    answer = market.command(command)
    assert market.card.module.definitions.all() == before
    assert market.card.reasons[-1] == answer.reason
    assert answer.rsc_id == 0
    assert market.operator.counter == counter + 1
    return answer.reason


# --- what is taken ---


@EACH_OPERATOR
@pytest.mark.parametrize("module_suite", sorted(LIGHT_SUITES))
def test_a_reservation(suite: str, module_suite: str) -> None:
    """A signed reservation makes a resource as it says, and the module answers signed with its number."""
    market = Market(operator_suite=suite, module_suite=module_suite).personalise()
    answer = market.command(market.supplier.reserve(expires_at=1_900_000_000, executions=50))
    assert answer == Answer(reason="", rsc_id=1)
    definition = market.card.definition()
    assert definition.state is ResourceState.RESERVED
    assert (definition.service, definition.supplier, definition.suite) == ("account", "bank", "p256")
    assert definition.supplier_public == market.supplier.key.public
    assert (definition.code_size, definition.data_size) == (1024, 1024)
    assert definition.rights == {"hmac"}
    assert (definition.expires_at, definition.executions_left) == (1_900_000_000, 50)
    assert definition.session is None


def test_the_life_of_a_resource(market: Market) -> None:
    """Reserved, blocked, unblocked, released: each is answered with the resource's number."""
    market.reserve()
    for command, state in (
        (Block(tar=TAR), ResourceState.BLOCKED),
        (Unblock(tar=TAR, supplier_public=market.supplier.key.public), ResourceState.RESERVED),
        (Block(tar=TAR), ResourceState.BLOCKED),
    ):
        assert market.command(command) == Answer(reason="", rsc_id=1)
        market.card.power_cycle()
        assert market.card.definition().state is state
    assert market.command(Release(tar=TAR)) == Answer(reason="", rsc_id=1)
    assert _resources(market) == []
    names = [note.name for note in market.card.notes]
    assert names[1:] == [
        "manager.reserve",
        "manager.block",
        "manager.unblock",
        "manager.block",
        "manager.release",
    ]


def test_several_resources(market: Market) -> None:
    """Resources have numbers and areas of their own; a released number and area are given again."""
    others = [Supplier(suite="x25519", tar=bytes((0xB2, 0, at)), service=f"s{at}") for at in range(3)]
    for at, each in enumerate(others, 1):
        assert market.command(each.reserve(code_size=300 + at)).rsc_id == at
    starts = [each.start for each in market.card.module.definitions.all()]
    assert len(set(starts)) == 3
    assert market.command(Release(tar=others[1].tar)).rsc_id == 2
    assert market.command(others[1].reserve(code_size=302)).rsc_id == 2
    assert sorted(each.start for each in market.card.module.definitions.all()) == sorted(starts)


def test_a_release_zeroes_the_area(market: Market) -> None:
    """After a release no octet of programme or data is left in the image."""
    market.reserve().connect().load()
    assert market.supplier.personalise(market.card, b"PERSONAL DATA").reason == ""
    definition = market.card.definition()
    assert probe() in market.card.image
    assert b"PERSONAL DATA" in market.card.image
    assert market.command(Release(tar=TAR)).reason == ""
    assert not any(market.card.image[definition.start : definition.end])
    assert probe()[:64] not in market.card.image
    assert b"PERSONAL DATA" not in market.card.image
    assert market.supplier.key.public not in market.card.image


def test_a_released_resource_can_be_reserved_anew(market: Market) -> None:
    """What is reserved after a release is new: no programme, no session, no counter of the one before."""
    market.reserve().connect().load()
    market.command(Release(tar=TAR))
    market.reserve()
    assert market.card.definition().code_length == 0
    assert market.card.definition().session is None
    market.connect().load()
    assert market.supplier.invoke(market.card).output == b"\x01\x00"


# --- repetition and counters ---


@pytest.mark.parametrize("cycle", [False, True], ids=["powered", "after-a-power-cut"])
def test_a_repeated_command_gets_the_very_same_answer(market: Market, cycle: bool) -> None:  # noqa: FBT001
    """A command that comes again is answered with the same octets, and is not carried out again."""
    data = market.operator.signed(market.supplier.reserve())
    first = manage(market.card, data)
    if cycle:
        market.card.power_cycle()
    before = market.card.image
    for _ in range(3):
        assert manage(market.card, data) == first
    assert market.card.image == before
    assert _resources(market) == [(1, TAR, ResourceState.RESERVED)]


def test_another_encoding_is_still_a_repetition(market: Market) -> None:
    """A command whose envelope is encoded in another way is the same command: it gets the same answer."""
    data = market.operator.signed(market.supplier.reserve())
    first = manage(market.card, data)
    fields = msgpack.unpackb(data)
    other = b"\xdc" + len(fields).to_bytes(2, "big")
    other += b"".join(
        b"\xcc" + bytes((each,)) if type(each) is int else msgpack.packb(each) for each in fields
    )
    assert decode(other, Signed) == decode(data, Signed)
    assert other != data
    before = market.card.image
    assert manage(market.card, other) == first
    assert market.card.image == before
    assert market.card.reasons == []


def test_a_repeated_refusal_is_the_same_refusal(market: Market) -> None:
    """What was refused stays refused under its counter, even when it would be allowed by now."""
    block = market.operator.signed(Block(tar=TAR))
    refused = manage(market.card, block)
    assert market.answer(refused).reason == "unknown-resource"
    assert manage(market.card, block) == refused


def test_a_replayed_command_is_told_so(market: Market) -> None:
    """An older command, genuine as it is, is answered "replayed" and changes nothing at all."""
    block = market.operator.signed(Block(tar=TAR), counter=5)
    market.operator.counter = 6
    market.reserve()
    before = market.card.image
    for counter, data in ((5, block), (1, market.operator.signed(Block(tar=TAR), counter=1))):
        answer = market.answer(manage(market.card, data), counter=counter)
        assert answer == Answer(reason="replayed", rsc_id=0)
        assert market.card.reasons[-1] == "replayed"
        assert market.card.image == before
    market.card.power_cycle()
    assert market.answer(manage(market.card, block), counter=5).reason == "replayed"


def test_another_command_of_the_same_turn_is_a_replay(market: Market) -> None:
    """A counter serves one command: a second one under it is answered "replayed"."""
    market.reserve()
    data = market.operator.signed(Block(tar=TAR), counter=market.operator.counter)
    assert market.answer(manage(market.card, data)).reason == "replayed"
    assert market.card.definition().state is ResourceState.RESERVED


def test_a_replay_leaves_the_last_answer_to_be_repeated(market: Market) -> None:
    """Between a command and its repetition an old one may come: the repetition still gets its answer."""
    old = market.operator.signed(Block(tar=TAR))
    manage(market.card, old)
    last = market.operator.signed(market.supplier.reserve())
    first = manage(market.card, last)
    assert market.answer(manage(market.card, old), counter=1).reason == "replayed"
    assert manage(market.card, last) == first


def test_a_power_cut_before_the_change_was_stored(market: Market) -> None:
    """A module that lost power before its change was durable takes the command as if it had never come."""
    data = market.operator.signed(market.supplier.reserve())
    pages = dict(market.card.pages)
    lost = manage(market.card, data)
    market.card.pages = pages
    market.card.power_cycle()
    assert _resources(market) == []
    assert market.answer(manage(market.card, data)).reason == ""
    assert market.answer(lost) == market.answer(manage(market.card, data))


# --- what proves nothing ---


@EACH_OPERATOR
def test_a_wrong_signature_proves_nothing(suite: str) -> None:
    """A command signed with another key is refused with status 0A and no answer."""
    market = Market(operator_suite=suite).personalise()
    impostor = SUITES[suite].generate_signing_key(random.Random(666).randbytes)
    assert _unproven(market, market.operator.signed(market.supplier.reserve(), key=impostor)) == "signature"


def test_a_signature_of_another_suite_proves_nothing(market: Market) -> None:
    """The operator's suite is what the factory said, not what the signature would like."""
    other = SUITES["p256"].generate_signing_key(random.Random(1).randbytes)
    assert _unproven(market, market.operator.signed(market.supplier.reserve(), key=other)) == "signature"


@pytest.mark.parametrize("purpose", sorted({*Purpose} - {Purpose.COMMAND, Purpose.CONNECTION}))
def test_another_purpose_proves_nothing(market: Market, purpose: Purpose) -> None:
    """What the operator signed for another purpose is no command."""
    assert (
        _unproven(market, market.operator.signed(market.supplier.reserve(), purpose=purpose)) == "signature"
    )


def test_a_foreign_operator_proves_nothing(market: Market) -> None:
    """Another operator's command is refused, though it is signed well, and even under our operator's name."""
    foreign = Operator(suite="x25519", name="other-mno")
    assert _unproven(market, foreign.signed(market.supplier.reserve())) == "not-our-operator"
    assert _unproven(market, foreign.signed(market.supplier.reserve(), signer="mno")) == "signature"


def test_a_command_for_another_module_proves_nothing(market: Market) -> None:
    """What was signed for another UA does not serve here."""
    assert (
        _unproven(market, market.operator.signed(market.supplier.reserve(), ua=OTHER_UA))
        == "meant-for-another"
    )


def test_an_unsigned_command_proves_nothing(market: Market) -> None:
    """A bare command, or a supplier's, is not even read by the resource manager."""
    assert _unproven(market, encode(market.supplier.reserve())) == "unexpected-message"
    assert _unproven(market, encode(LoadData(octets=b""))) == "unexpected-message"


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "not-msgpack"), (b"\xc1", "not-msgpack"), (b"\x90", "unexpected-message")]
)
def test_octets_that_are_no_command_prove_nothing(market: Market, data: bytes, reason: str) -> None:
    """Anything else on the resource manager's TAR is refused with its reason."""
    assert _unproven(market, data) == reason


def test_a_blank_module_obeys_nobody() -> None:
    """Before it is personalised a module has no operator."""
    market = Market()
    assert _unproven(market, market.operator.signed(market.supplier.reserve())) == "not-personalised"


def test_the_modules_own_answer_is_no_command(market: Market) -> None:
    """What the module signed cannot be turned on itself."""
    reply = manage(market.card, market.operator.signed(market.supplier.reserve()))
    assert _unproven(market, reply.data) == "not-our-operator"


def test_a_forged_command_does_not_use_up_a_counter(market: Market) -> None:
    """Unproven commands with high counters do not lock the operator out."""
    forged = Operator(suite="x25519", name="other-mno").signed(
        market.supplier.reserve(), signer="mno", counter=(1 << 40) - 1
    )
    assert _unproven(market, forged) == "signature"
    market.reserve()


# --- what is proven, and refused ---


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"suite": "rot13"}, "unknown-suite"),
        ({"suite": "pq-hybrid"}, "unsupported-suite"),
        ({"forms": ["whisper"]}, "unknown-form"),
        ({"forms": ["key-transport"]}, "bad-sealing-key"),
        ({"forms": ["key-transport"], "supplier_sealing": bytes(64)}, "bad-sealing-key"),
        ({"supplier_sealing": bytes(65)}, "needless-sealing-key"),
        ({"forms": ["domain-symmetric"], "logic_name": "x"}, "no-domain-key"),
        ({"dh_base": b"\x02", "dh_modulus": b"\x07"}, "no-parameters"),
        ({"rights": 1 << 31}, "unknown-right"),
        ({"supplier": UA}, "bad-supplier"),
        ({"code_size": 1 << 20}, "zone-full"),
        ({"data_size": 1 << 20}, "zone-full"),
        ({"supplier_public": bytes(600)}, "bad-public-key"),
        ({"supplier_public": bytes(31)}, "bad-public-key"),
        ({"suite": "x25519", "supplier_public": bytes(33)}, "bad-public-key"),
        ({"server": bytes(3)}, "bad-server"),
        ({"server": bytes(7), "bearers": ["bip-tcp", "sms"]}, "bad-server"),
        ({"bearers": ["bip-tcp", "sms"]}, "no-server"),
    ],
)
def test_a_reservation_that_cannot_be(market: Market, changes: dict[str, Any], reason: str) -> None:
    """What the module has not got, or has no room for, is refused with its reason; the turn is used."""
    assert _refused(market, market.supplier.reserve(**changes)) == reason
    market.reserve()


def test_the_managers_own_address_cannot_be_reserved(market: Market) -> None:
    """A resource under the resource manager's TAR could never be spoken to: it is refused."""
    assert _refused(market, market.supplier.reserve(tar=MANAGER_TAR)) == "reserved-tar"


def test_a_resource_is_reserved_once(market: Market) -> None:
    """Neither a TAR nor a service is given twice."""
    market.reserve()
    assert _refused(market, market.supplier.reserve(service="other")) == "resource-exists"
    assert _refused(market, market.supplier.reserve(tar=b"\xb2\x00\x01")) == "resource-exists"


def test_a_full_table(market: Market) -> None:
    """DEF has room for so many resources, and one more is refused."""
    small = [Supplier(suite="x25519", tar=bytes((0xB3, 0, at)), service=f"s{at}") for at in range(16)]
    for each in small:
        assert market.command(each.reserve(code_size=1, data_size=0)).reason == ""
    assert _refused(market, market.supplier.reserve(code_size=1, data_size=0)) == "definitions-full"


def test_a_fragmented_zone(market: Market) -> None:
    """Enough octets in pieces are told apart from too few octets."""
    free = market.card.module.definitions.free_octets()
    thirds = [Supplier(suite="x25519", tar=bytes((0xB3, 0, at)), service=f"s{at}") for at in range(3)]
    for each in thirds:
        assert market.command(each.reserve(code_size=free // 3, data_size=0)).reason == ""
    for each in (thirds[0], thirds[2]):
        market.command(Release(tar=each.tar))
    assert _refused(market, market.supplier.reserve(code_size=free // 2, data_size=0)) == "zone-fragmented"


@pytest.mark.parametrize(
    "command", [Block(tar=TAR), Unblock(tar=TAR, supplier_public=bytes(32)), Release(tar=TAR)], ids=repr
)
def test_a_resource_that_is_not_there(market: Market, command: OperatorCommand) -> None:
    """Nothing can be done to an unknown resource."""
    assert _refused(market, command) == "unknown-resource"


def test_the_life_cycle_refuses(market: Market) -> None:
    """What the table does not list is refused in its words, and changes nothing."""
    market.reserve()
    unblock = Unblock(tar=TAR, supplier_public=market.supplier.key.public)
    assert _refused(market, unblock) == "unblock-when-reserved"
    market.command(Block(tar=TAR))
    assert _refused(market, Block(tar=TAR)) == "block-when-blocked"
    market.command(unblock)
    market.connect().load()
    assert _refused(market, unblock) == "unblock-when-loaded"


def test_only_the_key_that_was_reserved_comes_back(market: Market) -> None:
    """An unblock with any other key is refused: the operator cannot take the supplier's place."""
    market.reserve()
    market.command(Block(tar=TAR))
    for public in (
        Supplier(suite="p256", name="another").key.public,
        Supplier(suite="x25519", name="bank").key.public,
        bytes(len(market.supplier.key.public)),
    ):
        unblock = Unblock(tar=TAR, supplier_public=public)
        assert _refused(market, unblock) == "not-the-suppliers-key"
        market.card.power_cycle()
    assert market.card.definition().state is ResourceState.BLOCKED
    assert market.card.definition().supplier_public == b""
    assert market.command(Unblock(tar=TAR, supplier_public=market.supplier.key.public)).reason == ""


def test_the_modules_own_key_is_no_suppliers() -> None:
    """A supplier with the module's own key would have it talk to itself: it is refused."""
    market = Market(supplier_suite="x25519").personalise()
    reserve = market.supplier.reserve(supplier_public=market.public)
    assert _refused(market, reserve) == "bad-public-key"


def test_a_proven_command_that_is_none_uses_its_turn(market: Market) -> None:
    """Something else that the operator signed as a command is answered with a refusal."""
    for body, reason in ((Subscribe(service="account"), "unexpected-message"), (b"\xc1", "not-msgpack")):
        answer = market.answer(manage(market.card, market.operator.signed(body)))
        assert answer == Answer(reason=reason, rsc_id=0)


# --- the packet around it ---


KEYS = PacketKeys(index=1, cipher_key=bytes(16), mac_key=bytes(16))


@pytest.mark.parametrize(
    ("spi", "status"),
    [
        (SecurityParameters(ciphering=True, por=PorDemand.ALWAYS), ResponseStatus.CIPHERING_ERROR),
        (SecurityParameters(integrity=Integrity.CC, por=PorDemand.ALWAYS), ResponseStatus.INTEGRITY_FAILED),
    ],
    ids=["ciphered", "checksum"],
)
def test_the_manager_has_no_keyset(market: Market, spi: SecurityParameters, status: ResponseStatus) -> None:
    """A packet under keys that the manager has not got is refused with its status, and in clear."""
    packet = encode_command(spi=spi, tar=MANAGER_TAR, data=b"x", counter=1, keys=KEYS)
    before = market.card.image
    octets = market.card.download(packet)
    assert octets[-1] == status
    assert market.card.image == before


@pytest.mark.parametrize("por", PorDemand)
def test_the_response_is_as_it_was_asked_for(market: Market, por: PorDemand) -> None:
    """A response comes always, on error only, or never; the command is carried out all the same."""
    spi = SecurityParameters(por=por)
    reserve = market.operator.signed(market.supplier.reserve())
    good = market.card.download(encode_command(spi=spi, tar=MANAGER_TAR, data=reserve))
    assert bool(good) == (por is PorDemand.ALWAYS)
    assert _resources(market) == [(1, TAR, ResourceState.RESERVED)]
    bad = market.card.download(encode_command(spi=spi, tar=MANAGER_TAR, data=b""))
    assert bool(bad) == (por is not PorDemand.NONE)


def test_an_answer_too_long_for_the_report_follows_by_itself() -> None:
    """A signed answer that does not fit the report comes in short messages, promised with status 08."""
    market = Market()
    market.operator.name = "an-operator-of-a-very-long-name."
    market.personalise()
    data = market.operator.signed(market.supplier.reserve())
    replied = manage(market.card, data, follow=False)
    assert replied == Replied(status=ResponseStatus.MORE_TIME, data=b"")
    response = decode_response(market.card.take_response(OPERATOR_NUMBER), spi=UNSECURED)
    assert response.status is ResponseStatus.POR_OK
    signed = decode(response.data, Signed)
    signed.verify(purpose=Purpose.ANSWER, suite="x25519", public=market.public)
    assert decode(signed.body, Answer) == Answer(reason="", rsc_id=1)
    assert (signed.signer, signed.target) == (UA, market.operator.name)


@pytest.mark.parametrize("in_submit", [False, True], ids=["in-report", "in-submit"])
def test_a_response_with_a_redundancy_check_needs_no_key(
    market: Market,
    in_submit: bool,  # noqa: FBT001 -- a case
) -> None:
    """Without keys a response may still be checked for errors, where that is what was asked for."""
    spi = SecurityParameters(por=PorDemand.ALWAYS, por_integrity=Integrity.RC, por_in_submit=in_submit)
    data = market.operator.signed(market.supplier.reserve())
    octets = market.card.download(encode_command(spi=spi, tar=MANAGER_TAR, data=data))
    if in_submit:
        assert decode_response(octets, spi=spi).status is ResponseStatus.RESPONSE_BY_SMS_SUBMIT
        octets = market.card.take_response(OPERATOR_NUMBER)
    response = decode_response(octets, spi=spi)
    assert response.status is ResponseStatus.POR_OK
    assert decode(decode(response.data, Signed).body, Answer) == Answer(reason="", rsc_id=1)
    for at in (len(octets) - 1, len(octets) // 2):
        wrong = octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]
        with pytest.raises(PacketRejected):
            decode_response(wrong, spi=spi)


@pytest.mark.parametrize(
    ("integrity", "ciphered"),
    [
        (Integrity.CC, False),
        (Integrity.DS, False),
        (Integrity.NONE, True),
        (Integrity.RC, True),
        (Integrity.CC, True),
        (Integrity.DS, True),
    ],
    ids=["cc", "ds", "ciphered", "rc-ciphered", "cc-ciphered", "ds-ciphered"],
)
@pytest.mark.parametrize("in_submit", [False, True])
def test_a_response_that_no_key_can_protect_does_not_crash(
    market: Market,
    integrity: Integrity,
    ciphered: bool,  # noqa: FBT001 -- a case
    in_submit: bool,  # noqa: FBT001 -- a case
) -> None:
    """Who asks for a protected response, having no keys with the manager, is refused in clear and at once."""
    spi = SecurityParameters(
        por=PorDemand.ALWAYS, por_integrity=integrity, por_ciphering=ciphered, por_in_submit=in_submit
    )
    data = market.operator.signed(market.supplier.reserve())
    before = market.card.image
    octets = market.card.download(encode_command(spi=spi, tar=MANAGER_TAR, data=data))
    assert octets[-1] == ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert market.card.reasons == ["response-protection"]
    assert market.card.sent == []
    assert market.card.image == before


# --- anything at all ---


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_altered_command_changes_nothing(data: st.DataObject) -> None:
    """One altered octet of a signed command is refused."""
    market = Market().personalise()
    octets = bytearray(market.operator.signed(market.supplier.reserve()))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= data.draw(st.integers(1, 255))
    before = market.card.image
    assert manage(market.card, bytes(octets)).status is UNPROVEN
    assert market.card.image == before


commands: st.SearchStrategy[str] = st.sampled_from(["reserve", "block", "unblock", "release"])


@settings(max_examples=40, deadline=None)
@given(story=st.lists(commands, max_size=12), cuts=st.sets(st.integers(0, 11)))
def test_any_story_follows_the_table(story: list[str], cuts: set[int]) -> None:
    """Whatever the operator orders, the resource is where the table says, through any power cuts."""
    market = Market().personalise()
    public = market.supplier.key.public
    orders: dict[str, Reserve | Block | Unblock | Release] = {
        "reserve": market.supplier.reserve(),
        "block": Block(tar=TAR),
        "unblock": Unblock(tar=TAR, supplier_public=public),
        "release": Release(tar=TAR),
    }
    table = {
        ("free", "reserve"): "reserved",
        ("reserved", "block"): "blocked",
        ("reserved", "release"): "free",
        ("blocked", "unblock"): "reserved",
        ("blocked", "release"): "free",
    }
    state = "free"
    for turn, order in enumerate(story):
        answer = market.command(orders[order])
        assert (answer.reason == "") == ((state, order) in table)
        state = table.get((state, order), state)
        if turn in cuts:
            market.card.power_cycle()
        resources = _resources(market)
        assert [each[2].value for each in resources] == ([] if state == "free" else [state])


def test_a_command_signed_by_hand_is_the_same_octets() -> None:
    """What is signed: context, purpose, target, counter, signer and body, with their lengths."""
    key = SUITES["x25519"].generate_signing_key(random.Random(3).randbytes)
    signed = sign(b"body", purpose=Purpose.COMMAND, target=UA, counter=1, signer="mno", key=key)
    by_hand = b"".join(
        (
            b"\x96\xc4\x1aotafleet signed message v1",
            b"\x01",
            b"\xb3" + UA.encode(),
            b"\x01",
            b"\xa3mno",
            b"\xc4\x04body",
        )
    )
    SUITES["x25519"].verify(key.public, by_hand, signed.signature)
