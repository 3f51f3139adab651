"""Configs: the demo as it should be, and a table of bad ones with the exact sentence each gets."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import ConfigError
from agents.fleet.addresses import MAX_GROUPS, MAX_HANDSETS, is_ua, luhn, ua_of
from agents.fleet.config import FleetConfig, Verb, load_config

CONFIGS = Path(__file__).parents[2] / "configs"
DEMO = (CONFIGS / "demo.toml").read_text()


def write(directory: Path, text: str) -> Path:
    """Return a config of this text, with the demo's applications beside it."""
    shutil.copytree(CONFIGS / "apps", directory / "apps", dirs_exist_ok=True)
    path = directory / "fleet.toml"
    path.write_text(text)
    return path


def sentences(path: Path) -> list[str]:
    """Return what is wrong with a config, without its path."""
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == "\n".join(caught.value.sentences)
    assert all(sentence.startswith(f"{path}: ") for sentence in caught.value.sentences)
    return [sentence.removeprefix(f"{path}: ") for sentence in caught.value.sentences]


BAD = tomllib.loads((Path(__file__).parent / "vectors/bad_configs.toml").read_text())["bad"]
URL = 'url = "auto"  '


@pytest.mark.parametrize("bad", BAD, ids=[bad["id"] for bad in BAD])
def test_bad_config(bad: dict[str, str], tmp_path: Path) -> None:
    """Each fault is told in one sentence that names the file and the key."""
    assert bad["old"] in DEMO, "the case replaces nothing"
    assert bad["sentence"] in sentences(write(tmp_path, DEMO.replace(bad["old"], bad["new"], 1)))


def test_a_fault_of_a_service_is_told_once(tmp_path: Path) -> None:
    """A supplier whose only service does not hold is not told besides that it has none."""
    told = sentences(write(tmp_path, DEMO.replace("data = 256", "data = 0")))
    assert told == ["supplier[0].service[0].data: must be at least 1, not 0"]
    told = sentences(write(tmp_path, DEMO.replace("expires =", "lifetime_s = 60\nexpires =")))
    assert told == ["supplier[0].service[0].lifetime_s: give this or 'expires', not both"]


def test_an_expectation_is_held_against_a_config_that_is_right(tmp_path: Path) -> None:
    """What follows from another fault, as that a step has fewer targets, is not told."""
    told = sentences(write(tmp_path, DEMO.replace('services = ["account"]', 'services = ["acount"]')))
    assert told == ["handsets[0].services: there is no service 'acount' (known: account, loyalty)"]


def test_the_longest_input(tmp_path: Path) -> None:
    """An input of 100 octets can be typed, being 200 digits; one of 101 cannot."""
    config = load_config(write(tmp_path, DEMO.replace("01{step}00000005", "ab" * 100, 1)))
    assert any(step.input == "ab" * 100 for step in config.steps)
    told = sentences(write(tmp_path, DEMO.replace("01{step}00000005", "ab" * 101, 1)))
    assert told == ["step[7].input: must not be longer than 100 octets"]


def test_password_is_shown_nowhere(tmp_path: Path) -> None:
    """A password that is wrong in form or place is in no sentence, and a right one in no repr."""
    for lines in ("password = 12345678", 'url = "mqtt://me:12345678@here"', 'url = "12345678"'):
        told = sentences(write(tmp_path, DEMO.replace(URL, lines)))
        assert told
        assert "12345678" not in "".join(told)
    config = load_config(write(tmp_path, DEMO.replace(URL, 'url = "mqtt://me@here"\npassword = "hunter2"')))
    assert config.broker.password == "hunter2"
    assert "hunter2" not in repr(config)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    """Two faults in one file give two sentences, in the order of the file."""
    told = sentences(
        write(tmp_path, DEMO.replace("count = 40", "count = 0").replace("memory = 32768", "memory = 1", 1))
    )
    assert told == [
        "handsets[0].count: must be at least 1, not 0",
        "handsets[0].memory: must be at least 32768, not 1",
        "handsets[1].count: must be at least 1, not 0",
    ]


def test_services_through_another_operator(tmp_path: Path) -> None:
    """A group cannot subscribe to a service that is offered through an operator it does not belong to."""
    other = '[[operator]]\nname = "other"\nnumber = "15550999"\nauthority = "root"\nsuite = "x25519"\n\n'
    text = DEMO.replace("[[supplier]]", other + "[[supplier]]", 1)
    head, tail = text.split('name = "city"')
    told = sentences(write(tmp_path, head + 'name = "city"' + tail.replace('"mno"', '"other"', 1)))
    (sentence,) = told
    assert sentence == (
        "handsets[0].services: 'account' is offered through operator 'mno',"
        " and these handsets belong to 'other'"
    )


