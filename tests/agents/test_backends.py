"""Back ends: what a supplier knows about its applications, held against the applications themselves."""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.applications.programmes import read_programme
from agents.backends import (
    ACCOUNT_DIGITS,
    BACKENDS,
    CHALLENGE_OCTETS,
    KEY_OCTETS,
    LONG_AGO_S,
    PASSWORD_STEP_S,
    TIME_OCTETS,
    one_time_password,
)
from agents.fleet.config import Backend
from agents.handset.security_module.run_unit import Entry, HostServices, call, load
from agents.randomness import make_rng
from tests.agents.role_kit import APPS, programme

VECTORS = Path(__file__).parent / "vectors"
RNG = make_rng(1, "backends")
SIZES = {"account": 256, "loyalty": 64}
RIGHTS = {"account": {"hmac"}, "loyalty": set[str]()}


def run(name: str, data: bytes, entry: Entry, argument: bytes) -> tuple[bytes, bytes]:
    """Run application *name* once; return its data afterwards and its output."""
    services = HostServices(rng=RNG, now=0, sign=bytes)
    ended = call(programme(name), entry, data, argument, rights=RIGHTS[name], services=services)
    assert ended.status == 0
    return ended.data, ended.output


def test_every_back_end_of_a_config_exists() -> None:
    """What a config may name and what there is are the same."""
    assert set(BACKENDS) == {backend.value for backend in Backend}


def test_account_and_its_application_understand_each_other() -> None:
    """The application takes the personal data, and its answer to the challenge is the one expected."""
    backend = BACKENDS["account"]
    personal, challenge = backend.personal_data(RNG), backend.argument(RNG)
    assert len(personal) == KEY_OCTETS + ACCOUNT_DIGITS
    assert personal[KEY_OCTETS:].isdigit()
    assert len(challenge) == CHALLENGE_OCTETS
    blank = load(programme("account"), rights=RIGHTS["account"], data_size=SIZES["account"])
    data, _ = run("account", blank, "personalise", personal)
    _, output = run("account", data, "invoke", challenge)
    assert backend.holds(personal, challenge, output)


@given(output=st.binary(max_size=64))
def test_account_takes_no_other_answer(output: bytes) -> None:
    """Whatever is not the HMAC of number and challenge under the key does not hold."""
    personal, challenge = bytes(KEY_OCTETS) + b"0" * ACCOUNT_DIGITS, bytes(CHALLENGE_OCTETS)
    right = hmac.digest(bytes(KEY_OCTETS), b"0" * ACCOUNT_DIGITS + challenge, hashlib.sha256)
    assert BACKENDS["account"].holds(personal, challenge, output) == (output == right)
    assert BACKENDS["account"].holds(personal, challenge, right)


def test_no_two_accounts_are_alike() -> None:
    """Each module gets a number and a key of its own."""
    made = {BACKENDS["account"].personal_data(RNG) for _ in range(100)}
    assert len(made) == 100


def test_loyalty_and_its_application_understand_each_other() -> None:
    """The application begins with no points and answers the question for the balance."""
    backend = BACKENDS["loyalty"]
    personal, question = backend.personal_data(RNG), backend.argument(RNG)
    blank = load(programme("loyalty"), rights=RIGHTS["loyalty"], data_size=SIZES["loyalty"])
    data, _ = run("loyalty", blank, "personalise", personal)
    _, output = run("loyalty", data, "invoke", question)
    assert output == bytes(4)
    assert backend.holds(personal, question, output)


def test_otp_and_its_application_understand_each_other() -> None:
    """The application takes the key, and its password of long ago is the one expected; another is not."""
    backend, rights = BACKENDS["otp"], {"hmac", "time", "display"}
    personal, then = backend.personal_data(RNG), backend.argument(RNG)
    assert (len(personal), len(then)) == (KEY_OCTETS, TIME_OCTETS)
    code = read_programme(APPS / "otp.c").code
    data = load(code, rights=rights, data_size=320)
    services = HostServices(rng=RNG, now=LONG_AGO_S + PASSWORD_STEP_S, sign=bytes)
    data = call(code, "personalise", data, personal, rights=rights, services=services).data
    answer = call(code, "invoke", data, then, rights=rights, services=services)
    assert answer.status == 0
    assert backend.holds(personal, then, answer.output)
    assert not backend.holds(personal[::-1], then, answer.output)
    assert not backend.holds(personal, bytes(TIME_OCTETS), answer.output)


PASSWORDS = tomllib.loads((VECTORS / "one_time_passwords.toml").read_text(encoding="utf-8"))["password"]


@pytest.mark.parametrize("vector", PASSWORDS, ids=itemgetter("id"))
def test_the_server_knows_the_published_passwords(vector: dict[str, Any]) -> None:
    """What the back end expects at a time is what the RFC says, and a step later it is not."""
    key, seconds, password = vector["key"].encode(), vector["time"], vector["password"].encode()
    assert one_time_password(key, int(vector["step"], 16)) == password
    assert BACKENDS["otp"].holds(key, seconds.to_bytes(TIME_OCTETS, "big"), password)
    assert not BACKENDS["otp"].holds(key, (seconds + PASSWORD_STEP_S).to_bytes(TIME_OCTETS, "big"), password)


@given(argument=st.binary(max_size=16), output=st.binary(max_size=9))
def test_otp_takes_no_other_answer(argument: bytes, output: bytes) -> None:
    """Whatever is not eight digits of that time does not hold, and for what is no time nothing does."""
    right = (
        one_time_password(bytes(32), int.from_bytes(argument, "big") // 30) if len(argument) == 8 else None
    )
    assert BACKENDS["otp"].holds(bytes(32), argument, output) == (output == right)


def test_otp_asks_for_what_is_over() -> None:
    """The times that it asks for are before any module's, and not always the same."""
    asked = {int.from_bytes(BACKENDS["otp"].argument(RNG), "big") for _ in range(100)}
    assert max(asked) < LONG_AGO_S
    assert len(asked) == 100


@pytest.mark.parametrize("output", [b"", bytes(3), bytes(5)], ids=["none", "short", "long"])
def test_loyalty_takes_nothing_that_is_no_balance(output: bytes) -> None:
    """A balance has four octets."""
    assert not BACKENDS["loyalty"].holds(bytes(4), b"\x03", output)


@given(output=st.binary())
def test_none_takes_everything(output: bytes) -> None:
    """Without a back end there is no personal data, no argument, and every answer is as good as another."""
    backend = BACKENDS["none"]
    assert backend.personal_data(RNG) == backend.argument(RNG) == b""
    assert backend.holds(b"", b"", output)
