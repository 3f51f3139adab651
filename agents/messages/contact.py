"""What passes over the contacts of a module in the factory: its personalisation (PERS)."""

from __future__ import annotations

from agents.messages.codec import (
    UA,
    DhNumber,
    MaybeName,
    MaybeNumber,
    Name,
    Number,
    PublicKey,
    SessionForm,
    message,
)


@message(31)
class ModuleKeys:
    """PERS: the public halves of the key pairs that a module made; the private ones never leave it."""

    signing: PublicKey
    sealing: PublicKey
    """What is encrypted to the module is encrypted to this one."""


@message(30)
class Personalise:
    """PERS: what makes a blank module somebody's. It makes its own key pairs."""

    ua: UA
    suite: Name
    """The suite of the key pairs that the module shall make."""
    authority: Name
    authority_suite: Name
    authority_public: PublicKey
    operator: Name
    operator_number: Number
    operator_suite: Name
    operator_public: PublicKey
    """The key that the module shall obey."""
    session_form: SessionForm = ""
    """The form of the secure connection that the operator's commands travel under; empty: under none."""
    dh_base: DhNumber = b""
    """The Diffie-Hellman base b of that, big-endian; empty when the operator's suite has its own."""
    dh_modulus: DhNumber = b""
    """The Diffie-Hellman modulus M."""
    allocator: MaybeName = ""
    """Whose key that is, and who says so: an allocator, or for nobody the operator itself."""
    allocator_number: MaybeNumber = ""
