"""DEF: records, the table in the image, the areas it defines, and the life cycle."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.handset.security_module.allocation import AreaKind
from agents.handset.security_module.definitions import (
    TRANSITIONS,
    Definition,
    DefinitionTable,
    ResourceEvent,
    ResourceState,
    SessionRecord,
    transition,
)
from agents.handset.security_module.errors import ImageRejected, MemoryFull, TransitionRefused
from agents.handset.security_module.memory import MIN_SIZE, Memory
from agents.handset.security_module.rights import RIGHTS, rights_mask, rights_names

KEYS = [bytes([n]) * 16 for n in b"ABCD"]
SESSION = SessionRecord(
    keys=bytes((1, 1)) + b"".join(KEYS),
    received_counter=7,
    sent_counter=0xFFFFFFFFFF,
)


def _definition(**changes: Any) -> Definition:
    values: dict[str, Any] = {
        "rsc_id": 1,
        "tar": b"\x01\x02\x03",
        "service": "loyalty",
        "supplier": "shop",
        "supplier_number": "49170111",
        "suite": "x25519",
        "forms": ("agree-then-sign",),
        "supplier_public": b"p" * 32,
        "start": 20000,
        "code_size": 700,
        "data_size": 64,
        "rights": frozenset({"hmac", "time"}),
    }
    return Definition(**(values | changes))


def _loaded(**changes: Any) -> Definition:
    code = {"code_length": 4, "code_digest": hashlib.sha256(b"code").digest()}
    return _definition(state=ResourceState.LOADED, **(code | changes))


definitions = st.builds(
    _definition,
    rsc_id=st.integers(1, 0xFFFF),
    tar=st.binary(min_size=3, max_size=3),
    service=st.text(max_size=20),
    state=st.sampled_from([ResourceState.RESERVED, ResourceState.BLOCKED]),
    supplier_public=st.binary(max_size=100),
    start=st.integers(0, 0xFFFFFFFF),
    data_size=st.integers(0, 0xFFFFFFFF),
    version=st.integers(0, 0xFFFFFFFF),
    rights=st.frozensets(st.sampled_from(sorted(RIGHTS))),
    expires_at=st.integers(0, 0xFFFFFFFFFFFF),
    executions_left=st.integers(-1, 0xFFFFFFFF),
    session=st.sampled_from([None, SESSION]),
)


integers = st.integers(-(1 << 63), (1 << 64) - 1)  # what msgpack can say
any_value = st.one_of(st.none(), integers, st.text(), st.binary(), st.lists(integers))


@given(definitions)
def test_a_definition_comes_back_from_its_record(definition: Definition) -> None:
    """Each field survives, and encoding again gives the same octets."""
    octets = definition.encode()
    assert Definition.parse(octets) == definition
    assert Definition.parse(octets).encode() == octets


def test_a_loaded_definition_fits_a_slot() -> None:
    """With session, long names and a digest it is still smaller than a slot of 512 octets."""
    definition = _loaded(
        session=SESSION, service="s" * 64, supplier="u" * 64, supplier_number="9" * 20, expires_at=1 << 40
    )
    assert len(definition.encode()) <= 506


def test_a_record_cut_or_with_more_behind_it_is_rejected() -> None:
    """No prefix of a record is one, and neither is a record with an octet more."""
    octets = _loaded(session=SESSION).encode()
    for wrong in [octets[:end] for end in range(len(octets))] + [octets + b"\0"]:
        with pytest.raises(ImageRejected):
            Definition.parse(wrong)


@given(st.binary(max_size=200))
def test_arbitrary_octets_are_a_definition_or_rejected(octets: bytes) -> None:
    """Nothing but the typed rejection, or a value that encodes to a record again."""
    try:
        definition = Definition.parse(octets)
    except ImageRejected:
        return
    assert Definition.parse(definition.encode()) == definition


@given(st.integers(0, 19), any_value)
def test_a_record_with_a_wrong_field_is_rejected_or_valid(index: int, value: object) -> None:
    """Any field replaced by a value of any type gives the typed rejection or a valid definition."""
    values = msgpack.unpackb(_loaded(session=SESSION).encode())
    values[index] = value
    try:
        definition = Definition.parse(msgpack.packb(values))
    except ImageRejected:
        return
    assert Definition.parse(definition.encode()) == definition


def test_a_record_of_another_version_is_rejected() -> None:
    """A later record version is refused by name, not misread."""
    values = msgpack.unpackb(_definition().encode())
    with pytest.raises(ImageRejected) as caught:
        Definition.parse(msgpack.packb([99, *values[1:]]))
    assert caught.value.reason == "unknown-definition-version"


@pytest.mark.parametrize(
    "changes",
    [
        {"rsc_id": 0},
        {"rsc_id": 0x10000},
        {"tar": b"\x01\x02"},
        {"tar": b"\x01\x02\x03\x04"},
        {"service": "s" * 65},
        {"supplier_public": "text"},
        {"start": -1},
        {"code_size": -700},
        {"data_size": -1},
        {"data_size": 1 << 32},
        {"data_size": True},
        {"code_length": 701, "code_digest": b"d" * 32},
        {"code_length": 5},
        {"code_digest": b"d" * 32},
        {"state": ResourceState.FREE},
        {"state": ResourceState.LOADED},
        {"rights": frozenset({"fly"})},
        {"executions_left": -2},
        {"expires_at": -1},
    ],
)
def test_a_definition_that_cannot_be_is_not_made(changes: dict[str, Any]) -> None:
    """Negative, huge and off-by-one values do not become a definition."""
    with pytest.raises(ValueError, match=r".+"):
        _definition(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"keys": b""}, {"keys": bytes(131)}, {"keys": "k"}, {"received_counter": -1}, {"sent_counter": 1 << 40}],
    ids=["no-keys", "too-many-keys", "keys-of-text", "counter-below", "counter-above"],
)
def test_a_session_that_cannot_be_is_not_made(changes: dict[str, Any]) -> None:
    """Keys are 1 to 130 octets and counters five."""
    with pytest.raises(ValueError, match=r".+"):
        replace(SESSION, **changes)


def test_keys_do_not_show_in_a_repr() -> None:
    """Neither the session's own repr nor its definition's has a key in it."""
    shown = repr(SESSION) + repr(_definition(session=SESSION)) + str(_definition(session=SESSION))
    assert not any(key.decode() in shown for key in KEYS)


def test_a_rejected_record_is_not_quoted() -> None:
    """The rejection of a record with broken keys says nothing of them."""
    values = msgpack.unpackb(_definition(session=SESSION).encode())
    values[-1][0] = b"A" * 131
    with pytest.raises(ImageRejected) as caught:
        Definition.parse(msgpack.packb(values))
    assert "AAAA" not in repr(caught.value)
    assert caught.value.__suppress_context__


def test_rights_are_names_and_bits_both_ways() -> None:
    """Every set of rights has its bitmap; unknown names and bits are refused."""
    assert rights_names(rights_mask(RIGHTS)) == frozenset(RIGHTS)
    assert rights_names(0) == frozenset()
    assert len(set(RIGHTS.values())) == len(RIGHTS)
    with pytest.raises(ValueError, match="no right"):
        rights_mask(["fly"])
    for mask in (0x8000, -1):
        with pytest.raises(ValueError, match="no right"):
            rights_names(mask)


@given(st.sampled_from(ResourceState), st.sampled_from(ResourceEvent))
def test_each_pair_gives_the_listed_state_or_is_refused(state: ResourceState, event: ResourceEvent) -> None:
    """A listed pair gives a state; any other is refused with the state that ended its use, or with both."""
    if (state, event) in TRANSITIONS:
        assert isinstance(transition(state, event), ResourceState)
        return
    with pytest.raises(TransitionRefused) as caught:
        transition(state, event)
    ended = {"blocked": "blocked", "suspended": "expired", "expired": "expired", "exhausted": "exhausted"}
    uses = {"authenticate", "load", "update", "personalise", "invoke", "push"}
    expected = ended.get(state, "") if event in uses else ""
    assert caught.value.reason == (expected or f"{event}-when-{state}")


def test_the_table_says_what_the_design_says() -> None:
    """A run needs a loaded resource, all can be released, and nobody but the operator ends a block."""
    allowed = {event for state, event in TRANSITIONS if state is ResourceState.BLOCKED}
    assert allowed == {
        ResourceEvent.UNBLOCK,
        ResourceEvent.RENEW,
        ResourceEvent.RELEASE,
        ResourceEvent.CHANGE_KEY,
        ResourceEvent.EXPIRE,
        ResourceEvent.DELETE,
    }
    runs = {state for state, event in TRANSITIONS if event is ResourceEvent.INVOKE}
    assert runs == {ResourceState.LOADED}
    ends = {state for state, event in TRANSITIONS if event is ResourceEvent.RELEASE}
    assert ends == set(ResourceState) - {ResourceState.FREE}


def test_a_block_takes_the_key_and_an_unblock_goes_back_where_it_was() -> None:
    """Blocked, it has neither key nor session; unblocked, it is loaded or reserved as before."""
    for before in (_definition(session=SESSION), _loaded(session=SESSION)):
        blocked = before.after(ResourceEvent.BLOCK)
        assert (blocked.state, blocked.supplier_public, blocked.session) == (ResourceState.BLOCKED, b"", None)
        with pytest.raises(TransitionRefused):
            blocked.after(ResourceEvent.AUTHENTICATE)
        again = blocked.after(ResourceEvent.UNBLOCK, supplier_public=before.supplier_public)
        assert again == replace(before, session=None)


def test_a_release_leaves_no_definition() -> None:
    """The state after a release is free, which no definition can have."""
    assert _definition().state_after(ResourceEvent.RELEASE) is ResourceState.FREE
    with pytest.raises(ValueError, match="free"):
        _definition().after(ResourceEvent.RELEASE)


def _table(slots: int = 4) -> tuple[Memory, DefinitionTable]:
    memory = Memory.format(MIN_SIZE, slots)
    return memory, DefinitionTable(memory)


def _reserve(memory: Memory, rsc_id: int, code: int = 700, data: int = 64) -> Definition:
    table = DefinitionTable(memory)
    start = table.allocate(code + data)
    definition = _definition(
        rsc_id=rsc_id,
        tar=bytes([0, 0, rsc_id]),
        start=start,
        code_size=code,
        data_size=data,
        service=f"s{rsc_id}",
    )
    with memory.transaction() as transaction:
        table.put(transaction, definition)
    return definition


def test_definitions_are_found_by_id_and_tar() -> None:
    """What was put is found again, also after a boot from the same octets; what was not is None."""
    memory, _ = _table()
    first, second = _reserve(memory, 1), _reserve(memory, 2)
    table = DefinitionTable(Memory.boot(bytes(memory)))
    table.verify()
    assert table.all() == [first, second]
    assert table.by_id(2) == second
    assert table.by_tar(first.tar) == first
    assert table.by_service("s2") == second
    assert table.require(second.tar) == second
    assert table.by_id(3) is None
    assert table.by_service("s3") is None
    with pytest.raises(TransitionRefused, match="unknown-resource"):
        table.require(b"\xb0\0\0")
    assert table.by_tar(b"\xb0\0\0") is None
    assert table.next_id() == 3


def test_a_definition_is_replaced_in_its_slot() -> None:
    """Putting the same id again changes that record and no other."""
    memory, table = _table()
    first, second = _reserve(memory, 1), _reserve(memory, 2)
    memory.take_changes()
    with memory.transaction() as transaction:
        table.put(transaction, replace(first, session=SESSION))
        assert table.by_id(1) == replace(first, session=SESSION)
    assert table.all() == [replace(first, session=SESSION), second]
    assert len(memory.take_changes()) <= 2


def test_def_has_room_for_so_many_and_no_more() -> None:
    """A full table refuses the next resource; a released one makes room, and its id is used again."""
    memory, table = _table(2)
    _reserve(memory, 1)
    _reserve(memory, 2)
    with pytest.raises(MemoryFull) as caught:
        _reserve(memory, 3)
    assert caught.value.reason == "definitions-full"
    with memory.transaction() as transaction:
        table.remove(transaction, 1)
    assert table.next_id() == 1
    _reserve(memory, 1)
    assert {each.rsc_id for each in table.all()} == {1, 2}


def test_another_ones_tar_or_area_is_never_defined() -> None:
    """A TAR in use, an overlap by one octet, and an area outside the zone are refused."""
    memory, table = _table()
    first = _reserve(memory, 1)
    wrong = [
        replace(first, rsc_id=2, start=first.end),
        replace(first, rsc_id=2, tar=b"\0\0\2", start=first.end - 1),
        replace(first, rsc_id=2, tar=b"\0\0\2", start=memory.zone_start - 1),
        replace(first, rsc_id=2, tar=b"\0\0\2", start=MIN_SIZE - 763),
        replace(first, rsc_id=2, tar=b"\0\0\2", start=first.end, data_size=0xFFFFFFFF),
    ]
    for definition in wrong:
        with memory.transaction() as transaction, pytest.raises(ValueError, match=r"another|overlaps"):
            table.put(transaction, definition)
    assert table.all() == [first]


def test_a_released_area_is_zeros_and_the_neighbours_are_untouched() -> None:
    """After a release no octet of code or data is left, and the other resources are as they were."""
    memory, table = _table()
    kept = [_reserve(memory, 1), _reserve(memory, 3)]
    gone = _reserve(memory, 2)
    with memory.transaction() as transaction:
        for each in (*kept, gone):
            table.put(transaction, table.write_code(transaction, each, b"CODE" * 50))
            table.write_data(transaction, each, b"DATA" * 16)
    with memory.transaction() as transaction:
        table.remove(transaction, 2)
    assert memory.read(gone.start, gone.end - gone.start) == bytes(gone.end - gone.start)
    for each in kept:
        assert table.read_data(each) == b"DATA" * 16
    with memory.transaction() as transaction, pytest.raises(ValueError, match="no resource 2"):
        table.remove(transaction, 2)


def test_a_programme_and_its_data_are_kept_in_their_parts() -> None:
    """Code and data come back; a shorter programme leaves nothing of the longer; too large is refused."""
    memory, table = _table()
    definition = _reserve(memory, 1)
    assert table.read_code(definition) == b""
    with memory.transaction() as transaction:
        table.write_code(transaction, definition, b"L" * 700)
    with memory.transaction() as transaction:
        definition = table.write_code(transaction, definition, b"short")
        table.put(transaction, definition.after(ResourceEvent.LOAD))
        table.write_data(transaction, definition, b"data")
    assert table.read_code(definition) == b"short"
    assert memory.read(definition.start, 700) == b"short" + bytes(695)
    assert table.read_data(definition) == b"data" + bytes(60)
    with memory.transaction() as transaction:
        with pytest.raises(MemoryFull) as caught:
            table.write_code(transaction, definition, b"x" * 701)
        assert caught.value.reason == "code-too-large"
        with pytest.raises(MemoryFull) as caught:
            table.write_data(transaction, definition, b"x" * 65)
        assert caught.value.reason == "data-too-large"


def test_a_change_of_data_stays_in_the_data_part() -> None:
    """Octets go where they belong in it, to its last, and the others stay; one further is refused."""
    memory, table = _table()
    definition = _reserve(memory, 1)
    with memory.transaction() as transaction:
        table.write_data(transaction, definition, b"d" * 64)
        table.change_data(transaction, definition, [(0, b"ab"), (10, b"c"), (62, b"yz"), (64, b"")])
    assert table.read_data(definition) == b"ab" + b"d" * 8 + b"c" + b"d" * 51 + b"yz"
    for offset, octets in ((63, b"yz"), (64, b"z"), (1 << 20, b"z")):
        with memory.transaction() as transaction, pytest.raises(MemoryFull) as caught:
            table.change_data(transaction, definition, [(offset, octets)])
        assert caught.value.reason == "data-too-large"


def test_boot_finds_what_a_crc_cannot() -> None:
    """An altered programme, a second use of an id or TAR, and overlapping areas are found by verify."""
    memory, table = _table()
    definition = _reserve(memory, 1)
    with memory.transaction() as transaction:
        definition = table.write_code(transaction, definition, b"code").after(ResourceEvent.LOAD)
        table.put(transaction, definition)
    table.verify()
    slot = memory.definition_slots()[1]
    twins = {
        "duplicate-resource": definition,
        "duplicate-tar": replace(definition, rsc_id=2),
        "bad-area": replace(definition, rsc_id=2, tar=b"new"),
    }
    for reason, twin in twins.items():
        with memory.transaction() as transaction:
            memory.write_slot(transaction, slot, memory.slot_size, twin.encode())
        with pytest.raises(ImageRejected) as caught:
            table.verify()
        assert caught.value.reason == reason
    with memory.transaction() as transaction:
        memory.write_slot(transaction, slot, memory.slot_size, None)
        transaction.write(definition.start, b"C")
    with pytest.raises(ImageRejected) as caught:
        table.verify()
    assert caught.value.reason == "corrupt-code"


def test_the_map_covers_every_octet_once() -> None:
    """Areas follow each other from 0 to the end, with owners on code and data, and free ones counted."""
    memory, table = _table()
    _reserve(memory, 1)
    _reserve(memory, 2, data=0)
    _reserve(memory, 3)
    _reserve(memory, 4, code=0)
    with memory.transaction() as transaction:
        table.remove(transaction, 1)
    areas = table.layout()
    assert [area.start for area in areas] == [0, *[area.end for area in areas[:-1]]]
    assert areas[-1].end == MIN_SIZE
    assert all(area.size for area in areas)
    assert sum(area.size for area in areas if area.kind is AreaKind.FREE) == table.free_octets()
    owned = [(area.kind.value, area.owner) for area in areas if area.owner]
    assert owned == [("code", "s2"), ("code", "s3"), ("data", "s3"), ("data", "s4")]
    assert 0.0 < table.fragmentation() < 0.1


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9000), st.integers(0, 9000)), max_size=25))
def test_any_run_of_reservations_and_releases_keeps_def_sound(
    orders: list[tuple[int, int, int]],
) -> None:
    """Reserving what is free, releasing what is used, DEF verifies and holds what the model holds."""
    memory, table = _table(6)
    model: dict[int, Definition] = {}
    for rsc_id, code, data in orders:
        if rsc_id in model:
            with memory.transaction() as transaction:
                table.remove(transaction, rsc_id)
            del model[rsc_id]
        else:
            try:
                model[rsc_id] = _reserve(memory, rsc_id, code, data)
            except MemoryFull as full:
                assert full.reason in {"zone-full", "zone-fragmented"}  # noqa: PT017 -- both ends are right
        table.verify()
        assert sorted(table.all(), key=lambda each: each.rsc_id) == [model[key] for key in sorted(model)]
    used = sum(each.end - each.start for each in model.values())
    assert table.free_octets() == MIN_SIZE - memory.zone_start - used