def test_too_many_services_for_def(tmp_path: Path) -> None:
    """A group with more services than DEF has records is refused."""
    service = (
        '[[supplier.service]]\nname = "{}"\napplication = "apps/loyalty.wat"\n'
        'backend = "none"\ncode = 700\ndata = 64\n\n'
    )
    names = [f"extra{number}" for number in range(15)]
    text = DEMO.replace("# ---- the subscribers", "".join(map(service.format, names)) + "# ----", 1)
    text = text.replace('["account", "loyalty"]', str(["account", "loyalty", *names]).replace("'", '"'), 1)
    told = sentences(write(tmp_path, text))
    assert told == ["handsets[2].resources: 16 is less than the 17 that a module has at once"]


@pytest.mark.parametrize(
    ("octets", "sentence"),
    [
        (b"[fleet", "is not TOML: Expected ']' at the end of a table declaration (at end of document)"),
        (b"\xff", "is not UTF-8 text"),
        (b"#" * (1 << 20) + b"#", "is larger than 1048576 octets; this is no fleet config"),
    ],
)
def test_no_config_at_all(octets: bytes, sentence: str, tmp_path: Path) -> None:
    """A file that is no TOML is refused in a sentence as well."""
    path = tmp_path / "fleet.toml"
    path.write_bytes(octets)
    assert sentences(path) == [sentence]


def test_no_file(tmp_path: Path) -> None:
    """A config that does not exist, or is a directory, is named."""
    assert sentences(tmp_path / "none.toml") == ["cannot be read: No such file or directory"]
    assert sentences(tmp_path) == ["cannot be read: Is a directory"]


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"(module", "is no WebAssembly: expected `)`"),
        (b"\0asm junk", "would be refused: "),
        (b"(module)", "would be refused: it exports no function personalise() -> i32"),
    ],
)
def test_bad_application(octets: bytes, why: str, tmp_path: Path) -> None:
    """An application that no module would load is found before anything starts."""
    path = write(tmp_path, DEMO)
    (tmp_path / "apps/account.wat").write_bytes(octets)
    (told,) = sentences(path)
    assert told.startswith(f"supplier[0].service[0].application: apps/account.wat {why}")


def test_application_of_absurd_size(tmp_path: Path) -> None:
    """A file that could be no application is not even read."""
    path = write(tmp_path, DEMO)
    with (tmp_path / "apps/account.wat").open("wb") as file:
        file.truncate(1 << 30)
    (told,) = sentences(path)
    assert told.endswith("is no application: it has more than 16777216 octets")


# ---- a good config ---------------------------------------------------------------------------------------


@pytest.fixture(name="demo")
def _demo() -> FleetConfig:
    return load_config(CONFIGS / "demo.toml")


def test_demo_is_good(demo: FleetConfig) -> None:
    """The demo is the market that the README promises, with an expectation on every step."""
    assert demo.handset_count == 100
    assert [group.count for group in demo.handsets] == [40, 40, 20]
    assert {name: offer.supplier.name for name, offer in demo.offers.items()} == {
        "account": "bank",
        "loyalty": "shop",
    }
    others = [
        load_config(CONFIGS / name)
        for name in (
            "limits.toml",
            "keys.toml",
            "revocation.toml",
            "broadcast.toml",
            "rollout.toml",
            "domain-roll.toml",
        )
    ]
    played = {step.do for config in (demo, *others) for step in config.steps}
    assert played == set(Verb), "no step without an example"
    assert all(step.expect for step in demo.steps)
    assert demo.path == CONFIGS / "demo.toml"
    assert demo.programme("account").code.startswith(b"\0asm")
    assert "asm" not in repr(demo.programme("account"))


def test_state_directory(demo: FleetConfig, tmp_path: Path) -> None:
    """State goes where the config says, by default to a directory of the fleet's name."""
    assert demo.state_directory == Path("state/demo")
    text = DEMO.replace("[fleet]", '[fleet]\nstate = "elsewhere"')
    assert load_config(write(tmp_path, text)).state_directory == Path("elsewhere")


