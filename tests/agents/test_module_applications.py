"""What a supplier does with its resource, through secured packets: load, personalise, run; and its bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.handset.security_module.life_cycle import ResourceState
from agents.messages.air import Block, Invoke, LoadApplication, LoadData, Release, Result, Unblock
from tests.agents.module_kit import NOW, SECURED, SERVICE, TAR, Market, Supplier, probe
from transport.secured_packet import ResponseStatus, decode_response
from transport.toolkit import MAX_TEXT

RANDOM = '(import "otafleet" "random" (func $random (param i32 i32)))'
OTHER = '(import "otafleet" "sha256" (func $sha256 (param i32 i32 i32)))'
DISPLAY = '(import "otafleet" "display" (func $display (param i32 i32)))'
TIME = '(import "otafleet" "time" (func $time (result i64)))'
DISPLAY_RIGHT, TIME_RIGHT = 0x10, 0x08


@pytest.fixture
def market() -> Market:
    """Return a module with a session and nothing loaded."""
    return Market().personalise().reserve().connect()


@pytest.fixture
def served() -> Market:
    """Return a module whose application is loaded and runs."""
    return Market().served()


def _data(market: Market) -> bytes:
    definition = market.card.definition()
    return market.card.image[definition.data_start : definition.end]


def _piece(version: int, total: int, offset: int, octets: bytes) -> LoadApplication:
    return LoadApplication(version=version, total=total, offset=offset, octets=octets)


def _refused(market: Market, message: object) -> str:
    """Have a command refused; return the reason, which is also noted. Resource and data are as before."""
    definition, data = market.card.definition(), _data(market)
    result = market.supplier.result(market.card, message)
    after = market.card.definition()
    assert (after.state, after.version, after.code_digest) == (
        definition.state,
        definition.version,
        definition.code_digest,
    )
    assert _data(market) == data
    assert (result.status, result.output) == (0, b"")
    assert market.card.reasons[-1] == result.reason
    return result.reason


# --- loading ---


@pytest.mark.parametrize("piece", [1, 7, 100, 299, 300, 1024])
def test_a_programme_in_pieces(market: Market, piece: int) -> None:
    """Pieces of any size make the same programme, whole and in its place."""
    code = probe()
    market.supplier.load(market.card, code, piece=piece)
    definition = market.card.definition()
    assert definition.state is ResourceState.LOADED
    assert (definition.code_length, definition.version) == (len(code), 1)
    assert market.card.image[definition.start :].startswith(code)
    assert not any(_data(market))
    assert [note.name for note in market.card.notes].count("application.loaded") == 1


def test_nothing_is_there_before_the_last_piece(market: Market) -> None:
    """A resource never holds half a programme: the image has none of it until it is whole."""
    code = probe()
    for offset in range(0, 200, 100):
        market.supplier.result(market.card, _piece(1, len(code), offset, code[offset : offset + 100]))
        assert market.card.definition().code_length == 0
        assert code[:100] not in market.card.image
    market.supplier.result(market.card, _piece(1, len(code), 200, code[200:]))
    assert code in market.card.image


def test_pieces_out_of_order(market: Market) -> None:
    """A piece that is not the next one is refused; the next one is still taken."""
    code = probe()
    first, second, third = code[:100], code[100:200], code[200:]
    assert _refused(market, _piece(1, len(code), 100, second)) == "piece-of-another"
    market.supplier.result(market.card, _piece(1, len(code), 0, first))
    assert _refused(market, _piece(1, len(code), 200, third)) == "piece-out-of-order"
    assert _refused(market, _piece(1, len(code), 50, second)) == "piece-out-of-order"
    market.supplier.result(market.card, _piece(1, len(code), 100, second))
    market.supplier.result(market.card, _piece(1, len(code), 200, third))
    assert market.card.definition().state is ResourceState.LOADED


def test_a_piece_of_another_programme(market: Market) -> None:
    """A piece of another version or length does not continue what was begun."""
    code = probe()
    market.supplier.result(market.card, _piece(1, len(code), 0, code[:100]))
    assert _refused(market, _piece(2, len(code), 100, code[100:])) == "piece-of-another"
    assert _refused(market, _piece(1, len(code) + 1, 100, code[100:])) == "piece-of-another"


def test_a_piece_too_long(market: Market) -> None:
    """Pieces do not make more than the whole that was announced."""
    assert _refused(market, _piece(1, 10, 0, bytes(11))) == "piece-too-long"
    market.supplier.result(market.card, _piece(1, 10, 0, bytes(9)))
    assert _refused(market, _piece(1, 10, 9, bytes(2))) == "piece-too-long"


def test_the_first_piece_begins_anew(market: Market) -> None:
    """A supplier that was stopped in the middle begins again."""
    code = probe()
    market.supplier.result(market.card, _piece(1, len(code), 0, b"\xff" * 100))
    market.load()
    assert market.supplier.invoke(market.card).reason == ""


def test_a_power_cut_forgets_pieces(market: Market) -> None:
    """Pieces wait in volatile memory; the session outlives the power cut, so loading just begins again."""
    code = probe()
    market.supplier.result(market.card, _piece(1, len(code), 0, code[:100]))
    market.card.power_cycle()
    assert _refused(market, _piece(1, len(code), 100, code[100:])) == "piece-of-another"
    market.load()


def test_a_new_session_forgets_pieces(market: Market) -> None:
    """What was begun under one session is not finished under another."""
    code = probe()
    market.supplier.result(market.card, _piece(1, len(code), 0, code[:100]))
    market.connect()
    assert _refused(market, _piece(1, len(code), 100, code[100:])) == "piece-of-another"


def test_code_too_large(market: Market) -> None:
    """A programme larger than its area is refused with its first piece, before any of it is kept."""
    assert market.card.definition().code_size == 1024
    assert _refused(market, _piece(1, 1025, 0, b"x")) == "code-too-large"
    assert _refused(market, _piece(1, 4 * 1024 * 1024, 0, b"x")) == "code-too-large"


def test_code_of_exactly_its_size() -> None:
    """A programme that fills its area to the last octet is taken."""
    code = probe()
    market = Market().personalise().reserve(code_size=len(code)).connect().load()
    definition = market.card.definition()
    assert market.card.image[definition.start : definition.data_start] == code


def test_data_too_large() -> None:
    """A programme whose memory is larger than the resource's data part is refused."""
    market = Market().personalise().reserve(data_size=1023).connect()
    assert market.supplier.load(market.card, probe()).reason == "memory-too-large"
    assert market.card.definition().state is ResourceState.RESERVED
    market.load(probe(memory=1000))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"", "not-webassembly"),
        (b"\0asm\1\0\0\0", "no-entry"),
        (b"GARBAGE!", "not-webassembly"),
        (probe()[:-1], "invalid"),
        (probe(imports=RANDOM), "ungranted-import"),
        (probe(imports=OTHER), "ungranted-import"),
        (probe(imports='(import "env" "f" (func $f))'), "unknown-import"),
    ],
    ids=["empty", "no-entry", "garbage", "cut", "random", "sha256", "foreign-import"],
)
def test_a_programme_that_must_not_be_loaded(market: Market, code: bytes, reason: str) -> None:
    """A programme that is none, or imports what was not granted, is refused; the resource stays reserved."""
    assert _refused(market, _piece(1, len(code), 0, code)) == reason
    assert market.card.definition().state is ResourceState.RESERVED
    market.load()


