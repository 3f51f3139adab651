"""The operator's key in the module: rolled by a command, introduced by a certificate, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.handset.security_module.core import LEFT_OCTETS, MAX_LEFT, Identity
from agents.handset.security_module.geometry import SLOT_HEAD, Record
from agents.handset.security_module.manager import ANNOUNCED
from agents.handset.security_module.profile import STANDARD
from agents.messages.air import (
    MANAGER_TAR,
    Announce,
    Answer,
    Audit,
    Block,
    Compact,
    IntroduceOperator,
    RollOperatorKey,
)
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import decode, encode
from agents.messages.signed import EVERYBODY, Purpose, Signed
from tests.agents.attack_kit import changed, refused, unproven
from tests.agents.module_kit import (
    AUTHORITY,
    NOW,
    TAR,
    UA,
    Market,
    Operator,
    Replied,
    certified,
    introduction,
    key_of,
    manage,
)
from tests.agents.operator_session_kit import EVERY, ROOM, KeysetMarket
from tests.agents.test_module_forms import BASE, MODULUS
from transport.cell_broadcast import GeographicScope, SerialNumber, split
from transport.errors import SignatureRejected
from transport.secured_packet import CELL_BROADCAST, ResponseStatus, SecurityParameters, encode_command
from transport.security.certificates import Certificate, Role
from transport.security.chain import encode_chain
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN
from transport.toolkit import Envelope, Tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from transport.security.suites import SigningKey


def word(market: Market, replied: Replied, serial: int) -> Answer:
    """Return the module's word on a certificate, which it must have signed for this operator and serial."""
    assert replied.status is ResponseStatus.POR_OK
    signed = decode(replied.data, Signed)
    assert (signed.signer, signed.target, signed.counter) == (UA, "mno", serial)
    signed.verify(purpose=Purpose.INTRODUCTION, suite=market.module_suite, public=market.public)
    return decode(signed.body, Answer)


def introduce(market: Market, key: SigningKey, serial: int, **changes: Any) -> str:
    """Introduce the operator by a certificate; return why the module will not go by it."""
    replied = manage(market.card, introduction(certified(key, serial, **changes)))
    return word(market, replied, serial).reason


def roll(market: Market, key: SigningKey) -> bytes:
    """Have the operator roll its key; return the command."""
    command = market.operator.signed(RollOperatorKey(suite=key.suite, public=key.public))
    assert market.answer(manage(market.card, command)).reason == ""
    market.operator.key = key
    return command


@pytest.fixture
def market() -> Market:
    """Return a module with a reserved resource, which was told the operator's key and its serial."""
    return Market().personalise(operator_serial=3).reserve()


@pytest.fixture
def stranger() -> Market:
    """Return a module that knows who its operator is, and no key of it."""
    return Market().personalise(operator_public=b"")


# --- a roll ---


def test_a_roll(market: Market) -> None:
    """From its answer on the module obeys the new key alone, also after a power cut; its resources stay."""
    old = market.operator.key
    roll(market, key_of("new"))
    assert market.card.notes[-1].name == "manager.rolloperatorkey"
    market.card.power_cycle()
    assert market.command(Block(tar=TAR)).reason == ""
    by_the_old = market.operator.signed(Compact(), key=old)
    assert unproven(market, by_the_old) == "signature"


def test_a_roll_to_another_suite(market: Market) -> None:
    """A module takes a key of any suite that it can."""
    roll(market, key_of("new", "p256"))
    assert market.command(Compact()).reason == ""


def test_a_roll_whose_answer_is_lost(market: Market) -> None:
    """Repeated, though its key is gone, it gets the first answer, also after a power cut."""
    new = key_of("new")
    command = market.operator.signed(RollOperatorKey(suite=new.suite, public=new.public))
    first = manage(market.card, command)
    image = market.card.image
    for _ in range(2):
        market.card.power_cycle()
        assert manage(market.card, command) == first
    assert market.card.image == image
    market.operator.key = new
    assert market.command(Compact()).reason == ""


def test_the_last_command_again_under_the_new_key(market: Market) -> None:
    """What was signed is the same: an operator that signs it anew has it repeated, not done again."""
    new = key_of("new")
    command = market.operator.signed(RollOperatorKey(suite=new.suite, public=new.public))
    first = manage(market.card, command)
    again = market.operator.signed(decode(command, Signed).body, counter=market.operator.counter, key=new)
    assert again != command
    assert manage(market.card, again) == first


