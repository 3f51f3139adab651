"""Secured packets and their responses: each status where the standard says so, each protection, each SPI.

TS 102 225 clause 5 and TS 31.115 clause 4. All goes through APDUs, as short messages or over a channel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.handset.security_module.connections import MINIMUM_SECURITY_LEVEL
from agents.handset.security_module.profile import STANDARD
from agents.messages.air import MANAGER_TAR, Invoke, LoadData, Prove, Result
from agents.messages.codec import decode, encode
from tests.agents.module_kit import (
    COMMAND,
    SECURED,
    TAR,
    UA,
    UNSECURED,
    Market,
    OnlineMarket,
    Supplier,
    manage,
    talk,
)
from transport.concatenation import split
from transport.secured_packet import (
    BLOCKED_COUNTER,
    RESPONSE_USER_DATA_HEADER,
    TCP,
    CounterMode,
    Integrity,
    PacketKeys,
    PorDemand,
    ResponsePacket,
    ResponseStatus,
    SecurityParameters,
    decode_response,
    encode_command,
)
from transport.security.keyset import DEFAULT_PROTECTION, PROTECTIONS
from transport.sms.user_data import UserData

if TYPE_CHECKING:
    from collections.abc import Callable

RUN = Invoke(argument=b"\0")
FAR_TAR = b"\xb2\0\x09"
PLAIN = SecurityParameters(
    counter=CounterMode.HIGHER, ciphering=True, integrity=Integrity.CC, por=PorDemand.ALWAYS
)
"""As a packet must be protected, and its response not at all."""
PLUS_ONE = replace(SECURED, counter=CounterMode.PLUS_ONE)
SUBMIT = replace(SECURED, por_in_submit=True)
EACH_PROTECTION = pytest.mark.parametrize("protection", sorted(PROTECTIONS))


@pytest.fixture
def served() -> Market:
    """Return a module whose application is loaded and runs."""
    market = Market().served()
    market.card.notes.clear()
    return market


def _protected(protection: str) -> Market:
    """Return a module whose session has this protection, its application loaded."""
    market = Market()
    market.supplier = Supplier(suite="p256", protection=protection)
    market.served()
    market.card.notes.clear()
    return market


def _send(market: Market, packet: bytes, spi: SecurityParameters = SECURED) -> ResponsePacket:
    return market.supplier.exchange(market.card, packet, spi=spi)


# --- the statuses, as a table ---


def _wrong(market: Market, at: int, spi: SecurityParameters = SECURED) -> bytes:
    packet = bytearray(market.supplier.packet(RUN, spi=spi))
    packet[at] ^= 1
    return bytes(packet)


def _after(market: Market, counter: int) -> None:
    assert _send(market, market.supplier.packet(RUN, counter=counter)).status is ResponseStatus.POR_OK
    market.supplier.counter = counter
    market.card.notes.clear()


def _ok(market: Market) -> bytes:
    return market.supplier.packet(RUN)


def _checksum(market: Market) -> bytes:
    return _wrong(market, -1)


def _low(market: Market) -> bytes:
    _after(market, 9)
    return market.supplier.packet(RUN, counter=9)


def _high(market: Market) -> bytes:
    _after(market, 9)
    return market.supplier.packet(RUN, counter=11, spi=PLUS_ONE)


def _blocked(market: Market) -> bytes:
    _after(market, BLOCKED_COUNTER)
    return market.supplier.packet(RUN, counter=BLOCKED_COUNTER)


def _ciphering(market: Market) -> bytes:
    packet = market.supplier.packet(RUN)[:-1]
    return (len(packet) - 2).to_bytes(2, "big") + packet[2:]


def _unidentified(market: Market) -> bytes:
    assert market.supplier.keys is not None
    way = market.supplier.keys.to_module
    other = PacketKeys(index=2, cipher_key=way.cipher_key, mac_key=way.mac_key)
    return market.supplier.packet(RUN, keys=other)


def _long(market: Market) -> bytes:
    return market.supplier.packet(Invoke(argument=b"\0" * 200))


def _unknown(market: Market) -> bytes:
    return market.supplier.packet(RUN, tar=FAR_TAR)


def _level(market: Market) -> bytes:
    return market.supplier.packet(RUN, spi=replace(SECURED, counter=CounterMode.NO_CHECK))


def _submit(market: Market) -> bytes:
    return market.supplier.packet(RUN, spi=SUBMIT)


# status: (how to get it, the command's SPI, the reason that is noted, whether the checksum vouches for it)
STATUSES: dict[int, tuple[Callable[[Market], bytes], SecurityParameters, str, bool]] = {
    0x00: (_ok, SECURED, "", True),
    0x01: (_checksum, SECURED, "checksum", True),
    0x02: (_low, SECURED, "counter", True),
    0x03: (_high, PLUS_ONE, "counter", True),
    0x04: (_blocked, SECURED, "counter", True),
    0x05: (_ciphering, SECURED, "blocks", True),
    0x06: (_unidentified, SECURED, "no-session", False),
    0x08: (_long, SECURED, "", True),
    0x09: (_unknown, SECURED, "unknown-resource", False),
    0x0A: (_level, replace(SECURED, counter=CounterMode.NO_CHECK), "minimum-security-level", True),
    0x0B: (_submit, SUBMIT, "", True),
}


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: f"{status:02X}")
def test_each_status(served: Market, status: int) -> None:
    """Each status is sent for its cause, protected as SPI2 asks or clear where it must be, and noted once."""
    make, spi, reason, proven = STATUSES[status]
    packet = make(served)
    response = _send(served, packet, spi)
    assert (response.status, response.proven) == (status, proven)
    assert response.tar == (FAR_TAR if status == ResponseStatus.TAR_UNKNOWN else TAR)
    assert served.card.reasons == [reason] * bool(reason)
    assert (response.data == b"") is (status != ResponseStatus.POR_OK)


@pytest.mark.parametrize(
    "status", [0x01, 0x02, 0x03, 0x05, 0x06, 0x09, 0x0A], ids=lambda status: f"{status:02X}"
)
def test_a_refused_packet_leaves_the_session(served: Market, status: int) -> None:
    """After each refusal the next packet is taken, and the counter is where it was."""
    make, spi, _, _ = STATUSES[status]
    packet = make(served)
    before = served.card.image
    assert _send(served, packet, spi).status == status
    assert served.card.image == before
    served.supplier.counter = max(served.supplier.counter, 9)
    assert served.supplier.invoke(served.card).reason == ""


def test_a_blocked_counter_stays_blocked(served: Market) -> None:
    """After FF FF FF FF FF nothing is taken any more, nor after a power cut; a new session begins anew."""
    _after(served, BLOCKED_COUNTER)
    for spi in (SECURED, PLUS_ONE):
        for counter in (0, 1, BLOCKED_COUNTER - 1, BLOCKED_COUNTER):
            response = _send(served, served.supplier.packet(RUN, counter=counter, spi=spi), spi)
            assert response.status is ResponseStatus.CNTR_BLOCKED
        served.card.power_cycle()
    served.connect()
    assert served.supplier.invoke(served.card).reason == ""


# --- 07, insufficient memory ---


def test_a_first_part_that_announces_too_much(served: Market) -> None:
    """The CPL of part 1 tells that the packet will be too large: status 07 at once, before the rest comes."""
    whole = encode_command(spi=UNSECURED, tar=TAR, data=bytes(STANDARD.packet))
    for repetition in range(1, 3):
        first = split(whole, reference=77, first=COMMAND)[0]
        response = served.card.deliver(first, sender=served.supplier.number)
        assert response.data.startswith(RESPONSE_USER_DATA_HEADER)
        octets = response.data[len(RESPONSE_USER_DATA_HEADER) :]
        assert decode_response(octets, spi=UNSECURED).status is ResponseStatus.INSUFFICIENT_MEMORY
        assert served.card.reasons == ["too-large"] * repetition


def test_a_first_part_that_may_not_be_told(served: Market) -> None:
    """Where the refusal must be protected and no keys are at hand, status 06 is all that may be said."""
    whole = served.supplier.packet(LoadData(octets=bytes(8192)))
    first = split(whole, reference=78, first=COMMAND)[0]
    response = served.card.deliver(first, sender=served.supplier.number)
    octets = response.data[len(RESPONSE_USER_DATA_HEADER) :]
    status = decode_response(octets, spi=SECURED).status
    assert status is ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert served.card.reasons == ["too-large"]


def test_the_largest_packet_begins(served: Market) -> None:
    """A packet of just so many octets is not refused for its size."""
    for octets, empty in ((STANDARD.packet, True), (STANDARD.packet + 1, False)):
        whole = encode_command(spi=UNSECURED, tar=TAR, data=bytes(octets - 16))
        assert len(whole) == octets
        first = split(whole, reference=octets % 256, first=COMMAND)[0]
        assert (served.card.deliver(first, sender="100").data == b"") is empty


def test_the_element_in_each_part(served: Market) -> None:
    """A sender who names the command packet in each part, as older ones do, is understood."""
    assert served.supplier.keys is not None
    for number in range(8):
        packet = served.supplier.packet(LoadData(octets=bytes(200)))
        parts = split(packet, reference=number, first=COMMAND)
        assert len(parts) > 1
        data = b""
        for part in parts:
            header = part.header if COMMAND in part.header else (COMMAND, *part.header)
            again = UserData(header=header, payload=part.payload)
            data = served.card.deliver(again, sender=served.supplier.number).data
        octets = data[len(RESPONSE_USER_DATA_HEADER) :]
        response = decode_response(octets, spi=SECURED, keys=served.supplier.keys.from_module)
        assert response.status is ResponseStatus.POR_OK


def test_too_much_over_a_channel() -> None:
    """A packet over a TCP channel that is longer than the module buffers gets status 07; the link stays."""
    market = OnlineMarket(bearer="bip-tcp")
    market.served()
    market.card.notes.clear()
    # The stream's limit counts what stands behind the length, the module's limit the whole packet.
    packet = encode_command(spi=UNSECURED, tar=TAR, data=bytes(STANDARD.packet - 14), dialect=TCP)
    assert len(packet) == STANDARD.packet + 4
    response = decode_response(talk(market.card, packet), spi=UNSECURED, dialect=TCP)
    assert response.status is ResponseStatus.INSUFFICIENT_MEMORY
    assert market.card.reasons == ["too-large"]
    assert market.supplier.invoke(market.card).reason == ""


# --- 08 and 0B, the response comes later ---


@pytest.mark.parametrize("in_submit", [False, True], ids=["too-long", "asked-for"])
def test_a_response_that_comes_later(served: Market, in_submit: bool) -> None:  # noqa: FBT001 -- a case
    """The report says that there is more to come, and SMS-SUBMITs, concatenated, bring the whole response."""
    spi = replace(SECURED, por_in_submit=in_submit)
    argument = b"\0" + bytes(range(200))
    promise = _send(served, served.supplier.packet(Invoke(argument=argument), spi=spi), spi)
    expected = ResponseStatus.RESPONSE_BY_SMS_SUBMIT if in_submit else ResponseStatus.MORE_TIME
    assert (promise.status, promise.data, promise.proven) == (expected, b"", True)
    assert promise.counter == served.supplier.counter
    assert len(served.card.sent) > 1
    octets = served.card.take_response(served.supplier.number)
    assert served.supplier.keys is not None
    response = decode_response(octets, spi=spi, keys=served.supplier.keys.from_module)
    assert (response.status, response.counter) == (ResponseStatus.POR_OK, served.supplier.counter)
    assert decode(response.data, Result).output == b"\x01" + argument


def test_a_long_response_over_a_channel() -> None:
    """Over a channel a response has the room that it needs; SPI2's wish for an SMS-SUBMIT means nothing."""
    for bearer in ("bip-tcp", "bip-udp"):
        market = OnlineMarket(bearer=bearer)
        market.served()
        response = _send(market, market.supplier.packet(Invoke(argument=bytes(390)), spi=SUBMIT), SUBMIT)
        assert response.status is ResponseStatus.POR_OK
        assert decode(response.data, Result).output == b"\x01" + bytes(390)
        assert market.card.sent == []