def test_the_same_programme_twice(served: Market) -> None:
    """Loading what is loaded already has no effect: the data stays what it has become."""
    served.supplier.invoke(served.card)
    before = _data(served)
    served.load()
    assert _data(served) == before
    assert served.supplier.invoke(served.card).output == b"\x02\0"


def test_an_update(served: Market) -> None:
    """A newer version takes the place of the old one, with its own first data; the old code is gone."""
    served.supplier.invoke(served.card)
    newer = probe(more="(call $output_write (i32.const 0) (i32.const 1))")
    assert served.supplier.load(served.card, newer, version=2).reason == ""
    assert served.card.definition().version == 2
    assert served.supplier.invoke(served.card).output == b"\x01\0\x01"
    assert probe() not in served.card.image
    assert served.supplier.load(served.card, probe(), version=2).reason == "version-not-newer"
    assert served.supplier.load(served.card, probe(), version=1).reason == "version-not-newer"
    assert served.supplier.invoke(served.card).output == b"\x02\0\x02"


def test_an_update_that_fails_leaves_the_old_one(served: Market) -> None:
    """A newer programme that must not be loaded changes nothing: the old one runs on."""
    served.supplier.invoke(served.card)
    assert served.supplier.load(served.card, probe(imports=RANDOM), version=2).reason == "ungranted-import"
    assert served.supplier.invoke(served.card).output == b"\x02\0"


