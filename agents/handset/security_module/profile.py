"""A module's profile: what its hardware can do, and how much of everything it takes at most.

It is burnt in with the memory, before there is anybody to ask, and never changes; a module that was made
without one has the standard one. All that anybody may send a module, or have it keep while it is powered, is
bounded here or by the sizes of its memory (``memory``: so many resources, so many octets each); one too many
is refused with a reason, or the oldest gives way, and never more than that.
"""

from __future__ import annotations

from dataclasses import field
from functools import lru_cache
from typing import Annotated, Final

from pydantic import Field

from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.medium import PAGE
from agents.handset.security_module.memory import DEFAULT_RESOURCES, RECORD_SIZES, Memory, Record
from agents.handset.security_module.rights import RIGHTS, rights_mask
from agents.handset.security_module.run_unit import DEFAULT_FUEL
from agents.handset.security_module.wasm_shape import MAX_CODE_OCTETS
from agents.messages.codec import MAX_KEY_OCTETS, Name, decode, encode, message
from transport.diffusion import MAX_WITHIN_S
from transport.errors import Rejected
from transport.security.domain_key import dump_octets
from transport.security.ffdh import MAX_MODULUS_OCTETS
from transport.security.keyset import PROTECTIONS
from transport.security.suite_rsa_ffdh import RsaFfdhSuite
from transport.security.suites import SUITES

Names = Annotated[list[Name], Field(min_length=1, max_length=16)]
LIGHT_SUITES: Final = ("x25519", "p256")
"""Those of elliptic curves, which any module can."""
MIN_BUFFER: Final = 2048
MAX_BUFFER: Final = 1 << 16
MAX_FUEL: Final = 1_000_000_000
MAX_CHANNELS: Final = 7
"""Of a terminal (TS 102 223 clause 8.7)."""
MAX_SESSIONS: Final = 255
MAX_CALLS: Final = 16


@message(202)
class Profile:
    """What a module can do. Sizes in octets."""

    suites: Names = field(default_factory=lambda: list(LIGHT_SUITES))
    """The suites whose keys it can make and check. Longer keys need more memory: see ``records``."""
    protections: Names = field(default_factory=lambda: list(PROTECTIONS))
    """The algorithms that it can protect a session's packets with."""
    rights: Annotated[int, Field(ge=0, lt=1 << 32)] = rights_mask(RIGHTS)
    """The host functions that it has at all, as a bit map."""
    sessions: Annotated[int, Field(ge=1, le=MAX_SESSIONS)] = MAX_SESSIONS
    """How many resources may have a session at once."""
    calls: Annotated[int, Field(ge=1, le=MAX_CALLS)] = 2
    """How many handshakes with suppliers it keeps open; the oldest gives way."""
    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)] = 4
    """How many links it keeps; the oldest gives way. Each has a timer of the terminal's."""
    messages: Annotated[int, Field(ge=1, le=64)] = 4
    """How many long messages it puts together at once; a sender may have half of them."""
    buffer: Annotated[int, Field(ge=MIN_BUFFER, le=MAX_BUFFER)] = 8192
    """Room for their parts; a sender may have three quarters of it, so that none crowds out another.

    The operator has as much as a sender besides, so that all of them together do not crowd it out.
    """
    proactive: Annotated[int, Field(ge=16, le=1024)] = 64
    """How many commands may wait to be fetched; by default the longest response as messages, twice over."""
    programme: Annotated[int, Field(ge=1, le=MAX_CODE_OCTETS)] = MAX_CODE_OCTETS
    """The longest programme."""
    fuel: Annotated[int, Field(ge=1, le=MAX_FUEL)] = DEFAULT_FUEL
    """What a run may spend, in instructions, about."""
    key: Annotated[int, Field(ge=32, le=MAX_KEY_OCTETS)] = MAX_KEY_OCTETS
    """The longest public key."""
    pull_within_s: Annotated[int, Field(ge=0, le=MAX_WITHIN_S)] = 0
    """Within how many seconds it calls the supplier of a global service by itself; 0: never (``pulling``)."""

    @property
    def messages_per_sender(self) -> int:
        """How many long messages one sender may have on their way."""
        return max(1, self.messages // 2)

    @property
    def buffer_per_sender(self) -> int:
        """How much room the parts of one sender may take."""
        return self.buffer * 3 // 4

    @property
    def packet(self) -> int:
        """The longest packet, however it comes: what its parts leave of the room they take."""
        return self.buffer_per_sender * 133 // 140

    @property
    def records(self) -> dict[Record, int]:
        """Octets of each record's slot: as much as the longest keys and signatures need."""
        signing, sealing, signature = self._lengths()
        return {
            **RECORD_SIZES,
            # Our own pairs, no private half longer than its public one, two public keys of others, and the
            # operator's b and M.
            Record.IDENTITY: _slot(
                Record.IDENTITY, _IDENTITY_OCTETS + 4 * signing + 2 * sealing + self._parameters()
            ),
            Record.ANSWER: _slot(Record.ANSWER, _ANSWER_OCTETS + signature),
        }

    @property
    def slot_size(self) -> int:
        """Octets of a slot of DEF."""
        signing, sealing, _ = self._lengths()
        domain = dump_octets(name for name in self.suites if name in SUITES)
        return _pages(_DEFINITION_OCTETS + signing + sealing + domain + self._parameters())

    def _parameters(self) -> int:
        """Return the octets of Diffie-Hellman's b and M, if any suite has such."""
        has_parameters = any(isinstance(SUITES.get(name), RsaFfdhSuite) for name in self.suites)
        return 2 * MAX_MODULUS_OCTETS * has_parameters

    def _lengths(self) -> tuple[int, int, int]:
        suites = [SUITES[name] for name in self.suites if name in SUITES]
        return (
            max((each.signing_public_length for each in suites), default=0),
            max((each.sealing_public_length for each in suites), default=0),
            max((each.signature_length for each in suites), default=0),
        )


_IDENTITY_OCTETS: Final = 368  # names, numbers, UA, the marks of keys that were left
_ANSWER_OCTETS: Final = 704  # of them 512 for an audit's page
_DEFINITION_OCTETS: Final = 552  # all of a definition but keys, and Diffie-Hellman's b and M


def _slot(record: Record, octets: int) -> int:
    return max(RECORD_SIZES[record], _pages(octets))


def _pages(octets: int) -> int:
    return -(-octets // PAGE) * PAGE


STANDARD: Final = Profile()


def blank_memory(size: int, resources: int = DEFAULT_RESOURCES, profile: Profile = STANDARD) -> Memory:
    """Return the memory of a module that nobody has used yet; raise ValueError when no such one can be.

    The standard profile takes no room: a module without one has it.
    """
    memory = Memory.format(size, resources, slot_size=profile.slot_size, records=profile.records)
    if profile != STANDARD:
        with memory.transaction() as transaction:
            memory.put_record(transaction, Record.PROFILE, encode(profile))
    return memory


def profile_of(memory: Memory) -> Profile:
    """Return the profile in *memory*, the standard one where there is none; raise ImageRejected."""
    octets = memory.get_record(Record.PROFILE)
    return STANDARD if octets is None else _decoded(octets)


@lru_cache(maxsize=16)
def _decoded(octets: bytes) -> Profile:
    """Return a profile once for all modules that have it."""
    try:
        return decode(octets, Profile)
    except Rejected as rejection:
        raise ImageRejected("corrupt-record", f"{Record.PROFILE}: {rejection.reason}") from None
