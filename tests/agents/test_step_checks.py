"""Steps of a config: which keys belong to which step, what a step can come to, and what modules hold."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import ConfigError
from agents.fleet.config import FleetConfig, Verb, load_config
from agents.fleet.expectations import Quantity
from agents.fleet.step_checks import holdings
from tests.agents.fleet_kit import APPS, MARKET

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KEYS: Final[dict[str, str]] = {
    "handsets": '["city"]',
    "service": '"account"',
    "supplier": '"bank"',
    "by": '"user"',
    "input": '"00"',
    "for_s": "60",
    "executions": "5",
    "by_s": "60",
    "application": f'"{APPS}/loyalty.wat"',
    "version": "2",
    "data_part": '"keep"',
    "stages": "[100]",
    "success": "0.9",
    "errors": "0.1",
    "report_share": "1.0",
    "report_within_s": "60",
    "deadline_s": "60",
    "wait": "true",
    "leave_out": '["city"]',
    "expect": '{ ok = "all" }',
}
"""A value of each key that a step may have."""
BELONGS: Final[dict[Verb, set[str]]] = {
    Verb.PERSONALISE: {"handsets"},
    Verb.AGREE: {"service"},
    Verb.SUBSCRIBE: {"handsets", "service"},
    Verb.RESERVE: {"handsets", "service"},
    Verb.ACTIVATE: {"handsets", "service"},
    Verb.SERVE: {"handsets", "service"},
    Verb.PULL: {"handsets", "service"},
    Verb.INVOKE: {"handsets", "service", "by"},
    Verb.BLOCK: {"handsets", "service"},
    Verb.UNBLOCK: {"handsets", "service"},
    Verb.RENEW: {"handsets", "service", "for_s", "executions"},
    Verb.RELEASE: {"handsets", "service"},
    Verb.ROLL_SUPPLIER_KEY: {"handsets", "service"},
    Verb.REVOKE_SUPPLIER: {"handsets", "supplier"},
    Verb.COMPACT: {"handsets"},
    Verb.AUDIT: {"handsets"},
    Verb.ANNOUNCE: {"handsets"},
    Verb.BROADCAST: {
        "handsets",
        "service",
        "application",
        "version",
        "data_part",
        "stages",
        "success",
        "errors",
        "report_share",
        "report_within_s",
        "deadline_s",
        "wait",
    },
    Verb.PAUSE_CAMPAIGN: {"service"},
    Verb.RESUME_CAMPAIGN: {"service"},
    Verb.ABORT_CAMPAIGN: {"service"},
    Verb.FINISH_CAMPAIGN: {"service"},
    Verb.ROLL_DOMAIN_KEY: {"handsets", "service", "leave_out"},
    Verb.SET_CLOCK: {"handsets", "by_s"},
    Verb.SWITCH_OFF: {"handsets"},
    Verb.SWITCH_ON: {"handsets"},
    Verb.ROLL_OPERATOR_KEY: {"handsets"},
    Verb.INTRODUCE_OPERATOR: {"handsets"},
    Verb.WAIT: {"for_s"},
}
NEEDED: Final = {
    Verb.BROADCAST: "service",
    Verb.PULL: "service",
    Verb.ROLL_DOMAIN_KEY: "service",
    Verb.SET_CLOCK: "by_s",
    Verb.WAIT: "for_s",
    Verb.REVOKE_SUPPLIER: "supplier",
    Verb.PAUSE_CAMPAIGN: "service",
    Verb.RESUME_CAMPAIGN: "service",
    Verb.ABORT_CAMPAIGN: "service",
    Verb.FINISH_CAMPAIGN: "service",
}
CAMPAIGN: Final = (
    Verb.PAUSE_CAMPAIGN,
    Verb.RESUME_CAMPAIGN,
    Verb.ABORT_CAMPAIGN,
    Verb.FINISH_CAMPAIGN,
)
"""What is about a campaign that a step before it began."""
SERVICE: Final = """
[[supplier.service]]
name = "{name}"
application = "{apps}/loyalty.wat"
backend = "none"
code = {code}
data = 64
at_end = "{at_end}"
"""


POINTS: Final = (
    SERVICE.format(name="points", apps=APPS, code=1024, at_end="deactivate") + 'scope = "global"\n'
)


def config_of(directory: Path, steps: str, *, speed: str = "20.0", services: str = "") -> FleetConfig:
    """Return the market with these steps, and *services* more that the group ``coast`` subscribes to."""
    text = MARKET.format(name="small", state=directory / "state", url="auto", apps=APPS)
    text = text.replace("[broker]", f"[air]\nspeed = {speed}\n\n[broker]", 1)
    head, tail = text.split("\n[[handsets]]", 1)
    names = [line.split('"')[1] for line in services.splitlines() if line.startswith("name")]
    tail = tail.replace('services = ["account"]', f"services = {['account', *names]}".replace("'", '"'))
    path = directory / "fleet.toml"
    path.write_text(f"{head}{services}\n[[handsets]]{tail}{steps}")
    return load_config(path)


def problems(directory: Path, steps: str, **options: str) -> list[str]:
    """Return what is wrong with these steps, without the file's name."""
    try:
        config_of(directory, steps, **options)
    except ConfigError as error:
        return [sentence.partition("fleet.toml: ")[2] for sentence in error.sentences]
    return []


