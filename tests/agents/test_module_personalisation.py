"""PERS over the contacts: a blank module becomes somebody's, once, and its private key never leaves."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from agents.handset.security_module.core import Core
from agents.handset.security_module.errors import MemoryFull
from agents.handset.security_module.module import INS_STORE_DATA
from agents.handset.security_module.personalisation import LAST_BLOCK, MAX_OCTETS
from agents.handset.security_module.profile import LIGHT_SUITES, STANDARD
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys
from agents.messages.signed import Purpose, Signed
from tests.agents.module_kit import OTHER_UA, UA, Card, Market
from transport import apdu
from transport.errors import SignatureRejected
from transport.security.suites import SUITES

EACH_SUITE = pytest.mark.parametrize("suite", sorted(LIGHT_SUITES))


def _refused(card: Card, message: bytes) -> tuple[int, str]:
    """Personalise in vain; return the status word and the reason noted. Nothing has changed then."""
    before = card.image
    status = card.store_data(message).status
    assert card.image == before
    assert card.module.ua is None
    return status, card.reasons[-1] if card.reasons else ""


ROOMY: dict[str, Any] = {
    "size": 65_536,
    "module_profile": replace(STANDARD, suites=[*LIGHT_SUITES, "rsa-ffdh", "rsa-2048-ffdh"]),
}
"""Of a module that can check long keys too."""


@pytest.fixture
def lengthy() -> bytes:
    """Return a personalisation of three blocks: the keys of others in it are of RSA."""
    key = b"\xff" * 384
    terms = {"authority_suite": "rsa-ffdh", "authority_public": key}
    terms |= {"operator_suite": "rsa-2048-ffdh", "operator_public": key[:256]}
    message = encode(Market().personal(**terms))
    assert 510 < len(message) <= 765
    return message


@EACH_SUITE
def test_a_module_becomes_somebodys(suite: str) -> None:
    """The module makes a key pair of the suite asked for and proves that it holds the private key."""
    market = Market(module_suite=suite).personalise()
    assert market.card.module.ua == UA
    assert len(market.public) == SUITES[suite].signing_public_length
    assert [note.name for note in market.card.notes] == ["module.personalised"]


@EACH_SUITE
def test_the_proof_is_for_the_authority_alone(suite: str) -> None:
    """The proof of possession names the authority and serves no other purpose."""
    market = Market(module_suite=suite).personalise()
    possession = decode(market.card.get_data().data, Signed)
    assert possession.target == "root"
    for purpose in (Purpose.COMMAND, Purpose.ANSWER, Purpose.REQUEST):
        with pytest.raises(SignatureRejected, match="purpose"):
            possession.verify(purpose=purpose, suite=suite, public=market.public)
        with pytest.raises(SignatureRejected, match="bad-signature"):
            replace(possession, purpose=int(purpose)).verify(
                purpose=purpose, suite=suite, public=market.public
            )


@EACH_SUITE
def test_the_public_key_can_be_asked_for_again(suite: str) -> None:
    """GET DATA says the same key as personalisation did, also after a power cut."""
    market = Market(module_suite=suite).personalise()
    for _ in range(2):
        response = market.card.get_data()
        assert response.status == apdu.SW_OK
        assert decode(decode(response.data, Signed).body, ModuleKeys).signing == market.public
        market.card.power_cycle()


def test_two_modules_have_two_keys() -> None:
    """Each module draws its own key."""
    first, second = Market(), Market()
    second.card = Card(seed=2)
    assert first.personalise().public != second.personalise().public


def test_a_blank_module_has_no_key() -> None:
    """Before it is personalised there is nothing to ask for."""
    assert Card().get_data().status == apdu.SW_CONDITIONS_NOT_SATISFIED


@EACH_SUITE
def test_the_private_key_never_leaves(suite: str) -> None:
    """The private key is in the image, once, and in nothing that the module says."""
    market = Market(module_suite=suite)
    card = market.card
    said = card.store_data(encode(market.personal())).data + card.get_data().data
    public = decode(decode(card.get_data().data, Signed).body, ModuleKeys).signing
    operating_area = card.image[:4096]
    places = [at for at in range(4096 - 32) if _public(suite, operating_area[at : at + 32]) == public]
    assert len(places) == 1
    assert operating_area[places[0] : places[0] + 32] not in said


def _public(suite: str, octets: bytes) -> bytes:
    """Return the public key of what may be a private one, or nothing."""
    try:
        return SUITES[suite].load_signing_key(octets).public
    except ValueError:
        return b""


@pytest.mark.parametrize("cycle", [False, True], ids=["at-once", "after-a-power-cut"])
def test_a_second_personalisation_is_refused(cycle: bool) -> None:  # noqa: FBT001 -- a case, not a switch
    """A module that is somebody's stays so: the command is not there any more, and nothing changes."""
    market = Market().personalise()
    if cycle:
        market.card.power_cycle()
    before = market.card.image
    response = market.card.store_data(encode(market.personal(ua=OTHER_UA)))
    assert response.status == apdu.SW_INS_NOT_SUPPORTED
    assert market.card.reasons == ["already-personalised"]
    assert market.card.image == before
    assert market.card.module.ua == UA


