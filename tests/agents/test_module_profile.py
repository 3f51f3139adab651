"""The module's profile: what it cannot do it refuses with a reason, and of nothing it keeps too much."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.memory import DEFAULT_RESOURCES, Memory, Record
from agents.handset.security_module.module import SecurityModule
from agents.handset.security_module.profile import (
    MAX_CHANNELS,
    MIN_BUFFER,
    STANDARD,
    Profile,
    blank_memory,
    profile_of,
)
from agents.handset.security_module.rights import RIGHTS, rights_mask
from agents.messages.air import Prove
from agents.messages.codec import MAX_MESSAGE_OCTETS, encode, unpack
from tests.agents.module_kit import (
    COMMAND,
    OPERATOR_NUMBER,
    UA,
    UNSECURED,
    Market,
    OnlineMarket,
    Supplier,
    manage,
    probe,
)
from transport import apdu
from transport.concatenation import split
from transport.errors import Rejected
from transport.secured_packet import ResponseStatus, encode_command

if TYPE_CHECKING:
    from agents.handset.security_module.core import Note

SIZE = 32 * 1024


def _profile(**changes: Any) -> Profile:
    return replace(STANDARD, **changes)


def _market(**changes: Any) -> Market:
    return Market(module_profile=_profile(**changes)).personalise()


def _shop() -> Supplier:
    return Supplier(suite="p256", name="shop", number="15550300", tar=b"\xb2\0\1", service="loyalty")


def test_a_profile_lasts() -> None:
    """It is in the image from the first boot to the last, and one object serves all modules that share it."""
    profile = _profile(sessions=3, fuel=1234)
    memory = blank_memory(SIZE, profile=profile)
    again = [profile_of(Memory.boot(bytes(memory))) for _ in range(2)]
    assert again[0] == profile
    assert again[0] is again[1]


def test_a_module_without_one_has_the_standard_one() -> None:
    """The standard profile takes no room in the image."""
    module = SecurityModule.blank(SIZE, rng=bytes)
    assert [number for number, _ in module.take_changes()] == [0]
    assert profile_of(Memory.format(SIZE)) is STANDARD
    assert Memory.format(SIZE).slots == DEFAULT_RESOURCES


@pytest.mark.parametrize(
    "octets",
    [b"\x01\x02", encode(STANDARD)[:-1], msgpack.packb([202, ["x25519"]])],
    ids=["1", "cut", "short"],
)
def test_a_corrupt_profile_is_found_at_boot(octets: bytes) -> None:
    """A module that does not know what it can do does not begin."""
    memory = Memory.format(SIZE)
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.PROFILE, octets)
    with pytest.raises(ImageRejected, match="corrupt-record"):
        SecurityModule(Memory.boot(bytes(memory)), rng=bytes)


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("suites", []),
        ("sessions", 0),
        ("sessions", 256),
        ("calls", 0),
        ("channels", MAX_CHANNELS + 1),
        ("buffer", MIN_BUFFER - 1),
        ("proactive", 1),
        ("programme", 0),
        ("fuel", 0),
        ("key", 4096),
    ],
    ids=str,
)
def test_a_profile_that_cannot_be_does_not_exist(what: str, value: object) -> None:
    """Each figure has its bounds."""
    with pytest.raises(ValueError, match=what):
        _profile(**{what: value})


@pytest.mark.parametrize(
    ("changes", "terms", "reason"),
    [
        ({"suites": ["x25519"]}, {}, "unsupported-suite"),
        ({"protections": ["aes-256"]}, {}, "unsupported-protection"),
        ({"rights": rights_mask(set(RIGHTS) - {"hmac"})}, {}, "unsupported-right"),
        ({"key": 32}, {}, "key-too-long"),
        ({}, {"rights": 1 << 31}, "unknown-right"),
        ({}, {"suite": "rot13"}, "unknown-suite"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_nothing_is_reserved_that_the_module_cannot(
    changes: dict[str, Any], terms: dict[str, Any], reason: str
) -> None:
    """Suites, protections, rights and keys beyond the profile are refused, signed; DEF stays empty."""
    market = _market(**changes)
    assert market.command(market.supplier.reserve(**terms)).reason == reason
    assert market.card.module.definitions.all() == []


@pytest.mark.parametrize(
    ("changes", "terms", "reason"),
    [
        ({"suites": ["p256"]}, {}, "unsupported-suite"),
        ({"suites": ["x25519"]}, {"suite": "p256"}, "unsupported-suite"),
        (
            {"suites": ["x25519"]},
            {"authority_suite": "p256", "authority_public": bytes(33)},
            "unsupported-suite",
        ),
        ({}, {"suite": "rot13"}, "unknown-suite"),
        ({"key": 32}, {"authority_suite": "p256", "authority_public": bytes(33)}, "key-too-long"),
    ],
    ids=["operator", "own", "authority", "unknown", "long"],
)
def test_nobody_owns_a_module_that_cannot_check_him(
    changes: dict[str, Any], terms: dict[str, Any], reason: str
) -> None:
    """A module is not personalised with keys that it cannot use: it stays blank."""
    market = Market(module_profile=_profile(**changes))
    response = market.card.store_data(encode(market.personal(**terms)))
    assert response.status == apdu.SW_WRONG_DATA
    assert market.card.reasons == [reason]
    assert market.card.module.ua is None


def test_so_many_sessions_and_no_more() -> None:
    """One too many is refused before anything is sent, and its proof too; the one there is may be renewed."""
    market = _market(sessions=1).reserve()
    shop = _shop()
    assert market.command(shop.reserve()).reason == ""
    market.connect()
    assert market.card.use_menu(2, shop.service) == ["Refused: sessions-full"]
    assert market.card.take_sent() == []
    market.connect().load()
    assert market.supplier.invoke(market.card).reason == ""


def test_a_session_that_was_full_by_the_time_of_the_proof() -> None:
    """Two handshakes at once for one place: whoever proves first has it."""
    market = _market(sessions=1).reserve()
    shop = _shop()
    assert market.command(shop.reserve()).reason == ""
    responder = shop.responder(UA, market.module_suite, market.public)
    proof = responder.receive(market.call(shop).opening)
    assert proof is not None
    market.connect()
    replied = manage(market.card, encode(Prove(tar=shop.tar, proof=proof)))
    assert replied.status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.card.reasons[-1] == "sessions-full"
    assert market.card.definition(shop.tar).session is None
    assert market.load().supplier.invoke(market.card).reason == ""


def test_a_run_has_the_fuel_of_its_module() -> None:
    """The same programme that runs in one module is out of fuel in a lesser one; the run is counted."""
    market = _market(fuel=20_000).reserve(executions=3).connect().load()
    assert market.supplier.invoke(market.card).reason == ""
    assert market.supplier.load(market.card, probe(more=_SPIN), version=2).reason == ""
    assert market.supplier.invoke(market.card).reason == "out-of-fuel"
    assert market.card.definition().executions_left == 1
    standard = Market().served()
    assert standard.supplier.load(standard.card, probe(more=_SPIN), version=2).reason == ""
    assert standard.supplier.invoke(standard.card).reason == ""


_SPIN = """(local.set $length (i32.const 10000))
    (loop $again (local.set $length (i32.sub (local.get $length) (i32.const 1)))
      (br_if $again (local.get $length)))"""


def test_a_programme_may_be_too_large_for_the_module_and_not_for_its_resource() -> None:
    """The lesser of the two bounds holds, from the first piece on."""
    market = _market(programme=len(probe()) - 1).reserve(code_size=4096).connect()
    assert market.supplier.load(market.card, probe()).reason == "code-too-large"
    assert market.card.definition().code_length == 0


def test_a_small_buffer_takes_small_packets_only() -> None:
    """What could not be put together is refused with its first part; a packet that fits is taken."""
    market = _market(buffer=MIN_BUFFER)
    profile = market.module_profile
    largest = encode_command(spi=UNSECURED, tar=b"\xb2\0\0", data=bytes(profile.packet - 16))
    assert len(largest) == profile.packet
    market.card.download(largest)
    assert market.card.reasons == ["unknown-resource"]
    market.card.transmit_part(largest[:100])  # CPL says more than there is, and fits
    market.card.notes.clear()
    larger = encode_command(spi=UNSECURED, tar=b"\xb2\0\0", data=bytes(profile.packet - 15))
    first = split(larger, reference=9, first=COMMAND)[0]
    assert market.card.deliver(first, sender=OPERATOR_NUMBER).data[-1] == ResponseStatus.INSUFFICIENT_MEMORY
    assert market.card.reasons == ["too-large"]


def test_links_and_commands_that_wait_are_counted() -> None:
    """One channel where the profile says one; a queue as long as the profile says."""
    market = OnlineMarket(module_profile=_profile(channels=1, proactive=16))
    market.personalise().reserve().connect()
    assert len(market.online.fars) == 1
    market.connect()
    assert len(market.online.fars) == 1
    dropped: list[Note] = []
    for _ in range(40):
        market.card.module.process(bytes.fromhex("80C2000009D30782020181900102"), market.card.now)
        dropped += [note for note in market.card.module.take_notes() if note.reason == "queue-full"]
    assert len(dropped) == 40 - 16


def test_no_message_nests_deeper_than_it_must() -> None:
    """Depth, lengths and numbers of msgpack are bounded before anybody looks at the values."""
    rng = random.Random(3)
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    for values, reason in (
        ([15, deep], "too-deep"),
        ([15, [[]]], "too-deep"),
        ([15, {}], None),
        ([15, {"a": 1}], "not-msgpack"),
        ([15, [1] * 65], "not-msgpack"),
        ([15, "x" * 257], "not-msgpack"),
        ([15, rng.randbytes(MAX_MESSAGE_OCTETS)], "too-large"),
        ([15, msgpack.ExtType(1, b"x")], "not-msgpack"),
        (15, "not-an-array"),
    ):
        if reason is None:
            assert unpack(msgpack.packb(values)) == values
            continue
        with pytest.raises(Rejected, match=reason):
            unpack(msgpack.packb(values))
    with pytest.raises(Rejected, match="not-msgpack"):
        unpack(b"\x91" * MAX_MESSAGE_OCTETS)
