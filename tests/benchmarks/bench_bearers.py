"""What each bearer costs for the same service, as a Markdown table made by runs.

Run ``python -m tests.benchmarks.bench_bearers``. One fleet has the same application as three services, which
differ in the bearer that supplier and module reach each other over. It is prepared once, up to ``activate``,
on air that nothing waits for. Then, for each row, a copy of its state gets one more step, ``serve`` of one
service, and is launched again under that row's air: what is done is not done again, so all traffic that the
report of that launch has on air is the step's. Every launch is the console script in a process of its own.
Names of bearers as arguments choose among the rows: ``python -m tests.benchmarks.bench_bearers bip-udp``.

A row is for one served module, the mean of all: handshake, programme and personal data. Messages and octets
are all that were sent, both ways, those that the air lost among them. A short message is a TPDU, its delivery
report too; over BIP a message is a segment or a datagram with the nine octets that stand for the headers of
IP, or the opening or closing of a connection. Air seconds are of this handset's links; the last columns are a
module's time from order to end, the median, and how many were served. Computing takes simulated time too,
``speed`` times what it takes here: the faster bearers therefore are slowed down less.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

CONFIGS: Final = Path(__file__).resolve().parents[2] / "configs"
COMMAND: Final = Path(sys.executable).with_name("otafleet")
HANDSETS: Final = 10
ON_AIR: Final = frozenset({"sms", "report", "notice", "bip-tcp", "bip-udp"})
MS: Final = 1000
FLEET: Final = """\
[fleet]
name = "bearers"
seed = 3

[[authority]]
name = "root"
suite = "x25519"

[[operator]]
name = "mno"
number = "15550100"
authority = "root"
suite = "x25519"

[[supplier]]
name = "bank"
number = "15550200"
operator = "mno"
suite = "p256"
"""
SERVICE: Final = """
[[supplier.service]]
name = "{name}"
application = "apps/account.wat"
backend = "account"
code = 1024
data = 256
rights = ["hmac"]
bearers = ["{bearer}"]
"""
SUBSCRIBERS: Final = """
[[handsets]]
name = "city"
count = {count}
operator = "mno"
suite = "x25519"
memory = 32768
services = {services}
"""
STEP: Final = '\n[[step]]\ndo = "{do}"\nexpect = {{ ok = "all" }}\n'
PREPARATION: Final = ("personalise", "agree", "subscribe", "reserve", "activate")
AIR: Final = """
[air]
speed = {speed}

[air.sms]
loss = {loss}
attempts = 20

[air.bip]
loss = {loss}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """A bearer with its row's name, and how fast time goes in its runs."""

    bearer: str
    title: str
    speed: int

    @property
    def service(self) -> str:
        """The service that is served over it alone."""
        return f"over-{self.bearer}"


BEARERS: Final = (
    Bearer(bearer="sms", title="SMS", speed=60),
    Bearer(bearer="bip-tcp", title="BIP, TCP", speed=2),
    Bearer(bearer="bip-udp", title="BIP, CAT_TP over UDP", speed=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Air:
    """What the radio does in a row: the share that it loses."""

    loss: float

    @property
    def title(self) -> str:
        """The row's word for it."""
        return f"{self.loss:.0%}"

    def table(self, speed: int) -> str:
        """Return it as a config's tables."""
        return AIR.format(speed=speed, loss=self.loss)


AIRS: Final = (
    Air(loss=0.0),
    Air(loss=0.05),
    Air(loss=0.2),
)
"""More loss, and slower links, take fleets many minutes; ``bench_cat_tp`` has what they do to CAT_TP."""


def fleet() -> str:
    """Return the config up to its preparation, without air."""
    services = "".join(SERVICE.format(name=one.service, bearer=one.bearer) for one in BEARERS)
    names = json.dumps([one.service for one in BEARERS])
    steps = "".join(STEP.format(do=do) for do in PREPARATION)
    return FLEET + services + SUBSCRIBERS.format(count=HANDSETS, services=names) + steps


def play(directory: Path, text: str) -> dict[str, Any]:
    """Run the config *text* in *directory*, where its state is or will be; return the report."""
    (directory / "fleet.toml").write_text(text, encoding="utf-8")
    command = [str(COMMAND), "up", "fleet.toml", "--quiet", "--report", "report.json"]
    ended = subprocess.run(command, cwd=directory, check=False, stdin=subprocess.DEVNULL)
    if ended.returncode:
        sys.exit(f"bench_bearers: a run ended with exit code {ended.returncode}")
    report: dict[str, Any] = json.loads((directory / "report.json").read_text(encoding="utf-8"))
    return report


def serve(prepared: Path, directory: Path, bearer: Bearer, air: Air) -> dict[str, Any]:
    """Serve one service in a copy of the *prepared* fleet; return the report of that launch."""
    shutil.copytree(prepared, directory)
    step = f'\n[[step]]\ndo = "serve"\nservice = "{bearer.service}"\n'
    return play(directory, fleet() + step + air.table(bearer.speed))


def row(bearer: Bearer, air: Air, report: dict[str, Any]) -> str:
    """Return a row of the table."""
    carried = {name: traffic for name, traffic in report["bearers"].items() if name in ON_AIR}
    total = {
        key: sum(traffic[key] for traffic in carried.values()) / HANDSETS
        for key in ("messages", "octets", "retries", "lost", "air_s")
    }
    step = report["steps"][-1]
    median_s = step["latency_ms"]["p50"] / MS
    return (
        f"| {bearer.title} | {air.title} | {total['messages']:.1f} | {total['octets']:,.0f} "
        f"| {total['retries']:.1f} | {total['lost']:.1f} | {total['air_s']:.1f} | {median_s:.1f} "
        f"| {step['ok']} |"
    )


def main() -> None:
    """Play the runs and print the table."""
    began = perf_counter()
    wanted = sys.argv[1:]
    lines = [
        "| served over | loss | messages | octets | sent again | lost | s on air | s to be served | served |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        prepared = Path(temporary) / "prepared"
        prepared.mkdir()
        shutil.copytree(CONFIGS / "apps", prepared / "apps")
        play(prepared, fleet())
        for air in AIRS:
            for bearer in BEARERS:
                if wanted and bearer.bearer not in wanted:
                    continue
                directory = Path(temporary) / f"{bearer.bearer}-{air.loss}"
                lines.append(row(bearer, air, serve(prepared, directory, bearer, air)))
    head = f"bearers, a served module of {HANDSETS}, simulated seconds, {perf_counter() - began:.0f} s in all"
    sys.stdout.write("\n".join([head, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
