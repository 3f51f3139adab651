"""What every part of a module works on: memory, DEF, identity, and what waits to be said.

The permanent part is all in the memory image. What is here besides is volatile, as a card's RAM is: a reset
or a power cut empties it, and nothing that was promised depends on it. Every part of it is bounded by the
module's profile, and made when it is first needed: a module at rest has next to none of it.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgpack
from pydantic import Field

from agents.handset.security_module import asking
from agents.handset.security_module.definitions import DefinitionTable
from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.life_cycle import ModuleState
from agents.handset.security_module.memory import Record
from agents.handset.security_module.moments import Moments
from agents.handset.security_module.profile import profile_of
from agents.handset.security_module.selection import AT_RESET
from agents.messages.bearers import ANNOUNCEMENTS, GLOBAL_SERVICES
from agents.messages.codec import (
    MAX_KEY_OCTETS,
    UA,
    Counter,
    DhNumber,
    MaybeName,
    MaybeNumber,
    Name,
    Number,
    PublicKey,
    Seconds,
    Secret,
    SessionForm,
    Ticket,
    decode,
    encode,
    message,
)
from agents.messages.signed import sign
from transport.cell_broadcast import MessageFilter, PageAssembler
from transport.concatenation import Reassembler
from transport.errors import Rejected
from transport.security.domain_key import FIRST_TICKET, DomainKey
from transport.security.suites import SUITES
from transport.sms.user_data import IEI_COMMAND_PACKET
from transport.toolkit import FILE_CHANGE, CommandType, ProactiveCommand

if TYPE_CHECKING:
    from agents.handset.security_module.diffusion import Listening
    from agents.handset.security_module.links import Link
    from agents.handset.security_module.memory import Memory, Transaction
    from agents.handset.security_module.menu import Dialogue
    from agents.messages.signed import Purpose
    from transport.apdu import ResponseApdu
    from transport.security.handshake import Side
    from transport.security.suites import Rng, SealingKey, SigningKey
    from transport.toolkit import TerminalProfile

T = TypeVar("T")

_APPLICATION_CONTEXT: Final = b"otafleet application signature v1"
MAX_SECONDS: Final = (1 << 40) - 1
LEFT_OCTETS: Final = 8
"""Of the SHA-256 of a key that was left: enough to know it again, and too few to matter to anybody else."""
MAX_LEFT: Final = 8

MAX_NOTES: Final = 64
PART_TIMEOUT_S: Final = 86400.0
"""Between two parts the handset may be off, for as long as a service centre keeps the rest for it."""
PAGE_TIMEOUT_S: Final = 86400.0
"""A broadcast is repeated for hours: what one repetition lacked, a later one brings."""
EF_CBMID: Final = bytes.fromhex("3F007FFF6F48")
"""The path of the file that says which broadcasts the module wants (TS 31.102 clause 4.2.20)."""


@message(200)
class Identity:
    """The module's own record: who it is, whose it is (PERS)."""

    ua: UA
    suite: Name
    private: Secret
    public: PublicKey
    sealing_private: Secret
    sealing_public: PublicKey
    authority: Name
    authority_suite: Name
    authority_public: PublicKey
    operator: Name
    operator_number: Number
    operator_suite: Name
    operator_public: Annotated[bytes, Field(max_length=MAX_KEY_OCTETS)]
    """The key that the module obeys; empty until it is introduced, where PERS left it out (``owner``)."""
    session_form: SessionForm = ""
    """The form of the secure connection that the operator's commands travel under; empty: under none."""
    dh_base: DhNumber = b""
    dh_modulus: DhNumber = b""
    allocator: MaybeName = ""
    """Whose key that is: an allocator in the operator's place, or for nobody the operator itself.

    Subscriptions go to the operator all the same: who commands need not know who may use what.
    """
    allocator_number: MaybeNumber = ""
    operator_serial: Counter = 0
    """Of the latest certificate that the key came with, or that it was known of; 0 if none."""
    operator_left: Annotated[bytes, Field(max_length=LEFT_OCTETS * MAX_LEFT)] = b""
    """The beginnings of the SHA-256 of the operator's keys that were left since."""

    @property
    def commander(self) -> str:
        """Whose commands and announcements the module takes."""
        return self.allocator or self.operator

    @property
    def commander_number(self) -> str:
        """The number that they come from."""
        return self.allocator_number or self.operator_number


@message(201)
class Turns:
    """The operator's last command taken, by counter and SHA-256, and the module's own last request."""

    command: Counter = 0
    digest: Annotated[bytes, Field(max_length=32)] = b""
    request: Counter = 0
    claimed: Seconds = 0
    """The latest time of the handset's that anything came of, since the operator last told it: a clock that
    is set back brings nothing to life."""
    announcement: Counter = 0
    """The counter of the operator's last announcement."""
    signed: Seconds = 0
    """The latest time that the operator announced."""
    connection: Counter = 0
    """The counter of the operator's last Connect."""
    proof: Annotated[bytes, Field(max_length=32)] = b""
    """SHA-256 of the signature that proved the last command: the key that it was made with may be gone."""
    ticket: Ticket = FIRST_TICKET
    """Of the next reservation that brings a domain key (``domain``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something the shell may log: what happened, to which resource, and why it was refused."""

    name: str
    reason: str = ""
    tar: bytes = b""


