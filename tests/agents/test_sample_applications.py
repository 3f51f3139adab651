"""The sample applications of configs/apps: what they keep, answer and refuse."""

from __future__ import annotations

import hmac
import re
import struct
import tomllib
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.applications.programmes import read_programme
from agents.handset.security_module.run_unit import (
    CallResult,
    Entry,
    HostServices,
    call,
    check_application,
    load,
)

APPS = Path(__file__).resolve().parents[2] / "configs" / "apps"
VECTORS = Path(__file__).parent / "vectors"
FILES = {path.stem: path for path in sorted(APPS.iterdir())}
DATA_SIZE = {"account": 256, "loyalty": 64, "loyalty2": 64, "otp": 289}
RIGHTS = {
    "account": {"hmac"},
    "loyalty": set[str](),
    "loyalty2": set[str](),
    "otp": {"hmac", "time", "display"},
}
KEY = bytes(range(32))
ADD, REDEEM, BALANCE, LAST = 1, 2, 3, 4
OK, MALFORMED, REFUSED, STALE = 0, 1, 2, 3
BLANK, NOT_OVER = 2, 3


@cache
def _code(name: str) -> bytes:
    return read_programme(FILES[name]).code


class _Application:
    """An application in its resource: its data area, from call to call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.data = load(_code(name), rights=RIGHTS[name], data_size=DATA_SIZE[name])

    def personalise(self, argument: bytes) -> CallResult:
        return self._call("personalise", argument, 0)

    def invoke(self, argument: bytes, *, now: int = 0) -> CallResult:
        return self._call("invoke", argument, now)

    def _call(self, entry: Entry, argument: bytes, now: int) -> CallResult:
        services = HostServices(rng=bytes, now=now, sign=bytes)
        rights = RIGHTS[self.name]
        result = call(_code(self.name), entry, self.data, argument, rights=rights, services=services)
        self.data = result.data
        return result


@pytest.mark.parametrize("name", sorted(DATA_SIZE))
def test_a_sample_is_small_and_asks_for_no_more_than_its_rights(name: str) -> None:
    """Less than 750 octets of code, exactly the data it says, and only the rights it uses."""
    info = check_application(_code(name), rights=RIGHTS[name], data_size=DATA_SIZE[name])
    assert info.code_size < 750
    assert info.memory_size == DATA_SIZE[name]
    assert info.rights == RIGHTS[name]


@pytest.mark.parametrize("name", FILES)
def test_a_sample_says_at_its_top_what_it_takes_and_gives(name: str) -> None:
    """Arguments, answers, statuses, rights and data, and what it says of the last two is so."""
    top = re.split(r"\n(?!;| \*)", FILES[name].read_text(encoding="ascii"), maxsplit=1)[0]
    assert {"personalise", "invoke", "argument", "answer", "Status 0 = OK"} - set(
        re.findall(r"personalise|invoke|argument|answer|Status 0 = OK", top)
    ) == set()
    said = re.search(r"Rights?: ([\w, ]+)\. Data: (\d+) octets", top)
    assert said
    assert set(said[1].split(", ")) - {"none"} == RIGHTS[name]
    assert int(said[2]) == DATA_SIZE[name]


@pytest.mark.parametrize("account", [b"1", b"DE02120300000000202051", b"9" * 32])
@pytest.mark.parametrize("challenge", [b"?", b"sixteen octets!!", b"c" * 64])
def test_an_account_answers_a_challenge_with_its_mac(account: bytes, challenge: bytes) -> None:
    """HMAC-SHA-256 under the key over account number and challenge, again and again the same."""
    application = _Application("account")
    assert application.personalise(KEY + account).status == OK
    kept = application.data
    for _ in range(2):
        result = application.invoke(challenge)
        assert (result.status, result.output) == (OK, hmac.digest(KEY, account + challenge, "sha256"))
        assert application.data == kept


def test_an_account_not_personalised_answers_nothing() -> None:
    """Before it has a number and a key, and after an argument it refused, it says so."""
    application = _Application("account")
    assert (application.invoke(b"challenge").status, application.invoke(b"challenge").output) == (2, b"")
    for wrong in (b"", KEY, KEY[:31], KEY + b"9" * 33):
        assert application.personalise(wrong).status == MALFORMED
    assert application.invoke(b"challenge").status == 2


@pytest.mark.parametrize("challenge", [b"", b"c" * 65, b"c" * 1000])
def test_an_account_refuses_a_challenge_of_another_length(challenge: bytes) -> None:
    """None or too long: a status, no answer, and its data as before."""
    application = _Application("account")
    application.personalise(KEY + b"12345")
    kept = application.data
    result = application.invoke(challenge)
    assert (result.status, result.output, result.data) == (MALFORMED, b"", kept)


def test_an_account_personalised_again_has_nothing_of_the_first() -> None:
    """A second key and a shorter number replace the first ones whole."""
    application = _Application("account")
    application.personalise(KEY + b"1234567890")
    application.personalise(KEY[::-1] + b"77")
    assert b"34567890" not in application.data
    assert application.invoke(b"x").output == hmac.digest(KEY[::-1], b"77x", "sha256")


def _order(operation: int, number: int, amount: int) -> bytes:
    return struct.pack(">BII", operation, number, amount)


def _balance(result: CallResult) -> tuple[int, int]:
    return result.status, int.from_bytes(result.output, "big")


def test_loyalty_points_are_added_and_redeemed() -> None:
    """Adding and redeeming change the balance, and each answer is the new one."""
    application = _Application("loyalty")
    assert application.personalise(b"").status == OK
    assert _balance(application.invoke(_order(ADD, 1, 500))) == (OK, 500)
    assert _balance(application.invoke(_order(REDEEM, 2, 120))) == (OK, 380)
    assert _balance(application.invoke(bytes([BALANCE]))) == (OK, 380)
    assert _balance(application.invoke(_order(BALANCE, 9, 9))) == (OK, 380)
    assert _balance(application.invoke(_order(REDEEM, 3, 380))) == (OK, 0)


def test_a_transaction_counts_once() -> None:
    """The same number again changes nothing, an older one is refused, and number 0 is a number."""
    application = _Application("loyalty")
    for _ in range(3):
        assert _balance(application.invoke(_order(ADD, 0, 10))) == (OK, 10)
    assert _balance(application.invoke(_order(ADD, 5, 10))) == (OK, 20)
    for operation in (ADD, REDEEM):
        assert _balance(application.invoke(_order(operation, 5, 10))) == (OK, 20)
        assert _balance(application.invoke(_order(operation, 4, 10))) == (STALE, 20)


def test_the_second_loyalty_goes_on_with_the_data_of_the_first() -> None:
    """Balance and transaction are there, count as before, and the new operation tells the transaction."""
    first, second = _Application("loyalty"), _Application("loyalty2")
    first.invoke(_order(ADD, 7, 500))
    assert first.invoke(bytes([LAST])).status == MALFORMED
    second.data = first.data
    assert _balance(second.invoke(bytes([BALANCE]))) == (OK, 500)
    assert _balance(second.invoke(bytes([LAST]))) == (OK, 7)
    assert _balance(second.invoke(_order(ADD, 7, 500))) == (OK, 500)
    assert _balance(second.invoke(_order(REDEEM, 8, 120))) == (OK, 380)
    assert second.invoke(_order(LAST, 9, 9)).status == MALFORMED
    assert _balance(second.invoke(bytes([LAST]))) == (OK, 8)


def test_points_never_fall_below_zero_nor_wrap() -> None:
    """What does not fit is refused with the balance; its number is not used up."""
    application = _Application("loyalty")
    application.personalise((0xFFFFFFFE).to_bytes(4, "big"))
    assert _balance(application.invoke(_order(ADD, 1, 2))) == (REFUSED, 0xFFFFFFFE)
    assert _balance(application.invoke(_order(REDEEM, 1, 0xFFFFFFFF))) == (REFUSED, 0xFFFFFFFE)
    assert _balance(application.invoke(_order(ADD, 1, 1))) == (OK, 0xFFFFFFFF)


@pytest.mark.parametrize(
    "argument",
    [b"", b"\1", b"\2" * 8, b"\1" * 10, b"\0" * 9, b"\4" * 9, b"\xff" * 9, b"\3\0", b"\3" * 10, b"\1" * 40],
)
def test_a_malformed_order_is_refused(argument: bytes) -> None:
    """Another length or operation: a status, no answer, nothing changed."""
    application = _Application("loyalty")
    application.invoke(_order(ADD, 1, 5))
    kept = application.data
    result = application.invoke(argument)
    assert (result.status, result.output, result.data) == (MALFORMED, b"", kept)


def test_loyalty_is_personalised_with_nothing_or_a_balance() -> None:
    """Any other length is refused and leaves the balance; a new opening balance forgets old numbers."""
    application = _Application("loyalty")
    application.personalise(b"\0\0\1\0")
    for wrong in (b"\1", b"\1\2\3", b"\1\2\3\4\5"):
        assert application.personalise(wrong).status == MALFORMED
    assert _balance(application.invoke(_order(ADD, 7, 1))) == (OK, 257)
    application.personalise(b"")
    assert _balance(application.invoke(_order(ADD, 1, 3))) == (OK, 3)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([ADD, REDEEM]), st.integers(0, 6), st.sampled_from([0, 1, 7, 100, 0xFFFFFFFF])
        ),
        max_size=12,
    ),
)
def test_loyalty_does_what_its_model_does(orders: list[tuple[int, int, int]]) -> None:
    """Any run of orders, repeated and out of order, gives the answers of six lines of Python."""
    application = _Application("loyalty")
    balance, last = 0, -1
    for operation, number, amount in orders:
        after = balance + (amount if operation == ADD else -amount)
        expected = OK
        if number < last:
            expected = STALE
        elif number > last and not 0 <= after <= 0xFFFFFFFF:
            expected = REFUSED
        elif number > last:
            balance, last = after, number
        assert _balance(application.invoke(_order(operation, number, amount))) == (expected, balance)


PASSWORDS = tomllib.loads((VECTORS / "one_time_passwords.toml").read_text(encoding="utf-8"))["password"]
OTP_KEY, OTP_PASSWORD = PASSWORDS[0]["key"].encode(), PASSWORDS[0]["password"].encode()
"""Of the first step there is, which begins at 30 s and ends before 60 s."""


def _at(seconds: int) -> bytes:
    return struct.pack(">Q", seconds)


@pytest.mark.parametrize("vector", PASSWORDS, ids=itemgetter("id"))
def test_a_password_is_the_published_one(vector: dict[str, Any]) -> None:
    """The user is shown the password of now, and has it as the answer; whoever asks later gets it too."""
    application, seconds = _Application("otp"), vector["time"]
    assert application.personalise(vector["key"].encode()).status == OK
    kept, expected = application.data, vector["password"].encode()
    shown = application.invoke(b"", now=seconds)
    assert (shown.status, shown.output, shown.texts) == (OK, expected, (expected.decode(),))
    asked = application.invoke(_at(seconds), now=seconds + 30)
    assert (asked.status, asked.output, asked.texts) == (OK, expected, ())
    assert application.data == kept


def test_a_password_is_for_thirty_seconds() -> None:
    """It changes with each step and not within one."""
    application = _Application("otp")
    application.personalise(OTP_KEY)
    passwords = [application.invoke(b"", now=seconds).output for seconds in (30, 59, 60, 89, 90)]
    assert passwords[0] == passwords[1] == OTP_PASSWORD
    assert passwords[2] == passwords[3]
    assert len(set(passwords)) == 3


@pytest.mark.parametrize("ahead", [0, 1, 30, 1 << 40, (1 << 64) - 1 - 59])
def test_no_password_before_its_time(ahead: int) -> None:
    """What the present step or a later one will be is not told to who asks by the time."""
    application = _Application("otp")
    application.personalise(OTP_KEY)
    result = application.invoke(_at(59 + ahead), now=59)
    assert (result.status, result.output, result.texts) == (NOT_OVER, b"", ())
    assert application.invoke(_at(29), now=59).status == OK


def test_passwords_begin_with_zeros_too() -> None:
    """Eight digits, whatever the number: against a second reckoning over a thousand steps."""
    application = _Application("otp")
    application.personalise(KEY)
    begun_with_zero = 0
    for step in range(1000):
        mac = hmac.digest(KEY, _at(step), "sha256")
        offset = mac[31] % 16
        number = struct.unpack_from(">I", mac, offset)[0] % (1 << 31) % 100_000_000
        output = application.invoke(_at(step * 30), now=1 << 32).output
        assert output == b"%08d" % number
        begun_with_zero += output.startswith(b"0")
    assert begun_with_zero > 50


@pytest.mark.parametrize("argument", [b"1", bytes(7), bytes(9), bytes(200)], ids=len)
def test_a_generator_refuses_what_is_no_time(argument: bytes) -> None:
    """Any other length: a status, no answer, nothing shown, its data as before."""
    application = _Application("otp")
    application.personalise(OTP_KEY)
    kept = application.data
    result = application.invoke(argument, now=1 << 32)
    assert (result.status, result.output, result.texts, result.data) == (MALFORMED, b"", (), kept)


def test_a_generator_not_personalised_has_no_passwords() -> None:
    """Before it has a key, and after one of another length, it says so."""
    application = _Application("otp")
    for wrong in (b"", OTP_KEY[:31], OTP_KEY + b"3"):
        assert application.personalise(wrong).status == MALFORMED
        assert (application.invoke(b"", now=59).status, application.invoke(b"").output) == (BLANK, b"")


def test_a_generator_personalised_again_has_the_second_key() -> None:
    """Nothing is left of the first one."""
    application = _Application("otp")
    application.personalise(KEY)
    application.personalise(OTP_KEY)
    assert KEY[:4] not in application.data
    assert application.invoke(b"", now=59).output == OTP_PASSWORD
