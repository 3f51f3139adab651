"""What the roles ask each other on the inside road: every question and every reply travels sealed."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from agents.messages.air import (  # noqa: TC001 -- pydantic reads the annotations
    Custody,
    Digest,
    Executions,
    Forms,
    LogicName,
    MessageIdentifier,
    SealingPublic,
    Signature,
    WrappedKey,
)
from agents.messages.codec import (
    UA,
    Bearers,
    Body,
    Counter,
    DhNumber,
    Extent,
    Name,
    Number,
    Octets,
    PublicKey,
    Reason,
    Seconds,
    Secret,
    Server,
    Size,
    Tar,
    Ticket,
    message,
)

MAX_GROUPS: Final = 64
"""How many groups one announcement is for, unless it is for all."""


@message(37)
class PublicKeys:
    """A module's public keys: bare, where the market has no certificates."""

    suite: Name
    signing_public: PublicKey
    sealing_public: SealingPublic


@message(40)
class Register:
    """Personaliser to authority: this module exists, this is its key and what it can do."""

    ua: UA
    suite: Name
    public: PublicKey
    sealing: PublicKey
    memory: Size
    operator: Name
    suites: Annotated[list[Name], Field(max_length=16)]
    """What the module's crypto module can do."""
    possession: Octets
    """The module's own signature over both keys: it holds the private ones."""


@message(41)
class LookUp:
    """Operator to authority: whose key is this address? Answered to the module's operator alone.

    And to the allocator in its place.
    """

    ua: UA


@message(42)
class ModuleRecord:
    """Authority to operator: a module's certificate and characteristics."""

    certificate: Octets
    """Or its bare PublicKeys, in a market without certificates."""
    memory: Size
    suites: Annotated[list[Name], Field(max_length=16)]


@message(43)
class Agree:
    """AGREE: a supplier asks the operator for a service: its key and the resource it needs."""

    service: Name
    number: Number
    suite: Name
    forms: Forms
    public: PublicKey
    sealing: PublicKey
    """What modules encrypt to the supplier is encrypted to this one."""
    code_size: Extent
    data_size: Size
    rights: Annotated[int, Field(ge=0, lt=1 << 32)]
    expires_at: Seconds
    lifetime: Seconds
    """Seconds from the reservation to its end, where the agreement names no date; 0 = it does not end so."""
    executions: Executions
    at_end: Name
    """What expiry and exhaustion do: deactivate or delete."""
    bearers: Bearers
    server: Server
    protection: Name
    dh_base: DhNumber = b""
    """The Diffie-Hellman base b, big-endian; empty when the suite has its own."""
    dh_modulus: DhNumber = b""
    logic_name: LogicName = ""
    """Of a global service: the name that all modules know it by."""
    custody: Custody = ""
    """Of a global service: who makes its domain key, ``supplier`` or ``operator``."""


@message(44)
class Agreed:
    """Operator to supplier: the service is agreed, under this TAR."""

    service: Name
    tar: Tar
    domain_key: Secret = b""
    """Of a global service whose operator makes the domain key: what the supplier needs of it, as dumped."""
    message_identifier: MessageIdentifier = 0
    """Of a global service: that of the cell broadcasts which are for it."""


@message(45)
class Activate:
    """ACT: operator to supplier: this module holds your resource.

    The module's key comes in the authority's certificate: the operator's word for it is not enough. In a
    market without certificates there is nothing but that word: bare PublicKeys.
    """

    ua: UA
    service: Name
    certificate: Octets
    rsc_id: Annotated[int, Field(ge=0, lt=1 << 16)]
    tar: Tar
    turn: Counter
    """The counter of the command that reserved the resource."""
    supplier_digest: Digest
    """By which of your keys the module knows you."""


@message(46)
class ResourceChanged:
    """Operator to supplier: what became of your resource in this module.

    *state* is ``active`` (unblocked, renewed, with another key), ``blocked``, ``expired``, ``exhausted`` or
    ``released``.
    """

    ua: UA
    service: Name
    state: Name
    turn: Counter
    """The counter of the command that changed it: what is older than what one knows is no news."""
    supplier_digest: Digest
    """By which of your keys the module knows you now."""


@message(47)
class Done:
    """The reply to what needs no other: it is stored."""


@message(48)
class Refused:
    """The reply of a role that will not: *reason* is a code of ours."""

    reason: Reason


@message(50)
class WrapDomainKey:
    """RES: operator to supplier: wrap your service's domain key to this module, for its reservation.

    The module's keys come in the authority's certificate: wrapped to what the operator says they are, the
    domain key would be the operator's too.
    """

    ua: UA
    service: Name
    certificate: Octets
    ticket: Ticket
    """Of that reservation, by the module's last word: in no other one the module opens what comes of this."""


@message(51)
class WrappedDomainKey:
    """Supplier to operator: what the module, and nobody else, can read."""

    octets: WrappedKey


@message(52)
class Certify:
    """Operator to authority: this is my key from now on. *possession* is signed with it."""

    suite: Name
    public: PublicKey
    possession: Octets


@message(53)
class Certified:
    """Authority to operator: its certificate for the key that it asked about."""

    certificate: Octets


@message(54)
class MakeKeys:
    """Personaliser to authority: make this module's key pairs."""

    ua: UA
    suite: Name


@message(55)
class MadeKeys:
    """Authority to personaliser: the private halves of the key pairs; nobody but the module keeps them."""

    private: Secret
    sealing_private: Secret


@message(56)
class NextSupplierKey:
    """Operator to supplier: tell by which key your service's modules shall know you from *roll* on."""

    service: Name
    roll: Counter
    """The roll-over's number; a later one has a higher one. Each gets one key, however often it asks."""
    former: Digest
    """Of the key that the module in question knows you by: that one has to endorse the new one."""


@message(57)
class SupplierKey:
    """Supplier to operator: this one, and what the one before says for it (``succession``)."""

    suite: Name
    public: PublicKey
    sealing: PublicKey
    endorsement: Signature


@message(70)
class Manage:
    """Operator to its allocator: have this carried out, in this turn, by whom it is for."""

    target: Name
    """A module's address, or ``all`` for an announcement."""
    turn: Counter
    """The counter of the command: each turn is one command's for ever, however often it is asked for."""
    body: Body
    """The command, or the announcement, that the allocator signs as it is."""
    groups: Annotated[list[Name], Field(max_length=MAX_GROUPS)]
    """Of an announcement: the groups of subscribers that shall hear it; none = all."""


@message(71)
class Managed:
    """Allocator to operator: what came back. The module signed it; the allocator need not be believed."""

    answer: Octets
    failure: Reason
    """Why there is no answer: nobody knows then what became of the command. Empty where there is one."""


REQUESTS = (
    Register,
    LookUp,
    Agree,
    Activate,
    ResourceChanged,
    WrapDomainKey,
    Certify,
    MakeKeys,
    NextSupplierKey,
    Manage,
)
REPLIES = (
    ModuleRecord,
    Agreed,
    WrappedDomainKey,
    Certified,
    MadeKeys,
    SupplierKey,
    Done,
    Refused,
    Managed,
)
Request = (
    Register
    | LookUp
    | Agree
    | Activate
    | ResourceChanged
    | WrapDomainKey
    | Certify
    | MakeKeys
    | NextSupplierKey
    | Manage
)
Reply = (
    ModuleRecord | Agreed | WrappedDomainKey | Certified | MadeKeys | SupplierKey | Done | Refused | Managed
)