def step(do: str, **keys: str) -> str:
    """Return a step of a config."""
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    return f'\n[[step]]\ndo = "{do}"\n{lines}'


def test_the_table_above_is_of_all_steps() -> None:
    """No step is left out, and no key."""
    assert set(BELONGS) == set(Verb)


@pytest.mark.parametrize("key", sorted(KEYS))
@pytest.mark.parametrize("do", Verb)
def test_a_key_belongs_to_a_step_or_is_a_fault(do: Verb, key: str, tmp_path: Path) -> None:
    """One sentence, which names the key; what a step needs besides is given."""
    # Only a global service is broadcast, pulled, or has a key to roll over, and the market has none.
    is_global = do in {Verb.BROADCAST, Verb.PULL, Verb.ROLL_DOMAIN_KEY, *CAMPAIGN}
    values = KEYS | ({"service": '"points"'} if is_global else {})
    needed = {NEEDED[do]: values[NEEDED[do]]} if do in NEEDED else {}
    if do is Verb.BROADCAST and key in {"success", "errors", "report_within_s"}:
        needed["report_share"] = values["report_share"]
    text = step(do, **(needed | {key: values[key]})).replace(
        '["city"]', '["coast"]' if is_global else '["city"]'
    )
    # What is about a campaign has one before it.
    before = step("broadcast", service='"points"', handsets='["coast"]') if do in CAMPAIGN else ""
    found = problems(tmp_path, before + text, services=POINTS if is_global else "")
    if key in BELONGS[do] | {"expect"}:
        assert found == []
    else:
        (sentence,) = found
        assert sentence.startswith(f"step[{1 if before else 0}].{key}: ")
        assert str(do) in sentence


@pytest.mark.parametrize("do", NEEDED)
def test_what_a_step_needs_is_missed(do: Verb, tmp_path: Path) -> None:
    """One sentence names it; in every other step it may be left out."""
    assert problems(tmp_path, step(do)) == [f"step[0].{NEEDED[do]}: is missing, and {do} needs it"]
    others = "".join(step(other) for other in Verb if other not in NEEDED)
    assert problems(tmp_path, others) == []


COAST: Final = {"service": '"points"', "handsets": '["coast"]'}


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"stages": "[50, 50]"}, "stages: must rise from stage to stage"),
        (
            {"stages": "[10, 50, 100]"},
            "stages: 3 stages need as many cells, and the broadcast has 1 (handsets.cells)",
        ),
        (
            {"success": "0.9"},
            "success: is a share of modules' reports, and nobody reports without 'report_share'",
        ),
        (
            {"errors": "0.0"},
            "errors: is a share of modules' reports, and nobody reports without 'report_share'",
        ),
        ({"report_within_s": "9"}, "report_within_s: nobody reports without 'report_share'"),
        (
            {"success": "1.0", "report_share": "0.3"},
            (
                "report_share: 'success' needs a report, and of the first stage (modules: 1) less than one"
                " can be expected; let more of them report, or begin with more cells"
            ),
        ),
        (
            {"handsets": str(["coast"] * 33).replace("'", '"')},
            "handsets: names 33 groups, and a broadcast takes 32 at most, or all",
        ),
    ],
    ids=["no-rise", "too-few-cells", "success", "errors", "within", "sample", "too-many-groups"],
)
def test_a_rollout_that_cannot_be(keys: dict[str, str], problem: str, tmp_path: Path) -> None:
    """One sentence says what is wrong, and where."""
    found = problems(tmp_path, step("broadcast", **(COAST | keys)), services=POINTS)
    assert found == [f"step[0].{problem}"]


