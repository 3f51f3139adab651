"""Wireshark's dissectors take our pages and blocks apart and find in them what we put there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pycrate_mobile.TS23041_CBS import CBS_MessageId_dict

from tests.transport.captures import TOWARDS_PHONE, Packet, dissect, write
from transport.cell_broadcast import (
    SECURED_DATA_DOWNLOAD,
    UNSECURED_DATA_DOWNLOAD,
    GeographicScope,
    SerialNumber,
    blocks,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transport.cell_broadcast import Page

# Letters alone: tshark shows 8-bit content as text, which a zero would end.
PACKET = bytes(0x41 + number % 26 for number in range(2 * 82 + 40))
SERIAL = SerialNumber(scope=GeographicScope.PLMN, code=0x155, update=9)
SECURED = "Message ID reserved for Cell Broadcast Data Download (secured) to the SIM"
UNSECURED = "Message ID reserved for Cell Broadcast Data Download (unsecured) to the SIM"


def tshark_reads(
    path: Path, packets: Sequence[Packet], fields: Sequence[str], *, protocol: str = "gsm_cbs"
) -> list[dict[str, str]]:
    """Return what tshark finds of *fields*, having found nothing malformed and nothing to complain of."""
    complaints = ["_ws.malformed", "_ws.expert.message"]
    rows = dissect(write(path / "cb.pcap", packets), ["frame.protocols", *complaints, *fields])
    assert {row[complaint] for row in rows for complaint in complaints} == {""}
    assert rows[-1]["frame.protocols"].endswith(protocol)
    return [{field: row[field] for field in fields} for row in rows]


def page_packets(pages: Sequence[Page]) -> list[Packet]:
    """Return *pages* for a capture."""
    return [Packet("gsm_cbs", TOWARDS_PHONE, page.encode()) for page in pages]


def test_tshark_dissects_pages(tmp_path: Path) -> None:
    """Tshark finds in each page the serial number in its parts, the identifier and the place."""
    found = tshark_reads(
        tmp_path,
        page_packets(split(PACKET, SERIAL, 0x1080)),
        [
            "gsm_cbs.serial_number",
            "gsm_cbs.geographic_scope",
            "gsm_cbs.message_code",
            "gsm_cbs.update_number",
            "gsm_cbs.message-identifier",
            "gsm_cbs.current_page",
            "gsm_cbs.total_pages",
        ],
    )
    assert [list(row.values()) for row in found] == [
        ["0x5559", "1", "341", "9", "4224", str(number), "3"] for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("scope", GeographicScope, ids=lambda scope: scope.name)
def test_tshark_knows_the_scopes(tmp_path: Path, scope: GeographicScope) -> None:
    """Each scope is the number that tshark reads."""
    serial = SerialNumber(scope=scope, code=0)
    found = tshark_reads(tmp_path, page_packets(split(PACKET, serial, 0x1080)), ["gsm_cbs.geographic_scope"])
    assert {row["gsm_cbs.geographic_scope"] for row in found} == {str(int(scope))}


def test_tshark_reassembles_pages(tmp_path: Path) -> None:
    """Tshark puts the pages together, in any order, to the packet that we cut."""
    first, second, third = page_packets(split(PACKET, SERIAL, 0x1080))
    fields = ["gsm_cbs.fragment.count", "gsm_cbs.message_content"]
    found = tshark_reads(tmp_path, [second, third, first], fields)
    assert [row["gsm_cbs.fragment.count"] for row in found] == ["", "", "3"]
    assert found[-1]["gsm_cbs.message_content"] == PACKET.decode()


def test_tshark_reads_blocks(tmp_path: Path) -> None:
    """Tshark takes the four block types for what they are and joins the blocks to the page."""
    (page,) = split(PACKET[:80], SERIAL, 0x1080)
    fields = ["gsm_cbch.block_type.lpd", "gsm_cbch.block_type.lb", "gsm_cbch.block_type.seq_num"]
    fields += ["gsm_cbch.fragment.count", "gsm_cbs.serial_number", "gsm_cbs.page_content"]
    packets = [Packet("gsm_cbch", TOWARDS_PHONE, block) for block in blocks(page)]
    found = tshark_reads(tmp_path, packets, fields, protocol="gsm_cbch:gsm_cbs")
    assert [list(row.values()) for row in found] == [
        *(["1", "0", str(number), "", "", ""] for number in range(3)),
        ["1", "1", "3", "4", "0x5559", PACKET[:80].decode()],
    ]


def test_pycrate_has_no_other_use_for_our_identifiers() -> None:
    """The identifiers for cards are none of those that pycrate has names for."""
    assert set(CBS_MessageId_dict).isdisjoint({*SECURED_DATA_DOWNLOAD, *UNSECURED_DATA_DOWNLOAD})
