from __future__ import annotations

import subprocess
from base64 import b64decode, encodebytes
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.peers import made_by_openssl, need, openssl
from tests.transport.security_kit import flipped, name_of, seeded
from tests.transport.vectors import load
from transport.errors import CertificateRejected
from transport.security.certificates import Certificate, Role, issue
from transport.security.suites import suite
from transport.security.x509 import MAX_OCTETS, export_certificate, export_public, fingerprint, import_public
from transport.security.x509_keys import KINDS, SIGNERS, Use

if TYPE_CHECKING:
    from pathlib import Path

    from transport.security.suites import SigningKey

EACH_SIGNER = pytest.mark.parametrize("kind", SIGNERS)
HYBRID = "pq-hybrid"
EACH_KEY = pytest.mark.parametrize(
    ("use", "kind"), [(use, kind) for use, kinds in KINDS.items() for kind in kinds], ids=str
)


@cache
def signing_key(name: str, kind: str) -> SigningKey:
    """Return the signing key that *name* has in suite *kind*."""
    return suite(kind).generate_signing_key(seeded(int.from_bytes(name.encode(), "big")))


@cache
def public_of(kind: str, use: Use) -> bytes:
    """Return some public key of suite *kind*."""
    made = suite(kind).generate_sealing_key(seeded(1)) if use is Use.SEALING else signing_key("any", kind)
    return made.public


def certified(subject: str, role: str, issuer: str, kind: str = "x25519", **changes: Any) -> Certificate:
    """Return a certificate whose keys and signature are of suite *kind*, from second 1000 to 2000."""
    fields: dict[str, Any] = {
        "serial": 7,
        "not_before": 1000,
        "not_after": 2000,
        "signing_public": signing_key(subject, kind).public,
    }
    key = signing_key(issuer, changes.pop("issuer_suite", kind))
    return issue(key, issuer=issuer, subject=subject, role=role, suite=kind, **(fields | changes))


def exported(certificate: Certificate, issuer: Certificate, *, pem: bool = True) -> bytes:
    """Return *certificate* in the form of X.509, signed by *issuer*'s key."""
    key = signing_key(issuer.subject, issuer.suite)
    return export_certificate(certificate, issuer=issuer, issuer_key=key, pem=pem)


ROOT = certified("root", Role.AUTHORITY, "root")
OPERATOR = certified("mno.one", Role.OPERATOR, "root")
SUPPLIER = certified("bank_1", Role.SUPPLIER, "mno.one", serial=2**64 - 1)


def market(above: str, below: str) -> list[bytes]:
    """Return root, operator and supplier as X.509, the operator in suite *below*, the others in *above*."""
    root = certified("root", Role.AUTHORITY, "root", above)
    operator = certified("mno.one", Role.OPERATOR, "root", below, issuer_suite=above)
    supplier = certified("bank_1", Role.SUPPLIER, "mno.one", above, issuer_suite=below)
    return [exported(root, root), exported(operator, root), exported(supplier, operator)]


def verdict(folder: Path, chain: list[bytes], at: int) -> str:
    """Return what OpenSSL has against the last of *chain* at second *at*; it believes the first."""
    files = [folder / f"{number}.pem" for number in range(len(chain))]
    for file, octets in zip(files, chain, strict=True):
        file.write_bytes(octets)
    between = [part for file in files[1:-1] for part in ("-untrusted", str(file))]
    command = [need("openssl"), "verify", "-x509_strict", "-attime", str(at), "-CAfile", str(files[0])]
    run = subprocess.run([*command, *between, str(files[-1])], capture_output=True, text=True, check=False)
    return run.stderr if run.returncode else ""


@EACH_KEY
def test_a_public_key_goes_out_and_comes_back(use: Use, kind: str) -> None:
    """The SubjectPublicKeyInfo of each suite's keys, PEM or DER, comes in as the same key of that suite."""
    public = public_of(kind, use)
    for pem in (True, False) if kind != HYBRID else (True,):
        found = import_public(export_public(kind, public, use=use, pem=pem), use=use)
        assert (found.suite, found.public) == (kind, public)
        assert "public" not in repr(found)


