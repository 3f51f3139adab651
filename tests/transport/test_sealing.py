from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.security_kit import flipped, sealing_key, seeded, signing_key
from transport.errors import SealRejected
from transport.security.framing import framed
from transport.security.sealing import SealedMessage, open_sealed, seal
from transport.security.suites import ALL_SUITES, suite

OPERATOR = suite("x25519").generate_signing_key(seeded(1))
ROGUE = suite("x25519").generate_signing_key(seeded(2))
AUTHORITY = suite("p256").generate_sealing_key(seeded(3))
OTHER = suite("p256").generate_sealing_key(seeded(4))
MESSAGE = b"what module is 8988?"


def sealed(**changes: Any) -> bytes:
    """Return MESSAGE sealed by the operator to the authority, but for *changes*."""
    values: dict[str, Any] = {
        "context": b"lookup",
        "sender": "op",
        "sender_key": OPERATOR,
        "recipient": "ca",
        "recipient_public": AUTHORITY.public,
        "recipient_suite": "p256",
        "serial": b"serial-1",
    }
    return seal(changes.pop("message", MESSAGE), **(values | changes))


def opened(octets: bytes, **changes: Any) -> bytes:
    """Open *octets* as the authority does for a message of the operator, but for *changes*."""
    values: dict[str, Any] = {
        "context": b"lookup",
        "recipient": "ca",
        "sealing_key": AUTHORITY,
        "sender_public": OPERATOR.public,
        "sender_suite": "x25519",
    }
    return open_sealed(SealedMessage.parse(octets), **(values | changes))


GOOD = sealed()


def test_a_sealed_message_opens() -> None:
    """The receiver reads names and serial in clear, finds the keys by them, and opens the message."""
    parsed = SealedMessage.parse(GOOD)
    assert (parsed.sender, parsed.recipient, parsed.serial) == ("op", "ca", b"serial-1")
    assert opened(GOOD) == MESSAGE


def test_nothing_of_the_message_is_seen() -> None:
    """No four octets of the message appear in what travels, and sealing twice gives other octets."""
    assert not any(MESSAGE[at : at + 4] in GOOD for at in range(len(MESSAGE) - 3))
    assert sealed() != GOOD


@pytest.mark.parametrize("sender_suite", ALL_SUITES)
@pytest.mark.parametrize("recipient_suite", ALL_SUITES)
def test_every_pair_of_suites(sender_suite: str, recipient_suite: str) -> None:
    """Sender and receiver need not have the same suite; the empty and the longest message pass."""
    signer, opener = signing_key(sender_suite), sealing_key(recipient_suite)
    to = {"recipient_public": opener.public, "recipient_suite": recipient_suite}
    by = {"sealing_key": opener, "sender_public": signer.public, "sender_suite": sender_suite}
    for message in (b"", bytes(60_000)):
        assert opened(sealed(message=message, sender_key=signer, **to), **by) == message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipient": "ca2"}, "not-for-us"),
        ({"sender_suite": "p256"}, "wrong-suite"),
        ({"sealing_key": suite("x25519").generate_sealing_key(seeded(7))}, "wrong-suite"),
        ({"sender_public": ROGUE.public}, "bad-signature"),
        ({"sender_public": bytes(32)}, "bad-public-key"),
        ({"context": b"other"}, "bad-signature"),
        ({"sealing_key": OTHER}, "cannot-open"),
    ],
)
def test_a_message_that_is_not_what_was_expected(changes: dict[str, Any], reason: str) -> None:
    """Another receiver, suite, sender's key, context or receiver's key is refused, each with its reason."""
    with pytest.raises(SealRejected) as caught:
        opened(GOOD, **changes)
    assert caught.value.reason == reason


def resigned(message: SealedMessage, context: bytes = b"lookup") -> bytes:
    """Return *message* with the rogue's valid signature in place of the one it had."""
    # The layout that is signed: everything in clear before the ciphertext's two length octets.
    header = message.encode()[: -len(message.signature) - len(message.ciphertext) - 2]
    signed = framed("otafleet/1 sealed signature", context, header, message.ciphertext)
    return replace(message, signature=ROGUE.sign(signed)).encode()


def test_nobody_can_put_his_name_on_what_he_cannot_read() -> None:
    """A rogue who replaces name and signature by his own has a valid signature on what does not open."""
    stolen = resigned(replace(SealedMessage.parse(GOOD), sender="rogue"))
    with pytest.raises(SealRejected, match="cannot-open"):
        opened(stolen, sender_public=ROGUE.public)


