"""Back ends: what a supplier knows about its applications, held against the applications themselves."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.backends import ACCOUNT_DIGITS, BACKENDS, CHALLENGE_OCTETS, KEY_OCTETS
from agents.fleet.config import Backend
from agents.handset.security_module.run_unit import Entry, HostServices, call, load
from agents.randomness import make_rng
from tests.agents.role_kit import programme

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
