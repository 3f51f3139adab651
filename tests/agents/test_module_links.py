"""Channels as the module uses them: a whole service over TCP and over CAT_TP, and all that can go wrong.

The terminal's side is the real one (``transport.bip``), and so is the server's: the TCP dialect's stream, and
CAT_TP. What goes between is octets.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.handset.security_module.links import BUFFER_OCTETS, REOPENS
from agents.handset.security_module.profile import STANDARD
from agents.messages.air import (
    MANAGER_TAR,
    Announce,
    Block,
    Call,
    Invoke,
    LoadApplication,
    Prove,
    Push,
    Release,
    Result,
)
from agents.messages.bearers import ServerAddress
from agents.messages.codec import decode, encode
from agents.messages.signed import EVERYBODY, Purpose
from tests.agents.module_kit import (
    NOW,
    SECURED,
    SERVER,
    SERVICE,
    TAR,
    UA,
    UNSECURED,
    CatTpFar,
    OnlineMarket,
    OnlineSupplier,
    StreamFar,
    manage,
    probe,
    talk,
)
from transport.bip import ChannelLimits
from transport.cat_tp import CARD_SETTINGS, CatTpSettings, Flags, Pdu, ResetReason
from transport.iccid import iccid_octets
from transport.secured_packet import (
    CAT_TP,
    SMS,
    TCP,
    ResponsePacket,
    ResponseStatus,
    decode_command,
    decode_response,
    encode_command,
    encode_identification,
    encode_response,
)
from transport.toolkit import (
    MAX_SEND_DATA,
    CommandType,
    Envelope,
    EventCode,
    Tag,
    TransportProtocol,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BEARERS = pytest.mark.parametrize("bearer", ["bip-tcp", "bip-udp"])
OPEN, CLOSE, SEND = CommandType.OPEN_CHANNEL, CommandType.CLOSE_CHANNEL, CommandType.SEND_DATA
EVENTS, TIMER = CommandType.SET_UP_EVENT_LIST, CommandType.TIMER_MANAGEMENT
SMS_SENT = CommandType.SEND_SHORT_MESSAGE
PROTOCOLS = {"bip-tcp": TransportProtocol.TCP_CLIENT, "bip-udp": TransportProtocol.UDP_CLIENT}
FAR_TAR = b"\xb2\0\x09"


def _served(bearer: str, **terms: Any) -> OnlineMarket:
    """Return a module whose application is loaded over *bearer*, with the link still up."""
    market = OnlineMarket(bearer=bearer, **terms)
    market.served()
    market.online.kinds()
    market.card.notes.clear()
    return market


def _reserved(bearer: str, **terms: Any) -> OnlineMarket:
    """Return a module with a resource reserved for *bearer*, else short messages."""
    market = OnlineMarket(bearer=bearer)
    market.personalise()
    market.reserve(**terms)
    market.card.notes.clear()
    return market


def _unanswered(bearer: str) -> OnlineMarket:
    """Return a module that has called over *bearer*, and was heard but not answered yet."""
    market = _reserved(bearer)
    market.call()
    market.card.notes.clear()
    market.online.kinds()
    return market


def _is_up(market: OnlineMarket) -> bool:
    """Say whether the application can be run over the link."""
    return market.supplier.invoke(market.card).reason == ""


def _use_sms(market: OnlineMarket) -> None:
    """Have the supplier go on by short messages, under the session that there is."""
    assert isinstance(market.supplier, OnlineSupplier)
    market.supplier.bearer = "sms"


# --- how a link comes about ---


@BEARERS
def test_what_is_asked_of_the_terminal(bearer: str) -> None:
    """Serving asks for the events of channels first, then for a channel to the server that was reserved."""
    market = _reserved(bearer)
    market.online.kinds()
    market.card.use_menu(2, SERVICE)
    asked = [command for command in market.online.asked if command.type is not CommandType.GET_INPUT]
    assert [command.type for command in asked[:2]] == [EVENTS, OPEN]
    assert asked[0].events == (EventCode.DATA_AVAILABLE, EventCode.CHANNEL_STATUS)
    opening = asked[1].opening
    assert opening is not None
    assert opening.address == SERVER.host.packed
    assert (opening.protocol, opening.port) == (PROTOCOLS[bearer], SERVER.port(PROTOCOLS[bearer]))
    assert opening.buffer == BUFFER_OCTETS
    assert market.heard().tar == TAR
    assert market.card.sent == []


def test_tcp_begins_with_who_calls() -> None:
    """The first packet on a TCP channel is the identification packet with the ICCID, the second the call."""
    market = _reserved("bip-tcp")
    market.card.use_menu(2, SERVICE)
    first, second = market.online.far.came
    assert first == encode_identification(iccid_octets(UA))
    assert (first[0], second[0]) == (3, 1)


def test_cat_tp_begins_with_who_calls() -> None:
    """The first datagram on a UDP channel is a SYN with the ICCID, and the call comes when it is answered."""
    market = _reserved("bip-udp")
    market.card.use_menu(2, SERVICE)
    far = market.online.far
    assert isinstance(far, CatTpFar)
    syn = Pdu.parse(far.datagrams[0])
    assert syn.flags == Flags.SYN
    assert syn.synchronisation is not None
    assert syn.synchronisation.identification == iccid_octets(UA) == far.identification
    assert len(far.came) == 1


@BEARERS
def test_a_service_over_a_channel(bearer: str) -> None:
    """Proof, programme, data and runs go over one channel, responses come back on it; no message is sent."""
    market = OnlineMarket(bearer=bearer)
    market.served()
    assert market.supplier.personalise(market.card, b"KEY").reason == ""
    assert market.supplier.invoke(market.card, b"\0challenge").output == b"\x01\0challenge"
    kinds = market.online.kinds()
    assert (kinds.count(OPEN), kinds.count(CLOSE), kinds.count(SMS_SENT)) == (1, 0, 0)
    assert market.card.sent == []
    assert [note.name for note in market.card.notes if note.name.startswith("link")] == ["link.opened"]


@pytest.mark.parametrize("size", [33, 64, 100, 235, 1500])
@BEARERS
def test_small_buffers(bearer: str, size: int) -> None:
    """A terminal with little room gets everything in pieces that it has room for, and the service runs."""
    profile = ChannelLimits(tcp_buffer=size, udp_buffer=size)
    market = OnlineMarket(bearer=bearer, profile=profile)
    market.served()
    sends = [len(command.data) for command in market.online.asked if command.type is SEND]
    assert max(sends) <= min(size, MAX_SEND_DATA)
    assert market.supplier.invoke(market.card, b"\0" * 200).output == b"\x01" + b"\0" * 200
    assert market.online.kinds().count(OPEN) == 1


def test_a_buffer_that_holds_no_syn() -> None:
    """Where the terminal has no room for the first datagram the call goes by short messages."""
    market = OnlineMarket(bearer="bip-udp", profile=ChannelLimits(udp_buffer=32))
    market.personalise()
    market.reserve()
    market.card.use_menu(2, SERVICE)
    assert market.online.closed == [1]
    assert market.card.take_command()[0] == market.supplier.number
    assert market.card.reasons[-2:] == ["buffer", "sms"]


def test_pieces_of_the_stream() -> None:
    """Where TCP cuts packets into single octets, or puts them together, they are taken as they are."""
    market = _served("bip-tcp")
    far = market.online.far
    assert isinstance(far, StreamFar)
    far.piece = 1
    assert _is_up(market)
    far.piece = 0xFFFF
    packets = [market.supplier.packet(Invoke(argument=b"\0")) for _ in range(3)]
    far.send(b"".join(packets), NOW)
    market.online.run()
    assert market.supplier.keys is not None
    counters = [
        decode_response(each, spi=SECURED, keys=market.supplier.keys.from_module, dialect=TCP).counter
        for each in far.came
    ]
    last = market.supplier.counter
    assert counters == [last - 2, last - 1, last]


@BEARERS
def test_two_resources_of_one_server_share_a_link(bearer: str) -> None:
    """A second service of the same server is called on the channel that is there."""
    market = _served(bearer)
    other = OnlineSupplier(suite="x25519", name="other", service="other", tar=FAR_TAR, number="1009")
    terms = {"bearers": [bearer], "server": SERVER.encode()}
    assert market.command(other.reserve(**terms)).reason == ""
    market.card.use_menu(2, "other")
    assert OPEN not in market.online.kinds()
    assert market.heard().tar == FAR_TAR
    assert market.command(Block(tar=TAR)).reason == ""
    assert market.online.closed == []
    assert market.command(Release(tar=FAR_TAR)).reason == ""
    assert market.online.closed == [1]


# --- fallback ---


@pytest.mark.parametrize("why", ["server", "network", "channel"])
def test_a_channel_that_does_not_come_up(why: str) -> None:
    """Without a channel the same call goes by short messages, and the service is served so."""
    market = _reserved("bip-tcp")
    market.online.refuses = why
    market.card.use_menu(2, SERVICE)
    assert [note.name for note in market.card.notes] == ["link.lost", "link.fallback"]
    assert market.online.kinds().count(OPEN) == 1
    assert market.card.take_command()[0] == market.supplier.number
    _use_sms(market)
    market.connect()
    market.load()
    assert _is_up(market)


def test_the_bearers_in_their_order() -> None:
    """UDP first, TCP when that is silent, short messages when TCP is refused: each in its turn."""
    market = _reserved("bip-udp", bearers=["bip-udp", "bip-tcp", "sms"])
    market.online.refuses, market.online.lost = "server", True
    market.card.use_menu(2, SERVICE)
    while not market.card.sent:
        assert market.online.tick()
    openings = [each.opening for each in market.online.asked if each.opening is not None]
    protocols = [opening.protocol for opening in openings]
    udp, tcp = TransportProtocol.UDP_CLIENT, TransportProtocol.TCP_CLIENT
    assert protocols == [udp] * (REOPENS + 1) + [tcp]
    assert [note.reason for note in market.card.notes if note.name == "link.fallback"] == ["bip-tcp", "sms"]


def test_no_bearer_is_left() -> None:
    """Where short messages were not reserved the call is given up, and nothing is sent."""
    market = _reserved("bip-tcp", bearers=["bip-tcp"])
    market.online.refuses = "server"
    market.card.use_menu(2, SERVICE)
    assert market.card.notes[-1].name == "link.given_up"
    assert market.card.sent == []
    market.online.refuses = ""
    market.connect()


@BEARERS
def test_a_link_lost_before_the_answer(bearer: str) -> None:
    """A call whose link is lost is made again on a new channel, REOPENS times, then by short messages."""
    market = _unanswered(bearer)
    for _ in range(REOPENS):
        market.online.cut()
        assert market.online.kinds().count(OPEN) == 1
        assert market.heard().tar == TAR
        assert market.card.sent == []
    market.online.cut()
    assert OPEN not in market.online.kinds()
    number, data = market.card.take_command()
    assert (number, data[:2]) == (market.supplier.number, data[:2])
    assert market.online.closed == []
    assert [note.name for note in market.card.notes][-1] == "link.fallback"


@BEARERS
def test_a_call_made_again_is_the_same_call(bearer: str) -> None:
    """The supplier may answer either of two calls that are one: the second says what the first said."""
    market = _reserved(bearer)
    first = market.call()
    market.online.cut()
    assert market.heard() == first
    market.prove(first)
    market.load()
    assert _is_up(market)


@BEARERS
def test_a_link_lost_after_the_answer(bearer: str) -> None:
    """A link that is lost later is closed and not opened again; the session goes on over short messages."""
    market = _served(bearer)
    market.online.cut()
    assert market.online.kinds() == [CLOSE]
    assert [note.name for note in market.card.notes] == ["link.lost"]
    _use_sms(market)
    assert _is_up(market)
    assert market.card.image.count(TAR) > 0


# --- push ---


@BEARERS
def test_push(bearer: str) -> None:
    """A supplier asks by a short message for a link; it opens, says who calls, and carries his packets."""
    market = _served(bearer)
    market.online.cut()
    market.online.kinds()
    _use_sms(market)
    assert market.supplier.result(market.card, Push(bearer=bearer)).reason == ""
    kinds = market.online.kinds()
    assert (kinds[:2], kinds.count(OPEN)) == ([EVENTS, OPEN], 1)
    far = market.online.far
    if isinstance(far, CatTpFar):
        assert far.identification == iccid_octets(UA)
        assert far.came == []
    else:
        assert far.came == [encode_identification(iccid_octets(UA))]
    far.came.clear()
    assert isinstance(market.supplier, OnlineSupplier)
    market.supplier.bearer = bearer
    assert _is_up(market)


@pytest.mark.parametrize("bearer", ["bip-udp", "sms", "pigeon", "report"])
def test_push_over_what_was_not_reserved(bearer: str) -> None:
    """Only a channel that the operator reserved is opened; the rest is refused under the session."""
    market = _served("bip-tcp")
    assert market.supplier.result(market.card, Push(bearer=bearer)).reason == "bearer-not-reserved"
    assert OPEN not in market.online.kinds()
    assert _is_up(market)


def test_push_of_who_has_no_session() -> None:
    """Who has no keys of the session opens nothing."""
    market = _served("bip-tcp")
    packet = encode_command(spi=UNSECURED, tar=TAR, data=encode(Push(bearer="bip-tcp")))
    market.card.download(packet)
    assert OPEN not in market.online.kinds()


@BEARERS
def test_push_while_there_is_a_link(bearer: str) -> None:
    """The link that there was gives way to the one that is asked for, even if it brought the wish."""
    market = _served(bearer)
    market.online.far.send(market.supplier.packet(Push(bearer=bearer)), NOW)
    market.online.run()
    kinds = market.online.kinds()
    assert (kinds.count(OPEN), kinds.count(CLOSE)) == (1, 1)
    market.online.far.came.clear()
    assert _is_up(market)


# --- how a link ends ---


@pytest.mark.parametrize("command", [Block(tar=TAR), Release(tar=TAR)], ids=["block", "release"])
@BEARERS
def test_a_revoked_resource_loses_its_link(bearer: str, command: object) -> None:
    """Block and Release close the channel; over CAT_TP the server is told by a reset."""
    market = _served(bearer)
    far = market.online.far
    assert market.command(command).reason == ""
    assert market.online.kinds()[-1] is CLOSE
    assert market.online.closed == [1]
    if isinstance(far, CatTpFar):
        assert Pdu.parse(far.datagrams[-1]).reason is ResetReason.NORMAL


@BEARERS
def test_packets_to_anybody_do_not_hold_a_link(bearer: str) -> None:
    """A server that names addresses of its own is answered 09, and Block closes its link all the same."""
    market = _served(bearer)
    dialect = TCP if bearer == "bip-tcp" else CAT_TP
    for number in range(50):
        packet = encode_command(spi=UNSECURED, tar=bytes((0xC0, 0, number)), data=b"", dialect=dialect)
        response = decode_response(talk(market.card, packet), spi=UNSECURED, dialect=dialect)
        assert response.status is ResponseStatus.TAR_UNKNOWN
    assert market.command(Block(tar=TAR)).reason == ""
    assert market.online.closed == [1]


@BEARERS
def test_the_oldest_link_gives_way(bearer: str) -> None:
    """Of more servers than there may be links the one that was called first loses its channel."""
    market = OnlineMarket(bearer=bearer)
    market.personalise()
    for number in range(STANDARD.channels + 1):
        server = ServerAddress(host=SERVER.host + number, tcp_port=5000, udp_port=5001)
        supplier = OnlineSupplier(
            suite="x25519", name=f"s{number}", service=f"s{number}", tar=bytes((0xB2, 1, number))
        )
        terms = {"bearers": [bearer], "server": server.encode()}
        assert market.command(supplier.reserve(**terms)).reason == ""
        market.card.use_menu(2, supplier.service)
    assert market.online.closed == [1]
    assert len(market.online.fars) == STANDARD.channels
    assert [note.reason for note in market.card.notes if note.name == "link.dropped"] == ["crowded-out"]
    timers = [each.timer for each in market.online.asked if each.type is TIMER]
    assert set(timers) <= set(range(1, STANDARD.channels + 1))


def test_a_power_cut_forgets_links() -> None:
    """Links are volatile: a module that was off asks for events and a channel anew."""
    market = _served("bip-tcp")
    market.card.power_cycle()
    market.online.cut()
    assert market.online.kinds() == []
    market.connect()
    assert market.online.kinds().count(EVENTS) == 1
    assert _is_up(market)


# --- time ---


def test_cat_tp_is_repeated_by_the_terminals_timer() -> None:
    """A SYN that got lost goes again when the timer ends that was asked for, and the service is served."""
    market = _reserved("bip-udp")
    market.online.lost = True
    market.card.use_menu(2, SERVICE)
    timer = next(each for each in market.online.asked if each.type is TIMER)
    assert (timer.timer, timer.timer_value_s) == (1, 3)
    market.online.kinds()
    market.online.lost = False
    assert market.online.tick()
    assert SEND in market.online.kinds()
    market.prove(market.heard())
    market.load()
    assert _is_up(market)


def test_a_server_that_is_silent() -> None:
    """A server that never answers costs a bounded number of datagrams, then short messages are used."""
    market = _reserved("bip-udp")
    market.online.lost = True
    market.card.use_menu(2, SERVICE)
    while not market.card.sent:
        assert market.online.tick()
    assert market.online.kinds().count(OPEN) == REOPENS + 1
    assert NOW < market.card.now < NOW + 420
    _use_sms(market)
    number, data = market.card.take_command()
    assert number == market.supplier.number
    market.prove(decode(data, Call))
    market.load()
    assert _is_up(market)


def test_a_timer_that_runs_too_long_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """After long waits in vain the next wait is as short as the link is: the timer does not stay behind."""
    market = _unanswered("bip-udp")
    far = market.online.far
    assert isinstance(far, CatTpFar)
    with monkeypatch.context() as late:
        late.setattr(far, "outgoing", lambda *_: [])
        market.card.use_menu(2, SERVICE)
        for _ in range(4):
            assert market.online.tick()
    assert market.online.timers[1] - market.card.now > 4
    market.online.run()
    for _ in range(2):  # the first is measured, the second waits as long as that says
        assert market.online.timers[1] - market.card.now > 4
        market.card.use_menu(2, SERVICE)
    assert market.online.timers[1] - market.card.now <= 1


@pytest.mark.parametrize("change", ["announced", "set-back"])
def test_time_outs_do_not_need_the_clock(change: str) -> None:
    """The timer counts where time stands still: the operator's is ahead, or the phone's went back."""
    market = _reserved("bip-udp")
    if change == "announced":
        announcement = market.operator.signed(
            Announce(time=int(NOW) + 86400), ua=EVERYBODY, counter=1, purpose=Purpose.ANNOUNCEMENT
        )
        assert manage(market.card, announcement).status is ResponseStatus.POR_OK
    else:
        market.card.now -= 86400
    market.online.lost = True
    market.card.use_menu(2, SERVICE)
    market.online.kinds()
    for _ in range(3):
        assert market.online.tick()
        assert SEND in market.online.kinds()


@BEARERS
def test_a_timer_that_is_nobodys(bearer: str) -> None:
    """The end of a timer that no link waits for does nothing, whatever its number."""
    market = _served(bearer)
    market.online.timers.clear()
    for timer in (3, 8):
        response = market.card.envelope(Envelope(tag=Tag.TIMER_EXPIRATION, timer=timer))
        assert response.status == 0x9000
    assert _is_up(market)


def test_a_call_meets_the_end_of_its_link() -> None:
    """A subscriber who calls again and again on a dead link does no harm: in the end it is made elsewhere."""
    market = _reserved("bip-udp")
    market.online.lost = True
    for _ in range(45):
        market.card.use_menu(2, SERVICE)
        market.card.now += 6
        market.online.timers.clear()
    assert "cat-tp-closed" in market.card.reasons
    market.online.lost = False
    market.card.now += CARD_SETTINGS.max_timeout_s  # no repetition is further off than that
    market.card.use_menu(2, SERVICE)
    data = decode_command(market.online.far.came[-1], dialect=CAT_TP).data
    market.online.far.came.clear()
    market.prove(decode(data, Call))


# --- what a server may send ---


GARBAGE: dict[str, Callable[[OnlineMarket], bytes]] = {
    "no-packet": lambda _: b"\x7f" * 20,
    "identification": lambda _: encode_identification(b"server"),
    "zero-length": lambda _: b"\x01\0",
    "short": lambda _: b"\x01\x05\x04abcd",
    "response": lambda _: encode_response(
        ResponsePacket(tar=TAR, counter=1, status=ResponseStatus.POR_OK, data=b"x"),
        spi=UNSECURED,
        dialect=TCP,
    ),
    "reflected": lambda market: talk(market.card, market.supplier.packet(Invoke(argument=b"\0"))),
    "reserved-por": lambda _: b"\x01\x0e\x0d\0\x03" + bytes(11),
}


@pytest.mark.parametrize("kind", sorted(GARBAGE))
@BEARERS
def test_garbage_ends_the_link(bearer: str, kind: str) -> None:
    """What is no command packet ends the link and nothing else: the session goes on by short messages."""
    market = _served(bearer)
    octets = GARBAGE[kind](market)
    before = market.card.image
    market.online.far.send(octets, NOW)
    market.online.run()
    assert market.card.image == before
    assert market.online.closed == [1]
    assert market.card.notes[-1].name == "link.lost"
    assert OPEN not in market.online.kinds()
    _use_sms(market)
    assert _is_up(market)


def test_a_length_over_every_limit() -> None:
    """A packet that would be longer than the module takes ends the TCP link when its length is said."""
    for octets in (b"\x01\x82\x20\x01", b"\x01\x83\x01\0\0", b"\x01\x84\xff\xff\xff\xff", b"\x01\x80"):
        market = _served("bip-tcp")
        market.online.far.send(octets, NOW)
        market.online.run()
        assert market.card.reasons[-1] == "stream-length"
        assert market.online.closed == [1]


def test_a_reset() -> None:
    """A CAT_TP reset of the server ends the link; the call that was not answered is made again."""
    market = _unanswered("bip-udp")
    far = market.online.far
    assert isinstance(far, CatTpFar)
    far.connection.close(NOW)
    market.online.run()
    assert market.card.reasons[0] == "cat-tp-closed"
    assert market.online.far is not far
    market.prove(market.heard())


@pytest.mark.parametrize(
    "raw", [b"", b"x", bytes(17), bytes(18), b"\x83" + bytes(40), bytes(235)], ids=lambda raw: str(len(raw))
)
def test_datagrams_that_are_none(raw: bytes) -> None:
    """A datagram that is no PDU of the connection is dropped, and the link stays."""
    market = _served("bip-udp")
    far = market.online.far
    assert isinstance(far, CatTpFar)
    far.raw.append(raw)
    market.online.run()
    assert market.online.closed == []
    assert _is_up(market)


@pytest.mark.parametrize("size", [1, 16, 60])
def test_a_server_that_takes_little(size: int) -> None:
    """A server whose longest SDU is shorter than the call is given up for short messages."""
    market = _reserved("bip-udp")
    market.online.settings = CatTpSettings(max_sdu=size)
    market.card.use_menu(2, SERVICE)
    assert "max-sdu" in market.card.reasons
    assert market.card.take_command()[0] == market.supplier.number


def test_a_server_that_takes_no_answers() -> None:
    """A server that asks on and on without taking an answer loses its link; what waits is bounded."""
    market = _served("bip-udp")
    far = market.online.far
    assert isinstance(far, CatTpFar)
    packet = encode_command(spi=UNSECURED, tar=FAR_TAR, data=b"", dialect=CAT_TP)
    flags = Flags.ACK
    last = Pdu.parse(far.datagrams[-1])
    sequence = last.acknowledgement
    for _ in range(200):
        sequence = (sequence + 1) & 0xFFFF
        pdu = Pdu(
            flags=flags,
            source_port=SERVER.udp_port,
            destination_port=SERVER.udp_port,
            sequence=sequence,
            acknowledgement=last.sequence,
            window=0,
            payload=packet,
        )
        market.online.channels.received(next(iter(market.online.fars)), pdu.encode())
        market.online.lost = True
        market.online.run()
        if not market.online.fars:
            break
    assert market.card.reasons[-1] == "crowded"
    assert market.online.closed == [1]


def test_a_server_that_never_stops() -> None:
    """Over TCP commands without end, which leave no turn to answer, end the link at a bound of what waits."""
    market = _served("bip-tcp")
    packet = encode_command(spi=UNSECURED, tar=FAR_TAR, data=b"", dialect=TCP)
    market.online.far.send(packet * 6000, NOW)
    market.online.run()
    assert market.card.reasons[-1] == "crowded"
    assert market.online.closed == [1]
    _use_sms(market)
    assert _is_up(market)


_LINKED = {bearer: _served(bearer) for bearer in ("bip-tcp", "bip-udp")}
"""For octets that must not change anything, over and over."""


@BEARERS
@settings(max_examples=100, deadline=None)
@given(
    octets=st.binary(min_size=1, max_size=300)
    | st.binary(max_size=100).map(lambda rest: bytes((1, len(rest))) + rest)
)
def test_any_octets_of_a_server(bearer: str, octets: bytes) -> None:
    """Arbitrary octets over a channel end the link at most; a supplier's push brings it back."""
    market = _LINKED[bearer]
    if not market.online.fars:
        _use_sms(market)
        assert market.supplier.result(market.card, Push(bearer=bearer)).reason == ""
        assert isinstance(market.supplier, OnlineSupplier)
        market.supplier.bearer = bearer
    market.online.far.came.clear()
    session = market.card.image
    market.online.far.send(octets, market.card.now)
    market.online.run()
    assert market.card.image == session


