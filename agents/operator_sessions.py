"""An operator's secure connections to its modules: its commands under a keyset, where the config says so.

A module that was personalised for it takes commands under the keyset of a session and not otherwise. The
operator, or the allocator in its place, makes one before its first command, and another when a module does
not know the session or the call, or what it says does not hold: once, then the same stored command goes
again. Whoever was stopped between the two ends of a handshake finds that out with the next command, so
nothing else is kept of it. Connect has turns of its own (the module's ``operator_session`` says why), and a
packet a counter; both are stored before anything leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agents.directory import keys_in
from agents.errors import MessageRejected, PacketRefused
from agents.hands import OwnHand
from agents.messages.air import MANAGER_TAR, Connect, Connecting, Prove
from agents.messages.codec import decode, encode
from agents.messages.signed import Purpose, Signed, sign
from agents.store.registry import Registry
from agents.store.tables import OPERATOR_SESSIONS
from transport.errors import PacketRejected
from transport.secured_packet import ResponseStatus
from transport.security.handshake import Credentials, responder
from transport.security.keyset import SessionKeys
from transport.security.terms import AGREE_THEN_SIGN, Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Table

    from agents.exchange import Exchange
    from agents.messages.inside import PublicKeys
    from agents.role import Desk
    from agents.store.group_commit import GroupCommit
    from bus.frame import TraceContext
    from transport.security.handshake import Side
    from transport.security.suites import SigningKey

_LOST: Final = frozenset(
    status.reason
    for status in (
        ResponseStatus.UNIDENTIFIED_SECURITY_ERROR,
        ResponseStatus.INTEGRITY_FAILED,
        ResponseStatus.CIPHERING_ERROR,
        ResponseStatus.CNTR_LOW,
        ResponseStatus.CNTR_BLOCKED,
    )
)
"""What a module says, under the keys that it has, of a packet that another session would mend. What it says
without keys anybody may say in its place, and has the two of them make a session: that is all that comes of
it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """What an operator and its modules make their sessions with: the form, and b and M, big-endian."""

    form: str = AGREE_THEN_SIGN
    dh_base: bytes = b""
    """Empty when the operator's suite has its own."""
    dh_modulus: bytes = b""


class KeysetHand(OwnHand):
    """The hand of who commands modules under a keyset."""

    def __init__(
        self,
        desk: Desk,
        store: GroupCommit,
        terms: SessionTerms,
        *,
        modules: Registry,
        key_of: Callable[[str], SigningKey] | None = None,
        table: Table = OPERATOR_SESSIONS,
    ) -> None:
        """Take the *terms* of all sessions, the *modules* that are known, and which key each goes by.

        *modules* have the module's address for their key and a ``certificate``; *table* keeps the sessions.
        """
        super().__init__(desk, key_of)
        self._terms = terms
        self._modules = modules
        self._sessions = Registry(store, table)

    async def load(self) -> None:
        """Read what the store holds."""
        await self._sessions.load()

    async def deliver(self, ua: str, turn: int, octets: bytes, trace: TraceContext) -> bytes:
        """Send what was written to the module's resource manager, under a session; return its answer."""
        del turn  # it is in what was signed
        try:
            if self._row(ua)["session"] is None:
                await self._connect(ua, trace)
            return await self._send(ua, octets, trace)
        except (PacketRefused, PacketRejected) as failure:
            if isinstance(failure, PacketRefused) and failure.proven and failure.reason not in _LOST:
                raise
            self._desk.log.info("session.lost", ua=ua, reason=failure.reason)
        await self._connect(ua, trace)
        return await self._send(ua, octets, trace)

    async def _send(self, ua: str, octets: bytes, trace: TraceContext) -> bytes:
        row = self._row(ua)
        # Whether a packet was taken that was never answered, nobody knows: each has a counter of its own.
        counter = row["counter"] + 1
        await self._sessions.put({**row, "counter": counter})
        keys = SessionKeys.load(row["session"])
        return await self._exchange.command(ua, MANAGER_TAR, octets, keys=keys, counter=counter, trace=trace)

    async def _connect(self, ua: str, trace: TraceContext) -> None:
        """Make a session with module *ua*. Raises Rejected if it does not hold, and what an exchange does."""
        module = self._modules.get(ua)
        assert module is not None, "nobody commands a module before it is known"
        keys = keys_in(module["certificate"])
        side = self._side(ua, keys)
        said = side.receive(await self._opening(ua, keys, trace))
        # Once or twice, as the form has it: what we say is answered with the module's next message.
        while said is not None:
            message = encode(Prove(tar=MANAGER_TAR, proof=said))
            said = side.receive(await self._exchange.manage(ua, message, trace=trace))
        await self._sessions.put({**self._row(ua), "session": side.keys.dump(), "counter": 0})
        self._desk.log.info("session.opened", ua=ua)

    async def _opening(self, ua: str, keys: PublicKeys, trace: TraceContext) -> bytes:
        """Have the module open a connection; return its first message, which it has signed."""
        row, name = self._row(ua), self._desk.keys.name
        turn = row["connects"] + 1
        await self._sessions.put({**row, "connects": turn})
        connect = sign(
            encode(Connect()),
            purpose=Purpose.CONNECTION,
            target=ua,
            counter=turn,
            signer=name,
            key=self._key_of(ua),
        )
        signed = decode(await self._exchange.manage(ua, encode(connect), trace=trace), Signed)
        if (signed.signer, signed.target, signed.counter) != (ua, name, turn):
            raise MessageRejected("answer-of-another")
        signed.verify(purpose=Purpose.CONNECTION, suite=keys.suite, public=keys.signing_public)
        return decode(signed.body, Connecting).opening

    def _side(self, ua: str, keys: PublicKeys) -> Side:
        key, terms = self._key_of(ua), self._terms
        return responder(
            Terms(
                suite=key.suite,
                form=terms.form,
                initiator=ua.encode(),
                responder=self.name.encode(),
                tar=MANAGER_TAR,
                initiator_suite=keys.suite,
                responder_suite=key.suite,
                dh_base=terms.dh_base,
                dh_modulus=terms.dh_modulus,
            ),
            Credentials(signing_key=key, peer_signing_public=keys.signing_public),
            self._desk.rng,
        )

    def _row(self, ua: str) -> Mapping[str, Any]:
        return self._sessions.get(ua) or {"ua": ua, "session": None, "counter": 0, "connects": 0}

    @property
    def _exchange(self) -> Exchange:
        assert self._desk.exchange is not None, "who commands modules has a number"
        return self._desk.exchange
