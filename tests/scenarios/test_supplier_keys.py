"""Suppliers' certificates and keys in whole fleets: rolled over, revoked, certified by whom, or by nobody."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

from agents.messages.codec import decode
from agents.messages.inside import PublicKeys
from agents.messages.succession import key_digest
from tests.scenarios.kit import CONFIGS, cli, logs, modules, play, rows, spellings, write_fleet, write_single
from tests.scenarios.processes import brokers_of, killed
from transport.security.certificates import Certificate
from transport.security.suites import suite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenarios.conftest import Recording

REVOCATION = "revocation.toml"


def digests(state: Path, supplier: str) -> dict[int, bytes]:
    """Return by what modules know the keys that a supplier was rolled over to, by their number."""
    made = {
        row["generation"]: suite(row["suite"]).load_signing_key(row["signing"]).public
        for row in rows(state, supplier, "key_generations")
    }
    return {number: key_digest(public) for number, public in made.items()}


def test_rolled_over_and_revoked_through_two_kills(tmp_path: Path) -> None:
    """Killed in a roll-over, and again in a revocation: no key too many, and everything as it is expected."""
    config, state = tmp_path / REVOCATION, tmp_path / "state"
    shutil.copytree(CONFIGS / "apps", tmp_path / "apps")
    text = (CONFIGS / REVOCATION).read_text(encoding="utf-8")
    config.write_text(text.replace("[fleet]\n", f'[fleet]\nstate = "{state}"\n', 1), encoding="utf-8")
    killed(config, "published", 520)
    killed(config, "changed", 225)
    report = play(config)
    assert (report.missed, report.ok, report.resumed) == ((), True, True)
    account, loyalty = digests(state, "bank"), digests(state, "shop")
    assert (sorted(account), sorted(loyalty)) == ([1, 2], [1])
    known = Counter(row["supplier_digest"] for row in rows(state, "bank", "resources"))
    assert known == {account[2]: 4}
    held = Counter(one["service"] for module in modules(state).values() for one in module["definitions"])
    assert held == {"account": 4, "points": 2}
    books = Counter((row["service"], row["state"]) for row in rows(state, "mno", "subscriptions"))
    assert books == {("account", "active"): 4, ("loyalty", "released"): 4}
    assert [row["supplier"] for row in rows(state, "mno", "revoked_suppliers")] == ["shop"]
    assert rows(state, "other", "revoked_suppliers") == []
    written = b"".join(path.read_bytes() for path in logs(state))
    for supplier in ("bank", "shop"):
        for row in rows(state, supplier, "key_generations"):
            for secret in (row["signing"], row["sealing"]):
                assert [each for each in spellings(secret) if each in written] == []
    assert brokers_of(state) == []


def test_a_market_without_certificates_comes_to_the_same_end(tmp_path: Path, recording: Recording) -> None:
    """Nobody issues one, modules are known by bare keys, and the story is the one that it always is."""
    config = write_fleet(tmp_path, edits=[("[[authority]]\n", "[[authority]]\ncertificates = false\n")])
    state = tmp_path / "state"
    recording.check_same_end(play(config), state)
    assert rows(state, "root", "certificates") == rows(state, "mno", "certificates") == []
    given = {row["ua"]: decode(row["certificate"], PublicKeys) for row in rows(state, "root", "modules")}
    assert given == {
        row["ua"]: decode(row["certificate"], PublicKeys) for row in rows(state, "mno", "modules")
    }
    code, said, complained = cli("certificate", "show", config)
    assert (code, said) == (1, "")
    assert complained == f"{state}: there are no certificates here: {config} does without\n"


def test_a_supplier_that_the_authority_certifies(tmp_path: Path) -> None:
    """Then the operator issues none; the chain is a single link, and serves as well."""
    config, state = write_single(tmp_path, count=1), tmp_path / "state"
    text = config.read_text(encoding="utf-8")
    line = 'number = "15550200"\n'
    config.write_text(text.replace(line, f'{line}certified_by = "authority"\n', 1), encoding="utf-8")
    assert play(config).missed == ()
    issued = [Certificate.parse(row["octets"]) for row in rows(state, "root", "certificates")]
    assert {one.subject: one.issuer for one in issued}["bank"] == "root"
    assert rows(state, "mno", "certificates") == []