@dataclass(slots=True, kw_only=True)
class Upload:
    """A programme on its way in, piece by piece; nothing of it is in the image before it is whole."""

    version: int
    total: int
    octets: bytearray = field(default_factory=bytearray, repr=False)


class Core:
    """One module's state. ``identity`` is None until it is personalised."""

    __slots__ = (
        "_domain_keys",
        "_latest",
        "_pages",
        "_reassemblers",
        "_sealing_key",
        "_signing_key",
        "blocks",
        "calls",
        "connecting",
        "deadline",
        "definitions",
        "dialogue",
        "fetched",
        "filter",
        "identity",
        "links",
        "listening",
        "memory",
        "moments",
        "notes",
        "parting",
        "proactive",
        "profile",
        "reference",
        "rng",
        "selected",
        "terminal",
        "turns",
        "uploads",
        "waiting",
    )

    def __init__(self, memory: Memory, rng: Rng) -> None:
        """Take up the state that *memory* holds. Raises ImageRejected when its records do not hold."""
        self.memory = memory
        self.rng = rng
        self.profile = profile_of(memory)
        self.definitions = DefinitionTable(memory)
        self.identity = _kept(memory, Record.IDENTITY, Identity)
        self.turns = _kept(memory, Record.COUNTERS, Turns) or Turns()
        self.calls: dict[bytes, Side] = {}
        self.connecting = b""
        """The answer to the operator's last Connect, for a repetition of it while its call is open."""
        self.uploads: dict[bytes, Upload] = {}
        self.terminal: TerminalProfile | None = None
        """What the terminal can do; None: it has not said."""
        self.proactive: deque[ProactiveCommand] = deque()
        self.fetched: ProactiveCommand | None = None
        self.links: dict[tuple[bytes, str], Link] = {}
        self.parting: list[Link] = []
        self.listening: dict[bytes, Listening] = {}
        """What is collected of broadcasts, by the TAR of a global service."""
        self.moments = Moments()
        """What is to be done later."""
        self.filter = self._wanted()
        self.selected = AT_RESET
        self.waiting: ResponseApdu | None = None
        """The rest of a response, for GET RESPONSE."""
        self.notes: deque[Note] = deque(maxlen=MAX_NOTES)
        self.dialogue: Dialogue | None = None
        self.blocks = b""
        self.reference = 0
        self.deadline: float | None = None
        """When ``limits`` has to look at DEF again; None: nobody knows."""
        self._latest = 0.0
        self._pages: dict[bool, PageAssembler] = {}
        self._reassemblers: dict[bool, Reassembler] = {}
        self._domain_keys: dict[bytes, DomainKey] = {}
        self._sealing_key: SealingKey | None = None
        self._signing_key: SigningKey | None = None

    def reassembler(self, sender: str) -> Reassembler:
        """Return where parts of *sender*'s short messages wait for the others; made when the first one comes.

        Whom the module obeys has room of its own, as much as any sender may have: however many numbers the
        others write from, they do not crowd out its commands.
        """
        is_operator = self.identity is not None and sender == self.identity.commander_number
        if is_operator not in self._reassemblers:
            profile = self.profile
            self._reassemblers[is_operator] = Reassembler(
                max_messages=profile.messages_per_sender if is_operator else profile.messages,
                max_octets=profile.buffer_per_sender if is_operator else profile.buffer,
                max_per_sender=profile.messages_per_sender,
                max_octets_per_sender=profile.buffer_per_sender,
                timeout_s=PART_TIMEOUT_S,
                require_first_element=IEI_COMMAND_PACKET,
            )
        return self._reassemblers[is_operator]

    def pages(self, identifier: int) -> PageAssembler:
        """Return where pages of cell broadcasts wait for the others; made when the first one comes.

        Those of global services have room of their own.
        """
        is_global = identifier in GLOBAL_SERVICES
        if is_global not in self._pages:
            self._pages[is_global] = PageAssembler(
                max_messages=self.profile.messages, timeout_s=PAGE_TIMEOUT_S, versions_apart=is_global
            )
        return self._pages[is_global]

    def forget_pages(self, identifier: int) -> None:
        """Forget what a global service's pages have brought: whatever is repeated of it is new again."""
        self.pages(identifier).forget(identifier)

    def sign(self, body: bytes, *, purpose: Purpose, target: str, counter: int) -> bytes:
        """Return *body* signed with KPrUS, as octets to send. Only once ``identity`` is there."""
        ua = self.owner().ua
        signed = sign(body, purpose=purpose, target=target, counter=counter, signer=ua, key=self.signing_key)
        return encode(signed)

    def sign_for_application(self, tar: bytes, octets: bytes) -> bytes:
        """Return KPrUS's signature over *octets*, as those of the resource *tar*'s application alone.

        No message of ours begins as what is signed here does, and no other resource's application can have
        the same signed: see ``application_statement``.
        """
        return self.signing_key.sign(application_statement(self.owner().ua, tar, octets))

    @property
    def signing_key(self) -> SigningKey:
        """KPrUS, loaded once. Only once ``identity`` is there."""
        if self._signing_key is None:
            identity = self.owner()
            self._signing_key = SUITES[identity.suite].load_signing_key(identity.private)
        return self._signing_key

    @property
    def sealing_key(self) -> SealingKey:
        """What opens what is sealed to the module, loaded once. Only once ``identity`` is there."""
        if self._sealing_key is None:
            identity = self.owner()
            self._sealing_key = SUITES[identity.suite].load_sealing_key(identity.sealing_private)
        return self._sealing_key

    def domain_key(self, octets: bytes) -> DomainKey:
        """Return the domain key that *octets* are; the latest is kept, for to load a pair takes its time."""
        if octets not in self._domain_keys:
            self._domain_keys = {octets: DomainKey.load(octets)}
        return self._domain_keys[octets]

    @property
    def state(self) -> ModuleState:
        """Where the module is in its life."""
        return ModuleState.PERSONALISED if self.identity else ModuleState.BLANK

    def owner(self) -> Identity:
        """Return the identity of a personalised module; ValueError for a blank one."""
        if self.identity is None:
            raise ValueError("the module is blank")
        return self.identity

    def keep_identity(self, transaction: Transaction, identity: Identity) -> None:
        """Make the module somebody's, once; or keep another key of whose it is."""
        self.memory.put_record(transaction, Record.IDENTITY, encode(identity))
        self.identity = identity

    def keep_turns(self, transaction: Transaction, turns: Turns) -> None:
        """Remember whose turn was last."""
        self.memory.put_record(transaction, Record.COUNTERS, encode(turns))
        self.turns = turns

    def time(self, now: float) -> float:
        """Return the module's time: it has no clock, so the handset's, but never earlier than it was.

        Nor later than any message can say: a clock may be wrong by any amount, or be no number at all.
        """
        turns = self.turns
        if self._latest <= now <= MAX_SECONDS and turns.claimed <= now and turns.signed <= now:
            self._latest = now  # as it nearly always is
            return now
        claimed, signed = float(turns.claimed), float(turns.signed)
        self._latest = max(self._latest, min(now, float(MAX_SECONDS)), claimed, signed)
        return self._latest

    def claim_time(self, transaction: Transaction, now: float) -> None:
        """Remember that the handset said it was *now*, because something comes of it."""
        if int(now) > self.turns.claimed:
            self.keep_turns(transaction, replace(self.turns, claimed=int(now)))

    def trust_time(self, transaction: Transaction, signed: int, *, announcement: int) -> None:
        """Go by the operator's time from now on, whatever the handset claimed; its own never goes back."""
        signed = max(self.turns.signed, signed)
        turns = replace(self.turns, signed=signed, claimed=0, announcement=announcement)
        self.keep_turns(transaction, turns)
        self._latest = float(signed)

    def note(self, name: str, *, reason: str = "", tar: bytes = b"") -> None:
        """Leave word for the shell to log."""
        self.notes.append(Note(name=name, reason=reason, tar=tar))

    def renew_filter(self) -> None:
        """Have the terminal read EF.CBMID again if what we want to hear has changed (TS 31.111 REFRESH).

        One that has not said what it can do has not read it either.
        """
        before, self.filter = self.filter, self._wanted()
        if self.filter != before and self.terminal is not None:
            self.ask(ProactiveCommand(type=CommandType.REFRESH, qualifier=FILE_CHANGE, files=(EF_CBMID,)))

    def _wanted(self) -> MessageFilter:
        """Return what a personalised module listens to: its operator's announcements, its global services.

        Of a resource that nobody may use for now, it wants to hear nothing.
        """
        if self.identity is None:
            return MessageFilter()
        usable = (each.message_identifier for each in self.definitions.all() if each.supplier_public)
        return MessageFilter(identifiers=(ANNOUNCEMENTS, *sorted(filter(None, usable))))

    def ask(self, *commands: ProactiveCommand) -> bool:
        """Queue *commands* for the terminal to fetch; say whether they are (``asking``)."""
        return asking.ask(self, commands)


def application_statement(ua: str, tar: bytes, octets: bytes) -> bytes:
    """Return what a module signs for an application: who checks the signature builds the same."""
    digest = hashlib.sha256(octets).digest()
    packed: bytes = msgpack.packb([_APPLICATION_CONTEXT, ua, tar, digest])
    return packed


def _kept(memory: Memory, record: Record, kind: type[T]) -> T | None:
    octets = memory.get_record(record)
    if octets is None:
        return None
    try:
        return decode(octets, kind)
    except Rejected as rejection:
        raise ImageRejected("corrupt-record", f"{record}: {rejection.reason}") from None
