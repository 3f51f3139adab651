"""A market whose operator speaks to its module under a keyset: the operator's side of that, made by hand."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from agents.handset.security_module.profile import STANDARD
from agents.messages.air import MANAGER_TAR, Connect, Connecting, Prove
from agents.messages.codec import decode, encode
from agents.messages.signed import Purpose, Signed
from tests.agents.module_kit import (
    OPERATOR_NUMBER,
    SECURED,
    UA,
    UNSECURED,
    Market,
    Operator,
    Replied,
    manage,
)
from transport.secured_packet import ResponseStatus, decode_response, encode_command
from transport.security.handshake import Credentials, responder
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN, Terms

if TYPE_CHECKING:
    from agents.messages.air import Answer
    from agents.messages.contact import Personalise
    from transport.secured_packet import ResponsePacket
    from transport.security.handshake import Side
    from transport.security.keyset import SessionKeys
    from transport.security.suites import SigningKey

EVERY: Final = replace(STANDARD, suites=list(SUITES), buffer=16_384)
"""A profile with all suites there are."""
ROOM: Final = 128 * 1024
"""A memory with room for their keys."""


@cache
def operator_key(suite: str) -> SigningKey:
    """Return an operator's key; one of RSA takes a while to make."""
    return SUITES[suite].generate_signing_key(random.Random(suite).randbytes)


@dataclass(slots=True, kw_only=True)
class KeysetMarket(Market):
    """A market with ``operator_session``; *keys* are the operator's, of the session that it made last."""

    session_form: str = AGREE_THEN_SIGN
    dh_base: bytes = b""
    dh_modulus: bytes = b""
    connects: int = 0
    packets: int = 0
    keys: SessionKeys | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        suite, self.operator_suite = self.operator_suite, "x25519"
        Market.__post_init__(self)
        self.operator_suite = self.operator.suite = suite
        self.operator.key = operator_key(suite)

    def personal(self, **changes: Any) -> Personalise:
        """Return what makes the module this market's, but for *changes*."""
        terms = {
            "session_form": self.session_form,
            "dh_base": self.dh_base,
            "dh_modulus": self.dh_modulus,
        }
        return Market.personal(self, **(terms | changes))

    def side(self, *, key: SigningKey | None = None, **changes: Any) -> Side:
        """Return the operator's side of a connection, but for *changes* of its terms."""
        terms: dict[str, Any] = {
            "suite": self.operator_suite,
            "form": self.session_form,
            "initiator": UA.encode(),
            "responder": self.operator.name.encode(),
            "tar": MANAGER_TAR,
            "initiator_suite": self.module_suite,
            "responder_suite": self.operator_suite,
            "dh_base": self.dh_base,
            "dh_modulus": self.dh_modulus,
        }
        credentials = Credentials(
            signing_key=key or self.operator.key, peer_signing_public=self.public or bytes(32)
        )
        return responder(Terms(**(terms | changes)), credentials, random.Random(self.connects).randbytes)

    def connection(self, *, counter: int | None = None, operator: Operator | None = None) -> bytes:
        """Return Connect, signed, in the next turn unless *counter* says another."""
        if counter is None:
            self.connects += 1
            counter = self.connects
        return (operator or self.operator).signed(Connect(), counter=counter, purpose=Purpose.CONNECTION)

    def opening(self, data: bytes = b"") -> bytes:
        """Have the module open a connection; return its first message, its proof checked."""
        replied = manage(self.card, data or self.connection())
        assert replied.status is ResponseStatus.POR_OK, self.card.reasons
        signed = decode(replied.data, Signed)
        assert (signed.signer, signed.target, signed.counter) == (UA, self.operator.name, self.connects)
        signed.verify(purpose=Purpose.CONNECTION, suite=self.module_suite, public=self.public)
        return decode(signed.body, Connecting).opening

    def proof(self, message: bytes) -> Replied:
        """Bring the module the operator's next message; return what it says."""
        return manage(self.card, encode(Prove(tar=MANAGER_TAR, proof=message)))

    def finish(self, side: Side, opening: bytes) -> int:
        """Carry a connection through from the module's *opening*; return how often the operator spoke."""
        said, count = side.receive(opening), 0
        while said is not None:
            count += 1
            replied = self.proof(said)
            assert replied.status is ResponseStatus.POR_OK, self.card.reasons
            said = side.receive(replied.data)
        self.keys, self.packets = side.keys, 0
        return count

    def open(self) -> KeysetMarket:
        """Have operator and module make a session."""
        side = self.side()
        self.finish(side, self.opening())
        return self

    def packet(self, data: bytes, *, counter: int | None = None, **changes: Any) -> bytes:
        """Return a packet under the session, in the next turn unless *counter* says another."""
        assert self.keys is not None
        if counter is None:
            self.packets += 1
            counter = self.packets
        terms: dict[str, Any] = {"spi": SECURED, "tar": MANAGER_TAR, "keys": self.keys.to_module} | changes
        return encode_command(data=data, counter=counter, **terms)

    def exchange(self, packet: bytes) -> ResponsePacket:
        """Send a packet; return the module's response, a promised one when it comes."""
        assert self.keys is not None
        return decode_response(self.responded(packet), spi=SECURED, keys=self.keys.from_module)

    def responded(self, packet: bytes) -> bytes:
        """Send a packet; return the module's response as it is, a promised one when it comes."""
        octets = self.card.download(packet)
        return self.card.take_response(OPERATOR_NUMBER) if self.card.sent else octets

    def bare(self, data: bytes) -> ResponseStatus:
        """Send *data* to the resource manager without a keyset; return the status."""
        return decode_response(
            self.card.download(encode_command(spi=UNSECURED, tar=MANAGER_TAR, data=data)), spi=UNSECURED
        ).status

    def command(self, command: object, **changes: Any) -> Answer:
        """Have the operator sign a command and send it under the session; return the module's answer."""
        response = self.exchange(self.packet(self.operator.signed(command, **changes)))
        assert response.proven
        assert response.counter == self.packets
        return self.answer(Replied(status=response.status, data=response.data))
