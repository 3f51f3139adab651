"""Wireshark's dissector takes our PDUs apart, finds in them what we put there, and every checksum correct.

Before Wireshark 4.2 the dissector has no name that an exported PDU could ask for. So the PDUs stand in UDP
datagrams, and a preference says what is on their ports.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.transport.captures import FROM_PHONE, TOWARDS_PHONE, Packet, dissect, write
from tests.transport.cat_tp_kit import DOWN, MODULE_PORT, SERVER_PORT, UP, Network, open_pair
from tests.transport.vectors import load
from transport.cat_tp import MAX_EXTENDED, MAX_IDENTIFICATION, Flags, Pdu, Synchronisation

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = {"syn": 0x80, "ack": 0x40, "eak": 0x20, "rst": 0x10, "nul": 0x08, "seg": 0x04}
NUMBERS = ("srcport", "dstport", "seq", "ack", "windowsize", "datalen")
CORRECT = "1"
# Without an IP header nobody can check a UDP checksum; only 0, for none, would be worth a remark.
UDP_CHECKSUM = 0xFFFF


@pytest.fixture(autouse=True)
def _dissect_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tshark look for CAT_TP on the UDP ports that ``read`` uses."""
    (tmp_path / "decode_as_entries").write_text(f"decode_as_entry: udp.port,{SERVER_PORT},(none),CAT-TP\n")
    monkeypatch.setenv("WIRESHARK_CONFIG_DIR", str(tmp_path))


def datagram(pdu: bytes) -> bytes:
    """Return *pdu* in a UDP datagram."""
    return struct.pack(">HHHH", MODULE_PORT, SERVER_PORT, 8 + len(pdu), UDP_CHECKSUM) + pdu


def read(path: Path, pdus: list[tuple[int, bytes]]) -> list[dict[str, str]]:
    """Return what tshark says of *pdus*, each with its direction; none is malformed or worth a remark."""
    capture = write(path / "run.pcap", [Packet("udp", direction, datagram(pdu)) for direction, pdu in pdus])
    names = (
        *NUMBERS,
        "hlen",
        "version",
        "checksum.status",
        "maxpdu",
        "maxsdu",
        "idlen",
        "rc",
        "eak",
        "iccid",
    )
    fields = [f"cattp.{name}" for name in (*names, *(f"flags.{flag}" for flag in FLAGS))]
    rows = dissect(capture, [*fields, "_ws.malformed", "_ws.expert", "frame.protocols"])
    assert len(rows) == len(pdus)
    for row in rows:
        assert row.pop("_ws.malformed") == row.pop("_ws.expert") == ""
        assert row["frame.protocols"].startswith("exported_pdu:udp:cattp")
        assert row["cattp.checksum.status"] == CORRECT
        assert row["cattp.version"] == "0x00"
    return rows


def agree(row: dict[str, str], pdu: Pdu) -> None:
    """Compare what tshark found with what *pdu* holds."""
    found = {name: int(row[f"cattp.{name}"]) for name in NUMBERS}
    assert found == {
        "srcport": pdu.source_port,
        "dstport": pdu.destination_port,
        "seq": pdu.sequence,
        "ack": pdu.acknowledgement,
        "windowsize": pdu.window,
        "datalen": len(pdu.payload),
    }
    flags = sum(bit for name, bit in FLAGS.items() if row[f"cattp.flags.{name}"] == "1")
    assert flags == pdu.flags
    assert row["cattp.rc"] == ("" if pdu.reason is None else str(int(pdu.reason)))
    assert row["cattp.eak"] == ";".join(str(number) for number in pdu.extended)
    syn = pdu.synchronisation
    expected = (
        ["", "", ""] if syn is None else [str(syn.max_pdu), str(syn.max_sdu), str(len(syn.identification))]
    )
    assert [row[f"cattp.{name}"] for name in ("maxpdu", "maxsdu", "idlen")] == expected


def test_every_kind(tmp_path: Path) -> None:
    """Each kind of PDU, and each at its longest header, is read as we wrote it."""
    octets = [bytes.fromhex(vector["octets"]) for vector in load("cat_tp")["pdu"]]
    ends: dict[str, Any] = {"source_port": 1, "destination_port": 2, "sequence": 3}
    name = Synchronisation(max_pdu=19, max_sdu=1, identification=bytes(MAX_IDENTIFICATION))
    eak = Flags.ACK | Flags.EAK
    octets += [
        Pdu(flags=Flags.SYN, synchronisation=name, **ends).encode(),
        Pdu(flags=eak, extended=tuple(range(MAX_EXTENDED)), payload=b"x", **ends).encode(),
        Pdu(flags=Flags.ACK, payload=bytes(range(256)) * 250, **ends).encode(),
    ]
    rows = read(tmp_path, [(TOWARDS_PHONE, each) for each in octets])
    for row, each in zip(rows, octets, strict=True):
        agree(row, Pdu.parse(each))
    assert rows[0]["cattp.iccid"] == "8988211000000000015F"


def test_whole_conversation(tmp_path: Path) -> None:
    """All of a conversation over a network that loses a third is dissected, from SYN to RST."""
    network = Network(seed=5, loss=0.33)
    module, server = open_pair(network)
    module.send(bytes(range(250)) * 4, network.now)
    server.send(bytes(3000), network.now)
    network.run(lambda: module.idle and server.idle)
    module.probe(network.now)
    network.run(lambda: module.idle)
    module.close(network.now)
    network.settle()
    directions = {UP: FROM_PHONE, DOWN: TOWARDS_PHONE}
    rows = read(tmp_path, [(directions[way], octets) for way, octets in network.wire])
    for row, (_, octets) in zip(rows, network.wire, strict=True):
        agree(row, Pdu.parse(octets))
    for flag in FLAGS:
        assert "1" in {row[f"cattp.flags.{flag}"] for row in rows}, flag