def test_a_foreign_resource(served: Market) -> None:
    """A supplier's keys open its own resource and no other."""
    other = Supplier(suite="x25519", name="shop", service="points", tar=b"\xb2\0\x01", number="15550300")
    assert served.command(other.reserve()).reason == ""
    served.connect(other)
    other.tar = TAR
    before = served.card.image
    octets = served.card.download(other.packet(_piece(1, 8, 0, bytes(8))), sender=other.number)
    keys = served.supplier.keys
    assert keys is not None
    response = decode_response(octets, spi=SECURED, keys=keys.from_module)
    assert response.status is ResponseStatus.INTEGRITY_FAILED
    assert served.card.image == before


# --- personal data and runs ---


def test_personal_data(served: Market) -> None:
    """Personal data is the application's to keep."""
    assert served.supplier.personalise(served.card, b"KEY") == Result(reason="", status=0, output=b"")
    assert _data(served)[512:515] == b"KEY"


def test_before_anything_is_loaded(market: Market) -> None:
    """An empty resource runs nothing and takes no personal data."""
    assert _refused(market, Invoke(argument=b"")) == "invoke-when-reserved"
    assert market.supplier.personalise(market.card, b"x").reason == "personalise-when-reserved"
    assert market.card.use_menu(3, SERVICE, "00") == ["Refused: invoke-when-reserved"]


def test_an_application_that_says_no(served: Market) -> None:
    """The application's own status comes back; what it wrote on the way there is not kept."""
    served.supplier.invoke(served.card)
    before = _data(served)
    result = served.supplier.invoke(served.card, b"\x01")
    assert result == Result(reason="application-refused", status=7, output=b"")
    assert _data(served) == before
    assert served.card.use_menu(3, SERVICE, "01") == ["Refused: application-refused"]


@pytest.mark.parametrize(("argument", "reason"), [(b"\x02", "unreachable"), (b"\x03", "out-of-fuel")])
def test_a_run_that_ends_badly(served: Market, argument: bytes, reason: str) -> None:
    """A trap, or a run without end, is a reason; the data is exactly as before, and the next run is well."""
    served.supplier.invoke(served.card)
    assert _refused(served, Invoke(argument=argument)) == reason
    assert served.card.use_menu(3, SERVICE, argument.hex()) == [f"Refused: {reason}"]
    assert served.supplier.invoke(served.card).output == b"\x02\0"


def test_executions_are_counted() -> None:
    """Each run counts, whoever asks and however it ends; then there is no other."""
    market = Market().served(executions=4)
    market.supplier.invoke(market.card)
    market.card.use_menu(3, SERVICE, "00")
    market.card.power_cycle()
    market.supplier.invoke(market.card, b"\x02")
    market.supplier.invoke(market.card, b"\x01")
    assert market.card.definition().executions_left == 0
    market.card.power_cycle()
    assert market.supplier.unheard(market.card, Invoke(argument=b"\0")) == "exhausted"
    assert market.card.use_menu(3, SERVICE, "00") == ["Refused: exhausted"]
    assert _data(market)[0] == 2


def test_a_personalisation_is_no_execution() -> None:
    """Loading and personalising do not use up the user's executions."""
    market = Market().served(executions=1)
    market.supplier.personalise(market.card, b"KEY")
    assert market.supplier.invoke(market.card).reason == ""


def test_a_refused_user_costs_no_execution() -> None:
    """What the life cycle refuses is not counted."""
    market = Market().served(executions=1)
    market.command(Block(tar=TAR))
    assert market.card.use_menu(3, SERVICE, "00") == ["Refused: blocked"]
    assert market.card.definition().executions_left == 1


