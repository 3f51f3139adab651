"""What ``--capture`` writes of real runs, read by others: tshark, python-pcapng, pycrate; and bad paths."""

from __future__ import annotations

from collections import Counter
from pathlib import Path  # noqa: TC003 -- a named tuple has it
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from pycrate_mobile.TS23040_SMS import (
    SMS_DELIVER,
    SMS_DELIVER_REPORT_RP_ACK,
    SMS_SUBMIT,
)

from bus.capture import Layer, address
from bus.ends import SENT
from tests.peers import need
from tests.scenarios.kit import captured, cli, fleet_of, log_events, logs, write_fleet, write_lossy
from tests.scenarios.processes import otafleet
from tests.transport.captures import complaints, dissect
from transport.bip.link import HEADER_OCTETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.scenarios.kit import Captured

CHECKSUM_GOOD: Final = "1"
MTI_SUBMIT: Final = 0x01
BEARERS: Final = {Layer.SMS.value: {"sms", "report"}, Layer.CAT_TP.value: {"bip-udp"}}
LINK_OCTETS: Final = {Layer.SMS.value: 0, Layer.CAT_TP.value: HEADER_OCTETS}
"""Of a message what is not in its packet: the network's own word on which connection it is."""
ALL_LAYERS: Final = {layer.value for layer in Layer}


class Run(NamedTuple):
    """A run that was captured, and where it left its state."""

    capture: Path
    config: Path
    state: Path


@pytest.fixture(scope="module", name="small")
def _small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of the small fleet, on perfect air, in one process."""
    directory = tmp_path_factory.mktemp("small")
    config, capture = write_fleet(directory), directory / "run.pcapng"
    code, said, complained = cli("up", config, "--capture", capture)
    assert (code, complained) == (0, ""), said
    return Run(capture, config, directory / "state")


@pytest.fixture(scope="module", name="lossy")
def _lossy(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of the lossy fleet, whose two cells are in a process each."""
    directory = tmp_path_factory.mktemp("lossy")
    config = write_lossy(
        directory, handsets=3, speed=80, edits=[("memory = 32768", "memory = 32768\ncells = 2")]
    )
    capture = directory / "run.pcapng"
    code, said, complained = otafleet(
        "up", config, "--workers", "2", "--capture", capture, directory=directory
    )
    assert (code, complained) == (0, ""), said
    return Run(capture, config, directory / "state")


@pytest.fixture(name="run", params=["small", "lossy"])
def _run(request: pytest.FixtureRequest) -> Run:
    """Return either run."""
    run: Run = request.getfixturevalue(request.param)
    return run


# ---- what is in it ---------------------------------------------------------------------------------------


def test_tshark_has_nothing_against_it(run: Run) -> None:
    """No packet of a whole run is malformed, and tshark's experts have neither warning nor error."""
    need("tshark")
    assert complaints(run.capture) == []


def test_every_layer_of_the_lossy_run(lossy: Run) -> None:
    """Short messages both ways, pages, APDUs and CAT_TP PDUs both ways are all there."""
    ways = {(packet.dissector.partition(".")[0], packet.uplink) for packet in captured(lossy.capture)}
    assert {name for name, _ in ways} == ALL_LAYERS
    for layer in (Layer.SMS, Layer.CAT_TP):
        assert {(layer.value, True), (layer.value, False)} <= ways


def test_tshark_reads_what_handsets_say_that_they_can(lossy: Run) -> None:
    """In a whole run every module hears once what its handset can do; to tshark it means what it does to us.

    It is the first thing that a capture has between handset and module, but for the reading of EF.DIR.
    """
    need("tshark")
    names = ("sms_data_dld_support", "cb_data_dld", "pa.send_sms", "pa.open_chan", "bip.tcp_remote")
    fields = ("gsm_sim.apdu.ins", *(f"gsm_sim.tp.{name}" for name in names), "gsm_sim.tp.num_chans")
    rows = dissect(lossy.capture, fields, only="gsm_sim")
    profiles = [row for row in rows if row["gsm_sim.apdu.ins"] == "0x10"]
    assert len(profiles) == fleet_of(lossy.config).handset_count
    expected = {f"gsm_sim.tp.{name}": "1" for name in names} | {"gsm_sim.tp.num_chans": "7"}
    for row in profiles:
        assert row == {"gsm_sim.apdu.ins": "0x10"} | expected
    assert [row["gsm_sim.apdu.ins"] for row in rows[:2]] == ["0xb2", "0x10"]


