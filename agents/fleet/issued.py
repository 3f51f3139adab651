"""The certificates of a fleet, and the keys that issued them, as they lie in its state directory.

Whoever issued a certificate has it in his database, and it is read there without disturbing anybody. Who
issues for whom is not asked here: each database that holds certificates is looked at.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agents.errors import FleetError, MessageRejected
from agents.fleet.addresses import is_ua
from agents.messages.codec import decode
from agents.messages.inside import PublicKeys
from agents.store.reading import read_rows
from transport.errors import CertificateRejected
from transport.security.certificates import Certificate, Role, verify
from transport.security.suites import suite
from transport.security.x509 import export_certificate, export_public
from transport.security.x509_keys import Use

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agents.fleet.config import FleetConfig
    from transport.security.suites import SigningKey

_WHERE: Final = (("certificates", "octets"), ("modules", "certificate"))
"""In which column of which table certificates lie."""
_NO_ROLES: Final = frozenset({"fleet.db", "modules.db"})
_ORDER: Final = tuple(Role)


class Issued:
    """Every certificate that was issued in a fleet."""

    def __init__(self, config: FleetConfig) -> None:
        """Read them; raise FleetError when there is no state to read them from."""
        self._config = config
        self.directory = config.state_directory
        self._databases = sorted(self.directory.glob("*.db")) if self.directory.is_dir() else []
        found = {one.encode(): one for one in _certificates(self._databases)}
        # The newest of a subject last, whoever issued it.
        self._all = sorted(found.values(), key=lambda one: (one.not_before, one.serial))
        if not self._all:
            where = f"{self.directory}: there are no certificates here"
            if not any(authority.certificates for authority in config.authorities):
                raise FleetError(f"{where}: {config.path} does without")
            raise FleetError(f"{where}; run 'otafleet up {config.path}' first")

    def roles(self) -> list[Certificate]:
        """Return the newest certificate of each role, those above first."""
        newest = {one.subject: one for one in self._all if one.role != Role.MODULE}
        return sorted(newest.values(), key=lambda one: (_ORDER.index(Role(one.role)), one.subject))

    def modules(self) -> int:
        """Return how many modules have a certificate."""
        return len({one.subject for one in self._all if one.role == Role.MODULE})

    def certificate(self, name: str) -> Certificate:
        """Return the newest certificate of a role, or of a module by its UA. Raises FleetError."""
        for one in reversed(self._all):
            if one.subject == name:
                return one
        if is_ua(name):
            raise FleetError(f"{self.directory}: no module {name} is registered here")
        known = ", ".join(one.subject for one in self.roles())
        raise FleetError(f"{self.directory}: there is no certificate of {name!r} (known: {known})")

    def issuer(self, certificate: Certificate) -> Certificate:
        """Return the certificate of the key that signed *certificate*: its issuer may have another by now.

        Raises FleetError when it is not here.
        """
        for one in self._all:
            if one.subject == certificate.issuer:
                with suppress(CertificateRejected):
                    _check(certificate, one)
                    return one
        raise FleetError(
            f"{self.directory}: who issued the certificate of {certificate.subject} is not known"
        )

    def issuing_key(self, issuer: Certificate) -> SigningKey:
        """Return the private key of *issuer*'s certificate. Raises FleetError when nobody has it any more."""
        for key in self._signing_keys(issuer):
            if key.public == issuer.signing_public:
                return key
        raise FleetError(
            f"{self.directory}: {issuer.subject} no longer has the key of its certificate {issuer.serial}, "
            "so that nothing can be signed with it; with --key-only nothing has to be"
        )

    def _signing_keys(self, issuer: Certificate) -> Iterator[SigningKey]:
        """Yield the keys that *issuer* signs with, or signed with; those it opens with may be among them."""
        brought = self._config.brought_keys(issuer.subject)
        if brought is not None:
            yield brought.signing
        path = self.directory / f"{issuer.subject}.db"
        rows = read_rows(path, "own_keys", "suite", "private_key") if path in self._databases else []
        for row in rows:
            with suppress(ValueError):
                yield suite(row["suite"]).load_signing_key(row["private_key"])


def public_key(issued: Issued, name: str, purpose: str) -> bytes:
    """Return one of the public keys of a role or module as PEM. Raises FleetError."""
    certificate, use = issued.certificate(name), Use(purpose)
    public = certificate.sealing_public if use is Use.SEALING else certificate.signing_public
    if not public:
        raise FleetError(f"{name}: has no key that anything is sealed to")
    return export_public(certificate.suite, public, use=use)


def x509_certificate(issued: Issued, name: str) -> bytes:
    """Return the certificate of a role or module in the form of X.509, as PEM. Raises FleetError."""
    certificate = issued.certificate(name)
    issuer = issued.issuer(certificate)
    try:
        return export_certificate(certificate, issuer=issuer, issuer_key=issued.issuing_key(issuer))
    except ValueError as error:
        # What X.509 cannot say, as that a suite signs with two keys.
        raise FleetError(
            f"{name}: has no certificate in the form of X.509, but --key-only has its keys: {error}"
        ) from None


def _certificates(databases: Iterable[Path]) -> Iterator[Certificate]:
    for path in databases:
        if path.name in _NO_ROLES:
            continue
        for table, column in _WHERE:
            for row in read_rows(path, table, column):
                if (octets := row[column]) and not _is_bare(octets):
                    yield _parsed(path, octets)


def _is_bare(octets: bytes) -> bool:
    """Say whether a module is known by bare keys, in a market without certificates."""
    try:
        decode(octets, PublicKeys)
    except MessageRejected:
        return False
    return True


def _parsed(path: Path, octets: bytes) -> Certificate:
    try:
        return Certificate.parse(octets)
    except CertificateRejected as rejection:
        raise FleetError(f"{path}: holds a certificate that is none: {rejection.reason}") from None


def _check(certificate: Certificate, issuer: Certificate) -> None:
    """Raise CertificateRejected unless *issuer*'s key signed *certificate*, whenever that was."""
    verify(
        certificate,
        issuer_public=issuer.signing_public,
        issuer_suite=issuer.suite,
        issuer=issuer.subject,
        role=certificate.role,
        now=certificate.not_before,
    )
