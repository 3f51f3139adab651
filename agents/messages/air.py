"""What travels to modules and from them, as the secured data of packets.

Operator and module (TAR of the resource manager; signed, see ``signed``): Subscribe, Reserve, Block, Unblock,
Renew, Release, Compact, ChangeSupplierKey, RollOperatorKey with the module's Answer, Audit with its Audited,
Connect with its Connecting, and Announce; and IntroduceOperator, which its certificate proves. Supplier and
module: Call or DomainCall, Prove (the secure connection); then, under the session's keyset and to the
resource's own TAR: LoadApplication, LoadData, Invoke, Held, RenewDomainKey and the Result.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from agents.messages.codec import (
    MAX_KEY_OCTETS,
    Bearers,
    DhNumber,
    Extent,
    MaybeTicket,
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
from transport.security.domain_key import FIRST_TICKET, MAX_GENERATION

MANAGER_TAR: Final = bytes.fromhex("B00000")
"""The resource manager of every module (TS 101 220 annex D: B00000 is the remote application manager)."""

OK: Final = ""
"""The reason of an answer that refuses nothing."""

Executions = Annotated[int, Field(ge=-1, lt=1 << 31)]
"""How often the application may run; -1 = without limit."""
Forms = Annotated[list[Name], Field(min_length=1, max_length=4)]
Signature = Annotated[bytes, Field(min_length=64, max_length=4096)]
SealingPublic = Annotated[bytes, Field(max_length=MAX_KEY_OCTETS)]
WrappedKey = Annotated[bytes, Field(max_length=2048)]
Generation = Annotated[int, Field(ge=1, le=MAX_GENERATION)]
"""Of a domain key."""
MessageIdentifier = Annotated[int, Field(ge=0, lt=0xFFFF)]
LogicName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,32}$")]
Custody = Annotated[str, StringConstraints(pattern=r"^(supplier|operator)?$")]
ResourceId = Annotated[int, Field(ge=0, lt=1 << 16)]
Digest = Annotated[bytes, Field(max_length=32)]


@message(10)
class Subscribe:
    """SUB: the subscriber asks the operator for a service. Signed with KPrUS."""

    service: Name


@message(11)
class Reserve:
    """RES: reserve a resource for a supplier. Signed with KPrOP. Sizes in octets; rights as a bit map."""

    tar: Tar
    service: Name
    supplier: Name
    supplier_number: Number
    suite: Name
    forms: Forms
    """The forms of secure connection that it may be used with, the first choice first."""
    supplier_public: PublicKey
    code_size: Extent
    data_size: Size
    rights: Annotated[int, Field(ge=0, lt=1 << 32)]
    expires_at: Seconds
    executions: Executions
    at_end: Name
    """What expiry and exhaustion do: deactivate or delete."""
    bearers: Bearers
    """The networks to reach the supplier over, the first choice first."""
    server: Server
    """Where the supplier's server is on the packet network; empty when it has none."""
    protection: Name
    """How the packets of a session are protected."""
    dh_base: DhNumber = b""
    """The Diffie-Hellman base b, big-endian; empty when the suite has its own."""
    dh_modulus: DhNumber = b""
    """The Diffie-Hellman modulus M."""
    logic_name: LogicName = ""
    """Of a global service: the name that all modules know it by."""
    supplier_sealing: SealingPublic = b""
    """What is encrypted to the supplier; empty when no form needs it."""
    domain_key: WrappedKey = b""
    """Of a global service: the domain key, wrapped to this module for this reservation
    (``transport.security.domain_key``)."""
    message_identifier: MessageIdentifier = 0
    """Of a global service: that of the cell broadcasts which are for it (TS 23.041); else 0."""


@message(12)
class Block:
    """REVOKE: deactivate a resource; its supplier key and its session go. Signed with KPrOP."""

    tar: Tar


@message(13)
class Unblock:
    """Reactivate a blocked resource; the supplier's key comes back with it. Signed with KPrOP."""

    tar: Tar
    supplier_public: PublicKey


@message(14)
class Release:
    """REVOKE: delete a resource; its area is overwritten with zeros. Signed with KPrOP."""

    tar: Tar


@message(15)
class Answer:
    """The module's word on a command: *reason* is empty when it was done. Signed with KPrUS."""

    reason: Reason
    rsc_id: ResourceId
    """Of the resource that the command was about; 0 when it was about none."""
    ticket: MaybeTicket = b""
    """The module's from now on, where the command used up the one before: by a reservation of a global
    service, done or refused, and by its release."""


@message(16)
class Renew:
    """Another date and another count for a resource, from now on. Signed with KPrOP.

    One that had expired or was exhausted is of use again: the supplier's key comes back with it.
    """

    tar: Tar
    supplier_public: PublicKey
    expires_at: Seconds
    executions: Executions


@message(17)
class Compact:
    """Move the resources together, so that what is free is in one piece. Signed with KPrOP."""


@message(18)
class Audit:
    """What is in your DEF? Signed with KPrOP. Answered by Audited, from the resource behind *after* on."""

    after: ResourceId