def test_targets(demo: FleetConfig) -> None:
    """A step is about each service of each handset that its filters leave."""
    targets = [demo.targets(step) for step in demo.steps]
    assert [len(each) for each in targets] == [100, 2, 120, 120, 120, 120, 60, 60, 20, 20, 20, 20, 20, 40, 40]
    assert {service for _, service in targets[0]} == {""}
    assert targets[1] == [("", "account"), ("", "loyalty")]
    assert set(targets[8]) == {(ua, "account") for ua in demo.group_addresses("both")}


def test_input_has_the_number_of_the_step(demo: FleetConfig) -> None:
    """``{step}`` makes each step a transaction of its own."""
    assert demo.steps[7].input_octets(8) == bytes.fromhex("010000000800000005")
    assert demo.steps[0].input_octets(1) == b""


def test_addresses_are_stable(demo: FleetConfig, tmp_path: Path) -> None:
    """Another count of a later group, or of the own one, moves nobody's address."""
    before = demo.handset_addresses()
    assert len({ua for ua, _ in before}) == 100
    assert all(is_ua(ua) for ua, _ in before)
    grown = load_config(write(tmp_path, DEMO.replace("count = 20", "count = 30").replace("expect", "#")))
    assert grown.handset_addresses()[:100] == before
    assert {group for _, group in grown.handset_addresses()[100:]} == {"both"}
    with pytest.raises(ValueError, match="no group 'bath'"):
        demo.group_addresses("bath")


@given(
    st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True),
    st.integers(1, MAX_GROUPS),
    st.integers(1, MAX_HANDSETS),
)
def test_address_is_an_iccid(fleet: str, group: int, index: int) -> None:
    """Every address has nineteen digits with a good check digit, and one wrong digit is noticed."""
    ua = ua_of(fleet, group, index)
    assert is_ua(ua)
    assert ua.startswith("8988")
    assert not is_ua(ua[:-2] + str((int(ua[-2]) + 1) % 10) + ua[-1])


def test_address_vector_and_bounds() -> None:
    """The check digit is that of the well-known example, and indices outside the form are refused."""
    assert luhn("7992739871") == "3"
    for group, index in ((0, 1), (1, 0), (MAX_GROUPS + 1, 1), (1, MAX_HANDSETS + 1)):
        with pytest.raises(ValueError, match="no address for"):
            ua_of("demo", group, index)


FINGERPRINTS = [
    ("seed = 2026", "seed = 2027", {"fleet"}),
    ('name = "demo"', 'name = "domo"', {"fleet"}),
    ('name = "root"\nsuite = "x25519"', 'name = "root"\nsuite = "p256"', {"authority"}),
    ('"15550100"', '"15550101"', {"operator"}),
    ("2031-12-31", "2032-12-31", {"supplier"}),
    ("count = 40", "count = 41", {"handsets"}),
    ("attempts = 4", "attempts = 5", set()),
    ("{ ok = 100 }", "{ ok = 99 }", set()),
    ("[broker]", "[broker]\nport = 18830", set()),
]


@pytest.mark.parametrize(("old", "new", "sections"), FINGERPRINTS, ids=[new for _, new, _ in FINGERPRINTS])
def test_fingerprints(old: str, new: str, sections: set[str], demo: FleetConfig, tmp_path: Path) -> None:
    """A change shows in the fingerprint of its section and in no other."""
    before = demo.fingerprints()
    after = load_config(write(tmp_path, DEMO.replace(old, new, 1))).fingerprints()
    assert {name for name in before if before[name] != after[name]} == sections


def test_fingerprint_of_applications(demo: FleetConfig, tmp_path: Path) -> None:
    """Another programme is another supplier; the same one in another place is not."""
    path = write(tmp_path, DEMO.replace("apps/account.wat", "moved.wat"))
    text = (tmp_path / "apps/account.wat").read_text()
    (tmp_path / "moved.wat").write_text(text)
    assert load_config(path).fingerprints() == demo.fingerprints()
    (tmp_path / "moved.wat").write_text(text.replace("(i32.const 160)", "(i32.const 164)"))
    assert load_config(path).fingerprints()["supplier"] != demo.fingerprints()["supplier"]


def test_step_digest(demo: FleetConfig, tmp_path: Path) -> None:
    """What a step does is in its digest, what is expected of it is not."""
    text = DEMO.replace("{ ok = 100 }", "{ ok = 99 }").replace("01{step}00000005", "01{step}00000006")
    other = load_config(write(tmp_path, text))
    assert other.step_digest(0) == demo.step_digest(0)
    assert other.step_digest(7) != demo.step_digest(7)
    assert len({demo.step_digest(index) for index in (0, 1, 2)}) == 3
