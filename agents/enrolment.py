"""Enrolment: at the launch and out of band, as over a registration office's counter, who is who is settled.

An authority vouches for its operators and its factory, an operator for its suppliers (or the authority does,
where a supplier's config says so). With certificates, whoever vouches issues one, and keeps what it issued;
without, the public keys are taken down as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.directory import CertificateDirectory, Directory, KeyDirectory
from agents.identity import certify
from agents.store.registry import Registry
from agents.store.tables import CERTIFICATES, OPERATOR_CERTIFICATES
from transport.security.certificates import Certificate, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.identity import RoleKeys
    from agents.store.group_commit import GroupCommit
    from bus.clock import Clock

ISSUED = {Role.AUTHORITY: CERTIFICATES, Role.OPERATOR: OPERATOR_CERTIFICATES}
"""Where an issuer keeps the certificates that it issued, by its role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A role with its keys, its store, and who vouches for it; the authority is its own."""

    keys: RoleKeys
    store: GroupCommit
    issuer: str

    @property
    def name(self) -> str:
        """The role's name."""
        return self.keys.name


class Registrar:
    """An issuer's registration office: certifies at launch, before there is a bus to speak on."""

    def __init__(self, store: GroupCommit, keys: RoleKeys, *, now: float) -> None:
        self._keys = keys
        self._now = now
        self._issued = Registry(store, ISSUED[keys.role])

    async def load(self) -> None:
        """Read what was issued before."""
        await self._issued.load()

    async def enrol(self, subject: RoleKeys) -> Certificate:
        """Return *subject*'s certificate: the one it has, while it is valid for these keys, or a new one."""
        for row in self._issued.rows():
            certificate = Certificate.parse(row["octets"])
            same = (certificate.subject, certificate.signing_public, certificate.sealing_public) == (
                subject.name,
                subject.signing.public,
                subject.sealing.public,
            )
            if same and certificate.not_after > self._now:
                return certificate
        serial = len(self._issued) + 1
        certificate = certify(subject, issuer=self._keys, serial=serial, now=self._now)
        await self._issued.put(
            {
                "serial": serial,
                "subject": subject.name,
                "role": str(subject.role),
                "octets": certificate.encode(),
                "issued_at": self._now,
            }
        )
        return certificate


async def enrol(
    root: Enrolled, others: Iterable[Enrolled], *, clock: Clock, by_certificate: bool
) -> Directory:
    """Return the directory of the authority *root* and of *others*, each behind who vouches for it."""
    return await (_certify if by_certificate else _pin)(root, others, clock)


async def _certify(root: Enrolled, others: Iterable[Enrolled], clock: Clock) -> Directory:
    offices: dict[str, Registrar] = {}

    async def certified(subject: Enrolled, issuer: Enrolled) -> Certificate:
        if issuer.name not in offices:
            offices[issuer.name] = Registrar(issuer.store, issuer.keys, now=clock.now())
            await offices[issuer.name].load()
        return await offices[issuer.name].enrol(subject.keys)

    directory = CertificateDirectory(await certified(root, root), clock=clock)
    known, chains = {root.name: root}, dict[str, tuple[Certificate, ...]]({root.name: ()})
    for other in others:
        certificate = await certified(other, known[other.issuer])
        chains[other.name] = (*chains[other.issuer], certificate)
        known[other.name] = other
        directory.enter(chains[other.name], role=other.keys.role, issuer=other.issuer)
    return directory


async def _pin(root: Enrolled, others: Iterable[Enrolled], _clock: Clock) -> Directory:
    directory = KeyDirectory()
    for one in (root, *others):
        directory.enter(one.keys, issuer=one.issuer)
    return directory
