"""The envelope of what proves itself: it holds for one signer, one target, one turn and one purpose."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.errors import MessageRejected
from agents.handset.security_module.profile import LIGHT_SUITES
from agents.messages.codec import decode, encode
from agents.messages.signed import Purpose, Signed, check_key, sign
from tests.agents.module_kit import OTHER_UA, UA
from transport.errors import SignatureRejected
from transport.security.suites import SUITES

EACH_SUITE = pytest.mark.parametrize("suite", sorted(LIGHT_SUITES))
BODY = b"body"
KEYS = {name: SUITES[name].generate_signing_key(random.Random(name).randbytes) for name in LIGHT_SUITES}
STRANGERS = {
    name: SUITES[name].generate_signing_key(random.Random(name + "!").randbytes) for name in LIGHT_SUITES
}


def _signed(suite: str, *, body: bytes = BODY, purpose: Purpose = Purpose.COMMAND) -> Signed:
    return sign(body, purpose=purpose, target=UA, counter=7, signer="mno", key=KEYS[suite])


def _refusal(signed: Signed, suite: str, **changes: Any) -> str:
    how: dict[str, Any] = {"purpose": Purpose.COMMAND, "suite": suite, "public": KEYS[suite].public} | changes
    with pytest.raises(SignatureRejected) as caught:
        signed.verify(**how)
    return caught.value.reason


@EACH_SUITE
@pytest.mark.parametrize("purpose", Purpose)
def test_what_was_signed_holds(suite: str, purpose: Purpose) -> None:
    """A signed body holds after its way over the wire, and is the very octets that were signed."""
    signed = decode(encode(_signed(suite, purpose=purpose)), Signed)
    signed.verify(purpose=purpose, suite=suite, public=KEYS[suite].public)
    assert (signed.body, signed.signer, signed.target, signed.counter) == (BODY, "mno", UA, 7)


@EACH_SUITE
@pytest.mark.parametrize(
    "changes",
    [
        {"target": OTHER_UA},
        {"counter": 8},
        {"counter": 6},
        {"body": b"bodY"},
        {"body": b""},
        {"signer": "mn0"},
    ],
    ids=str,
)
def test_nothing_signed_can_be_altered(suite: str, changes: dict[str, Any]) -> None:
    """Another target, counter, body or signer is another message, which nobody signed."""
    assert _refusal(dataclasses.replace(_signed(suite), **changes), suite) == "bad-signature"


@EACH_SUITE
@pytest.mark.parametrize("other", [each for each in Purpose if each is not Purpose.COMMAND])
def test_a_signature_serves_one_purpose(suite: str, other: Purpose) -> None:
    """A signature made for one purpose does not verify for another, whatever the envelope calls itself."""
    signed = _signed(suite, purpose=other)
    assert _refusal(signed, suite) == "purpose"
    assert _refusal(dataclasses.replace(signed, purpose=1), suite) == "bad-signature"
    assert _refusal(dataclasses.replace(_signed(suite), purpose=int(other)), suite) == "purpose"


@EACH_SUITE
def test_a_strangers_signature_does_not_hold(suite: str) -> None:
    """Another key's signature is refused, and so is a signature checked against another key."""
    forged = sign(BODY, purpose=Purpose.COMMAND, target=UA, counter=7, signer="mno", key=STRANGERS[suite])
    assert _refusal(forged, suite) == "bad-signature"
    assert _refusal(_signed(suite), suite, public=STRANGERS[suite].public) == "bad-signature"


@EACH_SUITE
@pytest.mark.parametrize("at", [0, 31, 32, 63])
def test_an_altered_signature_does_not_hold(suite: str, at: int) -> None:
    """One bit of the signature decides."""
    signed = _signed(suite)
    octets = bytearray(signed.signature)
    octets[at] ^= 1
    assert _refusal(dataclasses.replace(signed, signature=bytes(octets)), suite) == "bad-signature"


@EACH_SUITE
def test_a_key_that_is_none_is_refused(suite: str) -> None:
    """Octets that are no public key of the suite are a refusal, not a mistake of ours."""
    assert _refusal(_signed(suite), suite, public=b"\xff" * 40) == "bad-public-key"


def test_a_signature_of_another_suite_does_not_hold() -> None:
    """The suite is the verifier's to say: a signature of the other one is refused under either key."""
    assert _refusal(_signed("x25519"), "p256") == "bad-signature"
    assert _refusal(_signed("p256"), "x25519") == "bad-signature"


@settings(max_examples=50)
@given(left=st.binary(max_size=20), right=st.binary(max_size=20), cut=st.integers(0, 20))
def test_no_part_flows_into_another(left: bytes, right: bytes, cut: int) -> None:
    """Signer and body are kept apart: octets moved from one to the other make another message."""
    name, rest = (left + right).hex()[:cut], (left + right).hex()[cut:]
    signer, body = left.hex()[:32] or "x", right.hex().encode()
    signed = sign(body, purpose=Purpose.COMMAND, target=UA, counter=7, signer=signer, key=KEYS["x25519"])
    moved = dataclasses.replace(signed, signer=name or "x", body=rest.encode())
    if (moved.signer, moved.body) != (signer, body):
        assert _refusal(moved, "x25519") == "bad-signature"


@EACH_SUITE
@settings(max_examples=60)
@given(data=st.data())
def test_an_altered_octet_is_refused(suite: str, data: st.DataObject) -> None:
    """One altered octet anywhere in the envelope is refused."""
    octets = bytearray(encode(_signed(suite)))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises((MessageRejected, SignatureRejected)):
        decode(bytes(octets), Signed).verify(purpose=Purpose.COMMAND, suite=suite, public=KEYS[suite].public)


@EACH_SUITE
def test_a_key_of_the_suites_length_is_taken(suite: str) -> None:
    """A key as long as its suite's keys passes; one octet more or less, or no suite, does not."""
    public = KEYS[suite].public
    check_key(suite, public)
    for name, key, reason in (
        ("rsa", public, "unknown-suite"),
        (suite, public[:-1], "bad-public-key"),
        (suite, public + b"\0", "bad-public-key"),
    ):
        with pytest.raises(MessageRejected) as caught:
            check_key(name, key)
        assert caught.value.reason == reason
