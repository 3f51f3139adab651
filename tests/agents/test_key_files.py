"""Keys from a PKI of the person's own: what a config says of them, and which key a role has in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from agents.errors import ConfigError
from agents.fleet.config import load_config
from agents.fleet.key_files import role_keys
from agents.store.database import open_store
from agents.store.registry import Registry
from agents.store.tables import SUPPLIER, SUPPLIER_KEYS
from tests.agents.fleet_kit import fleet_config
from tests.peers import made_by_openssl, openssl
from tests.transport.security_kit import seeded
from transport.security.certificates import Role
from transport.security.private_keys import import_private
from transport.security.suites import suite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

P256: Final = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
ED25519: Final = ("-algorithm", "ed25519")
X25519: Final = ("-algorithm", "x25519")
P384: Final = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
VARIABLE: Final = "OTAFLEET_TEST_PASSPHRASE"
PASSPHRASE: Final = "open sesame"
OLD: Final = b"-----BEGIN EC PRIVATE KEY-----\nMARKED\n-----END EC PRIVATE KEY-----\n"
SUPPLIER_TABLE: Final = 'operator = "mno"\nsuite = "p256"\n\n[[supplier.service]]\nname = "account"'


def bringing(lines: str) -> tuple[str, str]:
    """Return the edit that adds *lines* to the small fleet's supplier, which is of suite p256."""
    head, _, tail = SUPPLIER_TABLE.partition("\n\n")
    return SUPPLIER_TABLE, f"{head}\n{lines}\n\n{tail}"


def encrypted(pem: bytes) -> bytes:
    """Return a private key under PASSPHRASE, as openssl writes it."""
    return openssl("pkcs8", "-topk8", "-passout", f"pass:{PASSPHRASE}", octets=pem)


def told(directory: Path, lines: str) -> str:
    """Return the one sentence about a supplier with *lines*, behind the name of the config."""
    with pytest.raises(ConfigError) as caught:
        fleet_config(directory, "", edit=bringing(lines))
    (sentence,) = caught.value.sentences
    return sentence.removeprefix(f"{directory / 'fleet.toml'}: ")