@EACH_KEY
def test_openssl_reads_our_public_keys(use: Use, kind: str) -> None:
    """OpenSSL writes out the key that it read from our PEM, and it is our DER, and the other way round.

    Of a hybrid OpenSSL 3.0 knows the classic half, the last block.
    """
    public, name = public_of(kind, use), kind
    pem = export_public(kind, public, use=use)
    if kind == HYBRID:
        pem, name = b"-----BEGIN" + pem.rpartition(b"-----BEGIN")[2], "x25519"
        public = public[-32:]
    der = export_public(name, public, use=use, pem=False)
    assert openssl("pkey", "-pubin", "-pubout", "-outform", "DER", octets=pem) == der
    assert openssl("pkey", "-pubin", "-pubout", "-inform", "DER", octets=der) == pem


@EACH_KEY
def test_a_fingerprint_is_of_what_openssl_hashes(use: Use, kind: str) -> None:
    """A key's fingerprint is the SHA-256 of its DER, of a hybrid's both, as anybody can compute it."""
    public = public_of(kind, use)
    pem = export_public(kind, public, use=use)
    if kind != HYBRID:
        octets = openssl("pkey", "-pubin", "-pubout", "-outform", "DER", octets=pem)
    else:
        bodies = [part.partition(b"-----END")[0] for part in pem.split(b"-----BEGIN PUBLIC KEY-----")[1:]]
        octets = b"".join(map(b64decode, bodies))
    assert fingerprint(kind, public, use=use) == sha256(octets).hexdigest()


@pytest.mark.parametrize("use", Use)
def test_a_hybrid_is_two_keys_in_their_order(use: Use) -> None:
    """A hybrid's key is two blocks: one alone, the wrong way round or a third one is none, nor is it DER."""
    pem = export_public(HYBRID, public_of(HYBRID, use), use=use)
    first, second = (b"-----BEGIN" + block for block in pem.split(b"-----BEGIN")[1:])
    assert import_public(b"first\n" + first + b"second\n" + second, use=use).suite == HYBRID
    assert import_public(second, use=use).suite == "x25519"
    for octets, reason in (
        (first, "unsupported-algorithm"),
        (second + first, "unsupported-algorithm"),
        (first + second + second, "too-many-blocks"),
    ):
        with pytest.raises(CertificateRejected, match=reason):
            import_public(octets, use=use)
    with pytest.raises(ValueError, match="only PEM takes"):
        export_public(HYBRID, public_of(HYBRID, use), use=use, pem=False)


@pytest.mark.parametrize("vector", load("x509")["identifier"], ids=name_of)
def test_the_new_half_of_a_hybrid(vector: dict[str, str]) -> None:
    """The first block is, octet for octet, the published identifier and the first half of the suite's key."""
    use, identifier = Use(vector["use"]), bytes.fromhex(vector["octets"])
    bits = b"\0" + public_of(HYBRID, use)[:-32]
    body = identifier + b"\x03\x82" + len(bits).to_bytes(2, "big") + bits
    pem = export_public(HYBRID, public_of(HYBRID, use), use=use)
    first = pem.removeprefix(b"-----BEGIN PUBLIC KEY-----").partition(b"-----END")[0]
    assert b64decode(first) == b"\x30\x82" + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize("name", ["root", "mno.one"])
def test_a_hybrid_has_no_x509_certificate(name: str) -> None:
    """Neither an issuer nor a subject that signs with two keys goes into a certificate that has one."""
    kinds = {name: HYBRID}
    root = certified("root", Role.AUTHORITY, "root", kinds.get("root", "x25519"))
    operator = certified(
        "mno.one", Role.OPERATOR, "root", kinds.get("mno.one", "x25519"), issuer_suite=root.suite
    )
    with pytest.raises(ValueError, match="signs with 2 keys"):
        exported(operator, root)


