"""Who would command a module in its operator's place, under a keyset, without one, or by somebody else's.

Each attack ends in a status and a reason. The session before stays as it was, the operator's next command
under it is obeyed, and its next handshake makes a session.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.handset.security_module.manager import ANNOUNCED
from agents.handset.security_module.memory import Memory, Record
from agents.messages.air import MANAGER_TAR, Announce, Compact, Connect, Prove, Release
from agents.messages.bearers import ANNOUNCEMENTS
from agents.messages.codec import encode
from agents.messages.signed import EVERYBODY, Purpose
from tests.agents.module_kit import (
    COMMAND,
    NOW,
    OPERATOR_NUMBER,
    OTHER_UA,
    SECURED,
    TAR,
    Operator,
    Replied,
    manage,
)
from tests.agents.operator_session_kit import KeysetMarket
from transport.cell_broadcast import GeographicScope, SerialNumber, split
from transport.concatenation import split as concatenated
from transport.secured_packet import (
    CELL_BROADCAST,
    CounterMode,
    Integrity,
    PorDemand,
    ResponseStatus,
    SecurityParameters,
    encode_command,
)
from transport.security.keyset import SessionKeys
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN, SIGN_THEN_AGREE
from transport.toolkit import Envelope, Tag

if TYPE_CHECKING:
    from collections.abc import Callable

FORMS: Final = (AGREE_THEN_SIGN, SIGN_THEN_AGREE)
REFUSED: Final = ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
STRANGER: Final = SUITES["x25519"].generate_signing_key(random.Random("stranger").randbytes)
SPEECHLESS: Final = replace(SECURED, por=PorDemand.NONE, por_integrity=Integrity.NONE, por_ciphering=False)
STRANGE_KEYS: Final = SessionKeys(index=1, keys=tuple(bytes([each]) * 16 for each in range(4)))


@pytest.fixture(name="market", params=FORMS)
def _market(request: pytest.FixtureRequest) -> KeysetMarket:
    """Return a module with a session and a resource."""
    market = KeysetMarket(session_form=request.param)
    market.personalise()
    market.open().reserve()
    return market


def _record(market: KeysetMarket) -> bytes | None:
    return Memory.boot(market.card.image).get_record(Record.SESSION)


def _check_unharmed(market: KeysetMarket, before: bytes | None) -> None:
    """Expect the session that there was, to carry a command, and that another one can be made."""
    assert _record(market) == before
    assert len(market.card.module.definitions.all()) == 1
    assert market.command(Compact()).reason == ""
    assert market.open().command(Compact()).reason == ""


def _reason(market: KeysetMarket, replied: Replied) -> str:
    """Return why the module refused; what it says to that proves nothing, and so says nothing."""
    assert (replied.status, replied.data) == (REFUSED, b"")
    return market.card.reasons[-1]


# The handshake


def _m2(market: KeysetMarket, opening: bytes, **changes: Any) -> bytes:
    said = market.side(**changes).receive(opening)
    assert said is not None
    return said


def _reflected(_market: KeysetMarket, opening: bytes) -> bytes:
    return opening


def _form_of_another(market: KeysetMarket, opening: bytes) -> bytes:
    said = _m2(market, opening)
    return bytes([said[0] ^ 0x20]) + said[1:]


IMPOSTORS: Final[dict[str, tuple[Callable[[KeysetMarket, bytes], bytes], set[str]]]] = {
    "another-operators-key": (lambda market, m1: _m2(market, m1, key=STRANGER), {"bad-signature"}),
    "for-another-module": (
        lambda market, m1: _m2(market, m1, initiator=OTHER_UA.encode()),
        {"bad-signature"},
    ),
    "another-operators-name": (lambda market, m1: _m2(market, m1, responder=b"other"), {"bad-signature"}),
    "for-a-resource": (lambda market, m1: _m2(market, m1, tar=TAR), {"bad-signature"}),
    "another-keyset": (lambda market, m1: _m2(market, m1, key_index=2), {"bad-signature"}),
    "weaker-protection": (lambda market, m1: _m2(market, m1, protection="des"), {"bad-signature"}),
    "reflected": (_reflected, {"out-of-order", "wrong-role", "unknown-message"}),
    "form-of-another": (_form_of_another, {"wrong-form", "unknown-message"}),
    "nothing": (lambda _market, _m1: b"", {"unknown-message"}),
}


@pytest.mark.parametrize("name", IMPOSTORS)
def test_who_answers_in_the_operators_place(market: KeysetMarket, name: str) -> None:
    """By another key, for another module, resource, form or protection, or with the module's own words."""
    make, reasons = IMPOSTORS[name]
    before, opening = _record(market), market.opening()
    assert _reason(market, market.proof(make(market, opening))) in reasons
    # The attempt is not lost by what anybody may have sent.
    assert _record(market) == before
    market.finish(market.side(), opening)
    assert _record(market) != before
    _check_unharmed(market, _record(market))