# --- 0A, and the counter modes ---

ALL_LEVELS = [
    SecurityParameters(
        counter=counter,
        ciphering=ciphering,
        integrity=integrity,
        por=PorDemand.ALWAYS,
        por_integrity=Integrity.CC,
    )
    for counter in CounterMode
    for ciphering in (False, True)
    for integrity in (Integrity.NONE, Integrity.RC, Integrity.CC)
]


@pytest.mark.parametrize("spi", ALL_LEVELS, ids=lambda spi: spi.octets.hex())
def test_each_security_level(served: Market, spi: SecurityParameters) -> None:
    """Of all SPI1 those with checksum, ciphering and a rising counter are taken; the others change nothing.

    One that has neither checksum nor ciphering names no keyset, and is told so (06); the rest is 0A.
    """
    before = served.card.image
    response = _send(served, served.supplier.packet(RUN, spi=spi), spi)
    if spi.meets(MINIMUM_SECURITY_LEVEL):
        assert response.status is ResponseStatus.POR_OK
        assert spi.counter in (CounterMode.HIGHER, CounterMode.PLUS_ONE)
        return
    named = spi.ciphering or spi.integrity is Integrity.CC
    expected = (
        ResponseStatus.INSUFFICIENT_SECURITY_LEVEL if named else ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    )
    assert (response.status, response.proven) == (expected, named)
    assert served.card.image == before
    assert served.supplier.invoke(served.card).output == b"\x01\0"