# --- refused packets on a channel, and pieces said twice ---


@BEARERS
def test_refused_packets_leave_the_session(bearer: str) -> None:
    """A wrong checksum, a replay, a wrong proof: each gets its status, and the next packet counts."""
    market = _served(bearer)
    card, supplier = market.card, market.supplier
    assert isinstance(supplier, OnlineSupplier)
    wrong = bytearray(supplier.packet(Invoke(argument=b"\0")))
    wrong[-1] ^= 1
    assert supplier.exchange(card, bytes(wrong)).status is ResponseStatus.INTEGRITY_FAILED
    assert _is_up(market)
    assert supplier.exchange(card, supplier.last_packet).status is ResponseStatus.CNTR_LOW
    data = encode(Prove(tar=TAR, proof=b"x"))
    packet = encode_command(spi=UNSECURED, tar=MANAGER_TAR, data=data, dialect=supplier.dialect)
    response = decode_response(talk(card, packet), spi=UNSECURED, dialect=supplier.dialect)
    assert response.status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.online.closed == []
    assert _is_up(market)


def test_dialects_are_not_interchangeable() -> None:
    """A packet made for a channel is nothing in a short message, nor the other way round."""
    market = _served("bip-tcp")
    supplier = market.supplier
    packet = supplier.packet(Invoke(argument=b"\0"))
    assert market.card.transmit_part(packet).status == 0x6F00
    assert _is_up(market)
    market.online.far.send(supplier.packet(Invoke(argument=b"\0"), dialect=SMS), NOW)
    market.online.run()
    assert market.online.closed == [1]