def test_a_roll_is_not_repeated_by_a_signature_that_proved_nothing(market: Market) -> None:
    """Only the very signature that proved it goes on doing so."""
    command = decode(roll(market, key_of("new")), Signed)
    forged = replace(command, signature=bytes(64))
    assert unproven(market, encode(forged)) == "signature"


def test_a_roll_that_is_replayed(market: Market) -> None:
    """When another command has come since, it proves nothing any more."""
    command = roll(market, key_of("new"))
    assert market.command(Compact()).reason == ""
    assert unproven(market, command) == "signature"


def test_a_key_that_was_left_commands_nothing(market: Market) -> None:
    """Neither a command nor a roll back, an announcement nor a connection, is the operator's under it."""
    old = market.operator.key
    roll(market, key_of("new"))
    back = RollOperatorKey(suite=old.suite, public=old.public)
    for message in (back, Block(tar=TAR), Audit(after=0)):
        assert unproven(market, market.operator.signed(message, key=old)) == "signature"
    terms: dict[str, Any] = {"ua": EVERYBODY, "purpose": Purpose.ANNOUNCEMENT, "key": old}
    assert unproven(market, market.operator.signed(Announce(time=1), **terms)) == "signature"


def test_nobody_else_rolls_the_key(market: Market) -> None:
    """Another operator signs in vain, in its own name and in ours; so does the key that is to come."""
    new = key_of("new")
    command = RollOperatorKey(suite=new.suite, public=new.public)
    other = Operator(suite="x25519", name="other-mno")
    assert unproven(market, other.signed(command, counter=50)) == "not-our-operator"
    assert unproven(market, other.signed(command, counter=50, signer="mno")) == "signature"
    assert unproven(market, market.operator.signed(command, key=new)) == "signature"
    assert unproven(market, encode(command)) == "unexpected-message"


