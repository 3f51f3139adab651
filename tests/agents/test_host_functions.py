"""The host functions: what each does for a programme, by published vectors where there are any."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.handset.security_module.core import application_statement
from agents.handset.security_module.host_crypto import AES_BLOCK, AES_KEYS, DIGEST, MAX_SIGNATURE
from agents.handset.security_module.host_functions import (
    HOST_CALL_FUEL,
    HOST_FUNCTIONS,
    HOST_OCTET_FUEL,
    MAX_OUTPUT,
    SIGN_FUEL,
    HostServices,
)
from agents.handset.security_module.profile import LIGHT_SUITES, STANDARD
from agents.handset.security_module.rights import rights_mask
from tests.agents.module_kit import TAR, UA, Market
from tests.agents.wasm_kit import SIGNATURE, app, calling, failure, invoke, length_of, numbers
from transport.security.suites import SUITES

VECTORS = tomllib.loads(
    (Path(__file__).parent / "vectors" / "host_functions.toml").read_text(encoding="utf-8")
)
SIZE = 1024
OUT = 512
"""Where in the memory results go."""


def vectors(kind: str) -> pytest.MarkDecorator:
    """Return a decorator that gives a test each vector of a kind."""
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda vector: vector["id"])


def octets(vector: dict[str, str], *names: str) -> list[bytes]:
    """Return these values of a vector."""
    return [bytes.fromhex(vector[name]) for name in names]


def after(function: str, *numbers: int, data: bytes) -> bytes:
    """Return the memory, which was *data* before, after a call of a host function with these numbers."""
    code = calling(function, *numbers, size=SIZE)
    result = invoke(code, data=data.ljust(SIZE, b"\0"))
    assert result.status == 0
    return result.data


def test_the_argument_comes_in_and_the_answer_goes_out() -> None:
    """The length of the argument, its octets, and an answer put together of three pieces."""
    code = app(
        """(drop (call $input_read (i32.const 3) (i32.const 2) (call $input_length)))
        (call $output_write (i32.const 2) (i32.const 4))
        (call $output_write (i32.const 9) (i32.const 0))
        (call $output_write (i32.const 4) (i32.const 1))
        (call $input_length)""",
        host="input_length input_read output_write",
    )
    result = invoke(code, b"hello")
    assert (result.output, result.status) == (b"\0llol", 5)


@pytest.mark.parametrize(
    ("offset", "length", "copied"),
    [(0, 5, 5), (0, 9, 5), (4, 9, 1), (5, 1, 0), (6, 1, 0), (-1, 4, 0), (2, 0, 0), (0, 64, 5)],
)
def test_reading_the_argument_stops_at_its_end(offset: int, length: int, copied: int) -> None:
    """Whatever offset and length, only octets that are there are copied, and how many is said."""
    result = invoke(calling("input_read", 0, offset, length), b"12345")
    assert result.status == copied
    assert result.data == b"12345"[max(offset, 0) :][:copied].ljust(64, b"\0")


@pytest.mark.parametrize(
    ("function", "length", "times", "reason"),
    [
        ("output_write", 256, 4, ""),
        ("output_write", 205, 5, "output-too-long"),
        ("output_write", MAX_OUTPUT, 1, ""),
        ("output_write", MAX_OUTPUT + 1, 1, "output-too-long"),
        ("display", 240, 8, ""),
        ("display", 1, 9, "display-too-long"),
        ("display", 241, 1, "display-too-long"),
    ],
)
def test_output_and_texts_are_bounded(function: str, length: int, times: int, reason: str) -> None:
    """An answer of 1025 octets, a ninth text and a text of 241 octets end the run, and not one less."""
    loop = f"""(loop $l (call ${function} (i32.const 0) (i32.const {length}))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const {times})))) (i32.const 0)"""
    code, data = app(loop, host=function, memory="2048 2048 (pagesize 1)"), bytes(2048)
    if reason:
        assert failure(code, data=data) == reason
    else:
        result = invoke(code, data=data)
        assert (len(result.output), len(result.texts)) in {(MAX_OUTPUT, 0), (0, times)}


def test_a_text_for_the_user_has_no_control_characters() -> None:
    """What could move a terminal's cursor, and what is no UTF-8, is replaced."""
    result = invoke(calling("display", 0, 6), data=b"a\x1b[\xc3\xa9\xff" + bytes(58))
    assert result.texts == ("a\N{REPLACEMENT CHARACTER}[é\N{REPLACEMENT CHARACTER}",)


