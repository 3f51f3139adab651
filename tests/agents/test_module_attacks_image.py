"""A memory that was worn, altered or forged: the module does not boot from it, and says why.

What cannot be told apart from what the module wrote itself does boot: a data part is what its application
made of it, and a forger who writes a record such as a command makes (another date, say) has written a record.
"""

from __future__ import annotations

import random
from dataclasses import fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.handset.security_module.core import Identity
from agents.handset.security_module.definitions import DefinitionTable, ResourceState, SessionRecord
from agents.handset.security_module.errors import ImageRejected, MemoryFull
from agents.handset.security_module.life_cycle import AtEnd
from agents.handset.security_module.medium import PAGE
from agents.handset.security_module.memory import Memory, Record
from agents.handset.security_module.module import SecurityModule
from agents.handset.security_module.operator_session import OperatorSession
from agents.messages.air import (
    MANAGER_TAR,
    Announce,
    Audit,
    Block,
    Compact,
    Connect,
    Invoke,
    Prove,
    Release,
    Renew,
)
from agents.messages.codec import decode, encode
from agents.messages.signed import EVERYBODY, Purpose
from tests.agents.attack_kit import SHOP_TAR, shop
from tests.agents.module_kit import NOW, SECURED, SERVICE, TAR, Market, manage, probe
from transport.secured_packet import encode_command
from transport.security.keyset import SessionKeys

if TYPE_CHECKING:
    from agents.handset.security_module.definitions import Definition

DATE: Final = int(NOW) + 600


@cache
def _market() -> Market:
    """Return a module with two loaded resources, side by side, and a reserved one; it is never changed."""
    market, other = Market().served(executions=5, expires_at=DATE), shop()
    market.command(other.reserve())
    market.connect(other)
    other.load(market.card, probe())
    market.command(other.reserve(tar=b"\xb2\0\2", service="later"))
    market.supplier.personalise(market.card, b"personal")
    return market


IMAGE: Final = _market().card.image
MEMORY: Final = Memory.boot(IMAGE)
TABLE: Final = DefinitionTable(MEMORY)
BANK, SHOP, LATER = TABLE.all()


def _boot(image: bytes) -> SecurityModule:
    return SecurityModule(Memory.boot(image), rng=random.Random(1).randbytes)


def _rejected(image: bytes) -> str:
    with pytest.raises(ImageRejected) as caught:
        _boot(image)
    return caught.value.reason


# --- worn ---


def _flipped(place: int, bit: int) -> bytes:
    image = bytearray(IMAGE)
    image[place] ^= 1 << bit
    return bytes(image)


def test_the_image_itself_boots() -> None:
    """What is altered below was a good image before."""
    assert _boot(IMAGE).definitions.all() == [BANK, SHOP, LATER]


def test_any_octet_of_header_records_and_def() -> None:
    """One bit anywhere before the zone, in a record or in the zeros around it, is found."""
    rng = random.Random(2)
    places = [place for place in range(MEMORY.zone_start) if IMAGE[place] or not place % 7 or place < PAGE]
    reasons = {_rejected(_flipped(place, rng.randrange(8))) for place in places}
    assert reasons <= {"not-an-image", "corrupt-header", "corrupt-slot", "no-header"}
    assert len(reasons) > 2


def _may_differ(place: int) -> bool:
    """Say whether an octet of the zone is an application's."""
    return any(each.data_start <= place < each.end for each in (BANK, SHOP))


@settings(max_examples=200, deadline=None)
@given(place=st.integers(MEMORY.zone_start, len(IMAGE) - 1), bit=st.integers(0, 7))
def test_any_octet_of_the_zone(place: int, bit: int) -> None:
    """A bit of a programme, behind it, in an empty area, or in what is free is found; of data it is not."""
    image = _flipped(place, bit)
    if _may_differ(place):
        assert _boot(image).definitions.all() == [BANK, SHOP, LATER]
    elif any(each.start <= place < each.data_start for each in (BANK, SHOP)):
        assert _rejected(image) == "corrupt-code"
    else:
        assert _rejected(image) in ("octets-where-nothing-is", "corrupt-code")


