"""Inspection: the map of a module's memory and its DEF, without a secret in it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from agents.errors import FleetError
from agents.fleet.inspection import MODULES_FILE, find_image, to_json
from agents.fleet.memory_map import CELLS, ROWS, render_module
from agents.handset.security_module.core import Identity, Turns
from agents.handset.security_module.definitions import (
    Definition,
    DefinitionTable,
    ResourceEvent,
    SessionRecord,
)
from agents.handset.security_module.life_cycle import AtEnd, ResourceState
from agents.handset.security_module.memory import Memory, Record
from agents.messages.codec import encode
from agents.store.database import open_store
from agents.store.pages import PageStore
from agents.store.tables import MODULES
from tests.agents.operator_session_kit import KeysetMarket

if TYPE_CHECKING:
    from pathlib import Path

UA = "8988459600030000013"
SECRET = b"SIXTEEN SECRETS!"
IDENTITY = Identity(
    ua=UA,
    suite="x25519",
    private=2 * SECRET,
    public=b"P" * 32,
    sealing_private=2 * SECRET,
    sealing_public=b"P" * 32,
    authority="root",
    authority_suite="x25519",
    authority_public=b"P" * 32,
    operator="mno",
    operator_number="15550100",
    operator_suite="p256",
    operator_public=b"P" * 33,
)


def definition(rsc_id: int, service: str, start: int, **others: object) -> Definition:
    """Return a resource of 1024 octets of code and 64 of data."""
    values: dict[str, object] = {
        "rsc_id": rsc_id,
        "tar": bytes((0xA0, 0, rsc_id)),
        "service": service,
        "supplier": "bank",
        "suite": "p256",
        "forms": ("agree-then-sign",),
        "supplier_public": b"P" * 33,
        "start": start,
        "code_size": 1024,
        "data_size": 64,
    }
    return Definition(**(values | others))  # type: ignore[arg-type]


def module() -> Memory:
    """Return a personalised module with two resources: one loaded, served and limited, one blocked."""
    memory = Memory.format(32768)
    table = DefinitionTable(memory)
    session = SessionRecord(keys=4 * SECRET)
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.COUNTERS, encode(Turns(signed=1_795_518_000)))
        memory.put_record(transaction, Record.IDENTITY, encode(IDENTITY))
        first = definition(
            1,
            "account",
            table.allocate(1088),
            rights=frozenset({"hmac", "time"}),
            expires_at=1_956_441_600,
            executions_left=50,
            session=session,
        )
        first = table.write_code(transaction, first, b"C" * 433).after(ResourceEvent.LOAD)
        table.put(transaction, first)
        table.write_data(transaction, first, SECRET)
        second = definition(
            2,
            "loyalty",
            table.allocate(1088),
            expires_at=1_795_521_600,
            at_end=AtEnd.DELETE,
            forms=("key-transport", "domain"),
            dh_base=b"\x02",
            dh_modulus=b"\xff" * 256,
            logic_name="points",
            domain_key=2 * SECRET,
            bearers=("sms", "tcp"),
        )
        table.put(transaction, second.after(ResourceEvent.BLOCK))
    return memory


def render(image: bytes, *, width: int = 100) -> str:
    """Return what the module looks like, without colours."""
    file = io.StringIO()
    render_module(UA, image, Console(file=file, width=width))
    return file.getvalue()


def test_screen() -> None:
    """The map, the areas and DEF say what is where, in 100 columns."""
    shown = render(bytes(module()))
    assert max(map(len, shown.splitlines())) <= 100
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[0] == f"Module {UA}, personalised, 32,768 octets"
    key = hashlib.sha256(b"P" * 33).hexdigest()[:8]
    assert "1 A00001 account loaded bank 15872-16960 433/1024 64 0" in lines
    assert "1 hmac, time 2031-12-30 50 deactivate -" in lines
    assert f"1 p256 agree-then-sign the suite's {key} no aes-128 sms" in lines
    assert "2 A00002 loyalty blocked bank 16960-18048 0/1024 64 0" in lines
    assert "2 none 2026-11-24 12:00:00 any delete points" in lines
    assert "2 p256 key-transport, domain 2048 bits none yes none sms, tcp" in lines
    assert "The operator last told it the time 2026-11-24 11:00:00" in lines
    assert "a 16896 16960 64 data account" in lines
    assert "14,720 octets free, in one piece" in lines


STATES = {
    "account": "loaded",
    "pass": "expired",
    "trips": "exhausted",
    "points": "blocked",
    "ride": "suspended",
}


def scattered() -> Memory:
    """Return a module with a resource in each state that it can come to, 3,000 octets apart."""
    memory = Memory.format(32_768, 8)
    table = DefinitionTable(memory)
    with memory.transaction() as transaction:
        # The last one first: DEF's order is not the memory's.
        for rsc_id, (service, state) in enumerate(reversed(STATES.items()), 1):
            one = definition(rsc_id, service, memory.zone_start + 3000 * (6 - rsc_id), executions_left=rsc_id)
            one = table.write_code(transaction, one, b"C" * 433)
            table.put(transaction, replace(one, state=ResourceState(state)))
    return memory


def test_every_state_is_told() -> None:
    """Whatever has become of a resource stands in DEF; on the map they are called as they lie."""
    shown = render(bytes(scattered()), width=80)
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for number, (service, state) in enumerate(STATES.items()):
        assert any(f" {service} {state} bank " in line for line in lines)
        start = 9728 + 3000 * (number + 1)
        assert f"{'ABCDE'[number]} {start} {start + 1024} 1024 code {service}" in lines
    values = to_json(UA, bytes(scattered()))
    assert {one["service"]: one["state"] for one in values["definitions"]} == STATES


def test_scattered_room_is_counted_in_pieces() -> None:
    """How many there are, how large the largest is, and how much is not in it; the JSON says the same."""
    lines = render(bytes(scattered()), width=80).splitlines()
    assert "17,600 octets free, in 6 pieces; 60% lie outside the largest, of 6,952" in lines
    memory = to_json(UA, bytes(scattered()))["memory"]
    assert (memory["free"], memory["largest_free"]) == (17_600, 6_952)
    assert memory["fragmentation"] == pytest.approx(1 - 6_952 / 17_600, abs=1e-4)


def test_full_module() -> None:
    """A single resource has taken everything: no cell is free, and nothing is said to be."""
    memory = Memory.format(32_768, 2)
    table = DefinitionTable(memory)
    size = table.free_octets()
    with memory.transaction() as transaction:
        table.put(
            transaction, definition(1, "all", table.allocate(size), code_size=size - 100, data_size=100)
        )
    shown = render(bytes(memory))
    assert "nothing is free" in shown.splitlines()
    assert "·" not in shown
    assert to_json(UA, bytes(memory))["memory"]["fragmentation"] == 0


def crowd() -> Memory:
    """Return the largest module there is, with more services than letters, all of them as long as can be."""
    memory = Memory.format(4 << 20, 255, slot_size=2048)
    table = DefinitionTable(memory)
    with memory.transaction() as transaction:
        for rsc_id in range(1, 31):
            one = definition(
                rsc_id,
                f"service-with-a-very-long-name-{rsc_id:02}",
                memory.zone_start + 100_000 * rsc_id,
                code_size=60_000,
                supplier="a-supplier-with-a-very-long-name",
                rights=frozenset({"hmac", "time", "random", "sha256", "display"}),
                forms=("key-transport", "agree-then-sign", "sign-then-agree", "domain"),
                bearers=("sms", "bip-tcp", "bip-udp"),
                expires_at=(1 << 40) - 1,
                executions_left=(1 << 31) - 1,
                logic_name="points-of-all-the-shops-in-town",
            )
            table.put(transaction, one)
    return memory


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_longest_names_fit(width: int) -> None:
    """Names and lists are wrapped, figures never are, and nothing is wider than the screen or left out."""
    shown = render(bytes(crowd()), width=width)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in shown
    text = " ".join(shown.split())
    for figure in (
        "625824-685888",
        "0/60000",
        "1099511627775 s of the epoch",
        "2147483647",
        "4,194,304 octets",
    ):
        assert figure in text


def test_map_has_every_area_to_scale() -> None:
    """The map is a fixed number of cells, each of the same number of octets; small areas are seen too."""
    rows = [line.split() for line in render(bytes(module())).splitlines()[2 : 2 + ROWS]]
    assert [row[0] for row in rows] == ["0", "8192", "16384", "24576"]
    cells = "".join(row[1] for row in rows)
    assert len(cells) == ROWS * CELLS
    # 128 octets a cell: 3584 of operating area, 12288 of DEF, then code and data of two resources.
    assert cells.startswith("#" * 28 + "=" * 96 + "A" * 8)
    assert set(cells) == set("#=AaBb·")
    assert cells.count("·") == pytest.approx(14_720 / 128, abs=1)


def test_json() -> None:
    """The JSON says the same in values, and survives a round trip."""
    values = json.loads(json.dumps(to_json(UA, bytes(module()))))
    assert values["ua"] == UA
    assert values["personalised"] is True
    assert values["memory"] == {
        "size": 32768,
        "zone_start": 15872,
        "free": 14_720,
        "largest_free": 14_720,
        "fragmentation": 0.0,
    }
    assert [area["kind"] for area in values["areas"]] == [
        "operating", "definitions", "code", "data", "code", "data", "free",
    ]  # fmt: skip
    first, second = values["definitions"]
    assert first["rights"] == ["hmac", "time"]
    assert (first["state"], first["session"], first["executions_left"]) == ("loaded", True, 50)
    assert (second["state"], second["supplier_key"], second["executions_left"]) == ("blocked", False, None)
    assert (second["at_end"], second["logic_name"], second["domain_key"]) == ("delete", "points", True)
    assert values["signed_time"] == 1_795_518_000


def test_who_commands_in_the_operators_place_is_shown() -> None:
    """An allocator is named beside the operator; a module that has none, or is blank, says nothing of one."""
    memory = module()
    assert "in the place of" not in render(bytes(memory))
    values = to_json(UA, bytes(memory))
    assert (values["operator"], values["allocator"]) == ("mno", None)
    with memory.transaction() as transaction:
        hosted = replace(IDENTITY, allocator="host", allocator_number="15550110")
        memory.put_record(transaction, Record.IDENTITY, encode(hosted))
    assert "It obeys host, in the place of mno" in render(bytes(memory))
    values = to_json(UA, bytes(memory))
    assert (values["operator"], values["allocator"]) == ("mno", "host")
    values = to_json(UA, bytes(Memory.format(65536)))
    assert (values["operator"], values["allocator"]) == (None, None)


def test_the_key_that_it_obeys_is_told_apart() -> None:
    """By its digest; a module that waits for a certificate says so, and a blank one that there is none."""
    memory = module()
    assert "does not know the key" not in render(bytes(memory))
    digest = hashlib.sha256(IDENTITY.operator_public).hexdigest()
    assert to_json(UA, bytes(memory))["operator_digest"] == digest
    with memory.transaction() as transaction:
        waiting = replace(IDENTITY, operator_public=b"")
        memory.put_record(transaction, Record.IDENTITY, encode(waiting))
    assert "It does not know the key of mno yet" in render(bytes(memory))
    assert to_json(UA, bytes(memory))["operator_digest"] is None
    assert to_json(UA, bytes(Memory.format(65536)))["operator_digest"] is None


def test_an_identity_that_is_none_is_corrupt() -> None:
    """It is told in a sentence, which quotes nothing of the record."""
    memory = module()
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.IDENTITY, b"private key: " + SECRET)
    with pytest.raises(FleetError, match=f"the memory of module {UA} is corrupt") as error:
        render(bytes(memory))
    assert SECRET.decode() not in str(error.value)


def test_an_operators_session_is_there_or_is_not() -> None:
    """Yes or no, on the screen and in the JSON, and no key of it; one that is none is a corrupt memory."""
    market = KeysetMarket()
    market.personalise()
    before = market.card.image
    assert to_json(UA, before)["operator_session"] is False
    assert "session with the operator" not in render(before)
    market.open()
    assert market.keys is not None
    shown = render(market.card.image) + json.dumps(to_json(UA, market.card.image))
    assert "There is a session with the operator" in shown
    assert '"operator_session": true' in shown
    assert not any(key.hex() in shown.lower() for key in market.keys.keys)
    memory = Memory.boot(before)
    with memory.transaction() as transaction:
        memory.put_record(transaction, Record.SESSION, b"no session")
    with pytest.raises(FleetError, match="is corrupt"):
        render(bytes(memory))


def test_nothing_secret_is_shown() -> None:
    """Neither keys nor data of a resource are in what is printed, in any spelling."""
    image = bytes(module())
    shown = render(image) + json.dumps(to_json(UA, image))
    for spelling in (SECRET.decode(), SECRET.hex(), SECRET.hex().upper(), (b"P" * 33).hex(), "P" * 33):
        assert spelling not in shown


def test_blank_module() -> None:
    """A module that nobody has personalised yet is drawn as well."""
    shown = render(bytes(Memory.format(65536)))
    assert "blank, 65,536 octets" in shown
    assert "49,664 octets free, in one piece" in shown
    assert "DEF is empty" in shown


@pytest.mark.parametrize("image", [b"", b"junk" * 100, bytes(32768)])
def test_corrupt_image(image: bytes) -> None:
    """An image that does not hold is refused in one sentence."""
    with pytest.raises(FleetError, match=f"the memory of module {UA} is corrupt: "):
        render(image)


def test_corrupt_definition() -> None:
    """An image of which one octet of DEF has changed is refused, not drawn."""
    image = bytearray(bytes(module()))
    image[3584 + 10] ^= 1
    with pytest.raises(FleetError, match="is corrupt"):
        to_json(UA, bytes(image))


# ---- finding a module in state directories -----------------------------------------------------------------


async def save(state: Path, pages: list[tuple[int, bytes]]) -> None:
    """Keep a module's pages as a run does."""
    async with open_store(state / MODULES_FILE, MODULES) as store:
        await PageStore(store).save(UA, pages)


@pytest.fixture(name="state")
async def _state(tmp_path: Path) -> Path:
    await save(tmp_path / "demo", module().take_changes())
    return tmp_path / "demo"


def test_module_is_found(state: Path) -> None:
    """The first directory that knows the module gives its image; those without modules are passed over."""
    found, image = find_image(UA, [state.parent / "none", state])
    assert found == state
    assert image == bytes(module())


def test_unknown_module(state: Path) -> None:
    """A module that no directory knows is named together with where was looked."""
    with pytest.raises(FleetError) as caught:
        find_image("8988459600030000021", [state])
    assert caught.value.sentence == f"there is no module 8988459600030000021 in {state}"


def test_no_state_at_all(tmp_path: Path) -> None:
    """Without any state the person is told how to come by some, and nothing is made."""
    with pytest.raises(FleetError, match="run 'otafleet up'"):
        find_image(UA, [tmp_path])
    assert not list(tmp_path.iterdir())


async def test_module_with_missing_pages(tmp_path: Path) -> None:
    """A module whose header page is lost is corrupt, in a sentence."""
    await save(tmp_path, module().take_changes()[1:])
    with pytest.raises(FleetError, match="is corrupt: no-header"):
        await asyncio.to_thread(find_image, UA, [tmp_path])
