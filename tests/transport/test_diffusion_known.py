"""What a module holds already and hears again: told once it is proven, and never collected."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.transport.diffusion_kit import (
    DIGESTS,
    HEAD,
    OTHER_PROGRAMME,
    PIECE,
    PROGRAMME,
    SIGNATURE,
    campaign,
    collector,
    deliver,
    domain,
    head_of,
    of_kind,
    refused,
)
from transport.diffusion import Announced, Known
from transport.errors import DiffusionRejected

if TYPE_CHECKING:
    from transport.diffusion import Collector, Domain

HOLDS: Final = hashlib.sha256(PROGRAMME).digest()


def _holder(of: Domain | None = None, **changes: Any) -> Collector:
    """Return the collector of a module that holds what ``campaign`` brings."""
    return collector(of, **({"newer_than": 2, "holds": HOLDS} | changes))


@pytest.mark.parametrize("kind", ["x25519", "pq-hybrid"])
def test_each_proven_head_of_what_is_there_is_known(kind: str) -> None:
    """Whether the signature is in the head or in parts; nothing of the campaign is kept."""
    of = domain(kind)
    made, module = campaign(of=of), _holder(of)
    for _ in range(2):
        assert deliver(module, of_kind(made, HEAD, SIGNATURE)) == [Known(manifest=made.manifest)]
        assert deliver(module, of_kind(made, SIGNATURE, DIGESTS, PIECE)) == []
    assert (module.octets, module.newer_than, module.manifest) == (0, 2, None)


def test_the_same_version_of_another_programme_is_old() -> None:
    """It is the digest that counts, of the version that is there: else it is stale."""
    for module, made in (
        (_holder(), campaign(OTHER_PROGRAMME)),
        (_holder(newer_than=3), campaign()),
        (_holder(holds=b""), campaign()),
    ):
        with pytest.raises(DiffusionRejected, match="stale"):
            deliver(module, of_kind(made, HEAD))


def test_nobody_but_the_supplier_says_what_is_there() -> None:
    """A head of the very programme that another one of the domain signed is refused."""
    module = _holder()
    forged = head_of(campaign().manifest, seed=2)
    assert refused(module, HEAD, 0, forged) == "bad-signature"


def test_what_is_there_does_not_end_what_is_newer() -> None:
    """While a newer version is collected, the one that is there is another campaign."""
    newer, module = campaign(OTHER_PROGRAMME, version=3, number=8), _holder()
    assert deliver(module, of_kind(newer, HEAD)) == [Announced(manifest=newer.manifest)]
    with pytest.raises(DiffusionRejected, match="other-campaign"):
        deliver(module, of_kind(campaign(), HEAD))
    assert module.manifest == newer.manifest


def test_another_programme_in_a_known_campaign_is_not_told() -> None:
    """Once a campaign is known, a head under its number that says otherwise is of no interest."""
    made, module = campaign(), _holder()
    deliver(module, of_kind(made, HEAD))
    assert deliver(module, of_kind(campaign(OTHER_PROGRAMME, version=9), HEAD)) == []
