"""A pcapng file of whole blocks, written many at a time."""

from __future__ import annotations

import contextlib
import errno
import io
import platform
from typing import TYPE_CHECKING, Final

from pcapng import FileWriter
from pcapng.blocks import InterfaceDescription, SectionHeader

from bus.capture.exported_pdu import LINK_TYPE
from bus.disk import is_nearly_full

if TYPE_CHECKING:
    from pathlib import Path

BUFFER_OCTETS: Final = 1 << 16


class BlockFile:
    """Whole blocks, gathered in *stream* and written many at a time. Raises OSError if not to be opened."""

    def __init__(self, path: Path) -> None:
        self.stream = io.BytesIO()
        self._file = path.open("wb", buffering=0)
        self._written = 0

    def write_if_full(self) -> None:
        """As :meth:`flush`, when enough is gathered."""
        if self.stream.tell() >= BUFFER_OCTETS:
            self.flush()

    def flush(self) -> None:
        """Write what is gathered. Raises OSError, and then leaves no half block where the file lets us."""
        octets = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        if is_nearly_full(self._file.fileno()):
            raise OSError(errno.ENOSPC, "the disk is nearly full")
        try:
            view = memoryview(octets)
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._written)
            raise
        self._written += len(octets)

    def close(self) -> None:
        """Close the file; what is gathered is forgotten. Safe to repeat."""
        self._file.close()


def begin(stream: io.BytesIO, name: str) -> tuple[FileWriter, SectionHeader]:
    """Write a section header and the description of its one interface."""
    system = {"shb_os": f"{platform.system()} {platform.release()}", "shb_userappl": "otafleet"}
    section = SectionHeader(endianness="<", options=system)
    options = {"if_name": name, "if_description": "air and card interfaces of a fleet"}
    section.new_member(InterfaceDescription, link_type=LINK_TYPE, options=options)
    return FileWriter(stream, section), section