@pytest.mark.parametrize("mode", CounterMode)
@pytest.mark.parametrize("step", [-1, 0, 1, 2, 1000])
def test_each_counter_mode(served: Market, mode: CounterMode, step: int) -> None:
    """Modes 0 and 1 are under the minimum level whatever they count; 2 wants more, 3 wants one more."""
    _after(served, 50)
    spi = replace(SECURED, counter=mode)
    response = _send(served, served.supplier.packet(RUN, counter=50 + step, spi=spi), spi)
    statuses = {
        CounterMode.NONE: ResponseStatus.INSUFFICIENT_SECURITY_LEVEL,
        CounterMode.NO_CHECK: ResponseStatus.INSUFFICIENT_SECURITY_LEVEL,
        CounterMode.HIGHER: ResponseStatus.POR_OK if step > 0 else ResponseStatus.CNTR_LOW,
        CounterMode.PLUS_ONE: {
            1: ResponseStatus.POR_OK,
            2: ResponseStatus.CNTR_HIGH,
            1000: ResponseStatus.CNTR_HIGH,
        }.get(step, ResponseStatus.CNTR_LOW),
    }
    assert response.status is statuses[mode]
    session = served.card.definition().session
    assert session is not None
    assert session.received_counter == (50 + step if response.status is ResponseStatus.POR_OK else 50)


