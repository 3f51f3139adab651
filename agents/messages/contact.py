"""What passes over the contacts of a module in the factory: its personalisation (PERS)."""

from __future__ import annotations

from agents.messages.codec import UA, Name, Number, PublicKey, message


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