KEYS: Final[dict[str, tuple[Callable[[Market], tuple[str, bytes]], str]]] = {
    "the same": (lambda market: ("x25519", market.operator.key.public), "same-key"),
    "the module's own": (lambda market: (market.module_suite, market.public), "bad-public-key"),
    "the authority's": (lambda _market: ("x25519", AUTHORITY.public), "bad-public-key"),
    "of small order": (lambda _market: ("x25519", b"\1" + bytes(31)), "bad-public-key"),
    "of another length": (lambda _market: ("p256", bytes(32)), "bad-public-key"),
    "of an unknown suite": (lambda _market: ("rot13", bytes(32)), "unknown-suite"),
    "of a suite that the module has not got": (
        lambda _market: ("pq-hybrid", bytes(SUITES["pq-hybrid"].signing_public_length)),
        "unsupported-suite",
    ),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_cannot_be_rolled_to(market: Market, name: str) -> None:
    """It is refused with a reason, by a signed answer; the key stays what it was."""
    of, reason = KEYS[name]
    suite, public = of(market)
    assert refused(market, RollOperatorKey(suite=suite, public=public)) == reason
    assert market.command(Compact()).reason == ""


def test_a_key_that_was_left_is_not_rolled_to(market: Market) -> None:
    """Not even by who has the new one: it may be anybody's by now."""
    old = market.operator.key
    roll(market, key_of("new"))
    assert refused(market, RollOperatorKey(suite=old.suite, public=old.public)) == "left-key"


def test_so_many_rolls_and_then_a_certificate(market: Market) -> None:
    """A module remembers a few keys that it left, and rolls no further until a certificate outdates them."""
    for number in range(MAX_LEFT):
        roll(market, key_of(f"key {number}"))
    new = key_of("one more")
    command = RollOperatorKey(suite=new.suite, public=new.public)
    assert refused(market, command) == "certificate-due"
    assert introduce(market, market.operator.key, 4) == ""
    roll(market, new)


# --- an introduction ---


def test_an_operator_without_a_key(stranger: Market) -> None:
    """Until it is introduced, nothing of it is taken: not a command, an announcement or a roll."""
    new = key_of("new")
    for message in (stranger.supplier.reserve(), RollOperatorKey(suite=new.suite, public=new.public)):
        assert unproven(stranger, stranger.operator.signed(message)) == "no-operator-key"
    terms: dict[str, Any] = {"ua": EVERYBODY, "purpose": Purpose.ANNOUNCEMENT}
    assert unproven(stranger, stranger.operator.signed(Announce(time=1), **terms)) == "no-operator-key"


@pytest.mark.parametrize("suite", ["p256", "x25519"])
def test_an_introduction(suite: str) -> None:
    """With the authority's certificate the module goes by the operator's key, also after a power cut."""
    market = Market(operator_suite=suite).personalise(operator_public=b"")
    assert introduce(market, market.operator.key, 2) == ""
    assert market.card.notes[-1].name == "manager.introduced"
    market.card.power_cycle()
    market.reserve()


def test_an_introduction_whose_answer_is_lost(stranger: Market) -> None:
    """Repeated, it gets the same answer and changes nothing."""
    data = introduction(certified(stranger.operator.key, 2))
    first = manage(stranger.card, data)
    assert word(stranger, first, 2).reason == ""
    image = stranger.card.image
    stranger.card.power_cycle()
    assert manage(stranger.card, data) == first
    assert stranger.card.image == image


def test_the_same_key_under_a_later_certificate(market: Market) -> None:
    """Turns go on where they were: what was recorded under this key stays old."""
    recorded = market.operator.signed(Block(tar=TAR))
    assert market.answer(manage(market.card, recorded)).reason == ""
    assert market.command(Compact()).reason == ""
    assert introduce(market, market.operator.key, 4) == ""
    answer = market.answer(manage(market.card, recorded), counter=market.operator.counter - 1)
    assert answer.reason == "replayed"


FOREIGN: Final = key_of("foreign")
SHOP: Final = key_of("shop")
WRONG: Final[dict[str, tuple[Callable[[SigningKey], tuple[Certificate, ...]], str]]] = {
    "of another role": (lambda key: (certified(key, 9, role=Role.SUPPLIER),), "wrong-role"),
    "of a module": (lambda key: (certified(key, 9, role=Role.MODULE),), "wrong-role"),
    "another operator's": (lambda key: (certified(key, 9, subject="other-mno"),), "wrong-subject"),
    "signed by itself": (lambda key: (certified(key, 9, by=key, issuer="mno"),), "self-signed"),
    "signed by itself in the authority's name": (lambda key: (certified(key, 9, by=key),), "bad-signature"),
    "of an unknown issuer": (
        lambda key: (certified(key, 9, by=FOREIGN, issuer="elsewhere"),),
        "wrong-issuer",
    ),
    "of another authority of that name": (lambda key: (certified(key, 9, by=FOREIGN),), "bad-signature"),
    "of a supplier that plays authority": (
        lambda key: (
            certified(SHOP, 8, subject="shop", role=Role.SUPPLIER),
            certified(key, 9, by=SHOP, issuer="shop"),
        ),
        "may-not-issue",
    ),
    "of another operator's house": (
        lambda key: (
            certified(FOREIGN, 8, subject="other-mno"),
            certified(key, 9, by=FOREIGN, issuer="other-mno"),
        ),
        "may-not-issue",
    ),
    "expired": (lambda key: (certified(key, 9, not_after=int(NOW) - 1),), "expired"),
    "not yet valid": (lambda key: (certified(key, 9, not_before=int(NOW) + 60),), "not-yet-valid"),
    "of the serial that it knows": (lambda key: (certified(key, 3),), "not-newer"),
    "of a lower serial": (lambda key: (certified(key, 2),), "not-newer"),
    "of a serial that no answer could name": (lambda key: (certified(key, 1 << 40),), "serial-too-high"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_certificate_that_is_none_for_this_operator_now(market: Market, name: str) -> None:
    """It proves nothing: nobody is answered, nothing changes, and the right one is taken afterwards."""
    of, reason = WRONG[name]
    new = key_of("new")
    assert unproven(market, introduction(*of(new))) == reason
    assert market.command(Compact()).reason == ""
    assert introduce(market, new, 9) == ""


OCTETS: Final[dict[str, tuple[bytes, str]]] = {
    "nothing": (b"", "malformed"),
    "no array": (b"\xc0", "malformed"),
    "no certificates": (b"\x90", "empty-chain"),
    "too many": (b"\x95" + 5 * b"\xc4\x00", "too-deep"),
    "no certificate": (b"\x91\xc4\x01\x00", "malformed"),
}


@pytest.mark.parametrize("name", OCTETS)
def test_octets_that_are_no_chain(market: Market, name: str) -> None:
    """They are refused with a reason, and change nothing."""
    octets, reason = OCTETS[name]
    assert unproven(market, encode(IntroduceOperator(chain=octets))) == reason


def test_any_octet_of_a_certificate(market: Market) -> None:
    """None can be another without the authority's signature failing, or the certificate being none."""
    chain = encode_chain([certified(key_of("new"), 9)])
    for at in range(0, len(chain), 3):
        altered = bytes((*chain[:at], chain[at] ^ 1, *chain[at + 1 :]))
        assert unproven(market, encode(IntroduceOperator(chain=altered)))
    assert introduce(market, key_of("new"), 9) == ""


def test_a_certificate_for_a_key_that_the_module_cannot_use(stranger: Market) -> None:
    """The authority's word is believed, and answered: the module says why it will not go by that key."""
    suite = "pq-hybrid"
    before = stranger.card.image
    public = bytes(SUITES[suite].signing_public_length)
    certificate = certified(key_of("new"), 9, suite=suite, signing_public=public)
    replied = manage(stranger.card, introduction(certificate))
    assert word(stranger, replied, 9) == Answer(reason="unsupported-suite", rsc_id=0)
    assert changed(before, stranger.card.image) == set()
    assert introduce(stranger, stranger.operator.key, 9) == ""


def test_a_blank_module_is_introduced_to_nobody() -> None:
    """Without a personalisation there is no authority to believe."""
    market = Market()
    assert unproven(market, introduction(certified(key_of("new"), 9))) == "not-personalised"


def test_an_introduction_is_not_broadcast(market: Market) -> None:
    """It has to be answered, and a broadcast cannot be."""
    data = introduction(certified(key_of("new"), 9))
    packet = encode_command(spi=SecurityParameters(), tar=MANAGER_TAR, data=data, dialect=CELL_BROADCAST)
    serial = SerialNumber(scope=GeographicScope.PLMN, code=1, update=0)
    before = market.card.image
    for page in split(packet, serial, ANNOUNCEMENTS):
        market.card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))
    assert market.card.reasons[-1] == "not-for-everybody"
    assert market.card.image == before


# --- both ---


def test_an_old_key_does_not_come_back_by_its_certificate(market: Market) -> None:
    """A certificate later than the one that the module knows, of a key that it was rolled away from."""
    first, second = key_of("first"), key_of("second")
    published = introduction(certified(first, 8))
    roll(market, first)
    roll(market, second)
    replied = manage(market.card, published)
    assert word(market, replied, 8).reason == "left-key"
    assert market.command(Compact()).reason == ""
    assert introduce(market, second, 9) == ""
    assert unproven(market, published) == "not-newer"


def test_the_certificate_of_before_a_roll_is_no_news(market: Market) -> None:
    """The one that the module goes by says nothing new of the key that it was rolled to since."""
    assert introduce(market, key_of("first"), 8) == ""
    market.operator.key = key_of("first")
    roll(market, key_of("second"))
    assert unproven(market, introduction(certified(key_of("first"), 8))) == "not-newer"
    assert market.command(Compact()).reason == ""


def test_a_stolen_key_is_replaced_whatever_the_thief_did(market: Market) -> None:
    """It rolls the key to its own and uses up every counter: a later certificate gives the module back."""
    thief = Operator(suite="x25519", name="mno", counter=(1 << 40) - 3)
    thief.key = market.operator.key
    for number in range(2):
        new = key_of(f"thief {number}")
        command = RollOperatorKey(suite=new.suite, public=new.public)
        assert manage(market.card, thief.signed(command)).status is ResponseStatus.POR_OK
        thief.key = new
    last: dict[str, Any] = {"ua": EVERYBODY, "purpose": Purpose.ANNOUNCEMENT, "counter": (1 << 40) - 1}
    manage(market.card, thief.signed(Announce(time=int(NOW)), **last))
    assert market.card.notes[-1].name == ANNOUNCED
    new = key_of("new")
    assert introduce(market, new, 4) == ""
    assert unproven(market, thief.signed(Compact(), counter=2)) == "signature"
    market.operator.key = new
    assert market.command(Block(tar=TAR)).reason == ""
    terms: dict[str, Any] = {"ua": EVERYBODY, "purpose": Purpose.ANNOUNCEMENT, "counter": 1}
    manage(market.card, market.operator.signed(Announce(time=int(NOW)), **terms))
    assert market.card.notes[-1].name == ANNOUNCED


def test_what_was_done_before_an_introduction_is_not_done_again(market: Market) -> None:
    """A command whose answer was lost, signed again with the key that came meanwhile, is a repetition."""
    command = market.operator.signed(Block(tar=TAR))
    first = manage(market.card, command)
    new = key_of("new")
    assert introduce(market, new, 4) == ""
    again = market.operator.signed(Block(tar=TAR), counter=market.operator.counter, key=new)
    assert manage(market.card, again) == first
    market.operator.key = new
    assert market.command(Compact()).reason == ""


def test_the_word_on_a_certificate_is_no_answer_to_a_command(market: Market) -> None:
    """Its purpose is its own, so that the serial of the one never stands for the turn of the other."""
    replied = manage(market.card, introduction(certified(key_of("new"), 4)))
    signed = decode(replied.data, Signed)
    with pytest.raises(SignatureRejected, match="purpose"):
        signed.verify(purpose=Purpose.ANSWER, suite=market.module_suite, public=market.public)
    renamed = replace(signed, purpose=int(Purpose.ANSWER))
    with pytest.raises(SignatureRejected, match="bad-signature"):
        renamed.verify(purpose=Purpose.ANSWER, suite=market.module_suite, public=market.public)


# --- under a keyset ---


@pytest.fixture
def connected() -> KeysetMarket:
    """Return a module that has a session with its operator, and a reserved resource."""
    market = KeysetMarket()
    market.personalise(operator_serial=3)
    market.open().reserve()
    return market


def test_a_roll_under_the_keyset(connected: KeysetMarket) -> None:
    """The session stays, for the roll may have to be repeated under it; the next is made with the new key."""
    market, new = connected, key_of("new")
    command = market.operator.signed(RollOperatorKey(suite=new.suite, public=new.public))
    first = market.exchange(market.packet(command))
    assert market.exchange(market.packet(command)).data == first.data
    assert market.bare(market.connection()) is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.card.reasons[-1] == "signature"
    market.operator.key = new
    assert market.command(Compact()).reason == ""
    market.open()
    assert market.command(Compact()).reason == ""


def test_another_key_ends_the_session(connected: KeysetMarket) -> None:
    """It may be a thief's: who has the new key makes a session of its own, whatever was used up."""
    market = connected
    market.connects = (1 << 40) - 2
    market.open()
    new = key_of("new")
    assert market.bare(introduction(certified(new, 4))) is ResponseStatus.POR_OK
    packet = market.packet(market.operator.signed(Compact()))
    octets = market.card.download(packet)
    assert octets[-1] == ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert market.card.reasons[-1] == "no-session"
    market.operator.key, market.connects, market.operator.counter = new, 0, 0
    market.open()
    assert market.command(Block(tar=TAR)).reason == ""


def test_a_call_that_is_open_ends_with_the_key(connected: KeysetMarket) -> None:
    """A handshake that the old key began is not finished under it."""
    market = connected
    side = market.side()
    said = side.receive(market.opening())
    assert said is not None
    assert market.bare(introduction(certified(key_of("new"), 4))) is ResponseStatus.POR_OK
    assert market.proof(said).status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL


def test_the_same_key_under_a_later_certificate_keeps_the_session(connected: KeysetMarket) -> None:
    """Nothing was stolen: what is under way goes on."""
    assert connected.bare(introduction(certified(connected.operator.key, 4))) is ResponseStatus.POR_OK
    assert connected.command(Compact()).reason == ""


def test_a_key_that_the_operators_group_does_not_fit() -> None:
    """Where PERS brought b and M, a key of a suite that takes none could make no session: it is refused."""
    market = KeysetMarket(
        operator_suite="rsa-2048-ffdh",
        dh_base=BASE,
        dh_modulus=MODULUS,
        module_profile=EVERY,
        size=ROOM,
    )
    market.personalise(operator_serial=3)
    market.open()
    new = key_of("new")
    assert market.command(RollOperatorKey(suite=new.suite, public=new.public)).reason == "no-parameters"
    assert market.command(Compact()).reason == ""


@pytest.mark.parametrize("suite", SUITES)
def test_the_longest_identity_has_room(suite: str) -> None:
    """With every name as long as names are and all keys that it may have left, it fits its record."""
    kind, has_group = SUITES[suite], "ffdh" in suite
    signing, sealing = bytes(kind.signing_public_length), bytes(kind.sealing_public_length)
    identity = Identity(
        ua=UA,
        suite=suite,
        private=signing,
        public=signing,
        sealing_private=sealing,
        sealing_public=sealing,
        authority="a" * 32,
        authority_suite=suite,
        authority_public=signing,
        operator="o" * 32,
        operator_number="1" * 20,
        operator_suite=suite,
        operator_public=signing,
        session_form=AGREE_THEN_SIGN,
        dh_base=bytes(512 * has_group),
        dh_modulus=bytes(512 * has_group),
        allocator="h" * 32,
        allocator_number="1" * 20,
        operator_serial=(1 << 40) - 1,
        operator_left=bytes(LEFT_OCTETS * MAX_LEFT),
    )
    records = replace(STANDARD, suites=[suite]).records
    assert len(encode(identity)) <= records[Record.IDENTITY] - SLOT_HEAD.size
