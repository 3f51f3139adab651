"""Everything the transport floor may raise for octets that do not hold.

Misuse by our own code is a ``ValueError``. Octets from a peer, however wrong, end in one of these and in
nothing else::

    Rejected                     reason: a short stable code; detail: words for a person, never a secret
    ├── TlvRejected              BER-TLV or COMPREHENSION-TLV
    ├── ApduRejected             a command or response APDU
    ├── TpduRejected             a short message TPDU or its user-data header
    ├── ConcatenationRejected    a part of a concatenated short message
    ├── CellBroadcastRejected    a page, or what pages put together
    ├── DiffusionRejected        a fragment of a campaign that loads all modules of a domain
    ├── BipRejected              what a bearer independent channel carries on its network side
    ├── CatTpRejected            a CAT_TP protocol data unit
    ├── PacketRejected           a secured packet; status: what a response packet says of it
    ├── SignatureRejected        a signature that does not verify, or a key that is none
    ├── ParametersRejected       Diffie-Hellman parameters that are unsafe, or that a suite does not take
    ├── CertificateRejected      a certificate: malformed, expired, of another role or issuer
    ├── SealRejected             a sealed message: malformed, not for us, not from whom it says
    └── HandshakeRejected        a handshake message: malformed, out of order, or not proven
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transport.secured_packet.status import ResponseStatus


class Rejected(Exception):  # noqa: N818 -- the field says "rejected"; a suffix would add nothing
    """Octets from a peer that do not hold; ``reason`` is stable enough to count and to test by."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class TlvRejected(Rejected):
    """Raised when octets are not the TLV they should be."""


class ApduRejected(Rejected):
    """Raised when octets are not the APDU they should be."""


class TpduRejected(Rejected):
    """Raised when octets are not the short message TPDU they should be."""


class ConcatenationRejected(Rejected):
    """Raised when a part of a concatenated short message cannot be taken."""


class CellBroadcastRejected(Rejected):
    """Raised when a cell broadcast page cannot be taken."""


class DiffusionRejected(Rejected):
    """Raised when a fragment of a campaign, or what fragments put together, does not hold."""


class BipRejected(Rejected):
    """Raised when octets of a bearer independent channel are not what they should be."""


class CatTpRejected(Rejected):
    """Raised when octets are not the CAT_TP PDU they should be."""


class PacketRejected(Rejected):
    """Raised when a secured packet does not hold; ``status`` is what its response packet reports."""

    def __init__(self, status: ResponseStatus, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.status = status


class SignatureRejected(Rejected):
    """Raised when a signature does not verify or a public key is none."""


class ParametersRejected(Rejected):
    """Raised when a suite cannot use the parameters that somebody chose for it."""


class CertificateRejected(Rejected):
    """Raised when a certificate does not hold."""


class SealRejected(Rejected):
    """Raised when a sealed message cannot be opened."""


class HandshakeRejected(Rejected):
    """Raised when a handshake message does not hold; no session comes of it."""
