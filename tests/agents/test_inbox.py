"""What a role has room for of what modules send it."""

from __future__ import annotations

import random
from itertools import chain, zip_longest

from agents.fleet.inbox import OCTETS, PER_MODULE, PER_MODULE_OCTETS, inbox
from agents.handset.security_module.profile import MAX_CALLS
from tests.agents.module_kit import OTHER_UA, UA
from transport.concatenation import split
from transport.secured_packet import (
    PorDemand,
    ResponsePacket,
    ResponseStatus,
    SecurityParameters,
    encode_response,
)
from transport.sms.user_data import IEI_RESPONSE_PACKET, InformationElement

LONGEST = 4590
"""Octets of the longest message of a handshake (the table in ``transport.security.handshake``)."""


def test_all_handshakes_that_a_module_can_have_open_may_answer_at_once() -> None:
    """Their longest responses, post-quantum, come whole though their parts come mixed, of two modules too."""
    rng, reassembler = random.Random(1), inbox()
    sent: dict[tuple[str, int], bytes] = {}
    parts = []
    for ua in (UA, OTHER_UA):
        for reference in range(MAX_CALLS):
            packet = ResponsePacket(
                tar=b"\xb0\0\0", counter=reference, status=ResponseStatus.POR_OK, data=rng.randbytes(LONGEST)
            )
            octets = encode_response(packet, spi=SecurityParameters(por=PorDemand.ALWAYS))
            sent[ua, reference] = octets
            element = InformationElement(iei=IEI_RESPONSE_PACKET, data=b"")
            parts.append([(ua, part) for part in split(octets, reference=reference, first=element)])
    came = []
    for ua, part in filter(None, chain.from_iterable(zip_longest(*parts))):
        whole = reassembler.receive(ua, part, 0.0)
        if whole is not None:
            came.append((ua, whole.payload))
    assert sorted(came) == sorted((ua, octets) for (ua, _), octets in sent.items())
    assert reassembler.expire(0.0) == []
    assert reassembler.octets == 0


def test_one_module_takes_no_more_room_than_is_its_own() -> None:
    """However much it begins and never ends, others find room."""
    reassembler = inbox()
    for reference in range(256):
        parts = split(bytes(30_000), reference=reference)
        for part in parts[:-1]:
            reassembler.receive(UA, part, 0.0)
    assert 0 < reassembler.octets <= PER_MODULE_OCTETS < OCTETS
    first, last = split(b"hello" * 40, reference=1)
    assert reassembler.receive(OTHER_UA, first, 0.0) is None
    assert reassembler.receive(OTHER_UA, last, 0.0) is not None


def test_there_is_room_for_each_handshakes_call_and_response() -> None:
    """As many messages as a profile allows handshakes, twice; and their octets at their longest."""
    assert PER_MODULE >= 2 * MAX_CALLS
    assert PER_MODULE_OCTETS >= MAX_CALLS * (LONGEST + 1234 + 2 * 16) * 140 // 130