# --- proofs of receipt ---

POR_FORMS = {
    f"{integrity.name.lower()}-{'ciphered' if ciphered else 'clear'}": replace(
        PLAIN, por_integrity=integrity, por_ciphering=ciphered
    )
    for integrity in (Integrity.NONE, Integrity.RC, Integrity.CC)
    for ciphered in (False, True)
}


@pytest.mark.parametrize("form", POR_FORMS)
def test_each_form_of_response(served: Market, form: str) -> None:
    """A response is plain, with a redundancy check or a checksum, ciphered or not: as SPI2 asks for it."""
    spi = POR_FORMS[form]
    response = _send(served, served.supplier.packet(RUN, spi=spi), spi)
    assert response.status is ResponseStatus.POR_OK
    assert response.proven is (spi.por_integrity is Integrity.CC)
    assert decode(response.data, Result).output == b"\x01\0"
    refused = _send(served, served.supplier.last_packet, spi)
    assert (refused.status, refused.proven) == (ResponseStatus.CNTR_LOW, response.proven)


@pytest.mark.parametrize("form", POR_FORMS)
def test_a_response_says_nothing_in_clear_that_it_should_not(served: Market, form: str) -> None:
    """What is to be ciphered is not readable in the octets of the report, and what is not is."""
    spi = POR_FORMS[form]
    secret = b"\0attack at dawn"
    octets = served.card.download(
        served.supplier.packet(Invoke(argument=secret), spi=spi), sender=served.supplier.number
    )
    assert (secret in octets) is not spi.por_ciphering