def test_no_octet_of_a_message_may_be_another(market: KeysetMarket) -> None:
    """Tag, nonce, share, signature, MAC: altered anywhere, cut or lengthened, a message is refused."""
    before, opening = _record(market), market.opening()
    said = market.side().receive(opening)
    assert said is not None
    wrong = [said[:at] + bytes([said[at] ^ 1]) + said[at + 1 :] for at in range(len(said))]
    wrong += [said[:length] for length in range(0, len(said), 9)] + [said + b"\0"]
    for octets in wrong:
        assert market.proof(octets).status is REFUSED
    _check_unharmed(market, before)


def test_a_message_of_an_earlier_attempt(market: KeysetMarket) -> None:
    """Recorded in one connection, the operator's words are worth nothing in the next one."""
    recorded = []
    side = market.side()
    said = side.receive(market.opening())
    while said is not None:
        recorded.append(said)
        said = side.receive(market.proof(said).data)
    market.keys, market.packets = side.keys, 0
    before = _record(market)
    for octets in recorded:
        assert _reason(market, market.proof(octets)) == "no-open-call"
    market.opening()
    for octets in recorded:
        assert _reason(market, market.proof(octets)) in ("bad-signature", "out-of-order")
    _check_unharmed(market, before)


def test_words_of_two_attempts_do_not_go_together() -> None:
    """The second of two attempts is not ended by the last words of the first, nor by its own out of order."""
    market = KeysetMarket(session_form=SIGN_THEN_AGREE)
    market.personalise()
    market.open().reserve()
    before = _record(market)
    first = market.side()
    m2 = first.receive(market.opening())
    assert m2 is not None
    m4 = first.receive(market.proof(m2).data)
    assert m4 is not None
    second = market.side()
    other = second.receive(market.opening())
    assert other is not None
    assert _reason(market, market.proof(m4)) == "out-of-order"
    assert market.proof(other).status is ResponseStatus.POR_OK
    assert _reason(market, market.proof(m4)) == "bad-signature"
    assert _reason(market, market.proof(other)) == "out-of-order"
    _check_unharmed(market, before)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": STRANGER}, "signature"),
        ({"signer": "other"}, "not-our-operator"),
        ({"ua": OTHER_UA}, "meant-for-another"),
        ({"ua": EVERYBODY}, "signature"),
        ({"purpose": Purpose.COMMAND}, "keyset-required"),
        ({"purpose": Purpose.ANSWER}, "keyset-required"),
    ],
    ids=["a-stranger", "another-operator", "another-module", "everybody", "a-command", "an-answer"],
)
def test_a_connect_that_is_not_the_operators(
    market: KeysetMarket, changes: dict[str, Any], reason: str
) -> None:
    """Another key, name, target or purpose opens nothing."""
    before = _record(market)
    terms = {"counter": market.connects + 1, "purpose": Purpose.CONNECTION} | changes
    replied = manage(market.card, market.operator.signed(Connect(), **terms))
    assert _reason(market, replied) == reason
    assert _reason(market, market.proof(b"\x12")) == "no-open-call"
    _check_unharmed(market, before)


def test_a_connect_replayed(market: KeysetMarket) -> None:
    """An old one opens nothing; the last one, while its call is open, gets what it got."""
    before, connect = _record(market), market.connection()
    opening = market.opening(connect)
    side = market.side()
    market.finish(side, opening)
    made = _record(market)
    assert made != before
    for octets in (connect, market.connection(counter=1)):
        assert _reason(market, manage(market.card, octets)) == "replayed"
    _check_unharmed(market, made)


def test_a_command_signed_as_a_connect_is_none(market: KeysetMarket) -> None:
    """Under its own purpose a body that is no Connect does nothing, bare or under the keyset."""
    before = _record(market)
    signed = market.operator.signed(Release(tar=TAR), counter=market.connects + 1, purpose=Purpose.CONNECTION)
    assert _reason(market, manage(market.card, signed)) == "unexpected-message"
    _check_unharmed(market, before)


