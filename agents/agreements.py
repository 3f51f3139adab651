"""What an operator keeps of an agreement (AGREE): the supplier's terms, and what the operator added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agents.messages.inside import Agree
    from transport.security.domain_key import DomainKey


FIRST_TAR: Final = 0xA00001
"""The first agreed service's TAR; the next ones follow. From memory of TS 101 220 annex D: 000001 to AFFFFF
are the card issuer's to allocate, and our operator is the issuer."""


def next_tar(count: int) -> bytes:
    """Return the TAR of a new service, after *count* others."""
    return (FIRST_TAR + count).to_bytes(3, "big")


def agreement_row(
    message: Agree, supplier: str, *, tar: bytes, domain_key: DomainKey | None, identifier: int, now: float
) -> dict[str, Any]:
    """Return the row of what *supplier* asked for and is given: TAR, message *identifier*, domain key."""
    return {
        "service": message.service,
        "supplier": supplier,
        "number": message.number,
        "suite": message.suite,
        "forms": " ".join(message.forms),
        "public_key": message.public,
        "sealing_key": message.sealing,
        "dh_base": message.dh_base,
        "dh_modulus": message.dh_modulus,
        "tar": tar,
        "code_size": message.code_size,
        "data_size": message.data_size,
        "rights": message.rights,
        "expires_at": message.expires_at,
        "lifetime": message.lifetime,
        "executions": message.executions,
        "at_end": message.at_end,
        "bearers": " ".join(message.bearers),
        "server": message.server,
        "protection": message.protection,
        "logic_name": message.logic_name,
        "message_identifier": identifier,
        "domain_key": domain_key.dump() if domain_key else b"",
        "agreed_at": now,
    }