def test_an_execution_is_counted_before_it_runs() -> None:
    """Of a run that traps, the count is in the pages and its data is not."""
    market = Market().served(executions=5)
    market.card.use_menu(3, SERVICE, "02")
    market.card.power_cycle()
    assert market.card.definition().executions_left == 4
    assert _data(market)[0] == 0


def test_a_blocked_resource_runs_nothing(served: Market) -> None:
    """The user of a blocked resource is told so; unblocked, it runs on with its data."""
    served.card.use_menu(3, SERVICE, "00")
    served.command(Block(tar=TAR))
    assert served.card.use_menu(3, SERVICE, "00") == ["Refused: blocked"]
    served.command(Unblock(tar=TAR, supplier_public=served.supplier.key.public))
    assert served.card.use_menu(3, SERVICE, "00") == ["Result: 0200"]


def test_a_resource_expires() -> None:
    """Up to the second before the expiry date all is well; from it on nothing is."""
    market = Market().served(expires_at=int(NOW) + 60)
    market.card.now = NOW + 59.9
    assert market.supplier.invoke(market.card).reason == ""
    market.card.now = NOW + 60
    assert market.supplier.invoke(market.card).reason == "expired"
    assert _refused(market, _piece(2, 8, 0, bytes(8))) == "expired"
    assert market.supplier.personalise(market.card, b"x").reason == "expired"
    assert market.card.use_menu(3, SERVICE, "00") == ["Refused: expired"]
    assert market.command(Release(tar=TAR)).reason == ""


def test_an_expired_packet_uses_its_counter() -> None:
    """A genuine packet that is refused by date cannot be kept for a clock that goes wrong."""
    market = Market().served(expires_at=int(NOW) + 60)
    market.card.now = NOW + 60
    market.supplier.invoke(market.card)
    packet = market.supplier.last_packet
    assert market.supplier.exchange(market.card, packet).status is ResponseStatus.CNTR_LOW


def test_time_never_goes_backwards() -> None:
    """A module that has seen its resource expire does not let a handset's clock bring it back."""
    market = Market().served(expires_at=int(NOW) + 60)
    market.card.now = NOW + 60
    assert market.supplier.invoke(market.card).reason == "expired"
    market.card.now = NOW
    assert market.supplier.invoke(market.card).reason == "expired"
    market.card.power_cycle()
    assert market.card.use_menu(3, SERVICE, "00") == ["Refused: expired"]


def test_an_exhausted_resource_is_closed_to_its_supplier() -> None:
    """An execution count that has run out does what a block does: no authentication, no update, no load."""
    market = Market().served(executions=1)
    assert market.supplier.invoke(market.card).reason == ""
    definition = market.card.definition()
    assert (definition.state, definition.supplier_public, definition.session) == ("exhausted", b"", None)
    for command in (_piece(2, 8, 0, bytes(8)), LoadData(octets=b"x"), Invoke(argument=b"\0")):
        assert market.supplier.unheard(market.card, command) == "exhausted"
    assert market.card.use_menu(2, SERVICE) == ["Refused: exhausted"]
    assert market.card.take_sent() == []


# --- what the application says ---


def test_a_long_result_follows_by_itself(served: Market) -> None:
    """A result that does not fit the report comes in short messages; the report says so with status 08."""
    argument = b"\0" + bytes(range(250))
    response = served.supplier.exchange(served.card, served.supplier.packet(Invoke(argument=argument)))
    assert (response.status, response.data) == (ResponseStatus.MORE_TIME, b"")
    assert response.proven
    keys = served.supplier.keys
    assert keys is not None
    octets = served.card.take_response(served.supplier.number)
    follows = decode_response(octets, spi=SECURED, keys=keys.from_module)
    assert follows.status is ResponseStatus.POR_OK
    assert (follows.tar, follows.counter) == (TAR, served.supplier.counter)
    assert argument in follows.data