@pytest.mark.parametrize("vector", load("x509")["public"], ids=name_of)
def test_published_keys(vector: dict[str, str]) -> None:
    """Published certificates and keys give the published octets, from DER, from PEM, and with text around."""
    der, label, use = b64decode(vector["base64"]), vector["label"].encode(), Use(vector["use"])
    pem = b"-----BEGIN " + label + b"-----\n" + encodebytes(der) + b"-----END " + label + b"-----\n"
    for octets in (der, pem, pem.replace(b"\n", b"\r\n"), b"subject=anybody\n\n" + pem + b"\nand so on\n"):
        found = import_public(octets, use=use)
        assert (found.suite, found.public.hex()) == (vector["suite"], vector["public"])
    if label == b"PUBLIC KEY":
        assert export_public(vector["suite"], bytes.fromhex(vector["public"]), use=use, pem=False) == der


@pytest.mark.parametrize("above", SIGNERS)
@pytest.mark.parametrize("below", SIGNERS)
def test_openssl_believes_our_chain(tmp_path: Path, above: str, below: str) -> None:
    """OpenSSL's strict path validation goes from our root over operator to supplier, in their time only."""
    chain = market(above, below)
    assert verdict(tmp_path, chain, 1500) == ""
    assert "expired" in verdict(tmp_path, chain, 2001)
    assert "not yet valid" in verdict(tmp_path, chain, 999)
    assert "unable to get" in verdict(tmp_path, [chain[0], chain[2]], 1500)


def test_openssl_refuses_what_our_table_refuses(tmp_path: Path) -> None:
    """An operator below an operator has one level too many in X.509 too, and a supplier is no CA there."""
    second = certified("mvno", Role.OPERATOR, "mno.one")
    under_second = certified("shop", Role.SUPPLIER, "mvno")
    under_supplier = certified("shop", Role.SUPPLIER, "bank_1")
    above = [exported(ROOT, ROOT), exported(OPERATOR, ROOT)]
    too_long = [*above, exported(second, OPERATOR), exported(under_second, second)]
    assert "path length constraint exceeded" in verdict(tmp_path, too_long, 1500)
    no_issuer = [*above, exported(SUPPLIER, OPERATOR), exported(under_supplier, SUPPLIER)]
    assert "invalid CA certificate" in verdict(tmp_path, no_issuer, 1500)


def test_an_x509_certificate_says_what_the_compact_one_says() -> None:
    """OpenSSL prints names, role, serial, times, key and an issuer's limits as our certificate has them."""
    fields = ("-subject", "-issuer", "-serial", "-dates", "-ext", "basicConstraints,keyUsage")
    printed = openssl("x509", "-noout", *fields, octets=exported(OPERATOR, ROOT)).decode()
    assert [line.strip() for line in printed.splitlines()] == [
        "subject=CN = mno.one, OU = operator",
        "issuer=CN = root, OU = authority",
        "serial=07",
        "notBefore=Jan  1 00:16:40 1970 GMT",
        "notAfter=Jan  1 00:33:20 1970 GMT",
        "X509v3 Basic Constraints: critical",
        "CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical",
        "Digital Signature, Certificate Sign",
    ]
    key = openssl("x509", "-noout", "-pubkey", octets=exported(OPERATOR, ROOT))
    assert key == export_public("x25519", OPERATOR.signing_public)


@pytest.mark.parametrize("role", Role)
def test_who_may_issue_is_a_ca(role: Role) -> None:
    """Authority and operator are CAs with the levels that the table leaves below them; nobody else is one."""
    made = exported(certified("someone", role, "root"), ROOT, pem=False)
    extensions = x509.load_der_x509_certificate(made).extensions
    limits = extensions.get_extension_for_class(x509.BasicConstraints).value
    levels = {Role.AUTHORITY: 1, Role.OPERATOR: 0}
    assert (limits.ca, limits.path_length) == (role in levels, levels.get(role))
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign is limits.ca
    assert usage.digital_signature


