"""A fleet whose roles bring keys that openssl made, and what ``otafleet certificate`` tells of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.errors import FleetError
from tests.peers import made_by_openssl, openssl
from tests.scenarios.kit import cli, fleet_of, play, write_single
from transport.security.private_keys import import_private

if TYPE_CHECKING:
    from pathlib import Path

P256: Final = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
ED25519: Final = ("-algorithm", "ed25519")
X25519: Final = ("-algorithm", "x25519")
VARIABLE: Final = "OTAFLEET_TEST_PASSPHRASE"
PASSPHRASE: Final = "open sesame"
HYBRID: Final = """
[[supplier]]
name = "shop"
number = "15550300"
operator = "mno"
suite = "pq-hybrid"

[[supplier.service]]
name = "loyalty"
application = "apps/loyalty.wat"
backend = "loyalty"
code = 1024
data = 64
"""
ROLES: Final = {"root": "x25519", "mno": "x25519", "bank": "p256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pki:
    """A fleet that ran, the private keys that its roles brought, and what was told while it ran."""

    config: Path
    keys: dict[str, bytes]
    meanwhile: tuple[int, str, str]
    ua: str

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.config.parent / "state"

    def export(self, name: str, *options: str) -> Path:
        """Return the file that an export of *name* wrote."""
        out = self.config.parent / f"{name}{len(options)}.pem"
        assert cli("certificate", "export", self.config, name, "--out", out, *options) == (0, "", "")
        return out


@pytest.fixture(scope="module", name="pki")
def _pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Return the fleet: an encrypted key of the operator's, one to seal to of the bank's, a hybrid's shop."""
    directory = tmp_path_factory.mktemp("pki")
    keys = {
        "root": made_by_openssl(*ED25519),
        "mno": openssl("genpkey", *ED25519),
        "bank": made_by_openssl(*P256) + openssl("genpkey", *P256),
    }
    config = write_single(directory, count=1)
    text = config.read_text(encoding="utf-8")
    for name, pem in keys.items():
        lines = f'name = "{name}"\nkey_file = "{name}.pem"\n'
        if name == "mno":
            pem = openssl("pkcs8", "-topk8", "-passout", f"pass:{PASSPHRASE}", octets=pem)  # noqa: PLW2901
            lines += f'key_password_env = "{VARIABLE}"\n'
        if name == "bank":
            lines += 'certified_by = "operator"\n'
        (directory / f"{name}.pem").write_bytes(pem)
        text = text.replace(f'name = "{name}"\n', lines, 1)
    config.write_text(text.replace("\n[[handsets]]", HYBRID + "\n[[handsets]]"), encoding="utf-8")
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, PASSPHRASE)
        report = play(config, ended=lambda: told.append(cli("certificate", "show", config, "--json")))
        assert report.missed == ()
    ((ua, _),) = fleet_of(write_single(tmp_path_factory.mktemp("names"), count=1)).handset_addresses()
    return Pki(config=config, keys=keys, meanwhile=told[0], ua=ua)


@pytest.fixture(autouse=True)
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command find the operator's passphrase."""
    monkeypatch.setenv(VARIABLE, PASSPHRASE)


def shown(pki: Pki, *name: str) -> list[dict[str, Any]]:
    """Return what ``certificate show --json`` says."""
    code, out, complaint = cli("certificate", "show", pki.config, *name, "--json")
    assert (code, complaint) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_a_fleet_of_brought_keys(pki: Pki) -> None:
    """The roles are certified with the very keys that openssl made, and the whole story came to pass."""
    for name, pem in pki.keys.items():
        exported = pki.export(name, "--key-only").read_bytes()
        assert exported == openssl("pkey", "-pubout", octets=pem)
    sealing = pki.export("bank", "--key-only", "--purpose", "sealing").read_bytes()
    second = b"-----BEGIN" + pki.keys["bank"].rpartition(b"-----BEGIN")[2]
    assert sealing == openssl("pkey", "-pubout", octets=second)


