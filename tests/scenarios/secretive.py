"""A run that has secrets of every kind, is as talkative as can be, and is disturbed: what it left, and they.

Several suites, forms, bearers and protections, roles' sessions, domain keys of both kinds, brought keys, keys
that an authority made, keys that are rolled; blocks, releases and a revocation, refusals, forged and repeated
messages, and an expectation that does not hold.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from agents.fleet.progress import LineProgress
from bus.frame import Frame
from tests.collector import Collector
from tests.peers import openssl
from tests.scenarios.kit import CONFIGS, cli
from tests.scenarios.secrets_kit import in_images, in_tables, watched_keys
from tests.scenarios.stranger import Wiretap, again, say
from transport.security.private_keys import import_private

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rich.console import Console

    from agents.fleet.config import Step
    from agents.fleet.report import StepReport

FLEET: Final = "secretive"
VARIABLE: Final = "OTAFLEET_TEST_PASSPHRASE"
PASSPHRASE: Final = "open sesame, and be quick"
PASSWORD: Final = "the broker's own password"
INPUT: Final = bytes.fromhex("017a1b2c3d00c0ffee")
"""What a subscriber types: an operation, a number of the transaction, and points."""
CONFIG: Final = """\
[fleet]
name = "{name}"
state = "{state}"

[broker]
url = "mqtt://127.0.0.1:{port}"
username = "fleet"
password = "{password}"

[air.cell_broadcast]
loss = 0.5
repetitions = 30

[[authority]]
name = "root"
suite = "x25519"
key_file = "root.pem"
key_password_env = "{variable}"

[[operator]]
name = "mno"
number = "15550100"
authority = "root"
suite = "p256"
operator_session = true
link = "sign-then-agree"

[[operator]]
name = "mvno"
number = "15550101"
suite = "x25519"

[[supplier]]
name = "bank"
number = "15550200"
operator = "mno"
suite = "p256"
certified_by = "operator"

[[supplier.service]]
name = "account"
application = "apps/account.wat"
backend = "account"
code = 1024
data = 256
rights = ["hmac"]
forms = ["key-transport"]
bearers = ["bip-tcp", "sms"]
protection = "aes-256"

[[supplier]]
name = "shop"
number = "15550300"
operator = "mno"
suite = "x25519"

[[supplier.service]]
name = "loyalty"
application = "apps/loyalty.wat"
backend = "loyalty"
code = 1024
data = 64
forms = ["domain-symmetric"]
scope = "global"
custody = "operator"

[[supplier]]
name = "club"
number = "15550400"
operator = "mno"
suite = "rsa-2048-ffdh"

[[supplier.service]]
name = "points"
application = "apps/loyalty.wat"
backend = "loyalty"
code = 1024
data = 64
forms = ["domain-asymmetric"]
scope = "global"
bearers = ["bip-udp"]
protection = "des"

[[supplier]]
name = "future"
number = "15550500"
operator = "mvno"
suite = "pq-hybrid"

[[supplier.service]]
name = "vault"
application = "apps/account.wat"
backend = "account"
code = 1024
data = 256
rights = ["hmac"]
forms = ["sign-then-agree"]

[[profile]]
name = "every"
suites = ["x25519", "p256", "rsa-2048-ffdh", "pq-hybrid"]
buffer = 16384
calls = 4

[[handsets]]
name = "city"
count = 2
operator = "mno"
suite = "x25519"
memory = 131072
profile = "every"
services = ["account", "loyalty", "points"]