@pytest.mark.parametrize(
    "changes", [{"serial": b"serial-2"}, {"recipient": "cb"}], ids=["serial", "recipient"]
)
def test_the_ciphertext_is_bound_to_its_header(changes: dict[str, Any]) -> None:
    """Even a signer whom the receiver trusts cannot move a ciphertext under another serial or recipient."""
    moved = resigned(replace(SealedMessage.parse(GOOD), **changes))
    with pytest.raises(SealRejected, match="cannot-open"):
        opened(moved, sender_public=ROGUE.public, recipient=changes.get("recipient", "ca"))


def test_the_ciphertext_is_bound_to_its_context() -> None:
    """A ciphertext made for one purpose does not open for another, whoever signs it again."""
    moved = resigned(SealedMessage.parse(GOOD), b"other")
    with pytest.raises(SealRejected, match="cannot-open"):
        opened(moved, sender_public=ROGUE.public, context=b"other")


def test_a_splice_of_two_messages_is_refused() -> None:
    """The ciphertext of one message under header and signature of another is refused."""
    first, second = SealedMessage.parse(GOOD), SealedMessage.parse(sealed(serial=b"serial-2"))
    with pytest.raises(SealRejected, match="bad-signature"):
        opened(replace(first, ciphertext=second.ciphertext).encode())


def test_altered_octets_never_open() -> None:
    """One altered bit anywhere is refused in parsing or in opening."""
    for at in range(len(GOOD)):
        with pytest.raises(SealRejected):
            opened(flipped(GOOD, at))


def test_cut_or_lengthened_octets_are_malformed() -> None:
    """Every prefix of a sealed message, and one with an octet behind it, is malformed."""
    for octets in [*(GOOD[:end] for end in range(len(GOOD))), GOOD + b"\0"]:
        with pytest.raises(SealRejected, match="malformed"):
            SealedMessage.parse(octets)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"\2" + GOOD[1:], "unknown-format"),
        (GOOD[:1] + b"\0" + GOOD[2:], "unknown-suite"),
        (GOOD[:2] + b"\0" + GOOD[3:], "unknown-suite"),
        (GOOD.replace(b"\2op", b"\2\xc3\xa9"), "malformed"),
        (GOOD.replace(b"\2op", b"\2o "), "malformed"),
        (GOOD.replace(b"\2ca", b"\0"), "malformed"),
    ],
)
def test_octets_that_are_no_sealed_message(octets: bytes, reason: str) -> None:
    """Another format, unknown suites and names outside their alphabet are refused with a reason."""
    with pytest.raises(SealRejected) as caught:
        SealedMessage.parse(octets)
    assert caught.value.reason == reason


@settings(deadline=None)
@given(st.binary(max_size=200).flatmap(lambda octets: st.sampled_from([octets, b"\1\1\2" + octets])))
def test_arbitrary_octets(octets: bytes) -> None:
    """Arbitrary octets are rejected in kind, or parse to what encodes to the same octets."""
    with suppress(SealRejected):
        assert SealedMessage.parse(octets).encode() == octets


@settings(deadline=None)
@given(
    names=st.tuples(*[st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)] * 2),
    serial=st.binary(min_size=8, max_size=8),
    ciphertext=st.binary(max_size=300),
    signature=st.binary(min_size=64, max_size=64),
)
def test_encoding_again_gives_the_same_octets(
    names: tuple[str, str], serial: bytes, ciphertext: bytes, signature: bytes
) -> None:
    """Any sealed message within bounds is parsed from its octets as itself."""
    message = SealedMessage(
        sender=names[0],
        recipient=names[1],
        sender_suite="x25519",
        recipient_suite="p256",
        serial=serial,
        ciphertext=ciphertext,
        signature=signature,
    )
    assert SealedMessage.parse(message.encode()) == message


def test_our_own_mistakes_are_value_errors() -> None:
    """Sealing what is too long, to or from what is no name, or with a short serial raises ValueError."""
    mistakes = ({"message": bytes(60_001)}, {"sender": ""}, {"recipient": "a b"}, {"serial": b"short"})
    for mistake in mistakes:
        with pytest.raises(ValueError, match=r"at most|must be|serial"):
            sealed(**mistake)
    with pytest.raises(ValueError, match="ciphertext"):
        replace(SealedMessage.parse(GOOD), ciphertext=bytes(65_536))


def test_sealing_to_what_is_no_key_is_a_rejection() -> None:
    """A receiver's key came from somebody else: one that is none is a rejection, not a crash."""
    with pytest.raises(SealRejected, match="bad-public-key"):
        sealed(recipient_public=bytes(33))