@EACH_SIGNER
def test_an_issuer_signs_as_its_suite_does(kind: str) -> None:
    """What signs an X.509 certificate is the algorithm of the suite, for RSA with its padding and salt."""
    made = x509.load_pem_x509_certificate(market(kind, kind)[1])
    names = {"x25519": "ED25519", "p256": "ECDSA_WITH_SHA256"}
    assert made.signature_algorithm_oid == getattr(x509.SignatureAlgorithmOID, names.get(kind, "RSASSA_PSS"))
    if kind not in names:
        printed = openssl("x509", "-noout", "-text", octets=made.public_bytes(Encoding.PEM)).decode()
        assert "mgf1 with sha256" in printed
        assert "Salt Length: 0x20" in printed


@EACH_SIGNER
def test_the_library_believes_each_link(kind: str) -> None:
    """Issuer's name, key identifier and signature fit, in each suite; the key in it is the certified one."""
    made = [x509.load_pem_x509_certificate(octets) for octets in market(kind, kind)]
    for certificate, issuer in zip(made, [made[0], *made], strict=False):
        certificate.verify_directly_issued_by(issuer)
    assert import_public(made[2].public_bytes(Encoding.PEM)).public == signing_key("bank_1", kind).public


def test_the_library_believes_a_chain() -> None:
    """The path validation of cryptography believes a supplier in P-256, whose curve it allows."""
    root, operator, supplier = map(x509.load_pem_x509_certificate, market("p256", "p256"))
    verifier = (
        PolicyBuilder()
        .store(Store([root]))
        .time(datetime.fromtimestamp(1500, UTC))
        .extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
        )
        .build_client_verifier()
    )
    assert verifier.verify(supplier, [operator]).chain == [supplier, operator, root]


@EACH_SIGNER
def test_the_same_certificate_is_the_same_octets(kind: str) -> None:
    """Neither clock nor chance goes into an X.509 certificate, but for the salt that RSA-PSS draws."""
    first, again = market(kind, kind), market(kind, kind)
    if kind.startswith("rsa"):
        first, again = (
            [x509.load_pem_x509_certificate(octets).tbs_certificate_bytes for octets in made]
            for made in (first, again)
        )
    assert first == again


def test_a_signature_under_one_form_is_none_under_the_other() -> None:
    """What an issuer signs starts with 00 in a compact certificate and with 30 in X.509: never the same."""
    tbs = x509.load_der_x509_certificate(exported(OPERATOR, ROOT, pem=False)).tbs_certificate_bytes
    assert (OPERATOR.signed_octets[0], tbs[0]) == (0x00, 0x30)


def test_a_validity_without_an_end() -> None:
    """What is valid beyond the year 9999 ends with it, as RFC 5280 writes that there is no end."""
    endless = certified("mno.one", Role.OPERATOR, "root", not_after=2**40 - 1)
    printed = openssl("x509", "-noout", "-enddate", octets=exported(endless, ROOT))
    assert printed == b"notAfter=Dec 31 23:59:59 9999 GMT\n"


def test_our_own_mistakes_are_value_errors() -> None:
    """Another's key, an unknown suite, serial zero and a beginning after the year 9999 raise ValueError."""
    with pytest.raises(ValueError, match="key is not that of issuer root"):
        export_certificate(OPERATOR, issuer=ROOT, issuer_key=signing_key("mno.one", "x25519"))
    with pytest.raises(ValueError, match="'rot13' have no form"):
        export_public("rot13", b"")
    with pytest.raises(ValueError, match="serial number should be positive"):
        exported(certified("mno.one", Role.OPERATOR, "root", serial=0), ROOT)
    late = certified("mno.one", Role.OPERATOR, "root", not_before=2**39, not_after=2**40 - 1)
    with pytest.raises(ValueError, match="before the year 10000"):
        exported(late, ROOT)