FILES: Final[Mapping[str, tuple[Callable[[], bytes], str]]] = {
    "another suite": (
        lambda: made_by_openssl(*ED25519),
        "is not of suite 'p256': it has a signing key of suite x25519",
    ),
    "another sealing suite": (
        lambda: made_by_openssl(*P256) + made_by_openssl(*X25519),
        "is not of suite 'p256': it has a sealing key of suite x25519",
    ),
    "another curve": (
        lambda: made_by_openssl(*P384),
        "has a key on a curve that no suite has; p256 is NIST P-256",
    ),
    "a public key": (
        lambda: openssl("pkey", "-pubout", octets=made_by_openssl(*P256)),
        "has a PEM block that is no private key in PKCS#8; try 'openssl pkcs8 -topk8 -in OLD -out NEW'",
    ),
    "the form before PKCS#8": (
        lambda: OLD,
        "has a PEM block that is no private key in PKCS#8; try 'openssl pkcs8 -topk8 -in OLD -out NEW'",
    ),
    "nothing": (lambda: b"", "has no private key in PEM"),
    "encrypted": (
        lambda: encrypted(made_by_openssl(*P256)),
        "is encrypted; name the variable that holds its passphrase in 'key_password_env'",
    ),
    "one key twice": (
        lambda: 2 * made_by_openssl(*P256),
        "has one key twice; sealing takes another key than signing",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_gives_no_key(case: str, tmp_path: Path) -> None:
    """What is wrong with a key file is one sentence that names the key of the config and the file."""
    make, words = FILES[case]
    (tmp_path / "bank.pem").write_bytes(make())
    assert told(tmp_path, 'key_file = "bank.pem"') == f"supplier[0].key_file: bank.pem {words}"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A key file that is not there, or is a directory, is named."""
    assert told(tmp_path, 'key_file = "no.pem"') == (
        "supplier[0].key_file: no.pem cannot be read: No such file or directory"
    )
    assert told(tmp_path, 'key_file = "."') == "supplier[0].key_file: . cannot be read: Is a directory"


def test_a_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase is in the environment; missing, wrong, needless or alone it is told, and never shown."""
    (tmp_path / "bank.pem").write_bytes(encrypted(made_by_openssl(*P256)))
    (tmp_path / "plain.pem").write_bytes(made_by_openssl(*P256))
    lines = f'key_file = "bank.pem"\nkey_password_env = "{VARIABLE}"'
    monkeypatch.delenv(VARIABLE, raising=False)
    assert told(tmp_path, lines) == (
        f"supplier[0].key_password_env: the environment has no variable {VARIABLE!r}"
    )
    monkeypatch.setenv(VARIABLE, "open barley")
    assert told(tmp_path, lines) == (
        "supplier[0].key_file: bank.pem cannot be opened with the passphrase in 'key_password_env'"
    )
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    assert told(tmp_path, lines.replace("bank.pem", "plain.pem")) == (
        "supplier[0].key_file: plain.pem is not encrypted; leave 'key_password_env' out"
    )
    assert told(tmp_path, f'key_password_env = "{VARIABLE}"') == (
        "supplier[0].key_password_env: belongs to a 'key_file', and there is none"
    )
    config = fleet_config(tmp_path, "", edit=bringing(lines))
    assert config.brought_keys("bank") is not None
    assert PASSPHRASE not in repr(config)


def test_the_state_depends_on_the_key_and_not_on_its_file(tmp_path: Path) -> None:
    """A key file may be moved or encrypted; with another key the config makes another state."""
    digests = []
    for name, pem in (
        ("bank.pem", made_by_openssl(*P256)),
        ("moved.pem", made_by_openssl(*P256)),
        ("bank.pem", openssl("genpkey", *P256)),
        ("bank.pem", made_by_openssl(*P256) + openssl("genpkey", *P256)),
    ):
        (tmp_path / name).write_bytes(pem)
        config = fleet_config(tmp_path, "", edit=bringing(f'key_file = "{name}"'))
        digests.append(config.fingerprints()["supplier"])
    first, moved, *others = digests
    assert first == moved
    assert len({first, *others}) == 3
    assert load_config(tmp_path / "fleet.toml").fingerprints()["supplier"] == digests[-1]


async def test_which_key_a_role_has(tmp_path: Path) -> None:
    """What is stored goes first, then what is brought, which is not stored, then what is made, which is."""
    brought = import_private(made_by_openssl(*P256), name="p256")
    stored = suite("p256").generate_signing_key(seeded(5))
    who = {"name": "bank", "role": Role.SUPPLIER, "suite": "p256"}
    async with open_store(tmp_path / "bank.db", SUPPLIER) as store:
        kept = Registry(store, SUPPLIER_KEYS)
        first = await role_keys(kept, **who, brought=brought, rng=seeded(1))  # type: ignore[arg-type]
        assert first.signing is brought.signing
        assert {row["purpose"] for row in kept.rows()} == {"sealing"}
        again = await role_keys(kept, **who, brought=brought, rng=seeded(2))  # type: ignore[arg-type]
        assert again.sealing.public == first.sealing.public
        await kept.put({"purpose": "signing", "suite": "p256", "private_key": stored.private})
        rolled = await role_keys(kept, **who, brought=brought, rng=seeded(3))  # type: ignore[arg-type]
        assert rolled.signing.public == stored.public


def test_an_allocator_may_bring_its_key(tmp_path: Path) -> None:
    """It holds the key that modules obey, as an operator without one does; the state depends on it too."""
    table = '[[allocator]]\nname = "host"\nnumber = "15550110"\noperator = "mno"\nsuite = "p256"\n'
    digests = []
    for pem in (made_by_openssl(*P256), openssl("genpkey", *P256)):
        (tmp_path / "host.pem").write_bytes(pem)
        config = fleet_config(tmp_path, f'\n{table}key_file = "host.pem"\n')
        brought = config.brought_keys("host")
        assert brought is not None
        assert brought.signing.public == import_private(pem, name="p256").signing.public
        digests.append(config.fingerprints()["allocator"])
    assert len(set(digests)) == len(digests)
