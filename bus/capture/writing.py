"""The capture that a process writes while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pcapng.blocks import EnhancedPacket, NameResolution
from pcapng.structs import NRB_RECORD_IPv6

from bus.capture.block_file import BlockFile, begin
from bus.capture.exported_pdu import Layer, Side, Way, comment, packets, tags, writable
from bus.log_file import warn_on_stderr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from bus.frame import TraceContext

LATEST_S: Final = 1e12
"""Times lie before this one, as in :mod:`bus.frame`."""
MAX_NAMES: Final = 1 << 16
"""So many names are remembered and written; addresses beyond stay numbers."""
_MAX_HEADS: Final = 1 << 13


class Capture:
    """A pcapng file at *path*, written from now on until :meth:`close`; a context manager, for one thread.

    *name* is what Wireshark shows as the interface, say the process. Raises ``OSError`` when the file cannot
    be written; later, in mid-run, that ends the capture with the warning ``capture.stopped`` to *log* and a
    sentence to *warn*, for the log may have no room either; what is then given to be written is forgotten.
    """

    def __init__(
        self,
        path: Path,
        *,
        log: FilteringBoundLogger,
        name: str = "air",
        warn: Callable[[str], None] = warn_on_stderr,
    ) -> None:
        self._log = log
        self._warn = warn
        self._path = path
        self._file = BlockFile(path)
        self._open = True
        self._heads: dict[Way, bytes] = {}
        self._named: set[str] = set()
        self._writer, self._section = begin(self._file.stream, writable(name))
        # One block that is filled again for each packet: the library spends half its time on making one.
        self._block: Any = self._section.new_member(EnhancedPacket, options={"opt_comment": ""})
        try:
            self._file.flush()
        except OSError:
            self._file.close()
            raise

    def write(
        self,
        layer: Layer,
        octets: bytes,
        *,
        uplink: bool,
        handset: str,
        peer: str = "",
        trace: TraceContext,
        at: float,
        note: str = "",
    ) -> None:
        """Write one PDU that *handset* sent (*uplink*) or was sent at *at*, seconds since 1970.

        *peer* is the other side, by default the network. An APDU exchange is between the phone of *handset*
        and the module in it: never uplink, the phone begins. *note* follows the trace in the packet's
        comment. Raises ValueError for a time that cannot be written.
        """
        if not 0 <= at < LATEST_S:
            raise ValueError(f"a packet at {at} s cannot be written")
        if not self._open:
            return
        block = self._block
        block.timestamp_high, block.timestamp_low = divmod(round(at * 1e6), 1 << 32)
        block.options["opt_comment"] = comment(trace, note)
        for dissector, is_uplink, pdu in packets(layer, octets, uplink=uplink):
            way = Way(dissector, is_uplink, handset, peer)
            block.packet_data = (self._heads.get(way) or self._meet(way)) + pdu
            self._writer.write_block(block)
        self._attempt(self._file.write_if_full)

    def flush(self) -> None:
        """Write what is waiting, for somebody who looks at the file in mid-run."""
        if self._open:
            self._attempt(self._file.flush)

    def close(self) -> None:
        """Write what is waiting and close the file; what comes later is forgotten. Safe to repeat."""
        self.flush()
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _meet(self, way: Way) -> bytes:
        """Return the tags of packets that go this *way*, and write the names of its sides if they are new."""
        for side in way.sides():
            self._name(side)
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        head = self._heads[way] = tags(way)
        return head

    def _name(self, side: Side) -> None:
        if side.name in self._named or len(self._named) >= MAX_NAMES:
            return
        self._named.add(side.name)
        record = {"type": NRB_RECORD_IPv6, "address": str(side.address), "names": [writable(side.name)]}
        self._writer.write_block(self._section.new_member(NameResolution, records=[record]))

    def _attempt(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            self._log.warning("capture.stopped", reason=error.strerror)
            self._warn(f"no more capture in {self._path}: {error.strerror}; the run goes on")
            self._end()

    def _end(self) -> None:
        self._open = False
        self._file.close()