def test_time_and_randomness_are_those_that_were_given() -> None:
    """The time is the module's, to its 64 bits; random octets are drawn once, as many as are wanted."""
    code = app("(i64.store (i32.const 0) (call $time)) (i32.const 0)", host="time")
    for now in (0, 1_700_000_000, (1 << 40) - 1):
        services = HostServices(rng=bytes, now=now, sign=bytes)
        assert invoke(code, services=services).data[:8] == now.to_bytes(8, "little")
    drawn = []

    def rng(count: int) -> bytes:
        drawn.append(count)
        return b"\x5a" * count

    services = HostServices(rng=rng, now=0, sign=bytes)
    assert invoke(calling("random", 7, 9), services=services).data == bytes(7) + b"\x5a" * 9 + bytes(48)
    assert drawn == [9]


@vectors("digest")
def test_digests(vector: dict[str, str]) -> None:
    """SHA-256 gives the published digest, wherever it is wanted: also over its own message."""
    message, digest = octets(vector, "message", "digest")
    for out in (OUT, 0, 1):
        assert after("sha256", 0, len(message), out, data=message)[out:][:DIGEST] == digest


@vectors("mac")
def test_macs(vector: dict[str, str]) -> None:
    """HMAC-SHA-256 and AES-CMAC give the published MAC, also over their own key and message."""
    key, message, mac = octets(vector, "key", "message", "mac")
    numbers = 0, len(key), len(key), len(message)
    for out in (OUT, 0, len(key)):
        memory = after(vector["function"], *numbers, out, data=key + message)
        assert memory[out:][: len(mac)] == mac


@vectors("cbc")
@pytest.mark.parametrize("function", ["aes_cbc_encrypt", "aes_cbc_decrypt"])
def test_cbc(vector: dict[str, str], function: str) -> None:
    """AES-CBC gives the published blocks both ways, in place and overlapping as well."""
    key, iv, plain, cipher = octets(vector, "key", "iv", "plain", "cipher")
    source, made = (plain, cipher) if function == "aes_cbc_encrypt" else (cipher, plain)
    at = len(key) + AES_BLOCK
    for out in (OUT, at, at - 1, at + 1, 0):
        numbers = 0, len(key), len(key), at, len(source), out
        assert after(function, *numbers, data=key + iv + source)[out:][: len(made)] == made


@pytest.mark.parametrize("function", ["aes_cbc_encrypt", "aes_cbc_decrypt", "aes_cmac"])
@pytest.mark.parametrize("length", [0, 1, 15, 17, 31, 33, 64])
def test_a_key_of_another_length_ends_the_run(function: str, length: int) -> None:
    """Only keys of 16, 24 and 32 octets are keys."""
    numbers = [0] * len(HOST_FUNCTIONS[function].names)
    numbers[1] = length
    assert failure(calling(function, *numbers)) == "key-length"
    for good in AES_KEYS:
        numbers[1] = good
        assert invoke(calling(function, *numbers)).status == 0


@pytest.mark.parametrize("function", ["aes_cbc_encrypt", "aes_cbc_decrypt"])
def test_cbc_takes_whole_blocks_only(function: str) -> None:
    """There is no padding: any number of octets that is no multiple of 16 ends the run, none is none."""
    for length in range(1, 49):
        code = calling(function, 0, 16, 0, 0, length, 0)
        if length % AES_BLOCK:
            assert failure(code) == "block-length"
        else:
            assert invoke(code).status == 0
    assert invoke(calling(function, 0, 16, 0, 0, 0, 0), data=b"k" * 64).data == b"k" * 64