@pytest.mark.parametrize("field", ["suite", "operator_suite", "authority_suite"])
def test_an_unknown_suite_is_refused(field: str) -> None:
    """A module does not take a suite that it has not got."""
    market = Market()
    message = encode(market.personal(**{field: "rot13"}))
    assert _refused(market.card, message) == (apdu.SW_WRONG_DATA, "unknown-suite")
    market.personalise()


@pytest.mark.parametrize(
    ("message", "reason"),
    [(b"\xc1", "not-msgpack"), (b"\x90", "unexpected-message"), (b"\x92\x1e\x00", "wrong-field-count")],
)
def test_what_is_no_personalisation_is_refused(message: bytes, reason: str) -> None:
    """Octets that are no such message change nothing; the module can still be personalised."""
    market = Market()
    assert _refused(market.card, message) == (apdu.SW_WRONG_DATA, reason)
    market.personalise()


def test_blocks_come_in_order(lengthy: bytes) -> None:
    """A block that is not the next one starts it all anew; the same blocks in order then succeed."""
    first, second, third = lengthy[:255], lengthy[255:510], lengthy[510:]
    card = Card(**ROOMY)
    assert card.transmit(INS_STORE_DATA, second, p2=1).status == apdu.SW_WRONG_PARAMETERS
    assert card.transmit(INS_STORE_DATA, first, p2=0).status == apdu.SW_OK
    assert card.transmit(INS_STORE_DATA, third, p2=2).status == apdu.SW_WRONG_PARAMETERS
    assert card.transmit(INS_STORE_DATA, second, p2=1).status == apdu.SW_WRONG_PARAMETERS
    assert card.module.ua is None
    assert card.store_data(lengthy).status == apdu.SW_OK
    assert card.module.ua == UA


def test_the_first_block_begins_anew(lengthy: bytes) -> None:
    """A machine that was stopped in the middle begins again with block 0."""
    card = Card(**ROOMY)
    assert card.transmit(INS_STORE_DATA, lengthy[:255], p2=0).status == apdu.SW_OK
    assert card.store_data(lengthy).status == apdu.SW_OK


def test_a_power_cut_forgets_blocks(lengthy: bytes) -> None:
    """Blocks wait in volatile memory: after a power cut the next one is out of order."""
    card = Card()
    card.transmit(INS_STORE_DATA, lengthy[:255], p2=0)
    card.power_cycle()
    response = card.transmit(INS_STORE_DATA, lengthy[255:510], p1=LAST_BLOCK, p2=1)
    assert response.status == apdu.SW_WRONG_PARAMETERS
    assert card.module.ua is None