@pytest.mark.parametrize("do", CAMPAIGN)
def test_a_campaign_that_no_step_began(do: Verb, tmp_path: Path) -> None:
    """What is about a campaign needs a broadcast of the service before it."""
    steps = step(do, service='"points"') + step("broadcast", **COAST)
    assert problems(tmp_path, steps, services=POINTS) == [
        "step[0].do: there is no broadcast of 'points' before it"
    ]


@pytest.mark.parametrize("wait", ["true", "false"])
def test_a_broadcast_to_nobody(wait: str, tmp_path: Path) -> None:
    """A group whose handsets have no such service is told, whether the step waits for the end or not."""
    steps = step("broadcast", service='"points"', handsets='["city"]', wait=wait)
    assert problems(tmp_path, steps, services=POINTS) == [
        "step[0]: broadcast would have no target: no handset it names has such a service"
    ]


def test_the_targets_of_a_campaign_that_is_not_waited_for(tmp_path: Path) -> None:
    """The service to begin with; the broadcast's own for who sees it to its end."""
    steps = step("broadcast", **COAST, wait="false") + step("finish-campaign", service='"points"')
    config = config_of(tmp_path, steps, services=POINTS)
    begun, finished = (config.targets(each) for each in config.steps)
    assert begun == [("", "points")]
    assert finished == [(ua, "points") for ua in config.group_addresses("coast")]


def test_every_fault_of_a_step_is_told(tmp_path: Path) -> None:
    """Nothing stops at the first, and what is not known is named beside what is."""
    found = problems(
        tmp_path, step("audit", handsets='["moon"]', service='"lunch"', for_s="1"), speed='"max"'
    )
    assert found == [
        "step[0].service: audit is about modules; it has no service",
        "step[0].for_s: belongs to renew and wait, not to audit",
        "step[0].handsets: there is no group 'moon' (known: city, coast)",
        "step[0].service: there is no service 'lunch' (known: account, loyalty)",
    ]


@pytest.mark.parametrize(
    ("speed", "for_s", "sentence"),
    [
        ('"max"', "60", 'step[0].do: wait needs a speed in air.speed; with "max" time is not simulated'),
        ("1.0", "3600", ""),
        ("1.0", "3601", "step[0].for_s: 3601 s at air.speed 1 would be 3601 s of ours, and 3600 is the most"),
        ("20.0", "72000", ""),
        (
            "20.0",
            "86400",
            "step[0].for_s: 86400 s at air.speed 20 would be 4320 s of ours, and 3600 is the most",
        ),
    ],
    ids=["max", "an-hour", "more-than-an-hour", "twenty-hours-of-theirs", "a-day-of-theirs"],
)
def test_a_wait_takes_no_more_than_an_hour(speed: str, for_s: str, sentence: str, tmp_path: Path) -> None:
    """Of our time, at the speed of the simulation; where time is not simulated there is no waiting."""
    assert problems(tmp_path, step("wait", for_s=for_s), speed=speed) == [sentence] * bool(sentence)


# What a step can come to


@pytest.mark.parametrize(
    ("expect", "sentence"),
    [
        ("{ ok = 3 }", ""),
        ("{ ok = 0 }", ""),
        ('{ ok = ">= 3" }', ""),
        ('{ failed = "< 99" }', ""),
        ('{ refused = "< 1 %" }', ""),
        ("{ ok = 4 }", "step[0].expect.ok: 4 cannot be: the step has 3 targets"),
        ('{ ok = "> 3" }', "step[0].expect.ok: > 3 cannot be: the step has 3 targets"),
        ('{ refused = "50 %" }', "step[0].expect.refused: 50 % cannot be: the step has 3 targets"),
        ('{ failed = "< 0" }', "step[0].expect.failed: < 0 cannot be: the step has 3 targets"),
    ],
)
def test_what_a_step_cannot_come_to_is_not_expected(expect: str, sentence: str, tmp_path: Path) -> None:
    """More targets than it has, or a share that no number of them is."""
    assert problems(tmp_path, step("personalise", expect=expect)) == [sentence] * bool(sentence)


