"""What passes over the contacts of a module in the factory: its personalisation (PERS)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

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
    Secret,
    SessionForm,
    message,
)


@message(31)
class ModuleKeys:
    """PERS: the public halves of a module's key pairs; the private ones never leave it."""

    signing: PublicKey
    sealing: PublicKey
    """What is encrypted to the module is encrypted to this one."""


@message(30)
class Personalise:
    """PERS: what makes a blank module somebody's. It makes its own key pairs, unless it is given them."""

    ua: UA
    suite: Name
    """The suite of the module's own key pairs."""
    authority: Name
    authority_suite: Name
    authority_public: PublicKey
    operator: Name
    operator_number: Number
    operator_suite: Name
    operator_public: Annotated[bytes, Field(max_length=MAX_KEY_OCTETS)]
    """The key that the module shall obey; empty: it comes later, by a certificate (``IntroduceOperator``)."""
    session_form: SessionForm = ""
    """The form of the secure connection that the operator's commands travel under; empty: under none."""
    dh_base: DhNumber = b""
    """The Diffie-Hellman base b of that, big-endian; empty when the operator's suite has its own."""
    dh_modulus: DhNumber = b""
    """The Diffie-Hellman modulus M."""
    allocator: MaybeName = ""
    """Whose key that is, and who says so: an allocator, or for nobody the operator itself."""
    allocator_number: MaybeNumber = ""
    private: Secret = b""
    """The key pairs' private halves, where the authority made them; both, or none."""
    sealing_private: Secret = b""
    operator_serial: Counter = 0
    """Of the certificate that vouches for the operator's key: no older one ever replaces it."""