# Packets


def test_no_downgrade(market: KeysetMarket) -> None:
    """However well it is signed, a command that comes bare is refused, and says so in the module's notes."""
    before, turns = _record(market), market.operator.counter
    assert _reason(market, manage(market.card, market.operator.signed(Release(tar=TAR)))) == (
        "keyset-required"
    )
    market.operator.counter = turns
    _check_unharmed(market, before)


def test_no_command_before_there_is_a_session() -> None:
    """A module that waits for its first session does not take the first command bare either."""
    market = KeysetMarket()
    market.personalise()
    assert _reason(market, manage(market.card, market.operator.signed(Compact()))) == "keyset-required"
    octets = market.card.download(_under(market, STRANGE_KEYS))
    assert octets[-1] == ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert market.card.reasons[-1] == "no-session"
    assert market.open().command(Compact()).reason == ""


def _under(market: KeysetMarket, keys: SessionKeys, **changes: Any) -> bytes:
    terms: dict[str, Any] = {"spi": SECURED, "tar": MANAGER_TAR, "keys": keys.to_module, "counter": 1000}
    return encode_command(data=market.operator.signed(Compact()), **(terms | changes))


def test_an_announcement_goes_bare_by_broadcast_alone(market: KeysetMarket) -> None:
    """What is for everybody has no keyset; the same octets in a short message are refused."""
    before = _record(market)
    terms: dict[str, Any] = {"ua": EVERYBODY, "counter": 9, "purpose": Purpose.ANNOUNCEMENT}
    signed = market.operator.signed(Announce(time=int(NOW)), **terms)
    assert _reason(market, manage(market.card, signed)) == "keyset-required"
    packet = encode_command(spi=SecurityParameters(), tar=MANAGER_TAR, data=signed, dialect=CELL_BROADCAST)
    serial = SerialNumber(scope=GeographicScope.PLMN, code=1, update=0)
    for page in split(packet, serial, ANNOUNCEMENTS):
        market.card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))
    assert market.card.notes[-1].name == ANNOUNCED
    _check_unharmed(market, before)


def test_a_keyset_is_for_no_broadcast(market: KeysetMarket) -> None:
    """A command under the session's keys that comes by broadcast does nothing: it could not be answered."""
    before = _record(market)
    assert market.keys is not None
    packet = _under(market, market.keys, dialect=CELL_BROADCAST, spi=SPEECHLESS)
    serial = SerialNumber(scope=GeographicScope.PLMN, code=2, update=0)
    for page in split(packet, serial, ANNOUNCEMENTS):
        market.card.envelope(Envelope(tag=Tag.CELL_BROADCAST_DOWNLOAD, page=page.encode()))
    assert market.card.reasons
    market.operator.counter -= 1
    _check_unharmed(market, before)


def test_packets_of_the_old_session(market: KeysetMarket) -> None:
    """Recorded or made with its keys, they open nothing once there is a new one."""
    recorded = market.packet(market.operator.signed(Compact()))
    assert market.exchange(recorded).status is ResponseStatus.POR_OK
    old = market.keys
    assert old is not None
    market.open()
    before = _record(market)
    for packet in (recorded, _under(market, old)):
        octets = market.card.download(packet)
        assert octets[-1] != ResponseStatus.POR_OK
        assert market.card.reasons[-1] == "checksum"
    market.operator.counter -= 1
    _check_unharmed(market, before)


def test_a_counter_is_used_once(market: KeysetMarket) -> None:
    """The same packet again, and one with a lower counter, are CNTR LOW, and proven to be."""
    packet = market.packet(market.operator.signed(Compact()), counter=50)
    assert market.exchange(packet).status is ResponseStatus.POR_OK
    before = _record(market)
    lower = market.packet(market.operator.signed(Compact()), counter=49)
    for each in (packet, lower):
        response = market.exchange(each)
        assert (response.status, response.proven) == (ResponseStatus.CNTR_LOW, True)
        assert market.card.reasons[-1] == "counter"
    market.operator.counter -= 1
    market.packets = 50
    _check_unharmed(market, before)