@given(st.data())
def test_what_was_enciphered_is_deciphered(data: st.DataObject) -> None:
    """Any key, vector and whole blocks come back as they were."""
    key = data.draw(st.sampled_from(AES_KEYS).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
    iv = data.draw(st.binary(min_size=AES_BLOCK, max_size=AES_BLOCK))
    blocks = data.draw(st.integers(0, 5))
    message = data.draw(st.binary(min_size=16 * blocks, max_size=16 * blocks))
    numbers = 0, len(key), len(key), len(key) + AES_BLOCK, len(message)
    enciphered = after("aes_cbc_encrypt", *numbers, OUT, data=key + iv + message)[OUT:][: len(message)]
    assert (
        after("aes_cbc_decrypt", *numbers, OUT, data=key + iv + enciphered)[OUT:][: len(message)] == message
    )


@pytest.mark.parametrize("room", [0, 1, len(SIGNATURE) - 1, len(SIGNATURE), len(SIGNATURE) + 9])
def test_a_signature_is_written_whole_or_not_at_all(room: int) -> None:
    """With too little room nothing is written; its length is the result either way, so that one can ask."""
    code = calling("sign", 0, 5, 8, room, size=SIZE)
    result = invoke(code, data=b"hello".ljust(SIZE, b"\x11"))
    written = SIGNATURE if room >= len(SIGNATURE) else b""
    assert result.status == len(SIGNATURE)
    assert result.data == (b"hello\x11\x11\x11" + written).ljust(SIZE, b"\x11")


def test_what_is_signed_is_what_lies_in_the_memory() -> None:
    """The module is asked to sign these octets, once; a signature too long for any suite is our own fault."""
    asked: list[bytes] = []

    def sign(message: bytes) -> bytes:
        asked.append(message)
        return bytes(MAX_SIGNATURE + (message == b"long"))

    services = HostServices(rng=bytes, now=0, sign=sign)
    code = calling("sign", 1, 4, 0, 0)
    assert invoke(code, data=b"-text".ljust(64, b"\0"), services=services).status == MAX_SIGNATURE
    assert asked == [b"text"]
    with pytest.raises(ValueError, match="4097 octets"):
        invoke(code, data=b"-long".ljust(64, b"\0"), services=services)


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_a_verifier_believes_the_signature_of_an_application(suite: str) -> None:
    """In a real module of each suite: what an application had signed verifies, with light ones alike."""
    every = replace(STANDARD, suites=list(SUITES))
    market = Market(module_suite=suite, size=192 * 1024, module_profile=every).personalise()
    market.reserve(rights=rights_mask({"sign"}), data_size=2 * MAX_SIGNATURE, code_size=2048).connect()
    market.load(
        app(
            f"""(drop (call $input_read (i32.const 0) (i32.const 0) (i32.const 8)))
            (i32.store (i32.const 8) (call $sign
                (i32.const 0) (i32.const 8) (i32.const {MAX_SIGNATURE}) (i32.const {MAX_SIGNATURE})))
            (i32.const 0)""",
            host="input_read sign",
            memory=f"{2 * MAX_SIGNATURE} {2 * MAX_SIGNATURE} (pagesize 1)",
        )
    )
    statement = application_statement(UA, TAR, b"contract")
    signatures = []
    for _ in range(2):
        assert market.supplier.invoke(market.card, b"contract").reason == ""
        data = market.card.module.definitions.read_data(market.card.definition())
        length = int.from_bytes(data[8:12], "little")
        assert length == SUITES[suite].signature_length <= MAX_SIGNATURE
        signatures.append(data[MAX_SIGNATURE : MAX_SIGNATURE + length])
        SUITES[suite].verify(market.public, statement, signatures[-1])
    assert (signatures[0] == signatures[1]) is (suite in LIGHT_SUITES)


@pytest.mark.parametrize("name", HOST_FUNCTIONS)
def test_fuel_is_paid_for_a_call_and_for_octets(name: str) -> None:
    """A call costs what the table says, and every octet that it may read or write the same again."""
    host = HOST_FUNCTIONS[name]
    cost = host.fuel + HOST_OCTET_FUEL * sum(map(length_of, host.areas))
    idle = invoke(app()).fuel_used
    used = invoke(calling(name, *numbers(name)), bytes(16)).fuel_used - idle
    assert cost <= used < cost + 16
    assert failure(calling(name, *numbers(name)), bytes(16), fuel=cost - 1) == "out-of-fuel"


def test_what_a_programme_cannot_pay_for_is_not_done() -> None:
    """Nobody is asked to sign, and no random octet is drawn, by a call that costs more than there is."""
    asked: list[object] = []

    def ask(wanted: object) -> bytes:
        asked.append(wanted)
        return b""

    services = HostServices(rng=ask, now=0, sign=ask)
    sign, random = calling("sign", 0, 8, 0, 64), calling("random", 0, 64)
    assert failure(sign, services=services, fuel=SIGN_FUEL) == "out-of-fuel"
    assert failure(random, services=services, fuel=HOST_CALL_FUEL + 64 * HOST_OCTET_FUEL - 1) == "out-of-fuel"
    assert asked == []