def test_blocks_are_bounded() -> None:
    """A message that never ends is refused before it takes more memory than the longest one may."""
    card = Card()
    numbers = range(MAX_OCTETS // 255)
    for number in numbers:
        assert card.transmit(INS_STORE_DATA, bytes(255), p2=number).status == apdu.SW_OK
    over = card.transmit(INS_STORE_DATA, bytes(255), p2=len(numbers))
    assert over.status == apdu.SW_WRONG_PARAMETERS


def test_a_personalisation_too_large_for_the_record_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that the memory has no room for is refused with its reason, not a crash; nothing changes."""
    market = Market()

    def full(*_: object) -> None:
        raise MemoryFull("record-too-large")

    with monkeypatch.context() as patched:
        # No key that is one is long enough for it: the memory has to say so by itself.
        patched.setattr(Core, "keep_identity", full)
        assert _refused(market.card, encode(market.personal())) == (apdu.SW_WRONG_DATA, "record-too-large")
    market.personalise()


def test_an_address_of_other_scripts_digits_is_refused() -> None:
    """A UA whose digits are not ASCII could never be signed with: it is refused before it is stored."""
    market = Market()
    arabic = UA.translate({ord("0") + digit: 0x660 + digit for digit in range(10)})
    message = encode(market.personal()).replace(encode_text(UA), encode_text(arabic))
    status, reason = _refused(market.card, message)
    assert (status, reason) == (apdu.SW_WRONG_DATA, "bad-field")


def encode_text(text: str) -> bytes:
    """Return *text* as msgpack has a short one."""
    octets = text.encode()
    head = bytes((0xA0 | len(octets),)) if len(octets) < 32 else bytes((0xD9, len(octets)))
    return head + octets


@pytest.mark.parametrize("field", ["operator_public", "authority_public"])
@pytest.mark.parametrize("length", [16, 31, 33, 500])
def test_a_key_that_is_none_is_refused(field: str, length: int) -> None:
    """A key that is not as long as its suite's keys are is refused before the module is anybody's."""
    market = Market()
    message = encode(market.personal(**{field: bytes(length)}))
    assert _refused(market.card, message) == (apdu.SW_WRONG_DATA, "bad-public-key")
    market.personalise()


@EACH_SUITE
def test_keys_that_were_made_for_it(suite: str) -> None:
    """A module takes both private halves, and proves the public ones."""
    made = SUITES[suite]
    rng = random.Random(suite).randbytes
    signing, sealing = made.generate_signing_key(rng), made.generate_sealing_key(rng)
    market = Market(module_suite=suite)
    market.personalise(private=signing.private, sealing_private=sealing.private)
    assert (market.public, market.sealing_public) == (signing.public, sealing.public)
    market.card.power_cycle()
    market.reserve()


PRIVATE = SUITES["x25519"].generate_signing_key(random.Random(1).randbytes).private


@pytest.mark.parametrize(
    "halves",
    [
        {"private": PRIVATE},
        {"sealing_private": PRIVATE},
        {"private": PRIVATE[:31], "sealing_private": PRIVATE},
        {"private": PRIVATE, "sealing_private": PRIVATE + b"\0"},
        {"private": bytes(8192), "sealing_private": PRIVATE},
    ],
    ids=["no-sealing-key", "no-signing-key", "too-short", "too-long", "much-too-long"],
)
def test_private_keys_that_are_none(halves: dict[str, Any]) -> None:
    """They are refused before the module is anybody's, and no note or answer tells them."""
    market = Market()
    message = encode(market.personal(**halves))
    status = (apdu.SW_WRONG_DATA, "bad-private-key")
    if len(message) > MAX_OCTETS:
        assert market.card.store_data(message).status == apdu.SW_WRONG_PARAMETERS
    else:
        assert _refused(market.card, message) == status
    market.personalise()


def test_an_operator_whose_key_comes_later() -> None:
    """Without one there is no serial of one either, and its suite is still one that the module must have."""
    market = Market()
    for changes, reason in (
        ({"operator_serial": 1}, "bad-public-key"),
        ({"operator_suite": "rot13"}, "unknown-suite"),
        ({"operator_suite": "pq-hybrid"}, "unsupported-suite"),
    ):
        terms: dict[str, Any] = {"operator_public": b"", **changes}
        message = encode(market.personal(**terms))
        assert _refused(market.card, message) == (apdu.SW_WRONG_DATA, reason)
    market.personalise(operator_public=b"")
