"""Sealed messages: from one role to another, encrypted to the receiver and signed by the sender.

Layout, all of it under the signature::

    format 01 | sender's suite | receiver's suite | serial (8) | 1+n sender | 1+n recipient    the header
    2+n  encapsulated key and ciphertext (HPKE base mode, info = label | context | header)
    signature to the end (as long as the sender's suite makes it)

Why it holds. HPKE's base mode hides the message but says nothing of its origin; the signature does. It
stands outside, over the ciphertext, so that a forgery is refused before a private key is used. Signing a
ciphertext that one did not make is the known trap: an attacker could strip the signature and put his own
name and signature on a message that he cannot read. Here the sender's name is inside HPKE's info, and the
message then does not open. The recipient's name is there too, and HPKE itself binds the recipient's key, so
that a message re-addressed or forwarded does not open or does not verify. ``context`` (what the message is
for) and ``serial`` are bound likewise.

What it does not do: remember. The same octets open as often as they come, so the caller keeps ``serial``: a
fresh random one in a question, and the same one in its answer. HPKE to a long-term key has no forward
secrecy against the loss of that key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from transport.errors import SealRejected, SignatureRejected
from transport.security.framing import check_name, framed
from transport.security.suites import SealingKey, SigningKey, suite, suite_by_id

FORMAT: Final = 1
SERIAL_OCTETS: Final = 8
MAX_MESSAGE_OCTETS: Final = 60_000
_MAX_CIPHERTEXT: Final = 0xFFFF
_FIXED: Final = 3 + SERIAL_OCTETS
_INFO: Final = "otafleet/1 sealed"
_SIGNED: Final = "otafleet/1 sealed signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedMessage:
    """A sealed message as it travels; names, suites and serial are readable by all and proven by none yet."""

    sender: str
    recipient: str
    sender_suite: str
    recipient_suite: str
    serial: bytes
    ciphertext: bytes
    signature: bytes

    def __post_init__(self) -> None:
        check_name("a sender", self.sender)
        check_name("a recipient", self.recipient)
        suite(self.recipient_suite)
        if len(self.serial) != SERIAL_OCTETS:
            raise ValueError(f"a serial is {SERIAL_OCTETS} octets")
        if len(self.ciphertext) > _MAX_CIPHERTEXT:
            raise ValueError(f"a ciphertext is at most {_MAX_CIPHERTEXT} octets")
        if len(self.signature) != suite(self.sender_suite).signature_length:
            raise ValueError(f"not the length of a signature of suite {self.sender_suite}")

    def encode(self) -> bytes:
        """Return the message's octets."""
        header = _header(self.sender, self.sender_suite, self.recipient, self.recipient_suite, self.serial)
        return header + len(self.ciphertext).to_bytes(2, "big") + self.ciphertext + self.signature

    @classmethod
    def parse(cls, octets: bytes) -> SealedMessage:
        """Return what *octets* say of themselves, so that the receiver can find the keys.

        Raises SealRejected: "malformed", "unknown-format", "unknown-suite".
        """
        if len(octets) < _FIXED:
            raise SealRejected("malformed", "shorter than its header")
        if octets[0] != FORMAT:
            raise SealRejected("unknown-format")
        sender_suite, recipient_suite = suite_by_id(octets[1]), suite_by_id(octets[2])
        if sender_suite is None or recipient_suite is None:
            raise SealRejected("unknown-suite")
        sender, offset = _take(octets, _FIXED, 1)
        recipient, offset = _take(octets, offset, 1)
        ciphertext, offset = _take(octets, offset, 2)
        try:
            return cls(
                sender=sender.decode("ascii"),
                recipient=recipient.decode("ascii"),
                sender_suite=sender_suite.name,
                recipient_suite=recipient_suite.name,
                serial=octets[3:_FIXED],
                ciphertext=ciphertext,
                signature=octets[offset:],
            )
        except ValueError as error:
            # A UnicodeDecodeError, which is one, would quote the octets: say only what is our own words.
            raise SealRejected("malformed", "" if isinstance(error, UnicodeError) else str(error)) from None


def _header(sender: str, sender_suite: str, recipient: str, recipient_suite: str, serial: bytes) -> bytes:
    names = b"".join(bytes([len(name)]) + name.encode("ascii") for name in (sender, recipient))
    return bytes([FORMAT, suite(sender_suite).wire_id, suite(recipient_suite).wire_id]) + serial + names


def _take(octets: bytes, offset: int, width: int) -> tuple[bytes, int]:
    start = offset + width
    end = start + int.from_bytes(octets[offset:start], "big")
    if start > len(octets) or end > len(octets):
        raise SealRejected("malformed", "a field runs past the end")
    return octets[start:end], end


def seal(
    message: bytes,
    *,
    context: bytes,
    sender: str,
    sender_key: SigningKey,
    recipient: str,
    recipient_public: bytes,
    recipient_suite: str,
    serial: bytes,
) -> bytes:
    """Return *message* (up to 60000 octets) sealed to *recipient*, signed by *sender*.

    ``context`` says what it is for and is not sent; ``serial`` is 8 octets. Raises ValueError for what is
    out of bounds, SealRejected("bad-public-key") when *recipient_public* is none.
    """
    if len(message) > MAX_MESSAGE_OCTETS:
        raise ValueError(f"a sealed message is at most {MAX_MESSAGE_OCTETS} octets")
    check_name("a sender", sender)
    check_name("a recipient", recipient)
    header = _header(sender, sender_key.suite, recipient, recipient_suite, serial)
    ciphertext = suite(recipient_suite).seal(recipient_public, message, framed(_INFO, context, header))
    sealed = SealedMessage(
        sender=sender,
        recipient=recipient,
        sender_suite=sender_key.suite,
        recipient_suite=recipient_suite,
        serial=serial,
        ciphertext=ciphertext,
        signature=sender_key.sign(framed(_SIGNED, context, header, ciphertext)),
    )
    return sealed.encode()


def open_sealed(
    sealed: SealedMessage,
    *,
    context: bytes,
    recipient: str,
    sealing_key: SealingKey,
    sender_public: bytes,
    sender_suite: str,
) -> bytes:
    """Return the message, proven to come from the owner of *sender_public* to *recipient* for *context*.

    The caller found *sender_public* under ``sealed.sender``. Raises SealRejected: "not-for-us",
    "wrong-suite", "bad-signature", "bad-public-key", "cannot-open".
    """
    if sealed.recipient != recipient:
        raise SealRejected("not-for-us")
    if (sealed.sender_suite, sealed.recipient_suite) != (sender_suite, sealing_key.suite):
        raise SealRejected("wrong-suite")
    header = _header(
        sealed.sender, sealed.sender_suite, sealed.recipient, sealed.recipient_suite, sealed.serial
    )
    try:
        signed = framed(_SIGNED, context, header, sealed.ciphertext)
        suite(sender_suite).verify(sender_public, signed, sealed.signature)
    except SignatureRejected as error:
        raise SealRejected(error.reason) from None
    return suite(sealing_key.suite).open(sealing_key, sealed.ciphertext, framed(_INFO, context, header))
