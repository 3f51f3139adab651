"""Published answers of key agreement with one side given; those of whole suites stand in ``test_suites``."""

from __future__ import annotations

import pytest

from tests.transport.security_kit import name_of, vectors
from transport.security.suites import AgreementKey, suite


def agreement_key(kind: str, private: bytes) -> AgreementKey:
    """Return the ephemeral key of *private*, which the suite would otherwise draw."""
    # p256 reduces the 48 octets it draws to 1..n-1 (FIPS 186-5 A.2.1): one less than a scalar gives it.
    less_one = (int.from_bytes(private, "big") - 1).to_bytes(48, "big")
    return suite(kind).generate_agreement_key(lambda length: private if length == 32 else less_one)


@pytest.mark.parametrize("vector", vectors("exchange"), ids=name_of)
def test_exchange_vectors(vector: dict[str, str]) -> None:
    """The published private key and share give the published secret."""
    key = agreement_key(vector["suite"], bytes.fromhex(vector["private"]))
    assert key.exchange(bytes.fromhex(vector["peer"])).hex() == vector["secret"]


@pytest.mark.parametrize("vector", vectors("iterated"), ids=name_of)
def test_iterated_x25519(vector: dict[str, str]) -> None:
    """X25519 fed with its own results ends where RFC 7748 says: many odd scalars and shares in one answer."""
    scalar = share = bytes([9]) + bytes(31)
    for _ in range(int(vector["times"])):
        scalar, share = agreement_key("x25519", scalar).exchange(share), scalar
    assert scalar.hex() == vector["result"]


def test_the_files_have_what_the_rfcs_publish() -> None:
    """No published case got lost: so many there are of each kind, and no two have one name."""
    least = {"hkdf": 3, "signature": 7, "agreement": 2, "exchange": 3, "iterated": 2, "hpke": 2, "cmac": 12}
    for kind, number in least.items():
        names = [vector["id"] for vector in vectors(kind)]
        assert len(set(names)) == len(names) >= number, kind
        assert all(vector["source"] for vector in vectors(kind))
