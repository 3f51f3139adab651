"""What is broadcast, written anew from the descriptions of its octets, with ``cryptography`` alone.

RFC 5869 for the keys, AES-CBC from a zero initial vector and AES-CMAC of eight octets for the packet, Ed25519
for the supplier, HPKE for the module.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from transport.diffusion import Campaign, Coding, Domain, Scheme, make_notice, make_renewal, take_renewal
from transport.security.domain_key import DomainKey, Kind
from transport.security.suites import SUITES

SUPPLIER: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MODULE: Final = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
OTHER: Final = X25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
OLD, NEW = sha256(b"old").digest(), sha256(b"new").digest()
UA, OTHER_UA = b"8988211000000000019", b"8988211000000000027"
TAR, NAME, BANK = b"\xb2\x00\x01", b"points", b"bank"
ED25519: Final = 1
"""The number of the suite x25519."""


def framed(label: str, *fields: bytes) -> bytes:
    """Return each after its length in two octets."""
    return b"".join(len(each).to_bytes(2, "big") + each for each in (label.encode(), *fields))


def number(value: int, octets: int = 4) -> bytes:
    """Return a number, most significant octet first."""
    return value.to_bytes(octets, "big")


def packet(key: bytes, use: str, keyset: int, counter: int, data: bytes) -> bytes:
    """Return the command packet of TS 102 225, for pages: ciphered, CC of eight octets, counter unchecked."""
    labels = (framed("otafleet/1 domain key", f"{use} {each} aes-128".encode()) for each in ("KIc", "KID"))
    kic, kid = (HKDFExpand(SHA256(), 16, label).derive(key) for label in labels)
    padding = -(6 + 8 + len(data)) % 16
    hidden, data = number(counter, 5) + bytes([padding]), data + bytes(padding)
    # CHL 21; SPI 0E 00: a CC, ciphering, a counter that is not checked, no response; AES is the low nibble 2.
    clear = bytes([21, 0x0E, 0x00, keyset << 4 | 2, keyset << 4 | 2]) + TAR
    clear = number(len(clear) + 6 + 8 + len(data), 2) + clear
    mac = CMAC(AES(kid))
    mac.update(clear + hidden + data)
    encryptor = Cipher(AES(kic), CBC(bytes(16))).encryptor()
    return clear + encryptor.update(hidden + mac.finalize()[:8] + data) + encryptor.finalize()


def domain(key: bytes, generation: int) -> Domain:
    """Return what both sides know."""
    return Domain(
        tar=TAR,
        logic_name=NAME,
        supplier=BANK,
        supplier_suite="x25519",
        supplier_public=SUPPLIER.public_key().public_bytes_raw(),
        domain_key=DomainKey(kind=Kind.SYMMETRIC, generation=generation, secret=key),
    )


def signed_renewal(body: bytes) -> bytes:
    """Return *body* and the supplier's signature."""
    return body + SUPPLIER.sign(framed("otafleet/1 domain key renewal", TAR, NAME, BANK, body))


def entry(ua: bytes, key: X25519PrivateKey) -> tuple[bytes, bytes]:
    """Return a module's mark, and the next key as it is sealed to it: symmetric, generation 4, oldest 3."""
    header = bytes([1, ED25519]) + number(4)
    info = framed("otafleet/1 domain key wrapped", header, ua, TAR, NAME)
    dump = bytes([1]) + number(4) + number(3) + NEW
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
    mark = sha256(framed("otafleet/1 domain key renewal mark", number(4), ua)).digest()[:8]
    return mark, header + bytes(suite.encrypt(dump, key.public_key(), info))


def test_a_renewal() -> None:
    """The module takes the key of a packet that is made by hand; ours, of the same seals, is the same."""
    entries = sorted([entry(UA, MODULE), entry(OTHER_UA, OTHER)])
    body = bytes([1, ED25519]) + number(2) + number(4)
    body += b"".join(mark + number(len(octets), 2) + octets for mark, octets in entries)
    made = packet(OLD, "renewal", 15, 0, signed_renewal(body))
    for ua, key in ((UA, MODULE), (OTHER_UA, OTHER)):
        sealing = SUITES["x25519"].load_sealing_key(key.private_bytes_raw())
        taken = take_renewal(made, domain(OLD, 2), sealing, ua=ua)
        assert taken is not None
        assert (taken.generation, taken.secret, taken.oldest) == (4, NEW, 3)
    wrapped = dict(zip((UA, OTHER_UA), (entry_of(entries, ua) for ua in (UA, OTHER_UA)), strict=True))
    signing = SUITES["x25519"].load_signing_key(SUPPLIER.private_bytes_raw())
    assert [one.octets for one in make_renewal(domain(OLD, 2), 4, wrapped, signing)] == [made]


def entry_of(entries: list[tuple[bytes, bytes]], ua: bytes) -> bytes:
    """Return what is sealed to a module."""
    return dict(entries)[sha256(framed("otafleet/1 domain key renewal mark", number(4), ua)).digest()[:8]]


def test_the_notice_of_a_renewal() -> None:
    """It is the head of the renewal alone, under the keys of the next generation."""
    signing = SUITES["x25519"].load_signing_key(SUPPLIER.private_bytes_raw())
    body = bytes([1, ED25519]) + number(2) + number(4)
    made = packet(NEW, "renewal", 15, 0, signed_renewal(body))
    assert make_notice(domain(NEW, 4), 2, signing).octets == made


@pytest.mark.parametrize(("share", "within_s"), [(0, 0), (64, 600)], ids=["silent", "reports"])
def test_a_campaign(share: int, within_s: int) -> None:
    """Head, list of digests and pieces, octet for octet."""
    signing = SUITES["x25519"].load_signing_key(SUPPLIER.private_bytes_raw())
    programme = bytes(range(256)) * 2
    coding = Coding(scheme=Scheme.PLAIN, pages=3, repair=0.0)
    campaign = Campaign(
        domain(OLD, 2),
        programme,
        number=7,
        version=5,
        signing_key=signing,
        coding=coding,
        report_share=share,
        report_within_s=within_s,
    )
    length, in_part = campaign.manifest.piece_length, campaign.manifest.digests_in_part
    padded = programme + bytes(-len(programme) % length)
    pieces = [padded[at : at + length] for at in range(0, len(padded), length)]
    digests = b"".join(sha256(piece).digest()[:16] for piece in pieces)
    manifest = b"".join(
        (
            bytes([1]) + TAR + number(2) + number(5) + number(7, 3) + bytes([0]),
            number(len(programme)) + sha256(programme).digest() + bytes([0]),
            number(length, 2) + number(0, 2) + bytes([in_part, share]) + number(within_s, 2),
            bytes([len(NAME)]) + NAME + bytes([len(BANK)]) + BANK + sha256(digests).digest()[:16],
        )
    )
    signature = SUPPLIER.sign(framed("otafleet/1 diffusion manifest", bytes([ED25519]), manifest))
    head = bytes([ED25519, 0]) + number(len(manifest), 2) + manifest + signature
    named = [(0, 0, head), (2, 0, digests), *((3, index, piece) for index, piece in enumerate(pieces))]
    made = {packet(OLD, "diffusion", 1, 7 << 16 | kind << 12 | at, data) for kind, at, data in named}
    assert len(pieces) == 3
    assert {one.octets for one in campaign.packets} == made
