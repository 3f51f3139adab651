"""Several captures of one run into one."""

from __future__ import annotations

import contextlib
import heapq
import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from pcapng.blocks import EnhancedPacket, InterfaceDescription, SectionHeader
from pcapng.structs import BYTE_ORDER_MAGIC

from bus.capture.block_file import BlockFile, begin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO


_BLOCK_HEAD: Final = struct.Struct("<II")  # type, octets in all
_PACKET_HEAD: Final = struct.Struct("<IIIII")  # those two, interface, high and low half of the time
_SECTION_HEAD: Final = struct.pack("<I", SectionHeader.magic_number)
_MAX_BLOCK: Final = 1 << 20
# A clock never goes back, but who tells of something afterwards writes its packet a little late.
_WINDOW: Final = 256


def merge(parts: Sequence[Path], into: Path) -> int:
    """Make one capture, in order of time, of the *parts* that processes wrote, and remove those.

    Returns how many packets it has. A part that a kill cut short counts as far as it goes, one that was never
    begun not at all. Blocks pass through a few at a time. Raises ``OSError`` when a file cannot be read or
    written, and ``ValueError`` when a part is no file of :class:`Capture` or is *into* itself; the parts then
    stay.
    """
    if into in parts:
        raise ValueError(f"{into} cannot be made of itself")
    packets = 0
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(path.open("rb")) for path in parts if path.exists()]
        file = stack.enter_context(contextlib.closing(BlockFile(into)))
        begin(file.stream, "air")
        for _, _, block in heapq.merge(*map(_in_order, streams), key=itemgetter(0)):
            packets += _is_packet(block)
            file.stream.write(block)
            file.write_if_full()
        file.flush()
    for path in parts:
        path.unlink(missing_ok=True)
    return packets


def _is_packet(block: bytes) -> bool:
    return bool(_BLOCK_HEAD.unpack_from(block)[0] == EnhancedPacket.magic_number)


def _in_order(part: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield time in microseconds, number and octets of each block of *part* that is to be kept.

    Blocks that are not packets take the time of the packet before them. What is late is put in its place if
    that is among the last :data:`_WINDOW` blocks.
    """
    waiting: list[tuple[int, int, bytes]] = []
    time_us = 0
    for number, block in enumerate(_blocks(part)):
        if _is_packet(block):
            _, _, _, high, low = _PACKET_HEAD.unpack_from(block)
            time_us = high << 32 | low
        entry = (time_us, number, block)
        if len(waiting) < _WINDOW:
            heapq.heappush(waiting, entry)
        else:
            yield heapq.heappushpop(waiting, entry)
    yield from sorted(waiting)


def _blocks(part: BinaryIO) -> Iterator[bytes]:
    """Yield the whole blocks of *part* behind its section header and interface, as far as there are any."""
    start = part.read(12)
    if len(start) == 12 and start[:4] + start[8:] != _SECTION_HEAD + struct.pack("<I", BYTE_ORDER_MAGIC):
        raise ValueError(f"{part.name} is no part of a capture of ours")
    part.seek(0)
    while len(head := part.read(_BLOCK_HEAD.size)) == _BLOCK_HEAD.size:
        kind, length = _BLOCK_HEAD.unpack(head)
        if not 12 <= length <= _MAX_BLOCK:
            return
        rest = part.read(length - len(head))
        if len(rest) < length - len(head) or rest[-4:] != head[4:]:
            return
        if kind not in {SectionHeader.magic_number, InterfaceDescription.magic_number}:
            yield head + rest