@given(
    text=st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "=", ">", ">=", "<", "<="]),
        st.integers(0, 100),
        st.sampled_from(["", " %"]),
    ),
    total=st.integers(0, 25),
)
def test_a_quantity_can_hold_if_any_count_does(text: str, total: int) -> None:
    """Held against all counts there are, one after the other."""
    quantity = Quantity.parse(text)
    assert quantity.can_hold(total) == any(quantity.holds(count, total) for count in range(total + 1))


# What modules hold


def held(config: FleetConfig, group: str = "coast") -> list[list[str]]:
    """Return the names of what the modules of a group hold, after each step that changes it."""
    (handsets,) = (each for each in config.handsets if each.name == group)
    return [[service.name for service in services] for services in holdings(config, handsets)]


def services(**at_ends: str) -> str:
    """Return services with these ends, small ones."""
    return "".join(
        SERVICE.format(name=name, apps=APPS, code=1024, at_end=end) for name, end in at_ends.items()
    )


def test_without_a_reservation_modules_are_to_hold_everything(tmp_path: Path) -> None:
    """A config without steps is checked as if it had the whole story."""
    assert held(config_of(tmp_path, step("personalise"), services=services(a="deactivate"))) == [
        ["account", "a"]
    ]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("reserve", {})], [["account", "a", "b"]]),
        ([("reserve", {"service": '"a"'}), ("reserve", {"service": '"b"'})], [["a"], ["a", "b"]]),
        (
            [
                ("reserve", {"service": '"a"'}),
                ("release", {"service": '"a"'}),
                ("reserve", {"service": '"b"'}),
            ],
            [["a"], ["b"]],
        ),
        ([("reserve", {}), ("release", {}), ("reserve", {"service": '"a"'})], [["account", "a", "b"], ["a"]]),
        ([("reserve", {"handsets": '["city"]'}), ("reserve", {"service": '"a"'})], [["a"]]),
        (
            [
                ("reserve", {"service": '"b"', "expect": '{ refused = "all" }'}),
                ("reserve", {"service": '"a"'}),
            ],
            [["a"]],
        ),
        ([("reserve", {"service": '"b"', "expect": "{ refused = 0 }"})], [["b"]]),
        ([("reserve", {"service": '"once"'}), ("reserve", {"service": '"a"'})], [["once"], ["a"]]),
    ],
    ids=[
        "at-once",
        "one-after-the-other",
        "released-between",
        "all-released",
        "another-group",
        "to-be-refused",
        "not-to-be-refused",
        "deleted-by-itself",
    ],
)
def test_modules_hold_what_is_reserved_and_not_released(
    steps: list[tuple[str, dict[str, str]]], expected: list[list[str]], tmp_path: Path
) -> None:
    """After each reservation that is to end well; what deletes itself may have made room by then."""
    more = services(a="deactivate", b="deactivate") + (
        services(once="delete") if "once" in str(expected) else ""
    )
    text = "".join(step(do, **keys) for do, keys in steps)
    assert held(config_of(tmp_path, text, services=more)) == expected


def large(names: Iterable[str]) -> str:
    """Return services of which two do not fit into a module."""
    return "".join(SERVICE.format(name=name, apps=APPS, code=12_000, at_end="deactivate") for name in names)


def test_what_does_not_fit_at_once_may_fit_in_turn(tmp_path: Path) -> None:
    """Two large ones are too many for the memory, unless one is released before the other is reserved."""
    first, second = (step("reserve", service=f'"{name}"') for name in ("a", "b"))
    free = step("release", service='"a"')
    assert problems(tmp_path, first + free + second, services=large("ab")) == []
    assert problems(tmp_path, first + second, services=large("ab")) == [
        "handsets[1].memory: 32768 octets leave 16896 for resources, and 24128 are needed for a, b"
    ]


def test_a_config_of_ours_has_no_problem(tmp_path: Path) -> None:
    """All that are in ``configs`` are as they should be."""
    shutil.copytree(APPS.parent, tmp_path / "configs")
    configs = sorted((tmp_path / "configs").glob("*.toml"))
    loaded: dict[str, Any] = {path.stem: load_config(path) for path in configs}
    assert {"demo", "limits", "lossy", "thousand"} <= set(loaded)
