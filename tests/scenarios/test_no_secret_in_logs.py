"""Nobody finds a secret in what a fleet writes, prints or says, however talkative it is and however it fails.

Whatever anybody kept secret in one eventful run (``secretive``) is searched for in every file but the
databases, in all that went over the broker, and on the screen.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from bus.frame import Bearer, Frame
from tests.scenarios.kit import cli, images, logs, spellings
from tests.scenarios.secretive import INPUT, PASSPHRASE, PASSWORD, STEPS, VARIABLE, Run, played
from tests.scenarios.secrets_kit import Search
from transport.concatenation import Reassembler
from transport.sms import SmsDeliver, SmsSubmit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bus.address import BrokerAddress


@pytest.fixture(scope="module", name="run")
def _run(broker: BrokerAddress, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the one run of this module."""
    return played(tmp_path_factory.mktemp("secretive"), broker.port)


@pytest.fixture(scope="module", name="search")
def _search(run: Run) -> Search:
    """Return a search for all secrets of the run."""
    return Search(run.every)


def rest(run: Run) -> dict[str, bytes]:
    """Return what the run wrote into files, by name: all but the databases, which are where secrets rest."""
    at_rest = {".db", ".db-wal", ".db-shm"}
    found = [path for path in run.state.rglob("*") if path.is_file() and path.suffix not in at_rest]
    return {path.name: path.read_bytes() for path in (*found, run.files[0])}


def whole_messages(tape: list[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield the short messages of the tape, put together."""
    reassembler = Reassembler()
    for topic, payload in tape:
        frame = Frame.parse(payload)
        if frame.bearer is Bearer.SMS:
            tpdu: Any = SmsDeliver if "/sms/mt/" in topic else SmsSubmit
            way = f"{frame.source}>{frame.destination}"
            whole = reassembler.receive(way, tpdu.parse(frame.pdu).user_data, 0.0)
            if whole is not None:
                yield whole.payload


# ---- the run is what it should be ------------------------------------------------------------------------


def test_the_run_was_talkative(run: Run) -> None:
    """It came to what it should but for its last step, was logged in detail, disturbed, and listened to."""
    out, complaint = run.said
    report = json.loads(run.files[0].read_text(encoding="utf-8"))
    last = f"step {len(STEPS)} invoke points: expected 2 ok, got 0 (2 refused: released)"
    missed = [sentence for step in report["steps"] for sentence in step["missed"]]
    assert (missed, report["crashes"]) == ([last], 0), complaint
    assert last in out
    events = [json.loads(line) for path in logs(run.state) for line in path.read_text().splitlines()]
    assert {event["level"] for event in events} >= {"debug", "info", "warning"}
    assert report["dropped"]
    bearers = {Frame.parse(payload).bearer for _, payload in run.tape}
    assert bearers >= {Bearer.SMS, Bearer.CELL_BROADCAST, Bearer.BIP_TCP, Bearer.BIP_UDP, Bearer.ROLE}


def test_there_are_secrets_of_every_kind(run: Run, search: Search) -> None:
    """Keys, sessions, domain keys, personal data and outputs were found where they rest, and as objects."""
    assert all(run.secrets.values())
    # What tables and images have is not what was made only: personal data, outputs, the console's key.
    assert run.secrets["tables"] & run.secrets["objects"]
    assert run.secrets["tables"] - run.secrets["objects"]
    assert run.secrets["images"] & run.secrets["objects"]
    assert len(search) > 1000


# ---- the search can find ---------------------------------------------------------------------------------


WAYS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "as they are": lambda secret: secret,
    "hexadecimal": lambda secret: secret.hex().encode(),
    "capitals": lambda secret: secret.hex().upper().encode(),
    "spaced": lambda secret: secret.hex(":").encode(),
    "one digit off": lambda secret: b"a" + secret.hex().encode(),
    "base64": base64.b64encode,
    "base64 for URLs": base64.urlsafe_b64encode,
    "base64 of more": lambda secret: base64.b64encode(b"xy" + secret),
    "decimals": lambda secret: str(list(secret)).encode(),
    "a number": lambda secret: str(int.from_bytes(secret, "big")).encode(),
    "a repr": lambda secret: repr(secret).encode(),
    "a repr in JSON": lambda secret: json.dumps({"event": "oops", "key": repr(secret)}).encode(),
    "latin text in JSON": lambda secret: json.dumps({"key": secret.decode("latin-1")}).encode(),
    "half of it": lambda secret: secret[len(secret) // 2 :].hex().encode(),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_planted_secret_is_found(way: str, run: Run, search: Search) -> None:
    """A line with a secret in it, one of each source, written in any of these ways, is found in a log."""
    log = logs(run.state)[0].read_bytes()[:20_000]
    assert search.in_lines(log) == set()
    for source in ("tables", "images", "objects"):
        secret = next(
            each for each in sorted(run.secrets[source]) if 32 <= len(each) <= 96 and len(set(each)) > 16
        )
        planted = log + b"\n" + WAYS[way](secret) + b"\n" + log[:100]
        assert secret in search.in_lines(planted)


def test_a_short_secret_is_found(search: Search) -> None:
    """What is shorter than a run of 16 octets, and what is text, is found as a whole."""
    for secret in (INPUT, PASSWORD.encode()):
        for spelling in spellings(secret):
            assert secret in search.in_lines(b"event " + spelling + b" end")


# ---- and finds nothing -----------------------------------------------------------------------------------


def test_no_file_has_a_secret(run: Run, search: Search) -> None:
    """Neither the logs nor the report have one, nor what else lies in the state directory."""
    files = rest(run)
    assert {"otafleet.jsonl", "report.json"} <= files.keys()
    assert {name: search.in_lines(octets) for name, octets in files.items()} == {
        name: set() for name in files
    }


def test_a_capture_has_what_was_typed_and_nothing_else(run: Run, search: Search) -> None:
    """What the subscriber types passes his handset, which is captured; there is no other secret in it."""
    assert INPUT in search.in_octets(run.capture)
    others = Search(part for secret in run.every for part in secret.split(INPUT))
    assert others.in_octets(run.capture) == set()


def test_no_secret_is_said(run: Run, search: Search) -> None:
    """Nothing that passed the broker has one in clear: not in a payload, nor in what parts come to."""
    assert search.in_octets(b"\n".join(payload for _, payload in run.tape)) == set()
    assert search.in_octets(b"\n".join(whole_messages(run.tape))) == set()


def test_no_secret_is_exported(run: Run, search: Search) -> None:
    """No span that a collector was sent has one."""
    assert sum(map(len, run.spans)) > 100_000
    assert search.in_octets(b"\n".join(run.spans)) == set()


def test_no_secret_is_printed(run: Run, search: Search) -> None:
    """Nothing on the screen has one."""
    assert search.in_lines("\n".join(run.said).encode()) == set()


def test_no_command_tells_one(run: Run, search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who inspects the modules, and has certificates and keys shown and exported, is told none."""
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    uas = list(images(run.state))
    commands = [("inspect", ua, "--state", run.state, *more) for ua in uas for more in ((), ("--json",))]
    for name in ("root", "bank", *uas):
        commands += [
            ("certificate", "show", run.config, name, "--json"),
            ("certificate", "export", run.config, name, "--key-only"),
            ("certificate", "export", run.config, name, "--key-only", "--purpose", "sealing"),
        ]
    commands += [("certificate", "export", run.config, name) for name in ("root", "bank")]
    told = [cli(*command) for command in commands]
    assert {code for code, _, _ in told} == {0}
    assert search.in_lines("\n".join(out for _, out, _ in told).encode()) == set()
