"""What modules send to a role by short message, put together or dropped."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from bus.bearers.sms_receiver import ReceivedPacket, SmsReceiver
from bus.counters import Counters
from bus.frame import Bearer, Frame
from tests.bus.sms_network import LONG, OPERATOR, SHORT, TRACE, UA
from transport.concatenation import Reassembler, split
from transport.sms import Address, InformationElement, SmsSubmit, UserData


def _submit(user_data: UserData, *, ua: str = UA, bearer: Bearer = Bearer.SMS) -> Frame:
    submit = SmsSubmit(reference=1, destination=Address(digits=OPERATOR), user_data=user_data)
    return _mobile_originated(submit.encode(), ua=ua, bearer=bearer)


def _mobile_originated(pdu: bytes, *, ua: str = UA, bearer: Bearer = Bearer.SMS) -> Frame:
    return Frame(
        bearer=bearer,
        source=ua,
        destination=OPERATOR,
        pdu=pdu,
        reference=b"R" * 8,
        trace=TRACE,
        sent_at=0.0,
    )


def _receiver(counters: Counters, *, timeout_s: float = 60.0) -> SmsReceiver:
    reassembler = Reassembler(timeout_s=timeout_s)
    return SmsReceiver(reassembler, counters=counters, log=structlog.get_logger())


PACKET = InformationElement(iei=0x70, data=b"")


def test_a_message_of_one_part_is_received_at_once() -> None:
    """A single SMS-SUBMIT is its message, header and all."""
    user_data = UserData(header=(PACKET,), payload=SHORT)
    received = _receiver(Counters()).receive(_submit(user_data), 0.0)
    assert received == ReceivedPacket(ua=UA, user_data=user_data)


def test_parts_of_two_modules_are_kept_apart() -> None:
    """The same reference from two modules in any order makes two messages."""
    receiver = _receiver(Counters())
    ones = [_submit(part, ua="8901") for part in split(LONG, reference=5, first=PACKET)]
    twos = [_submit(part, ua="8902") for part in split(LONG[::-1], reference=5, first=PACKET)]
    results = [
        receiver.receive(frame, 0.0) for frame in (ones[2], twos[0], ones[0], twos[2], ones[1], twos[1])
    ]
    assert results[:4] == [None] * 4
    one, two = results[4:]
    assert one
    assert two
    assert (one.ua, one.user_data.payload, one.user_data.header) == ("8901", LONG, (PACKET,))
    assert (two.ua, two.user_data.payload) == ("8902", LONG[::-1])


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (_mobile_originated(b""), "truncated"),
        (_mobile_originated(b"\x44\x00\x91"), "wrong-type"),
        (_mobile_originated(b"\x01", bearer=Bearer.EVENT), "wrong-bearer"),
    ],
    ids=["empty", "no SMS-SUBMIT", "another bearer"],
)
def test_what_is_no_short_message_is_dropped(frame: Frame, reason: str) -> None:
    """Octets that are no SMS-SUBMIT are counted and logged once by reason, and nothing is received."""
    counters = Counters()
    with capture_logs() as logs:
        assert _receiver(counters).receive(frame, 0.0) is None
    assert counters.snapshot()["dropped"] == {reason: 1}
    assert [(log["event"], log["reason"]) for log in logs] == [("sms.dropped", reason)]


def test_a_message_that_stays_incomplete_is_given_up() -> None:
    """After the time-out the parts are forgotten and counted, once."""
    counters = Counters()
    receiver = _receiver(counters, timeout_s=60.0)
    receiver.receive(_submit(split(LONG, reference=1, first=PACKET)[0]), 0.0)
    with capture_logs():
        assert [receiver.expire(59.0), receiver.expire(61.0), receiver.expire(62.0)] == [0, 1, 0]
    assert counters.snapshot()["dropped"] == {"concatenation-timed-out": 1}


def test_a_message_of_another_kind_is_refused_with_all_its_parts() -> None:
    """A concatenation that lacks the required first element is counted part by part, and none is held."""
    counters = Counters()
    reassembler = Reassembler(require_first_element=0x71)
    receiver = SmsReceiver(reassembler, counters=counters, log=structlog.get_logger())
    with capture_logs():
        for part in split(LONG, reference=1, first=PACKET)[::-1]:
            assert receiver.receive(_submit(part), 0.0) is None
        assert receiver.expire(0.0) == 1
    assert counters.snapshot()["dropped"] == {"first-element-missing": 1, "concatenation-refused": 1}
    assert reassembler.octets == 0
