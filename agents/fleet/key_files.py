"""Keys that a role brings from a PKI of the person's own: read with the config, held against its suite.

A key from a file never lies in the state directory: who encrypted it would not want it there in clear, so
that each launch reads the file anew. What the file does not have, as a sealing key, is made and stored as
ever. What is stored goes before what the file has: a key that was rolled over is newer than its file.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agents.identity import RoleKeys
from transport.errors import CertificateRejected
from transport.security.private_keys import MAX_OCTETS, BroughtKeys, import_private
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from agents.fleet.config import FleetConfig
    from agents.fleet.config_tables import Allocator, Authority, Operator, Supplier
    from agents.store.registry import Registry
    from transport.security.certificates import Role
    from transport.security.suites import Rng

Keyed: TypeAlias = "Authority | Operator | Allocator | Supplier"
FIELDS: Final = frozenset({"key_file", "key_password_env"})
"""The keys of a table that say where its keys lie; which keys they are is another matter."""

_HOW: Final = "openssl pkcs8 -topk8 -in OLD -out NEW"
_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "too-large": f"is larger than {MAX_OCTETS} octets; this is no file of private keys",
        "no-private-key": "has no private key in PEM",
        "too-many-blocks": "has more keys than any suite",
        "unsupported-block": f"has a PEM block that is no private key in PKCS#8; try '{_HOW}'",
        "encrypted": "is encrypted; name the variable that holds its passphrase in 'key_password_env'",
        "not-encrypted": "is not encrypted; leave 'key_password_env' out",
        "wrong-password": "cannot be opened with the passphrase in 'key_password_env'",
        "malformed": "has a PEM block that is damaged",
        "deprecated": "has a key of a kind that is no longer taken",
        "unsupported-algorithm": "has a key of an algorithm, or in a place, that no suite has",
        "unsupported-curve": "has a key on a curve that no suite has; p256 is NIST P-256",
        "unsupported-size": "has an RSA key of a length that no suite has; there are 3072 and 2048 bits",
        "unsupported-exponent": "has an RSA key with another public exponent than 65537",
        "other-suite": "is not of suite {suite!r}: it has a {detail}",
        "no-sealing-form": "has a sealing key of suite {suite!r}, which PKCS#8 has no form for; leave it out",
        "same-key": "has one key twice; sealing takes another key than signing",
        "bad-private-key": "has a private key that suite {suite!r} does not take",
        "bad-public-key": "has a private key that suite {suite!r} does not take",
    }
)


def read_key_files(config: FleetConfig) -> tuple[dict[str, BroughtKeys], list[str]]:
    """Return the keys that roles bring, by the role's name, and a problem for each file that has none."""
    keys: dict[str, BroughtKeys] = {}
    problems: list[str] = []
    for place, table in _keyed(config):
        if table.key_file is None:
            if table.key_password_env is not None:
                problems.append(f"{place}.key_password_env: belongs to a 'key_file', and there is none")
            continue
        try:
            keys[table.name] = _read(table, config.path.parent / table.key_file)
        except _Unusable as fault:
            problems.append(f"{place}.{fault}")
    return keys, problems


def public_halves(keys: Mapping[str, BroughtKeys], tables: Iterable[Keyed]) -> list[list[str]]:
    """Return what *tables* bring as a state directory remembers it: names and public keys."""
    return [
        [table.name, keys[table.name].signing.public.hex(), _public(keys[table.name]).hex()]
        for table in tables
        if table.name in keys
    ]


def _public(brought: BroughtKeys) -> bytes:
    return brought.sealing.public if brought.sealing else b""


async def role_keys(
    kept: Registry, *, name: str, role: Role, suite: str, brought: BroughtKeys | None, rng: Rng
) -> RoleKeys:
    """Return a role's keys: each as it is stored in *kept*, else as *brought*, else made now and stored."""
    made = SUITES[suite]
    signing, sealing = kept.get("signing"), kept.get("sealing")
    if signing is not None:
        signing_key = SUITES[signing["suite"]].load_signing_key(signing["private_key"])
    elif brought is not None:
        signing_key = brought.signing
    else:
        signing_key = made.generate_signing_key(rng)
        await kept.put({"purpose": "signing", "suite": suite, "private_key": signing_key.private})
    if sealing is not None:
        sealing_key = SUITES[sealing["suite"]].load_sealing_key(sealing["private_key"])
    elif brought is not None and brought.sealing is not None:
        sealing_key = brought.sealing
    else:
        sealing_key = made.generate_sealing_key(rng)
        await kept.put({"purpose": "sealing", "suite": suite, "private_key": sealing_key.private})
    return RoleKeys(name=name, role=role, suite=signing_key.suite, signing=signing_key, sealing=sealing_key)


class _Unusable(Exception):  # noqa: N818 -- a condition, not an error
    """Raised for a file that gives no keys; its words begin with the key of the config that is to blame."""


def _keyed(config: FleetConfig) -> Iterator[tuple[str, Keyed]]:
    """Yield every table that may bring keys, with its place in the file."""
    sections: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("authority", config.authorities),
        ("operator", config.operators),
        ("allocator", config.allocators),
        ("supplier", config.suppliers),
    )
    for section, tables in sections:
        for index, table in enumerate(tables):
            yield f"{section}[{index}]", table


def _read(table: Keyed, path: Path) -> BroughtKeys:
    password: str | None = None
    if table.key_password_env is not None:
        password = os.environ.get(table.key_password_env)
        if password is None:
            variable = table.key_password_env
            raise _Unusable(f"key_password_env: the environment has no variable {variable!r}")
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise _Unusable(f"key_file: {table.key_file} cannot be read: {error.strerror}") from None
    secret = None if password is None else os.fsencode(password)
    try:
        return import_private(octets, name=table.suite, password=secret)
    except CertificateRejected as rejection:
        words = _WORDS[rejection.reason].format(suite=table.suite, detail=rejection.detail)
        raise _Unusable(f"key_file: {table.key_file} {words}") from None