@message(19)
class Audited:
    """The module's word on its memory and DEF. Signed with KPrUS. Sizes in octets.

    *definitions* holds as many Audited resources as the answer has room for, in the order of their ids;
    *complete* says whether these were the last ones.
    """

    size: Size
    free: Size
    largest_free: Size
    time: Seconds
    """What the module takes for the time."""
    signed_time: Seconds
    """The latest time that its operator has told it, 0 if none."""
    definitions: Annotated[list[Octets], Field(max_length=32)]
    complete: bool
    ticket: Ticket = FIRST_TICKET
    """What the domain key of the next reservation has to be wrapped for."""


@message(29)
class AuditedResource:
    """One resource as DEF has it; nothing secret. Digests are SHA-256, empty where there is nothing."""

    rsc_id: ResourceId
    tar: Tar
    service: Name
    state: Name
    supplier: Name
    supplier_digest: Digest
    """Of the public key that the reservation named."""
    usable: bool
    """Whether that key is there, so that the supplier can be authenticated."""
    start: Size
    code_size: Size
    data_size: Size
    code_length: Size
    code_digest: Digest
    version: Annotated[int, Field(ge=0, lt=1 << 32)]
    rights: Annotated[int, Field(ge=0, lt=1 << 32)]
    expires_at: Seconds
    executions_left: Executions
    at_end: Name


@message(20)
class Call:
    """SER: the handset calls the supplier; *opening* is the first message of the secure connection."""

    tar: Tar
    opening: Octets


@message(73)
class DomainCall:
    """SER, where the module proves to be one of its domain: a Call that says by which domain key.

    *generation* is a hint, for the supplier to answer by: what proves it is the connection that comes of it.
    """

    tar: Tar
    opening: Octets
    generation: Generation


@message(21)
class Prove:
    """SER: the supplier's proof and share; the module's own proof comes back in the response packet.

    With the resource manager's TAR it is the operator's, of a connection that begins with Connect.
    """

    tar: Tar
    proof: Octets


@message(22)
class LoadApplication:
    """One piece of the programme: *octets* at *offset* of *total*; the piece that ends it sets it going."""

    version: Annotated[int, Field(ge=1, lt=1 << 32)]
    total: Size
    offset: Size
    octets: Secret
    keep_data: bool = False
    """Of the piece that ends it: whether the data of the programme before stays, or begins anew."""


@message(23)
class LoadData:
    """Personal data, given to the application's ``personalise``."""

    octets: Secret


@message(24)
class Invoke:
    """Run the application's ``invoke`` once; counted before it runs."""

    argument: Secret


@message(38)
class Held:
    """Which programme is in the resource? The Result has its version, 0 for none, and its SHA-256."""


@message(72)
class RenewDomainKey:
    """The next domain key, wrapped to this module as in a reservation.

    A module whose connection the domain key proved calls again, by the new one.
    """

    octets: WrappedKey


@message(25)
class Result:
    """What came of a supplier's command: *reason* is empty when it was done."""

    reason: Reason
    status: Annotated[int, Field(ge=0, lt=1 << 32)]
    """What the application returned; 0 unless it ran and said otherwise."""
    output: Secret


@message(26)
class Push:
    """The supplier asks the module to open a channel over *bearer* to its server (TS 102 226's "push")."""

    bearer: Name


@message(27)
class Announce:
    """Operator to all its modules: the time, in seconds of the epoch. Signed with KPrOP, for everybody."""

    time: Seconds


@message(32)
class Connect:
    """Open a secure connection, for my commands to travel under. Signed with KPrOP, in turns of its own."""


@message(33)
class Connecting:
    """The module's word on Connect: the first message of the secure connection. Signed with KPrUS."""

    opening: Octets


@message(34)
class RollOperatorKey:
    """The operator's key is another one from now on. Signed with the KPrOP that it takes the place of."""

    suite: Name
    public: PublicKey


@message(35)
class IntroduceOperator:
    """The operator's key is what the module's authority says: *chain* ends in the operator's certificate.

    It proves itself; the operator signs nothing, for its key may be unknown to the module, or stolen.
    """

    chain: Octets


@message(36)
class ChangeSupplierKey:
    """Another key of a resource's supplier, in the place of the one that it has. Signed with KPrOP."""

    tar: Tar
    former_public: PublicKey
    """The key that it has: a blocked resource knows only its digest."""
    supplier_public: PublicKey
    supplier_sealing: SealingPublic
    """What is encrypted to the supplier from then on; empty when no form needs it."""
    endorsement: Signature
    """The supplier's, with the key that the resource has (``succession``)."""


OperatorCommand = (
    Reserve | Block | Unblock | Release | Renew | Compact | Audit | ChangeSupplierKey | RollOperatorKey
)
OPERATOR_COMMANDS: Final = (
    Reserve,
    Block,
    Unblock,
    Release,
    Renew,
    Compact,
    Audit,
    ChangeSupplierKey,
    RollOperatorKey,
)
SUPPLIER_COMMANDS: Final = (LoadApplication, LoadData, Invoke, Push, Held, RenewDomainKey)
