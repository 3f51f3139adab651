"""What modules send to a role by short message (SMS-SUBMIT), put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bus.frame import Bearer
from transport.errors import Rejected
from transport.sms import SmsSubmit

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from bus.counters import Counters
    from bus.frame import Frame
    from transport.concatenation import Reassembler
    from transport.sms import UserData


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPacket:
    """A whole message from the module *ua*, put together from its parts; *user_data* keeps its header."""

    ua: str
    user_data: UserData


class SmsReceiver:
    """Puts together what modules send to a role; what is no part of a message is counted and dropped."""

    def __init__(self, reassembler: Reassembler, *, counters: Counters, log: FilteringBoundLogger) -> None:
        self._reassembler = reassembler
        self._counters = counters
        self._log = log

    def receive(self, frame: Frame, now: float) -> ReceivedPacket | None:
        """Take the SMS-SUBMIT in *frame* at *now* (seconds); return the message that it completes, if any."""
        if frame.bearer is not Bearer.SMS:
            self._drop("wrong-bearer", frame)
            return None
        try:
            submit = SmsSubmit.parse(frame.pdu)
            user_data = self._reassembler.receive(frame.source, submit.user_data, now)
        except Rejected as rejection:
            self._drop(rejection.reason, frame)
            return None
        return None if user_data is None else ReceivedPacket(ua=frame.source, user_data=user_data)

    def expire(self, now: float) -> int:
        """Give up messages whose other parts stay away; return how many were since the last call."""
        given_up = self._reassembler.expire(now)
        for dropped in given_up:
            self._counters.dropped(f"concatenation-{dropped.reason}")
            self._log.warning("sms.given_up", ua=dropped.sender, reason=str(dropped.reason), bearer="sms")
        return len(given_up)

    def _drop(self, reason: str, frame: Frame) -> None:
        self._counters.dropped(reason)
        self._log.warning("sms.dropped", reason=reason, ua=frame.source, octets=len(frame.pdu), bearer="sms")
