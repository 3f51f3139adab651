"""The work that octets and keys alone decide: opening a packet, checking a signature, recovering a programme.

A module does it for itself (:class:`Work`). Where many modules of a domain are emulated in one process, all
of them would do the very same work on the very same octets; :class:`SharedWork` does it once and remembers.
That is safe because nothing else goes in: what it remembers is found by the whole input, octet for octet and
not by a digest of it, under the one domain that it was made for, and what came out is a value that nobody
changes. No module learns anything that its own octets would not tell it: a packet that it never got it
cannot ask for. Refusals are not remembered, so whoever has no key pushes nothing out.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from transport.diffusion.erasure import recover
from transport.diffusion.fragment import Fragment, open_fragment
from transport.diffusion.manifest import Head, signed_octets
from transport.errors import DiffusionRejected, SignatureRejected
from transport.security.suites import suite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transport.diffusion.fragment import Domain
    from transport.diffusion.manifest import Manifest

MAX_PACKETS: Final = 2048
MAX_SIGNATURES: Final = 16
MAX_PROGRAMMES: Final = 64


class Work:
    """Does the work for one *domain*."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    @property
    def opener(self) -> Callable[[bytes], Fragment]:
        """What gives the fragment in a packet; PacketRejected, DiffusionRejected as ``open_fragment``."""
        return self._open_packet

    def _open_packet(self, packet: bytes) -> Fragment:
        return open_fragment(packet, self.domain)

    def verify(self, manifest: Manifest, signature: bytes) -> None:
        """Return if *signature* is the supplier's of *manifest*; DiffusionRejected("bad-signature")."""
        domain = self.domain
        try:
            suite(domain.supplier_suite).verify(
                domain.supplier_public, signed_octets(domain.supplier_suite, manifest), signature
            )
        except SignatureRejected as rejection:
            raise DiffusionRejected("bad-signature", rejection.reason) from None

    def head(self, octets: bytes) -> Head:
        """Return the head in the data of a fragment; DiffusionRejected as ``Head.parse``."""
        return Head.parse(octets)

    def digest(self, programme: bytes) -> bytes:
        """Return the SHA-256 of a programme."""
        return hashlib.sha256(programme).digest()

    def recover(self, manifest: Manifest, pieces: Mapping[int, bytes]) -> bytes | None:
        """Return what *pieces* give, which may not be the programme; None when they do not suffice."""
        return recover(pieces, manifest.programme_length, manifest.piece_length, manifest.scheme)


class SharedWork(Work):
    """Does the work for many modules of one *domain*, each piece of it once.

    It remembers at most *packets* packets with their fragments, 16 heads and signatures and 64 programmes
    with their pieces: some 5 MiB of packets and, at the worst, 64 times a programme and its pieces.
    """

    def __init__(self, domain: Domain, *, packets: int = MAX_PACKETS) -> None:
        super().__init__(domain)
        self._opener = lru_cache(maxsize=packets)(self._open_packet)
        self._head = lru_cache(maxsize=MAX_SIGNATURES)(super().head)
        self._digest = lru_cache(maxsize=MAX_PROGRAMMES)(super().digest)
        self._verify = lru_cache(maxsize=MAX_SIGNATURES)(super().verify)
        self._recover = lru_cache(maxsize=MAX_PROGRAMMES)(self._recover_of)

    @property
    def opener(self) -> Callable[[bytes], Fragment]:
        """See ``Work.opener``."""
        return self._opener

    def verify(self, manifest: Manifest, signature: bytes) -> None:
        """See ``Work.verify``."""
        self._verify(manifest, signature)

    def head(self, octets: bytes) -> Head:
        """See ``Work.head``."""
        return self._head(octets)

    def digest(self, programme: bytes) -> bytes:
        """See ``Work.digest``."""
        return self._digest(programme)

    def recover(self, manifest: Manifest, pieces: Mapping[int, bytes]) -> bytes | None:
        """See ``Work.recover``."""
        return self._recover(manifest, tuple(sorted(pieces.items())))

    def _recover_of(self, manifest: Manifest, pieces: tuple[tuple[int, bytes], ...]) -> bytes | None:
        return super().recover(manifest, dict(pieces))
