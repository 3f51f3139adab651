"""What a supplier offers: services, with their programmes and the resources that they need."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from agents.messages.bearers import SMS
from agents.messages.inside import Agree
from transport.diffusion import DataPart
from transport.security.keyset import DEFAULT_PROTECTION
from transport.security.terms import AGREE_THEN_SIGN

if TYPE_CHECKING:
    from agents.identity import RoleKeys

DEACTIVATE: Final = "deactivate"
"""The end of a resource that can be renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a service's programme, and what becomes of the data part when it is loaded."""

    number: int
    code: bytes = field(repr=False)
    data_part: DataPart = DataPart.KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A service that this supplier offers: its programme and the resource it needs."""

    service: str
    code: bytes = field(repr=False)
    backend: str
    code_size: int
    data_size: int
    rights: int
    expires_at: int
    executions: int
    lifetime: int = 0
    """Seconds from the reservation to the end, where no date is named; 0 = it does not end so."""
    at_end: str = DEACTIVATE
    """What expiry and exhaustion do to the resource: deactivate or delete it."""
    bearers: tuple[str, ...] = (SMS,)
    protection: str = DEFAULT_PROTECTION
    forms: tuple[str, ...] = (AGREE_THEN_SIGN,)
    """The forms of secure connection that its resources may be used with, the first choice first."""
    dh_base: bytes = b""
    """The Diffie-Hellman base b, big-endian, of a suite that has one; empty for the suite's own."""
    dh_modulus: bytes = b""
    logic_name: str = ""
    """Of a global service: the name that all modules know it by."""
    custody: str = ""
    """Of a global service: who makes its domain key (``domains``)."""
    version: int = 1
    data_part: DataPart = DataPart.KEEP
    """What this version does with the data of the one before."""
    updates: tuple[Version, ...] = ()
    """The versions that a broadcast may bring in the place of this one."""
    fec: bool = False
    """Whether a broadcast of it carries repair pieces (forward error correction)."""

    def at(self, version: Version) -> Offer:
        """Return this offer with another version of its programme."""
        return replace(self, version=version.number, code=version.code, data_part=version.data_part)

    def terms(self, keys: RoleKeys, *, number: str, server: bytes) -> Agree:
        """Return what the operator is asked for, for a supplier with these keys, number and server."""
        return Agree(
            service=self.service,
            number=number,
            suite=keys.suite,
            forms=list(self.forms),
            public=keys.signing.public,
            sealing=keys.sealing.public,
            code_size=self.code_size,
            data_size=self.data_size,
            rights=self.rights,
            expires_at=self.expires_at,
            lifetime=self.lifetime,
            executions=self.executions,
            at_end=self.at_end,
            bearers=list(self.bearers),
            server=server,
            protection=self.protection,
            dh_base=self.dh_base,
            dh_modulus=self.dh_modulus,
            logic_name=self.logic_name,
            custody=self.custody,
        )
