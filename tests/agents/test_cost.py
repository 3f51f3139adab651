"""What ``cost`` measures, apart from the fleet: which ways, under which config, and how it is told."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from rich.console import Console
from typer.testing import CliRunner

from agents.cli import app
from agents.fleet.config import load_config
from agents.fleet.config_air import AirTable, BipTable, OutageTable, SmsTable
from agents.fleet.config_steps import Verb
from agents.fleet.cost_config import (
    PREPARATION,
    ROUNDS,
    calm,
    make_config,
    parameters_of,
    step_number,
    suites_of,
)
from agents.fleet.cost_cpu import measure_cpu
from agents.fleet.cost_rows import BEARERS, Cpu, Row, Traffic, Way, as_csv, as_table, ways_of
from tests.agents.documents import PAGES
from transport.errors import ParametersRejected
from transport.security.ffdh import RFC7919
from transport.security.suites import SUITES
from transport.security.terms import FORM_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parents[2]
CONFIGS: Final = ROOT / "configs"
DEMO: Final = CONFIGS / "demo.toml"
OVER_SMS: Final = Way(suite="x25519", form="agree-then-sign", bearer="sms")
OVER_TCP: Final = Way(suite="rsa-ffdh", form="sign-then-agree", bearer="bip-tcp")
COMPUTED: Final = Cpu(
    module_best_s=0.000_100,
    module_median_s=0.000_250,
    server_best_s=0.000_300,
    server_median_s=0.001_400,
    messages=3,
    octets=260,
)
ROWS: Final = (
    Row(
        way=OVER_SMS,
        traffic=Traffic(messages_up=3, messages_down=2, octets_up=1195, octets_down=202, reports=2),
        cpu=COMPUTED,
        simulated_s=15.5,
        fits=True,
    ),
    Row(
        way=OVER_TCP,
        traffic=Traffic(messages_up=4, messages_down=3, octets_up=217, octets_down=182, reports=0),
        cpu=COMPUTED,
        simulated_s=0.94,
        fits=False,
    ),
)


def refusal(*options: str) -> str:
    """Return the sentence with which the command refuses *options*, before anything is measured."""
    result = CliRunner().invoke(app, ["cost", str(DEMO), *options])
    assert result.exit_code == 2
    return result.stderr.strip()


def test_nothing_named_is_everything() -> None:
    """Without options there is every suite in every form over every bearer, each once and in their order."""
    ways = ways_of()
    assert len(set(ways)) == len(ways) == len(SUITES) * len(FORM_NUMBERS) * len(BEARERS)
    assert list(dict.fromkeys(way.suite for way in ways)) == list(SUITES)
    assert len({way.service for way in ways}) == len(ways)


def test_what_is_named_narrows() -> None:
    """Each option narrows its own side, in the order that there is, however they were given."""
    ways = ways_of(["p256", "x25519"], ["key-transport"], ["bip-udp", "sms"])
    assert [(way.suite, way.bearer) for way in ways] == [
        ("x25519", "sms"),
        ("x25519", "bip-udp"),
        ("p256", "sms"),
        ("p256", "bip-udp"),
    ]
    assert {way.form for way in ways} == {"key-transport"}


@pytest.mark.parametrize(
    ("option", "name", "known"),
    [
        ("--suite", "rot13", "x25519, p256, rsa-ffdh, rsa-2048-ffdh, pq-hybrid"),
        ("--form", "nod", "agree-then-sign, key-transport"),
        ("--bearer", "cell-broadcast", "sms, bip-tcp, bip-udp"),
    ],
    ids=["suite", "form", "bearer"],
)
def test_a_name_that_is_none(option: str, name: str, known: str) -> None:
    """It is refused in one sentence that has the name and those there are."""
    sentence = refusal(option, name)
    assert sentence.startswith(f"no {option[2:]} is called {name!r}; there are {known}")
    assert "\n" not in sentence


def test_a_place_that_rows_cannot_go_to() -> None:
    """A file in no directory is refused before anything is measured."""
    assert refusal("--csv", "nowhere/rows.csv").endswith("there is no directory nowhere")


def fleet_of(directory: Path, ways: Sequence[Way], source: Path = DEMO) -> list[tuple[str, str, str]]:
    """Return suite, form and bearer of each service of the fleet made for *ways*; check its steps."""
    origin = load_config(source)
    fleet = make_config(directory, ways, seed=7, parameters=parameters_of(origin))
    assert [step.do for step in fleet.steps[: len(PREPARATION)]] == list(PREPARATION)
    for served_for in ROUNDS:
        for way in ways:
            step = fleet.steps[step_number(ways, way, served_for)]
            assert (step.do, step.service) == (Verb.SERVE, way.service)
            assert len(fleet.targets(step)) == 1
    assert len(fleet.steps) == len(PREPARATION) + len(ROUNDS) * len(ways)
    return [
        (offer.supplier.suite, offer.service.forms[0], offer.service.bearers[0])
        for offer in fleet.offers.values()
    ]


def test_the_fleet_goes_every_way(tmp_path: Path) -> None:
    """The config that is made for all ways is a good one, with a service for each and steps that serve it."""
    ways = ways_of()
    assert fleet_of(tmp_path, ways) == [(way.suite, way.form, way.bearer) for way in ways]


def test_suites_are_those_of_the_config_s_modules() -> None:
    """Without profiles modules can what the standard one can; with one, what it says."""
    assert suites_of(load_config(DEMO)) == {"x25519", "p256"}
    assert suites_of(load_config(CONFIGS / "connections.toml")) == set(SUITES)


def test_parameters_are_those_of_the_config(tmp_path: Path) -> None:
    """A config whose service has b and M lends them to the suite of its supplier, and to no other."""
    given = {"rsa-2048-ffdh": ("04", f"{RFC7919[2048]:x}")}
    assert parameters_of(load_config(DEMO)) == {}
    ways = ways_of(["x25519", "rsa-2048-ffdh"], ["agree-then-sign"], ["sms"])
    fleet = make_config(tmp_path, ways, seed=None, parameters=given)
    assert parameters_of(fleet) == given
    assert [offer.service.dh_base for offer in fleet.offers.values()] == ["", "04"]


def test_the_air_is_the_config_s_without_its_luck() -> None:
    """Delays, rates and time-outs stay; what chance does goes; the speed is ours."""
    outages = (OutageTable(every_s=10.0, lasts_s=1.0),)
    air = AirTable(
        speed=5.0,
        sms=SmsTable(loss=0.5, reordering=0.1, delay_s=3.0, messages_per_s=2.0, outages=outages),
        bip=BipTable(duplication=0.5, spread=1.0, octets_per_s=900.0),
    )
    settled = calm(air, 20.0)
    assert settled.speed == 20.0
    assert settled.sms == SmsTable(delay_s=3.0, messages_per_s=2.0, spread=0.0)
    assert settled.bip == BipTable(octets_per_s=900.0, spread=0.0)


@pytest.mark.parametrize("suite", ["x25519", "p256"])
def test_both_sides_are_timed(suite: str) -> None:
    """Every form is measured on both sides, the best never above the median, with its messages and turns."""
    measured = dict(measure_cpu(suite, list(FORM_NUMBERS), repeat=3))
    assert list(measured) == list(FORM_NUMBERS)
    for form, cpu in measured.items():
        assert 0 < cpu.module_best_s <= cpu.module_median_s
        assert 0 < cpu.server_best_s <= cpu.server_median_s
        assert (cpu.messages, cpu.round_trips) == ((5, 3) if form == "sign-then-agree" else (3, 2))


def test_parameters_that_are_none() -> None:
    """Parameters for a suite that takes none, as a config could name them, are refused."""
    with pytest.raises(ParametersRejected, match="no-parameters"):
        list(measure_cpu("x25519", ["agree-then-sign"], repeat=1, dh_base=b"\2", dh_modulus=b"\x17"))


def test_rows_as_csv() -> None:
    """Each row is a line with names; short messages are counted without their reports, or frames."""
    first, second = csv.DictReader(io.StringIO(as_csv(ROWS)))
    assert (first["suite"], first["form"], first["bearer"]) == ("x25519", "agree-then-sign", "sms")
    assert (first["short_messages"], first["delivery_reports"], first["frames"]) == ("3", "2", "0")
    assert (second["short_messages"], second["delivery_reports"], second["frames"]) == ("0", "0", "7")
    assert (first["octets_up"], first["octets_down"], first["round_trips"]) == ("1195", "202", "2")
    assert (first["cpu_module_best_us"], first["cpu_server_median_us"]) == ("100", "1400")
    assert (first["simulated_s"], second["simulated_s"]) == ("15.50", "0.94")
    assert (first["fits_config"], second["fits_config"]) == ("yes", "no")


def test_rows_as_a_table() -> None:
    """The table has a line for each row, and marks what no module of the config can."""
    out = io.StringIO()
    Console(file=out, width=100).print(as_table(ROWS, title="One connection"))
    lines = out.getvalue().splitlines()
    (sms,) = [line.split() for line in lines if "agree-then-sign" in line and "sms" in line]
    assert sms == ["x25519", "agree-then-sign", "sms", "1,195", "202", "3", "2", "250", "1,400", "15.5"]
    (tcp,) = [line.split() for line in lines if "bip-tcp" in line]
    assert tcp[:3] == ["rsa-ffdh*", "sign-then-agree", "bip-tcp"]
    assert tcp[5:7] == ["7", "2"]


def test_no_row_is_too_wide() -> None:
    """No name of a suite, form or bearer is cut off in the width of a log."""
    out = io.StringIO()
    rows = [
        Row(way=way, traffic=ROWS[0].traffic, cpu=COMPUTED, simulated_s=404.81, fits=False)
        for way in ways_of()
    ]
    Console(file=out, width=100).print(as_table(rows, title="All"))
    assert "…" not in out.getvalue()
    assert out.getvalue().count("bip-udp") == len(SUITES) * len(FORM_NUMBERS)


def test_the_manual_shows_the_rows() -> None:
    """The manual's table is what docs/cost.csv has, and that has every way there is."""
    rows = list(csv.DictReader(io.StringIO((ROOT / "docs" / "cost.csv").read_text(encoding="utf-8"))))
    by_way = {(row["suite"], row["form"], row["bearer"]): row for row in rows}
    assert list(by_way) == [(way.suite, way.form, way.bearer) for way in ways_of()]
    text = PAGES["docs/security.md"].partition("| suite | form | round trips |")[2]
    shown = [line.strip("| ").split(" | ") for line in text.partition("\n\n")[0].splitlines()[2:]]
    assert len(shown) == len(SUITES) * len(FORM_NUMBERS)
    for suite, form, *cells in shown:
        ways = [by_way[suite.strip("`"), form.strip("`"), bearer] for bearer in BEARERS]
        assert cells == shown_cells(*ways)


def shown_cells(sms: dict[str, str], tcp: dict[str, str], udp: dict[str, str]) -> list[str]:
    """Return what the manual has of one suite and form, behind their names."""
    ways = (sms, tcp, udp)
    return [
        sms["round_trips"],
        sms["short_messages"],
        f"{tcp['frames']}, {udp['frames']}",
        "; ".join(f"{int(way['octets_up']) + int(way['octets_down']):,}" for way in ways),
        "; ".join(f"{int(sms[f'cpu_{side}_median_us']):,}" for side in ("module", "server")),
        "; ".join(f"{float(way['simulated_s']):.1f}" for way in ways),
    ]