@pytest.mark.parametrize(
    ("reason", "certificate"),
    [
        ("wrong-issuer", SUPPLIER),
        ("bad-signature", replace(OPERATOR, serial=8)),
        ("bad-public-key", certified("mno.one", Role.OPERATOR, "root", signing_public=bytes(32))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_only_what_an_issuer_issued_goes_out(reason: str, certificate: Certificate) -> None:
    """Nobody gets an X.509 certificate for what the compact one does not prove, or for a key that is none."""
    with pytest.raises(CertificateRejected, match=reason):
        exported(certificate, ROOT)


@EACH_KEY
def test_octets_that_are_no_key_do_not_go_out(use: Use, kind: str) -> None:
    """A public key too short, too long or none of its suite is refused."""
    public = public_of(kind, use)
    for octets in (b"", public[:-1], public + b"\0", bytes(len(public))):
        with pytest.raises(CertificateRejected, match="bad-public-key"):
            export_public(kind, octets, use=use)


def test_a_sealing_key_is_judged_as_one() -> None:
    """A point of small order on X25519 is refused, though as Ed25519's octets it would pass."""
    # a u-coordinate of order 8: it makes every secret zero, by which it is found out
    point = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
    assert export_public("x25519", point)
    with pytest.raises(CertificateRejected, match="bad-public-key"):
        export_public("x25519", point, use=Use.SEALING)


@pytest.mark.parametrize(
    ("options", "use", "kind"),
    [
        (("-algorithm", "ed25519"), Use.SIGNING, "x25519"),
        (("-algorithm", "x25519"), Use.SEALING, "x25519"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), Use.SIGNING, "p256"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), Use.SEALING, "p256"),
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"), Use.SIGNING, "rsa-2048-ffdh"),
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"), Use.SEALING, "rsa-ffdh"),
    ],
    ids=["Ed25519", "X25519", "P-256 signing", "P-256 sealing", "RSA signing", "RSA sealing"],
)
def test_keys_made_by_openssl(options: tuple[str, ...], use: Use, kind: str) -> None:
    """A key pair that OpenSSL made comes in by its public half, and goes out as OpenSSL writes it."""
    pem = openssl("pkey", "-pubout", octets=made_by_openssl(*options))
    found = import_public(pem, use=use)
    assert found.suite == kind
    assert export_public(kind, found.public, use=use) == pem


@pytest.mark.parametrize("algorithm", ["ed25519", "ec -pkeyopt ec_paramgen_curve:P-256", "rsa:2048"])
def test_certificates_made_by_openssl(tmp_path: Path, algorithm: str) -> None:
    """A self-signed certificate that OpenSSL made gives the key that its private key has."""
    (tmp_path / "openssl.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n", encoding="ascii")
    key = str(tmp_path / "key.pem")
    where = ("-nodes", "-keyout", key, "-config", str(tmp_path / "openssl.cnf"))
    certificate = openssl("req", "-x509", "-newkey", *algorithm.split(), "-subj", "/CN=pki", *where)
    assert import_public(certificate) == import_public(openssl("pkey", "-pubout", "-in", key))


REFUSED_KEYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "P-384": ("unsupported-curve", ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")),
    "Ed448": ("unsupported-algorithm", ("-algorithm", "ed448")),
    "X25519 to sign": ("unsupported-algorithm", ("-algorithm", "x25519")),
    "RSA of 1024 bits": ("unsupported-size", ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")),
    "RSA with exponent 3": (
        "unsupported-exponent",
        (*("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"), "-pkeyopt", "rsa_keygen_pubexp:3"),
    ),
    "Diffie-Hellman": ("deprecated", ("-algorithm", "DH", "-pkeyopt", "group:ffdhe2048")),
}


@pytest.mark.parametrize(("reason", "options"), REFUSED_KEYS.values(), ids=REFUSED_KEYS)
def test_keys_that_no_suite_takes(reason: str, options: tuple[str, ...]) -> None:
    """Keys of another algorithm or curve, or that the library will drop, are refused with a reason."""
    with pytest.raises(CertificateRejected) as caught:
        import_public(openssl("pkey", "-pubout", octets=made_by_openssl(*options)))
    assert caught.value.reason == reason


def test_a_private_key_is_refused_and_not_repeated() -> None:
    """Whoever brings the wrong half is told so, and nothing of it is in what he is told."""
    for private in (made_by_openssl("-algorithm", "ed25519"), b"-----BEGIN EC PRIVATE KEY-----\nMARKED"):
        with pytest.raises(CertificateRejected) as caught:
            import_public(private)
        assert str(caught.value) == "private-key"


GOOD_DER = exported(OPERATOR, ROOT, pem=False)
GOOD_PEM = exported(OPERATOR, ROOT)
ED25519_HEAD = bytes.fromhex("302a300506032b6570032100")
BAD_OCTETS: dict[str, tuple[str, bytes]] = {
    "nothing": ("malformed", b""),
    "an octet too many for us": ("too-large", bytes(MAX_OCTETS + 1)),
    "an octet behind": ("malformed", GOOD_DER + b"\0"),
    "an octet missing": ("malformed", GOOD_DER[:-1]),
    "not DER": ("malformed", b64decode(load("x509")["not_der"][0]["base64"])),
    "two certificates": ("unsupported-algorithm", GOOD_PEM * 2),
    "three certificates": ("too-many-blocks", GOOD_PEM * 3),
    "a request": ("unsupported-block", GOOD_PEM.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST")),
    "an endless label": ("unsupported-block", b"-----BEGIN " + b"A" * 9000),
    "a label without octets": ("malformed", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
    "a label of another": ("malformed", GOOD_PEM.replace(b"CERTIFICATE", b"PUBLIC KEY")),
    "no base64": ("malformed", b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n"),
    "a compact certificate": ("malformed", OPERATOR.encode()),
    "a point of small order": ("bad-public-key", ED25519_HEAD + b"\1" + bytes(31)),
    "a key too short": ("malformed", b"\x30\x29" + ED25519_HEAD[2:9] + b"\3\x20\0" + bytes(31)),
    "an algorithm of nobody": (
        "unsupported-algorithm",
        bytes.fromhex("302a300506032b6500032100") + bytes(32),
    ),
    "a length of gigabytes": ("malformed", bytes.fromhex("3084ffffffff")),
    "deep nesting": ("malformed", b"\x30\x80" * 8000),
}


@pytest.mark.parametrize(("reason", "octets"), BAD_OCTETS.values(), ids=BAD_OCTETS)
def test_octets_that_are_no_public_key(reason: str, octets: bytes) -> None:
    """What is oversized, cut, ambiguous, of another form or a dangerous key is refused with its reason."""
    with pytest.raises(CertificateRejected) as caught:
        import_public(octets)
    assert caught.value.reason == reason


def test_a_serial_below_zero_is_refused(tmp_path: Path) -> None:
    """A certificate that RFC 5280 forbids, and of which the library would only warn, is refused."""
    where = ("-nodes", "-keyout", str(tmp_path / "key.pem"), "-config", str(tmp_path / "openssl.cnf"))
    (tmp_path / "openssl.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n", encoding="ascii")
    made = openssl("req", "-x509", "-newkey", "ed25519", "-subj", "/CN=pki", "-set_serial", "-5", *where)
    with pytest.raises(CertificateRejected, match="deprecated"):
        import_public(made)


def test_altered_octets_are_refused_in_kind() -> None:
    """One altered bit anywhere, or a cut, gives a typed refusal or a key: nothing else ever comes out."""
    for octets in (GOOD_DER, GOOD_PEM, export_public("p256", public_of("p256", Use.SIGNING), pem=False)):
        for candidate in [flipped(octets, at) for at in range(len(octets))] + [
            octets[:end] for end in range(len(octets))
        ]:
            with suppress(CertificateRejected):
                assert import_public(candidate).suite in KINDS[Use.SIGNING]


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(lambda octets: ED25519_HEAD + octets),
        st.binary(max_size=90).map(lambda octets: b"-----BEGIN PUBLIC KEY-----\n" + encodebytes(octets)),
        st.text(max_size=60).map(lambda text: f"-----BEGIN {text}-----END".encode(errors="replace")),
    ),
    st.sampled_from(list(Use)),
)
def test_arbitrary_octets(octets: bytes, use: Use) -> None:
    """Arbitrary octets, also behind a head that promises a key, are refused in kind or are a key."""
    with suppress(CertificateRejected):
        found = import_public(octets, use=use)
        assert import_public(export_public(found.suite, found.public, use=use), use=use) == found