def test_each_packet_leads_to_the_log(run: Run) -> None:
    """Beside each packet tshark shows a trace that the log knows, beside a message also its span.

    An APDU goes between phone and module, and has the span of the handset's work; a page has lines at the
    level debug only.
    """
    need("tshark")
    lines = log_events(run.state)
    sent = {(each["trace_id"], each["span_id"]): each for each in lines if each["event"] == SENT}
    packets = captured(run.capture)
    comments = [packet["frame.comment"] for packet in dissect(run.capture, ("frame.comment",))]
    ids = [dict(word.split("=") for word in comment.split()) for comment in comments]
    assert {each["trace"] for each in ids} <= {each["trace_id"] for each in lines if "trace_id" in each}
    met: Counter[tuple[str, str]] = Counter()
    for packet, named in zip(packets, ids, strict=True):
        if packet.dissector not in {Layer.SMS.value, Layer.CAT_TP.value}:
            continue
        line = sent[named["trace"], named["span"]]
        assert (line["direction"] == "up") == packet.uplink
        assert line["bearer"] in BEARERS[packet.dissector]
        assert line["octets"] - len(packet.pdu) == LINK_OCTETS[packet.dissector]
        met[line["bearer"], line["direction"]] += 1
    assert set(met) >= {("sms", "down"), ("sms", "up"), ("report", "up")}
    first = packets.index(next(each for each in packets if each.dissector == Layer.SMS.value))
    trace, span = ids[first]["trace"], ids[first]["span"]
    wanted = f'frame.comment contains "trace={trace[:16]}" and frame.comment contains "span={span}"'
    found = dissect(run.capture, ("frame.number",), only=wanted)
    assert str(first + 1) in {packet["frame.number"] for packet in found}


PARTS: Final = (
    "_ws.col.Protocol",
    "gsm_sms.udh.mm.msg_part",
    "gsm_sms.udh.mm.msg_parts",
    "gsm_sms.reassembled.length",
    "_ws.col.Info",
)


def test_tshark_reassembles_short_messages(small: Run) -> None:
    """On perfect air every last part of a concatenated message completes it, on the air and in the card."""
    need("tshark")
    packets = dissect(small.capture, PARTS)
    last = [packet for packet in packets if packet["gsm_sms.udh.mm.msg_parts"] and is_last(packet)]
    assert len(last) > 10
    for packet in last:
        assert packet["gsm_sms.reassembled.length"]
        assert "Reassembled" in packet["_ws.col.Info"]
    whole = [packet for packet in packets if packet["gsm_sms.reassembled.length"]]
    assert len(whole) == len(last)


def is_last(packet: Mapping[str, str]) -> bool:
    """Say whether tshark found the last part of a message."""
    return packet["gsm_sms.udh.mm.msg_part"] == packet["gsm_sms.udh.mm.msg_parts"]


def test_tshark_reassembles_on_bad_air(lossy: Run) -> None:
    """Parts that come twice, late or again do not keep tshark from any kind of message."""
    need("tshark")
    packets = dissect(lossy.capture, PARTS)
    whole = [packet for packet in packets if "Reassembled" in packet["_ws.col.Info"]]
    assert len(whole) >= 3 * 3, "each of three handsets has three reservations, if nothing else"
    assert not [packet for packet in packets if "Illegal" in packet["_ws.col.Info"]]