def test_a_brought_key_is_not_stored(pki: Pki) -> None:
    """No private key from a file lies in the state directory, which has not the passphrase either."""
    secrets = [PASSPHRASE.encode()]
    for name, pem in pki.keys.items():
        brought = import_private(pem, name=ROLES[name])
        secrets += [brought.signing.private, *([brought.sealing.private] if brought.sealing else [])]
    kept = b"".join(path.read_bytes() for path in pki.state.rglob("*") if path.is_file())
    assert len(secrets) == 5
    assert [secret for secret in secrets if secret in kept] == []


def test_openssl_believes_what_is_exported(pki: Pki) -> None:
    """OpenSSL's strict validation goes from the authority to operator and supplier, and to a module."""
    root, between = pki.export("root"), {"bank": ("-untrusted", pki.export("mno"))}
    for name in ("mno", "bank", pki.ua):
        exported = pki.export(name)
        told = openssl("verify", "-x509_strict", "-CAfile", root, *between.get(name, ()), exported)
        assert told == f"{exported}: OK\n".encode()
    printed = openssl("x509", "-noout", "-text", "-in", pki.export("mno")).decode()
    assert "Subject: CN = mno, OU = operator" in printed
    assert "CA:TRUE, pathlen:0" in printed


def test_a_hybrid_goes_out_as_keys_alone(pki: Pki) -> None:
    """No X.509 certificate says what signs with two keys: that is told, and the keys go out by themselves."""
    sentence = (
        "shop: has no certificate in the form of X.509, but --key-only has its keys: suite pq-hybrid signs "
        "with 2 keys and an X.509 certificate has one: export its public keys by themselves\n"
    )
    assert cli("certificate", "export", pki.config, "shop") == (1, "", sentence)
    for purpose in ("signing", "sealing"):
        out = pki.export("shop", "--key-only", "--purpose", purpose)
        assert out.read_bytes().count(b"-----BEGIN PUBLIC KEY-----") == 2
        code, said, _ = cli("certificate", "import", out)
        assert (code, said.splitlines()[1:3]) == (0, ["  suite    pq-hybrid", f"  purpose  {purpose}"])


def test_what_is_shown(pki: Pki) -> None:
    """All roles are listed with suite and issuer, one by its name in full, a module by its address."""
    found = {one["subject"]: (one["role"], one["suite"], one["issuer"]) for one in shown(pki)}
    assert found == {
        "root": ("authority", "x25519", "root"),
        "mno": ("operator", "x25519", "root"),
        "bank": ("supplier", "p256", "mno"),
        "shop": ("supplier", "pq-hybrid", "mno"),
        "personaliser.root": ("personaliser", "x25519", "root"),
    }
    _, listed, _ = cli("certificate", "show", pki.config)
    assert listed.splitlines()[-1] == "modules with a certificate: 1; show one by its address"
    (module,) = shown(pki, pki.ua)
    assert (module["role"], module["issuer"]) == ("module", "root")
    (bank,) = shown(pki, "bank")
    _, told, _ = cli("certificate", "show", pki.config, "bank")
    assert f"  sealing  sha256 {bank['sha256']['sealing']}" in told.splitlines()
    _, imported, _ = cli("certificate", "import", pki.export("bank"))
    assert f"  sha256   {bank['sha256']['signing']}" in imported.splitlines()


def test_it_only_looks(pki: Pki) -> None:
    """While the fleet ran it told the same, and a look leaves the state directory as it was."""
    code, out, _ = pki.meanwhile
    assert code == 0
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in pki.state.rglob("*")}
    assert json.loads(out) == shown(pki)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in pki.state.rglob("*")} == before