@pytest.mark.parametrize(
    "spi",
    [
        replace(SECURED, counter=CounterMode.NO_CHECK),
        replace(SECURED, counter=CounterMode.NONE),
        replace(SECURED, ciphering=False),
        replace(SECURED, integrity=Integrity.NONE),
    ],
    ids=["counter-unchecked", "no-counter", "not-ciphered", "no-checksum"],
)
def test_no_packet_below_the_minimum_security_level(market: KeysetMarket, spi: SecurityParameters) -> None:
    """Ciphering, checksum and a counter that rises: a packet that lacks one of them is refused."""
    before = _record(market)
    assert market.keys is not None
    market.card.download(_under(market, market.keys, spi=spi))
    assert market.card.reasons[-1] == "minimum-security-level"
    market.operator.counter -= 1
    _check_unharmed(market, before)


def test_keys_of_another_session(market: KeysetMarket) -> None:
    """Whoever's they are: a stranger's, the module's own direction, a supplier's; and ours at a resource."""
    market.connect()
    before = _record(market)
    assert market.keys is not None
    assert market.supplier.keys is not None
    ways = market.keys.keys
    reflected = SessionKeys(index=market.keys.index, keys=ways[2:] + ways[:2])
    for keys in (STRANGE_KEYS, reflected, market.supplier.keys):
        assert market.card.download(_under(market, keys))[-1] != ResponseStatus.POR_OK
        assert market.card.reasons[-1] == "checksum"
    market.card.download(_under(market, market.keys, tar=TAR))
    assert market.card.reasons[-1] == "checksum"
    market.operator.counter -= 4
    _check_unharmed(market, before)


def test_the_modules_own_response_comes_back(market: KeysetMarket) -> None:
    """Sent to it as a command, as it is or in a command's clothes, it is no packet of the operator's."""
    response = market.card.download(market.packet(market.operator.signed(Compact())))
    before = _record(market)
    header = market.packet(b"")[:10]
    for octets in (response, header + response[6:]):
        framed = (len(octets) - 2).to_bytes(2, "big") + octets[2:]
        market.card.download(framed)
        assert market.card.reasons
    _check_unharmed(market, before)


def test_no_octet_of_a_packet_may_be_another(market: KeysetMarket) -> None:
    """Header, counter, checksum, data: altered or cut anywhere, nothing is done and no counter is used."""
    packet = market.packet(market.operator.signed(Release(tar=TAR)))
    market.operator.counter -= 1
    before = _record(market)
    wrong = [packet[:at] + bytes([packet[at] ^ 1]) + packet[at + 1 :] for at in range(2, len(packet))]
    wrong += [(at - 2).to_bytes(2, "big") + packet[2:at] for at in range(12, len(packet), 5)]
    for reference, octets in enumerate(wrong):
        market.card.notes.clear()
        parts = concatenated(octets, reference=reference % 256, first=COMMAND)
        taken = [market.card.deliver(part, sender=OPERATOR_NUMBER).is_good for part in parts]
        assert not all(taken) or market.card.reasons
        assert _record(market) == before
    _check_unharmed(market, before)


def test_who_has_the_keys_alone_is_not_the_operator(market: KeysetMarket) -> None:
    """Inside, each command is signed as it ever was; one that is not has used its counter, and is told so."""
    stranger = Operator(suite="x25519", name="stranger")
    for signed, reason in (
        (stranger.signed(Release(tar=TAR)), "not-our-operator"),
        (market.operator.signed(Release(tar=TAR), key=STRANGER), "signature"),
        (market.operator.signed(Release(tar=TAR), ua=OTHER_UA), "meant-for-another"),
        (b"no message", "not-msgpack"),
        (encode(Compact()), "unexpected-message"),
        (encode(Prove(tar=TAR, proof=b"")), "no-open-call"),
    ):
        response = market.exchange(market.packet(signed))
        assert (response.status, response.proven) == (REFUSED, True)
        assert market.card.reasons[-1] == reason
    market.operator.counter -= 2
    _check_unharmed(market, _record(market))


def test_whatever_comes_there_is_an_answer_and_no_harm(market: KeysetMarket) -> None:
    """Arbitrary data under the keyset, and arbitrary octets in a handshake, never raise."""
    rng = random.Random(3)
    for length in (0, 1, 2, 17, 64, 200):
        assert market.exchange(market.packet(rng.randbytes(length))).status is REFUSED
        market.opening()
        assert market.proof(rng.randbytes(length)).status is REFUSED
    _check_unharmed(market, _record(market))