[[handsets]]
name = "coast"
count = 1
operator = "mvno"
suite = "pq-hybrid"
memory = 131072
profile = "every"
keys = "authority"
operator_key = "certificate"
services = ["vault"]
"""
ACCOUNT: Final = 'service = "account"\n'
STEPS: Final = (
    ("personalise", "", "ok = 3"),
    ("agree", "", "ok = 4"),
    ("subscribe", "", "ok = 7"),
    ("introduce-operator", 'handsets = ["coast"]\n', "ok = 1"),
    ("reserve", "", "ok = 7"),
    ("activate", "", "ok = 7"),
    ("broadcast", 'service = "points"\n', "ok = 2"),
    ("serve", "", "ok = 7"),
    ("invoke", "", "ok = 7"),
    ("invoke", f'service = "loyalty"\nby = "user"\ninput = "{INPUT.hex()}"\n', 'ok = 2, output = "00c0ffee"'),
    ("announce", "", "ok = 3"),
    ("audit", "", "ok = 3"),
    ("block", ACCOUNT, "ok = 2"),
    ("invoke", ACCOUNT, 'refused = 2, reason = "blocked"'),
    ("unblock", ACCOUNT, "ok = 2"),
    ("serve", ACCOUNT, "ok = 2"),
    ("invoke", ACCOUNT, "ok = 2"),
    ("roll-operator-key", 'handsets = ["city"]\n', "ok = 2"),
    ("roll-supplier-key", ACCOUNT, "ok = 2"),
    ("serve", ACCOUNT, "ok = 2"),
    ("revoke-supplier", 'supplier = "shop"\n', "ok = 2"),
    ("roll-domain-key", 'service = "points"\n', "ok = 2"),
    ("serve", 'service = "points"\n', "ok = 2"),
    ("release", 'service = "points"\n', "ok = 2"),
    ("invoke", 'service = "points"\n', "ok = 2"),
)
"""The last one expects in vain that a released resource may be used."""
DISTURBED: Final = 11
"""Before this step begins, an attacker says again and alters what was said so far."""
MOST_SAID: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run left, printed and said, and every secret that anybody had in it."""

    config: Path
    state: Path
    said: tuple[str, str]
    """On the standard output and the standard error."""
    files: tuple[Path, ...]
    """Beside the state directory: report and capture."""
    tape: list[tuple[str, bytes]] = field(repr=False)
    spans: tuple[bytes, ...] = field(repr=False)
    """What a collector was sent."""
    secrets: Mapping[str, set[bytes]] = field(repr=False)
    """By where they come from."""

    @property
    def every(self) -> set[bytes]:
        """All of them."""
        return set().union(*self.secrets.values())

    @property
    def capture(self) -> bytes:
        """What was captured for Wireshark."""
        return self.files[1].read_bytes()


def _nothing() -> None:
    pass


class _Watching(LineProgress):
    """Prints what a person sees, and has a look at what is at rest between the steps."""

    look: Callable[[], None]
    started: Mapping[int, Callable[[], None]]

    def step_started(self, index: int, step: Step, total: int) -> None:
        """Do what is due when step *index* begins."""
        super().step_started(index, step, total)
        self.started.get(index, _nothing)()

    def step_finished(self, index: int, report: StepReport) -> None:
        """Print the step's line, and look."""
        super().step_finished(index, report)
        self.look()


def _write(directory: Path, port: int) -> Path:
    shutil.copytree(CONFIGS / "apps", directory / "apps")
    key = openssl("genpkey", "-algorithm", "ed25519", "-aes256", "-pass", f"pass:{PASSPHRASE}")
    (directory / "root.pem").write_bytes(key)
    text = CONFIG.format(
        name=FLEET, state=directory / "state", port=port, password=PASSWORD, variable=VARIABLE
    )
    text += "".join(f'\n[[step]]\ndo = "{do}"\n{more}expect = {{ {expect} }}\n' for do, more, expect in STEPS)
    path = directory / "secretive.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _disturb(tap: Wiretap, port: int) -> None:
    """Say again, and altered, what was said last on each of the fleet's roads."""
    said = [(topic, payload) for topic, payload in tap.tape if len(payload) > 60][-MOST_SAID:]
    middle = [(topic, _altered(payload)) for topic, payload in said]
    say(port, [*middle, *((topic, again(payload, number=n)) for n, (topic, payload) in enumerate(said))])


def _altered(payload: bytes) -> bytes:
    frame = Frame.parse(payload)
    at = payload.index(frame.pdu) + len(frame.pdu) // 2
    return payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]


def played(directory: Path, port: int) -> Run:
    """Play the fleet in *directory*, on the broker at *port*, as the command line does."""
    config, state = _write(directory, port), directory / "state"
    files = (directory / "report.json", directory / "air.pcapng")
    at_rest: dict[str, set[bytes]] = {"tables": set(), "images": set()}
    tap = Wiretap(FLEET)

    def look() -> None:
        at_rest["tables"].update(in_tables(state))
        at_rest["images"].update(in_images(state))

    def make_progress(console: Console, *, steps: int, quiet: bool = False) -> _Watching:
        assert not quiet
        watching = _Watching(console, steps=steps)
        watching.look, watching.started = look, {DISTURBED: lambda: _disturb(tap, port)}
        return watching

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, PASSPHRASE)
        patch.setattr("agents.fleet.progress.make_progress", make_progress)
        made = watched_keys(patch)
        tap.open(port)
        report, capture = files
        with Collector() as collector:
            listened = ("--report", report, "--capture", capture, "--otlp", collector.url)
            code, out, complaint = cli("up", config, "--verbose", "--workers", "0", *listened)
        tap.leave()
    assert code == 1, complaint
    root = import_private(
        (directory / "root.pem").read_bytes(), name="x25519", password=PASSPHRASE.encode()
    ).signing.private
    given = {root, PASSPHRASE.encode(), PASSWORD.encode(), INPUT}
    return Run(
        config=config,
        state=state,
        said=(out, complaint),
        files=files,
        tape=tap.tape,
        spans=collector.bodies,
        secrets={**at_rest, "objects": made, "given": given},
    )