def test_tshark_calls_every_cat_tp_checksum_correct(lossy: Run) -> None:
    """All CAT_TP PDUs, also those that were sent again, have the checksum that tshark computes."""
    need("tshark")
    packets = dissect(lossy.capture, ("cattp.checksum.status", "cattp.bad_checksum", "cattp.flags"))
    cat_tp = [packet for packet in packets if packet["cattp.flags"]]
    assert len(cat_tp) == sum(packet.dissector == Layer.CAT_TP.value for packet in captured(lossy.capture))
    assert len(cat_tp) > 30
    assert {(packet["cattp.checksum.status"], packet["cattp.bad_checksum"]) for packet in cat_tp} == {
        (CHECKSUM_GOOD, "")
    }


def test_parts_of_processes_become_one(lossy: Run) -> None:
    """Each process writes a part; at the end there is one file, in order of time, and the parts are gone."""
    names = {path.name for path in lossy.capture.parent.iterdir()}
    assert {name for name in names if "pcapng" in name} == {"run.pcapng"}
    assert {path.name for path in logs(lossy.state)} >= {"handsets-1.jsonl", "handsets-2.jsonl"}
    need("tshark")
    packets = dissect(lossy.capture, ("frame.time_epoch", "_ws.col.Source", "_ws.col.Destination"))
    times = [float(packet["frame.time_epoch"]) for packet in packets]
    assert times == sorted(times)
    ends = {packet[name] for packet in packets for name in ("_ws.col.Source", "_ws.col.Destination")}
    assert {str(address(ua)) for ua, _ in fleet_of(lossy.config).handset_addresses()} <= ends


def pycrate_kind(packet: Captured) -> type[Any]:
    """Return what pycrate calls the TPDU in *packet*: the direction tells what its type cannot."""
    if not packet.uplink:
        kind: type[Any] = SMS_DELIVER
    elif packet.pdu[0] & 0x03 == MTI_SUBMIT:
        kind = SMS_SUBMIT
    else:
        kind = SMS_DELIVER_REPORT_RP_ACK
    return kind


def test_pycrate_reads_every_short_message(run: Run) -> None:
    """Pycrate decodes each TPDU of the run, and writes the same octets of what it read."""
    kinds = set()
    for packet in captured(run.capture):
        if packet.dissector == Layer.SMS.value:
            kind = pycrate_kind(packet)
            message = kind()
            message.from_bytes(packet.pdu)
            assert message.to_bytes() == packet.pdu
            kinds.add(kind)
    assert kinds == {SMS_DELIVER, SMS_DELIVER_REPORT_RP_ACK, SMS_SUBMIT}


# ---- what cannot be written ------------------------------------------------------------------------------


def test_capture_in_a_missing_directory(tmp_path: Path) -> None:
    """A capture that has no directory is an error of the command line: exit code 2, nothing starts."""
    path = tmp_path / "missing" / "run.pcapng"
    code, said, complained = cli("up", write_fleet(tmp_path), "--capture", path)
    assert (code, said) == (2, "")
    assert complained == f"{path}: cannot write the capture: there is no directory {path.parent}\n"
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("path", ["apps", "/dev/full"], ids=["a-directory", "a-full-disk"])
def test_capture_that_cannot_be_written(path: str, tmp_path: Path) -> None:
    """A path that cannot be written ends the launch with exit code 1 and a sentence; the next one runs."""
    if not (tmp_path / path).exists() and path.startswith("/"):
        pytest.skip(f"there is no {path}")
    config = write_fleet(tmp_path)
    code, said, complained = cli("up", config, "--capture", tmp_path / path)
    assert (code, said) == (1, "")
    (sentence,) = complained.splitlines()
    assert sentence.startswith(f"{tmp_path / path}: cannot write the capture: ")
    code, _, complained = cli("up", config, "--capture", tmp_path / "run.pcapng")
    assert (code, complained) == (0, "")
    assert captured(tmp_path / "run.pcapng")