@pytest.mark.parametrize("demand", PorDemand)
def test_each_demand(served: Market, demand: PorDemand) -> None:
    """A response is sent never, always, or for a refusal alone."""
    spi = replace(SECURED, por=demand)
    sender = served.supplier.number
    good = served.card.download(served.supplier.packet(RUN, spi=spi), sender=sender)
    bad = served.card.download(served.supplier.last_packet, sender=sender)
    assert served.supplier.keys is not None
    keys = served.supplier.keys.from_module
    assert bool(good) is (demand is PorDemand.ALWAYS)
    assert bool(bad) is (demand is not PorDemand.NONE)
    if bad:
        assert decode_response(bad, spi=spi, keys=keys).status is ResponseStatus.CNTR_LOW
    assert served.supplier.invoke(served.card).output == b"\x02\0"


@pytest.mark.parametrize("in_submit", [False, True], ids=["report", "submit"])
def test_no_promise_where_nothing_was_asked_for(served: Market, in_submit: bool) -> None:  # noqa: FBT001
    """On success, with responses for errors alone, neither a promise nor a message goes out."""
    spi = replace(SECURED, por=PorDemand.ON_ERROR, por_in_submit=in_submit)
    packet = served.supplier.packet(Invoke(argument=bytes(200)), spi=spi)
    assert served.card.download(packet, sender=served.supplier.number) == b""
    assert served.card.sent == []


def test_a_signature_on_the_response(served: Market) -> None:
    """A digital signature has no algorithm in the standard: refused, and nothing is run."""
    spi = replace(SECURED, por_integrity=Integrity.DS)
    before = served.card.image
    octets = served.card.download(served.supplier.packet(RUN, spi=spi), sender=served.supplier.number)
    assert octets[-1] == ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
    assert served.card.image == before
    assert served.supplier.invoke(served.card).reason == ""


def test_a_signature_on_the_command(served: Market) -> None:
    """Nor can a command be signed so: status 01, for there is nothing that it could be checked with."""
    packet = bytearray(served.supplier.packet(RUN))
    packet[3] |= Integrity.DS
    assert _send(served, bytes(packet)).status is ResponseStatus.INTEGRITY_FAILED
    assert served.card.reasons == ["kid"]


# --- protections ---


@EACH_PROTECTION
def test_each_protection(protection: str) -> None:
    """Programme, data and runs under each protection; the checksum is as long as it says, and vouches."""
    market = _protected(protection)
    row = PROTECTIONS[protection]
    assert market.supplier.personalise(market.card, b"KEY").reason == ""
    assert market.supplier.invoke(market.card, b"\0hello").output == b"\x01\0hello"
    packet = market.supplier.last_packet
    assert (packet[5] & 0xF, packet[6] & 0xF) == (row.cipher, row.mac)
    assert packet[2] == 13 + row.cc_length
    wrong = bytearray(market.supplier.packet(RUN))
    wrong[-1] ^= 1
    assert _send(market, bytes(wrong)).status is ResponseStatus.INTEGRITY_FAILED
    assert market.supplier.exchange(market.card, packet).status is ResponseStatus.CNTR_LOW
    market.card.power_cycle()
    assert market.supplier.invoke(market.card).output == b"\x02\0"