@BEARERS
def test_pieces_said_twice(bearer: str) -> None:
    """Each piece of a programme may be said again, the last one after installation too: it is done once."""
    market = OnlineMarket(bearer=bearer)
    market.personalise()
    market.reserve()
    market.connect()
    code = probe()
    pieces = [
        LoadApplication(version=1, total=len(code), offset=at, octets=code[at : at + 100])
        for at in range(0, len(code), 100)
    ]
    for piece in pieces:
        for _ in range(2):
            assert market.supplier.result(market.card, piece) == Result(reason="", status=0, output=b"")
    assert [note.name for note in market.card.notes].count("application.loaded") == 1
    assert market.supplier.invoke(market.card).output == b"\x01\0"
    assert market.supplier.result(market.card, pieces[-1]).reason == ""
    assert market.supplier.invoke(market.card).output == b"\x02\0"
    altered = LoadApplication(version=1, total=len(code), offset=pieces[-1].offset, octets=b"\xff" * 8)
    assert market.supplier.result(market.card, altered).reason != ""
    assert market.supplier.invoke(market.card).output == b"\x03\0"


def test_a_piece_goes_on_over_another_bearer() -> None:
    """A programme begun on a channel is finished by short messages; a piece may be repeated there."""
    market = OnlineMarket(bearer="bip-tcp")
    market.personalise()
    market.reserve()
    market.connect()
    code = probe()
    cuts = [*range(0, len(code), 100), len(code)]
    for number, (start, end) in enumerate(pairwise(cuts)):
        piece = LoadApplication(version=1, total=len(code), offset=start, octets=code[start:end])
        assert market.supplier.result(market.card, piece).reason == ""
        if number == 1:
            market.online.cut()
            _use_sms(market)
            assert market.supplier.result(market.card, piece).reason == ""
    assert _is_up(market)