@pytest.mark.parametrize("length", range(74, 130, 4))
def test_a_result_at_the_edge_of_a_report(served: Market, length: int) -> None:
    """Every result comes once, in the report as long as it fits and by itself from there on."""
    argument = bytes(length)
    response = served.supplier.exchange(served.card, served.supplier.packet(Invoke(argument=argument)))
    if response.status is ResponseStatus.POR_OK:
        assert argument in response.data
        assert served.card.sent == []
    else:
        assert response.status is ResponseStatus.MORE_TIME
        assert len(served.card.take_response(served.supplier.number)) > 137


@pytest.mark.parametrize("length", [0, 90, 95, 96, 150])
def test_a_user_sees_any_result(served: Market, length: int) -> None:
    """What the user's run answers is shown, whatever its length, and the module goes on."""
    shown = served.card.use_menu(3, SERVICE, "00" + "ab" * min(length, 99))
    assert shown
    assert served.supplier.invoke(served.card).reason == ""


def test_a_long_result_does_not_block_the_module() -> None:
    """An answer longer than a display text goes on in further ones, whole, and the module goes on too."""
    more = "(call $output_write (i32.const 0) (i32.const 500))"
    market = Market().personalise().reserve().connect().load(probe(more=more))
    market.supplier.personalise(market.card, b"")
    first, *others = market.card.use_menu(3, SERVICE, "00")
    assert len(others) == 5
    assert all(each.startswith("+ ") for each in others)
    assert {len(each) for each in (first, *others[:-1])} == {MAX_TEXT}
    data = _data(market)[:500]
    output = b"\x01\x00" + data
    assert first + "".join(each.removeprefix("+ ") for each in others) == "Result: " + output.hex()
    assert market.card.use_menu(2, "unknown") == ["Refused: unknown-resource"]


def test_the_display_right_shows_texts() -> None:
    """What an application with the right ``display`` says is shown when the run ends well."""
    more = "(call $display (i32.const 700) (i32.const 5))"
    code = probe(imports=DISPLAY, more=more)
    market = Market().personalise().reserve(rights=DISPLAY_RIGHT).connect().load(code)
    said = f"{SERVICE}: " + "\N{REPLACEMENT CHARACTER}" * 5
    assert market.card.use_menu(3, SERVICE, "00") == [said, "Result: 0100"]


def test_an_application_cannot_speak_as_the_module_does() -> None:
    """What an application displays is under its service's name, in its supplier's runs too."""
    more = "(call $display (i32.const 512) (i32.const 10))"
    market = Market().personalise().reserve(rights=DISPLAY_RIGHT).connect()
    market.load(probe(imports=DISPLAY, more=more))
    market.supplier.personalise(market.card, b"Result: 00")
    assert market.supplier.invoke(market.card).reason == ""
    assert market.card.shown == [f"{SERVICE}: Result: 00"]


def test_the_time_is_the_handsets() -> None:
    """An application with the right ``time`` reads the module's time."""
    more = "(i64.store (i32.const 600) (call $time)) (call $output_write (i32.const 600) (i32.const 8))"
    code = probe(imports=TIME, more=more)
    market = Market().personalise().reserve(rights=TIME_RIGHT).connect().load(code)
    output = market.supplier.invoke(market.card).output
    assert int.from_bytes(output[2:], "little") == int(NOW)


def test_secrets_stay_out_of_notes(served: Market) -> None:
    """What is noted for a log names events, reasons and addresses, and none of what was loaded or said."""
    served.supplier.personalise(served.card, b"SECRET DATA")
    served.supplier.invoke(served.card, b"\x02SECRET")
    served.card.use_menu(3, SERVICE, "00" + b"SECRET".hex())
    assert "SECRET" not in repr(served.card.notes)
    assert {note.tar for note in served.card.notes} <= {b"", TAR}


@settings(max_examples=60, deadline=None)
@given(octets=st.binary(max_size=120))
def test_any_command_is_a_result(octets: bytes) -> None:
    """Arbitrary octets under the session's keys are refused in a result and change but the counter."""
    before = _data(_SERVED), _SERVED.card.definition().state
    assert _SERVED.supplier.result(_SERVED.card, octets).reason != ""
    assert (_data(_SERVED), _SERVED.card.definition().state) == before


_SERVED = Market().served()
