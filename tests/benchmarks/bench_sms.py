"""Short messages a second beside pycrate's, and octets a second through reassembly.

Run ``python -m tests.benchmarks.bench_sms``. Rounds of all rows alternate; medians of rates and of each
round's ratios are printed, so that a busy machine slows all alike. The messages are parts of concatenated
packets from several numbers, no two alike. Reassembly is linear when its rate is the same for any number of
parts, however many messages are under way and whatever the order.
"""

from __future__ import annotations

import os
import sys
from itertools import chain
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from pycrate_mobile.TS23040_SMS import SMS_DELIVER

from transport.concatenation import Reassembler, split
from transport.sms import (
    IEI_COMMAND_PACKET,
    Address,
    InformationElement,
    ServiceCentreTime,
    SmsDeliver,
    UserData,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS: Final = 15
MESSAGES: Final = 1000  # a round
PEER_MESSAGES: Final = 40  # it takes many times as long
SENDERS: Final = 16
PARTS: Final = 5100  # a round of reassembly
SIZES: Final = (10, 100, 255)  # parts of a message
AT_ONCE: Final = (1, 20)  # messages under way
COMMAND: Final = InformationElement(iei=IEI_COMMAND_PACKET)


def packet(parts: int) -> bytes:
    """Return a packet that fills so many *parts*, cut with 16-bit references."""
    return bytes(number & 0xFF for number in range(131 + 133 * (parts - 1)))


def delivers() -> list[SmsDeliver]:
    """Return MESSAGES parts of ten, from SENDERS numbers."""
    octets = packet(10)
    parts = chain.from_iterable(
        split(octets, reference=number, first=COMMAND, wide=True) for number in range(MESSAGES // 10)
    )
    return [
        SmsDeliver(
            originator=Address(digits=f"316123456{number % SENDERS:02}"),
            user_data=part,
            timestamp=ServiceCentreTime.at(1_773_403_200.0 + number),
        )
        for number, part in enumerate(parts)
    ]


VALUES: Final = delivers()
OCTETS: Final = [value.encode() for value in VALUES]


def peer_parse(octets: bytes) -> Any:
    """Read one message with pycrate."""
    message = SMS_DELIVER()
    message.from_bytes(octets)
    return message


# To write is to go from fields to octets; the dicts of fields are made before.
FIELDS: Final = [{name: getattr(value, name) for name in value.__dataclass_fields__} for value in VALUES]
PEER_FIELDS: Final = [peer_parse(octets).get_val_d() for octets in OCTETS[:PEER_MESSAGES]]


def peer_encode(fields: dict[str, Any]) -> bytes:
    """Write one message with pycrate."""
    octets: bytes = SMS_DELIVER(val=fields).to_bytes()
    return octets


def seconds(call: Callable[[], object]) -> float:
    """Return how long *call* takes."""
    start = perf_counter()
    call()
    return perf_counter() - start


def codec_round() -> dict[str, float]:
    """Return the rate of each row in messages a second."""

    def rate(call: Callable[[Any], object], items: Sequence[Any]) -> float:
        return len(items) / seconds(lambda: [call(item) for item in items])

    return {
        "parse": rate(SmsDeliver.parse, OCTETS),
        "pycrate parse": rate(peer_parse, OCTETS[:PEER_MESSAGES]),
        "encode": rate(lambda fields: SmsDeliver(**fields).encode(), FIELDS),
        "pycrate encode": rate(peer_encode, PEER_FIELDS),
    }


def streams(parts: int, at_once: int) -> tuple[list[UserData], int]:
    """Return the parts of messages of *parts* each, last part first, *at_once* interleaved; and how many."""
    octets = packet(parts)
    groups = max(1, PARTS // (parts * at_once))
    messages = [split(octets, reference=number, wide=True)[::-1] for number in range(groups * at_once)]
    stream: list[UserData] = []
    for start in range(0, len(messages), at_once):
        rows = zip(*messages[start : start + at_once], strict=True)
        stream.extend(chain.from_iterable(rows))
    return stream, len(messages)


def reassemble(stream: list[UserData], at_once: int, messages: int) -> None:
    """Put all of *stream* together."""
    room = at_once * 40_000
    reassembler = Reassembler(
        max_messages=at_once, max_octets=room, max_per_sender=at_once, max_octets_per_sender=room
    )
    joined = sum(reassembler.receive("a", part, 0.0) is not None for part in stream)
    if joined != messages:
        raise SystemExit("not every message was put together")


def main() -> None:
    """Print the tables."""
    if [peer_encode(fields) for fields in PEER_FIELDS] != OCTETS[:PEER_MESSAGES]:
        raise SystemExit("pycrate does not write what it was given")
    rows = {(parts, at_once): streams(parts, at_once) for parts in SIZES for at_once in AT_ONCE}
    codec, rates = [], []
    for _ in range(ROUNDS):
        codec.append(codec_round())
        rates.append(
            {
                (parts, at_once): len(packet(parts))
                * messages
                / seconds(lambda: reassemble(stream, at_once, messages))  # noqa: B023 -- called at once
                for (parts, at_once), (stream, messages) in rows.items()
            }
        )
    lines = [f"SMS-DELIVER, 140 octets of user data, {os.cpu_count()} cores, 1 used"]
    for name in ("parse", "encode"):
        ratio = median(each[name] / each[f"pycrate {name}"] for each in codec)
        rate, theirs = (median(each[key] for each in codec) for key in (name, f"pycrate {name}"))
        lines.append(f"  {name:<7} {rate:>9,.0f} messages/s   pycrate {theirs:>7,.0f}   {ratio:>4.0f}x")
    lines.append("reassembly, parts in reverse order")
    for parts, at_once in rows:
        rate = median(each[parts, at_once] for each in rates)
        of_first = median(each[parts, at_once] / each[SIZES[0], AT_ONCE[0]] for each in rates)
        lines.append(
            f"  {parts:>3} parts, {at_once:>2} at once {rate / 1e6:>6.1f} M octets/s"
            f" {rate / 133:>9,.0f} parts/s   {of_first:.2f} of the first"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