@settings(max_examples=60, deadline=None)
@given(behind=st.lists(st.binary(min_size=PAGE, max_size=PAGE), min_size=1, max_size=4), mark=st.booleans())
def test_garbage_behind_the_image(behind: list[bytes], mark: bool) -> None:  # noqa: FBT001 -- drawn
    """Pages behind the image that are no journal, even if they begin as one, are wiped, and nothing more."""
    octets = b"".join(behind)
    if mark:
        octets = b"OTAJOURN\0\0\0\x01" + octets[12:]
    module = _boot(IMAGE + octets)
    pages = dict(enumerate(IMAGE[at : at + PAGE] for at in range(0, len(IMAGE), PAGE)))
    pages.update(module.take_changes())
    assert b"".join(pages[number] for number in sorted(pages))[: len(IMAGE)] == IMAGE
    assert not any(any(page) for number, page in pages.items() if number >= len(IMAGE) // PAGE)


# --- forged, with CRCs that hold ---


def _forged(definition: Definition, octets: bytes) -> bytes:
    """Return the image with other octets in a resource's slot of DEF."""
    memory = Memory.boot(IMAGE)
    slot = memory.definition_slots()[TABLE.all().index(definition)]
    with memory.transaction() as transaction:
        memory.write_slot(transaction, slot, memory.slot_size, octets)
    return bytes(memory)


BAD: Final = "bad-definition"
KEYS: Final = BANK.session.keys if BANK.session else b""
FORGERIES: Final[dict[str, tuple[Definition, dict[str, Any], str]]] = {
    "an area over another's first octet": (BANK, {"data_size": BANK.data_size + 1}, "bad-area"),
    "an area in another's middle": (SHOP, {"start": BANK.start + 1}, "bad-area"),
    "another's area": (SHOP, {"start": BANK.start}, "bad-area"),
    "an area over DEF": (BANK, {"start": MEMORY.zone_start - 1}, "bad-area"),
    "an area over the header": (BANK, {"start": 0}, "bad-area"),
    "an area beyond the end": (LATER, {"data_size": 0xFFFFFFFF}, "bad-area"),
    "an area one octet beyond the end": (
        LATER,
        {"start": len(IMAGE) - LATER.end + LATER.start + 1},
        "bad-area",
    ),
    "an area far away": (LATER, {"start": 0xFFFFFFFF}, "bad-area"),
    "another's TAR": (SHOP, {"tar": TAR}, "duplicate-tar"),
    "another's id": (SHOP, {"rsc_id": BANK.rsc_id}, "duplicate-resource"),
    "another's service": (SHOP, {"service": SERVICE}, "duplicate-service"),
    "a service without a name": (SHOP, {"service": ""}, BAD),
    "a supplier without a name": (SHOP, {"supplier": ""}, BAD),
    "an unknown suite": (BANK, {"suite": "rot13"}, BAD),
    "an unknown form": (BANK, {"forms": ("nod",)}, BAD),
    "a logic name without a domain key": (BANK, {"logic_name": "points"}, BAD),
    "a domain key without a logic name": (BANK, {"domain_key": b"\1\0\0\0\1" + bytes(32)}, BAD),
    "a domain key that is none": (BANK, {"logic_name": "points", "domain_key": bytes(37)}, BAD),
    "a domain form without a domain key": (BANK, {"forms": ("domain-symmetric",)}, BAD),
    "an unknown protection": (BANK, {"protection": "hope"}, BAD),
    "an unknown bearer": (BANK, {"bearers": ("pigeon",)}, BAD),
    "a bearer without a server": (BANK, {"bearers": ("bip-tcp", "sms")}, BAD),
    "a key that was not reserved": (BANK, {"supplier_public": bytes(len(BANK.supplier_public))}, BAD),
    "a key where none may be": (BANK, {"state": ResourceState.BLOCKED}, BAD),
    "no key where one must be": (BANK, {"supplier_public": b"", "session": None}, BAD),
    "a session without a key": (BANK, {"supplier_public": b"", "state": ResourceState.BLOCKED}, BAD),
    "keys of a session that are none": (BANK, {"session": SessionRecord(keys=b"\1\1" + bytes(9))}, BAD),
    "keys of another protection": (BANK, {"session": SessionRecord(keys=b"\1\3" + bytes(128))}, BAD),
    "a programme that is not loaded": (BANK, {"state": ResourceState.RESERVED}, BAD),
    "a version of nothing": (LATER, {"version": 1}, BAD),
    "a programme without a version": (BANK, {"version": 0}, BAD),
    "nothing left to run and never loaded": (LATER, {"executions_left": 0}, BAD),
    "exhausted with executions left": (
        BANK,
        {"state": ResourceState.EXHAUSTED, "supplier_public": b"", "session": None},
        BAD,
    ),
    "expired and not deleted": (
        BANK,
        {"state": ResourceState.EXPIRED, "supplier_public": b"", "session": None, "at_end": AtEnd.DELETE},
        BAD,
    ),
    "more executions than can be told": (BANK, {"executions_left": 0xFFFFFFFF}, BAD),
    "a programme one octet shorter": (BANK, {"code_length": BANK.code_length - 1}, "corrupt-code"),
    "a programme one octet longer": (BANK, {"code_length": BANK.code_length + 1}, "corrupt-code"),
    "another programme's digest": (BANK, {"code_digest": bytes(32)}, "corrupt-code"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_records_that_no_command_makes(name: str) -> None:
    """A record that leads where no command leads is found, though its CRC holds."""
    definition, changes, reason = FORGERIES[name]
    assert _rejected(_forged(definition, replace(definition, **changes).encode())) == reason


def test_records_that_a_command_could_have_made() -> None:
    """A forger who writes what the operator could have ordered is not found out: a CRC is no signature."""
    changes: dict[str, Any] = {"expires_at": 0, "executions_left": -1}
    module = _boot(_forged(BANK, replace(BANK, **changes).encode()))
    assert module.definitions.by_tar(TAR) == replace(BANK, **changes)


IDENTITY: Final = decode(MEMORY.get_record(Record.IDENTITY) or b"", Identity)
IDENTITIES: Final[dict[str, dict[str, Any]]] = {
    "an unknown suite": {"suite": "rot13"},
    "an operator's unknown suite": {"operator_suite": "rot13"},
    "a private key that is none": {"private": b"\0" * 31},
    "another private key": {"private": b"\1" * len(IDENTITY.private)},
    "a public key of another suite": {"suite": "p256"},
    "an operator's key that is none": {"operator_public": bytes(33)},
    "an authority's key that is none": {"authority_public": bytes(33)},
    "a serial of no key": {"operator_public": b"", "operator_serial": 1},
    "half of what is known of a key that was left": {"operator_left": bytes(12)},
    "an unknown form of session": {"session_form": "nod"},
    "a form of session that does not agree": {"session_form": "key-transport"},
    "parameters of no session": {"dh_base": b"\2", "dh_modulus": b"\7"},
    "half of the parameters": {"session_form": "agree-then-sign", "dh_base": b"\2"},
    "an allocator without a number": {"allocator": "host"},
    "a number of no allocator": {"allocator_number": "15550110"},
    "an allocator who is the module": {"allocator": IDENTITY.ua, "allocator_number": "15550110"},
    "an operator who is the module": {"session_form": "agree-then-sign", "operator": IDENTITY.ua},
}


NO_KEYS: Final = SessionKeys(index=1, keys=tuple(bytes([each]) * 16 for each in range(4)))
SESSION: Final = OperatorSession(keys=NO_KEYS.dump())
HAS_FORM: Final = replace(IDENTITY, session_form="agree-then-sign")


def _with_record(record: Record, octets: bytes | None) -> bytes:
    memory = Memory.boot(IMAGE)
    with memory.transaction() as transaction:
        memory.put_record(transaction, record, octets)
    return bytes(memory)


@pytest.mark.parametrize("name", IDENTITIES)
def test_an_identity_that_cannot_be(name: str) -> None:
    """Keys and suites that do not go together are found before anything is signed or checked with them."""
    forged = replace(IDENTITY, **IDENTITIES[name])
    assert _rejected(_with_record(Record.IDENTITY, encode(forged))) == "bad-identity"


@pytest.mark.parametrize(
    ("identity", "session", "reason"),
    [
        (HAS_FORM, OperatorSession(keys=b"\1\1" + bytes(9)), "corrupt-record"),
        (HAS_FORM, OperatorSession(keys=b"\1\3" + bytes(range(128))), "bad-session"),
        (IDENTITY, SESSION, "bad-session"),
        (None, SESSION, "bad-session"),
    ],
    ids=["keys-that-are-none", "another-protection", "a-module-without", "nobody's"],
)
def test_a_session_of_the_operator_that_no_handshake_makes(
    identity: Identity | None, session: OperatorSession, reason: str
) -> None:
    """A keyset where none was to be, or that is none, is found before anything is opened with it."""
    memory = Memory.format(len(IMAGE))
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.IDENTITY, encode(identity) if identity else None)
        memory.put_record(transaction, Record.SESSION, encode(session))
    assert _rejected(bytes(memory)) == reason


def test_resources_of_nobody() -> None:
    """A module that has lost its identity does not become somebody else's with the resources in it."""
    assert _rejected(_with_record(Record.IDENTITY, None)) == "bad-definition"


VALUES: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(-2, 1 << 34),
    st.binary(max_size=130),
    st.text(max_size=34),
    st.sampled_from([each.value for each in ResourceState]),
    st.lists(st.sampled_from(["sms", "bip-tcp", "agree-then-sign", 0, b""]), max_size=5),
    st.tuples(st.binary(max_size=66), st.integers(0, 9), st.integers(0, 9)).map(list),
)


def _say_everything(module: SecurityModule) -> None:
    """Give the module one of each command, whatever it answers."""
    market = Market()
    market.card.module, market.card.pages = module, {}
    market.card.start()
    market.operator.counter = 1000
    for message in (
        Audit(after=0),
        Renew(tar=TAR, supplier_public=market.supplier.key.public, expires_at=DATE, executions=2),
        Block(tar=SHOP_TAR),
        Compact(),
        shop().reserve(tar=b"\xb2\0\7", service="new"),
        Release(tar=TAR),
        Audit(after=0),
    ):
        for service in (SERVICE, "loyalty", "later"):
            market.card.use_menu(3, service, "00")
            market.card.use_menu(2, service)
        market.supplier.keys, market.supplier.counter = _market().supplier.keys, 1000
        market.card.download(market.supplier.packet(Invoke(argument=b"\0")), sender="15550200")
        market.card.take_sent()
        manage(market.card, market.operator.signed(message))
    manage(market.card, encode(Prove(tar=TAR, proof=bytes(130))))
    announcement: dict[str, Any] = {"ua": EVERYBODY, "purpose": Purpose.ANNOUNCEMENT, "counter": 1}
    manage(market.card, market.operator.signed(Announce(time=DATE), **announcement))
    manage(market.card, market.operator.signed(Connect(), counter=1, purpose=Purpose.CONNECTION))
    manage(market.card, encode(Prove(tar=MANAGER_TAR, proof=bytes(130))))
    terms: dict[str, Any] = {"spi": SECURED, "tar": MANAGER_TAR, "keys": NO_KEYS.to_module}
    market.card.download(encode_command(data=b"", counter=1, **terms))


@settings(max_examples=150, deadline=None)
@given(which=st.sampled_from([BANK, SHOP, LATER]), index=st.integers(0, 29), value=VALUES)
def test_any_field_of_a_record(which: Definition, index: int, value: object) -> None:
    """With any value in any field of DEF a module does not boot, or answers every command that there is."""
    values = msgpack.unpackb(which.encode())
    values[index] = value
    try:
        module = _boot(_forged(which, msgpack.packb(values)))
    except (ImageRejected, MemoryFull):
        return
    _say_everything(module)


@settings(max_examples=80, deadline=None)
@given(index=st.integers(0, len(fields(Identity))), value=VALUES)
def test_any_field_of_the_identity(index: int, value: object) -> None:
    """With any value in any field of its identity, too."""
    values = msgpack.unpackb(encode(IDENTITY))
    values[index] = value
    try:
        module = _boot(_with_record(Record.IDENTITY, msgpack.packb(values)))
    except (ImageRejected, MemoryFull):
        return
    _say_everything(module)