@pytest.mark.parametrize("bearer", ["bip-tcp", "bip-udp"])
@EACH_PROTECTION
def test_each_protection_over_each_channel(protection: str, bearer: str) -> None:
    """Every protection serves over every channel too."""
    market = OnlineMarket(bearer=bearer)
    market.supplier.protection = protection
    market.served()
    assert market.supplier.invoke(market.card).output == b"\x01\0"


def _keys_of(protection: str, index: int = 1) -> PacketKeys:
    row = PROTECTIONS[protection]
    return PacketKeys(
        index=index,
        cipher_key=bytes(range(row.key_octets)),
        mac_key=bytes(range(1, row.key_octets + 1)),
        cc_length=row.cc_length,
        cipher_algorithm=row.cipher,
        mac_algorithm=row.mac,
        allow_legacy=row.legacy,
    )


@pytest.mark.parametrize("other", sorted(PROTECTIONS))
@EACH_PROTECTION
def test_a_packet_under_another_protection(protection: str, other: str) -> None:
    """KIc and KID of another protection are refused with 05, those of the own with other keys by checksum."""
    market = _protected(protection)
    before = market.card.image
    response = _send(market, market.supplier.packet(RUN, keys=_keys_of(other)))
    same = PROTECTIONS[protection].cipher == PROTECTIONS[other].cipher
    allowed = {ResponseStatus.INTEGRITY_FAILED, ResponseStatus.UNIDENTIFIED_SECURITY_ERROR}
    if same:
        assert response.status in allowed
    else:
        assert response.status is ResponseStatus.CIPHERING_ERROR
        assert market.card.reasons == ["kic"]
    assert market.card.image == before
    assert market.supplier.invoke(market.card).reason == ""


@EACH_PROTECTION
def test_a_checksum_under_another_algorithm(protection: str) -> None:
    """The octet KID counts too: with KIc right and KID another one's the packet does not hold."""
    market = _protected(protection)
    packet = bytearray(market.supplier.packet(RUN))
    packet[6] ^= 0x04
    assert _send(market, bytes(packet)).status is ResponseStatus.INTEGRITY_FAILED
    assert market.card.reasons == ["kid"]


@pytest.mark.parametrize("legacy", sorted(name for name, row in PROTECTIONS.items() if row.legacy))
def test_des_only_where_it_was_reserved(legacy: str) -> None:
    """No supplier talks a module into DES: with terms that are not the reservation's no proof holds."""
    market = Market().personalise().reserve()
    assert market.card.definition().protection == DEFAULT_PROTECTION
    market.supplier.protection = legacy
    responder = market.supplier.responder(UA, market.module_suite, market.public)
    proof = responder.receive(market.call().opening)
    assert proof is not None
    status = manage(market.card, encode(Prove(tar=TAR, proof=proof))).status
    assert status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
    assert market.card.reasons == ["bad-signature"]
    assert market.card.definition().session is None


@pytest.mark.parametrize("name", ["aes", "AES-128", "rot13", "none"])
def test_an_unknown_protection(name: str) -> None:
    """RES with a protection that is none is refused, and reserves nothing."""
    market = Market().personalise()
    assert market.command(market.supplier.reserve(protection=name)).reason == "unknown-protection"
    assert market.card.module.definitions.all() == []


# --- any SPI ---

_SERVED = Market().served()
"""For packets that must not change anything, over and over."""
spis = st.builds(lambda spi1, spi2: bytes((spi1, spi2)), st.integers(0, 255), st.integers(0, 255))


@settings(max_examples=200, deadline=None)
@given(spi=spis, tar=st.sampled_from([TAR, MANAGER_TAR, FAR_TAR]), rest=st.binary(min_size=6, max_size=60))
def test_any_spi_without_keys(spi: bytes, tar: bytes, rest: bytes) -> None:
    """Whatever SPI who has no keys sends, nothing changes, and what comes back fits the report."""
    body = b"\x15" + spi + b"\x12\x12" + tar + rest
    packet = len(body).to_bytes(2, "big") + body
    before = _SERVED.card.image
    response = _SERVED.card.transmit_part(packet)
    assert len(response.data) <= 140
    assert _SERVED.card.image == before
    _SERVED.card.sent.clear()
