"""What does not go together in a fleet on a real broker: refused with its reason, and nothing crashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.scenarios.kit import modules, play, write_single

if TYPE_CHECKING:
    from pathlib import Path

OPERATOR: Final = 'authority = "root"\nsuite = "x25519"\n'
PROFILES: Final = """
[[profile]]
name = "without"
suites = ["x25519", "pq-hybrid"]
protections = ["aes-128"]

[[profile]]
name = "with"
suites = ["x25519", "pq-hybrid", "p256"]

"""
GROUP: Final = """
[[handsets]]
name = "{name}"
count = 1
operator = "mno"
suite = "x25519"
memory = 131072
profile = "{profile}"
services = ["account"]
"""
STEPS: Final = (
    ("personalise", "ok = 2"),
    ("agree", 'ok = "all"'),
    ("subscribe", "ok = 2"),
    ("reserve", 'ok = 1, refused = 1, reason = "unsupported-suite"'),
    ("announce", 'refused = 2, reason = "too-long-to-broadcast"'),
    ("activate", "ok = 1, refused = 1"),
    ("serve", "ok = 1, refused = 1"),
    ("invoke", "ok = 1, refused = 1"),
)


def test_it_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A suite that a module lacks is not reserved, a signature too long for a broadcast not broadcast."""
    path = write_single(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert OPERATOR in text
    text = text.partition("[[handsets]]")[0].replace(OPERATOR, OPERATOR.replace("x25519", "pq-hybrid"), 1)
    text += PROFILES + "".join(GROUP.format(name=name, profile=name) for name in ("with", "without"))
    text += "".join(f'\n[[step]]\ndo = "{do}"\nexpect = {{ {expect} }}\n' for do, expect in STEPS)
    path.write_text(text, encoding="utf-8")
    report = play(path)
    assert report.missed == ()
    assert (report.crashes, report.dead_letters) == (0, 0)
    held = sorted(len(module["definitions"]) for module in modules(tmp_path / "state").values())
    assert held == [0, 1]