def test_the_next_launch_has_the_same_keys(pki: Pki) -> None:
    """A resumed fleet takes its keys from the files again; with another key it is told that it is another."""
    assert play(pki.config).resumed
    path = pki.config.parent / "root.pem"
    pem = path.read_bytes()
    path.write_bytes(openssl("genpkey", *ED25519))
    try:
        with pytest.raises(FleetError, match=r"made by another config: \[authority\] differs"):
            play(pki.config)
        assert cli("certificate", "export", pki.config, "mno")[2] == (
            f"{pki.state}: root no longer has the key of its certificate 1, so that nothing can be signed "
            "with it; with --key-only nothing has to be\n"
        )
    finally:
        path.write_bytes(pem)


def test_what_cannot_be_exported_is_told(pki: Pki, tmp_path: Path) -> None:
    """An unknown name, a sealing key in a certificate, a file that cannot be written: one sentence each."""
    known = "root, mno, bank, shop, personaliser.root"
    for arguments, code, sentence in (
        (("export", pki.config, "bnk"), 1, f"{pki.state}: there is no certificate of 'bnk' (known: {known})"),
        (
            ("show", pki.config, "8988459600030000013"),
            1,
            f"{pki.state}: no module 8988459600030000013 is registered here",
        ),
        (
            ("export", pki.config, "bank", "--purpose", "sealing"),
            2,
            "an X.509 certificate has the signing key alone: take the sealing key with --key-only",
        ),
        (("export", pki.config, "bank", "--out", tmp_path), 1, f"cannot write {tmp_path}: is a directory"),
    ):
        assert cli("certificate", *arguments) == (code, "", f"{sentence}\n")
    empty = write_single(tmp_path)
    assert cli("certificate", "show", empty) == (
        1,
        "",
        f"{tmp_path / 'state'}: there are no certificates here; run 'otafleet up {empty}' first\n",
    )
    assert not (tmp_path / "state").exists()


UNUSABLE: Final = {
    "P-384": (
        ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
        "has a key on the curve secp384r1, and a suite has NIST P-256 alone",
    ),
    "RSA of 1024 bits": (
        ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
        "has a key that no suite takes, RSA of 1024 bits; there are 3072 and 2048 bits",
    ),
    "Ed448": (("-algorithm", "ed448"), "has a key of an algorithm that no suite has"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_key_that_no_suite_takes(case: str, tmp_path: Path) -> None:
    """What is not usable is said clearly, and why."""
    options, words = UNUSABLE[case]
    path = tmp_path / "key.pem"
    path.write_bytes(openssl("pkey", "-pubout", octets=made_by_openssl(*options)))
    assert cli("certificate", "import", path) == (1, "", f"{path}: {words}\n")


def test_a_private_key_is_not_imported(tmp_path: Path) -> None:
    """Who brings a private key is told to keep it; what is no key or not there is told as well."""
    path = tmp_path / "key.pem"
    path.write_bytes(made_by_openssl(*P256))
    assert cli("certificate", "import", path)[2].startswith(f"{path}: is a private key, which should never")
    path.write_bytes(b"hello")
    assert cli("certificate", "import", path)[2] == (
        f"{path}: is neither an X.509 certificate nor a public key, in PEM or DER\n"
    )
    missing = tmp_path / "missing.pem"
    assert cli("certificate", "import", missing) == (
        2,
        "",
        f"{missing}: cannot be read: No such file or directory\n",
    )


def test_one_key_for_both_purposes(tmp_path: Path) -> None:
    """A P-256 key may sign or be sealed to, an X25519 key is sealed to alone, and each names its suite."""
    path = tmp_path / "key.der"
    for options, suite, purpose in ((P256, "p256", "signing, sealing"), (X25519, "x25519", "sealing")):
        pem = made_by_openssl(*options)
        path.write_bytes(openssl("pkey", "-pubout", "-outform", "DER", octets=pem))
        code, out, _ = cli("certificate", "import", path)
        assert (code, out.splitlines()[1:3]) == (0, [f"  suite    {suite}", f"  purpose  {purpose}"])
