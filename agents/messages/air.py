"""What travels to modules and from them, as the secured data of packets.

Operator and module (TAR of the resource manager; signed, see ``signed``): Subscribe, Reserve, Block, Unblock,
Release and the module's Answer. Supplier and module: Call, Prove (the secure connection); then, under the
session's keyset and to the resource's own TAR: LoadApplication, LoadData, Invoke and the Result.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from agents.messages.codec import (
    Bearers,
    Counter,
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
    message,
)

MANAGER_TAR: Final = bytes.fromhex("B00000")
"""The resource manager of every module (TS 101 220 annex D: B00000 is the remote application manager)."""

OK: Final = ""
"""The reason of an answer that refuses nothing."""


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
    form: Name
    supplier_public: PublicKey
    code_size: Extent
    data_size: Size
    rights: Annotated[int, Field(ge=0, lt=1 << 32)]
    expires_at: Seconds
    executions: Annotated[int, Field(ge=-1, lt=1 << 31)]
    """How often the application may run; -1 = without limit."""
    bearers: Bearers
    """The networks to reach the supplier over, the first choice first."""
    server: Server
    """Where the supplier's server is on the packet network; empty when it has none."""
    protection: Name
    """How the packets of a session are protected."""


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
    rsc_id: Annotated[int, Field(ge=0, lt=1 << 16)]


@message(20)
class Call:
    """SER: the handset calls the supplier; *opening* is the first message of the secure connection."""

    tar: Tar
    opening: Octets


@message(21)
class Prove:
    """SER: the supplier's proof and share; the module's own proof comes back in the response packet."""

    tar: Tar
    proof: Octets


@message(22)
class LoadApplication:
    """One piece of the programme: *octets* at *offset* of *total*; the piece that ends it sets it going."""

    version: Annotated[int, Field(ge=1, lt=1 << 32)]
    total: Size
    offset: Size
    octets: Secret


@message(23)
class LoadData:
    """Personal data, given to the application's ``personalise``."""

    octets: Secret


@message(24)
class Invoke:
    """Run the application's ``invoke`` once; counted before it runs."""

    argument: Secret


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


OperatorCommand = Reserve | Block | Unblock | Release
OPERATOR_COMMANDS: Final = (Reserve, Block, Unblock, Release)
SUPPLIER_COMMANDS: Final = (LoadApplication, LoadData, Invoke, Push)

__all__ = [
    "MANAGER_TAR",
    "OK",
    "OPERATOR_COMMANDS",
    "SUPPLIER_COMMANDS",
    "Announce",
    "Answer",
    "Block",
    "Call",
    "Counter",
    "Invoke",
    "LoadApplication",
    "LoadData",
    "OperatorCommand",
    "Prove",
    "Push",
    "Release",
    "Reserve",
    "Result",
    "Subscribe",
    "Unblock",
]
