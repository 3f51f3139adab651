"""Who shares a house: the three configs of it, each played from first to last, and what that left where."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.fleet.houses import allocator_of, authorities_of, authority_of, personalizer_of
from agents.freshness import References
from agents.handset.security_module.core import Identity
from agents.handset.security_module.memory import Record
from agents.link_sealed import QUESTION, REPLY
from agents.messages.air import Announce, Compact
from agents.messages.codec import decode, encode
from agents.messages.inside import REPLIES, REQUESTS, LookUp, Manage
from agents.messages.signed import Signed
from bus.clock import SystemClock
from bus.frame import Bearer, Frame
from bus.topics import Inbox
from tests.scenarios.kit import (
    CONFIGS,
    Moments,
    cli,
    ends,
    fleet_of,
    images,
    log_events,
    modules,
    play,
    rows,
)
from tests.scenarios.processes import killed
from tests.scenarios.stranger import Wiretap, frame, say
from transport.concatenation import Reassembler
from transport.errors import SealRejected
from transport.secured_packet import decode_command
from transport.security import sealing
from transport.security.suites import SUITES
from transport.sms import SmsDeliver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agents.fleet.config import FleetConfig
    from agents.fleet.report import Report
    from agents.messages.inside import Request

OWN, ALLOCATED, TWO = "own-authority", "allocator", "two-operators"
SUPPLIERS: Final = {"bank": "red", "shop": "blue", "metro": "blue"}
"""Of the two operators' fleet: whose supplier each is."""
BLOCK: Final = 11
"""The index of the step in which the allocator is first asked to block something."""
KILLS: Final = (("change", 110), ("published", 110))
"""In the middle of the reservations, and of what comes behind them: see ``mortal``."""


def shipped(name: str, directory: Path) -> Path:
    """Return a copy of a config that we ship, with its state in *directory*."""
    shutil.copytree(CONFIGS / "apps", directory / "apps")
    text = (CONFIGS / f"{name}.toml").read_text()
    line = f'name = "{name}"\n'
    assert line in text
    path = directory / f"{name}.toml"
    path.write_text(text.replace(line, f'{line}state = "{directory / "state"}"\n', 1))
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One run of a config, listened to."""

    config: FleetConfig
    state: Path
    report: Report
    tape: list[tuple[str, bytes]] = field(repr=False)

    def addresses(self, operator: str) -> set[str]:
        """Return the UAs of an operator's modules."""
        groups = [group.name for group in self.config.handsets if group.operator == operator]
        return {ua for ua, group in self.config.handset_addresses() if group in groups}

    def roles(self) -> list[str]:
        """Return the name of every role that has a database."""
        return sorted(path.stem for path in self.state.glob("*.db") if path.stem not in {"fleet", "modules"})

    def octets(self, role: str) -> bytes:
        """Return everything that a role has on disk."""
        return b"".join(path.read_bytes() for path in sorted(self.state.glob(f"{role}.db*")))

    def identities(self) -> dict[str, Identity]:
        """Return what every module knows of itself and of whose it is, by UA."""
        records = {ua: image.get_record(Record.IDENTITY) for ua, image in images(self.state).items()}
        return {ua: decode(record or b"", Identity) for ua, record in records.items()}

    def frames(self, bearer: Bearer) -> Iterator[Frame]:
        """Yield what passed on a bearer, in its order."""
        frames = (Frame.parse(payload) for _, payload in self.tape)
        return (each for each in frames if each.bearer is bearer)

    def commands(self, numbers: set[str]) -> Iterator[tuple[str, str, Signed]]:
        """Yield each signed command from these *numbers*: the module's UA, the number, what was signed."""
        reassembler = Reassembler()
        for each in self.frames(Bearer.SMS):
            if each.source in numbers:
                tpdu = SmsDeliver.parse(each.pdu)
                whole = reassembler.receive(f"{each.source}>{each.destination}", tpdu.user_data, 0.0)
                if whole is not None:
                    packet = decode_command(whole.payload)
                    yield each.destination, each.source, decode(packet.data, Signed)


def own_key(state: Path, role: str, purpose: str) -> Any:
    """Return one of a role's own private keys."""
    (kept,) = (row for row in rows(state, role, "own_keys") if row["purpose"] == purpose)
    suite = SUITES[kept["suite"]]
    load = suite.load_signing_key if purpose == "signing" else suite.load_sealing_key
    return load(kept["private_key"])


def run(name: str, directory: Path, **moments: Any) -> Played:
    """Play a config that we ship, and listen."""
    path = shipped(name, directory)
    with Wiretap(name) as tap:
        report = play(path, progress=Moments(broker=tap.open, **moments), ended=tap.catch_up)
    return Played(config=fleet_of(path), state=directory / "state", report=report, tape=tap.tape)


@pytest.fixture(scope="module", name="own")
def _own(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Return a run of the operator that is its own authority."""
    return run(OWN, tmp_path_factory.mktemp(OWN))


@pytest.fixture(scope="module", name="allocated")
def _allocated(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Return a run with an allocator, beside an operator without one."""
    return run(ALLOCATED, tmp_path_factory.mktemp(ALLOCATED))


@pytest.fixture(scope="module", name="two")
def _two(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Return a run of two operators and three suppliers."""
    return run(TWO, tmp_path_factory.mktemp(TWO))


def check_story(report: Report) -> None:
    """Check that a run was what its config expects, all of which expects something, and nothing besides."""
    assert (report.missed, report.faults) == ((), ())
    assert all(step.expected for step in report.steps)
    assert (report.dropped, report.crashes, report.dead_letters) == ({}, 0, 0)


# ---- an operator that is its own authority ---------------------------------------------------------------


def test_an_operator_that_is_its_own_authority(own: Played) -> None:
    """The whole story; registry and factory are named after it, and there is no other authority."""
    check_story(own.report)
    assert own.roles() == ["authority.mno", "bank", "mno", "personaliser.mno", "shop"]
    assert {row["operator"] for row in rows(own.state, "authority.mno", "modules")} == {"mno"}


def test_house_mates_have_keys_of_their_own(own: Played) -> None:
    """No key of operator, registry and factory is another's; a module has the two that it needs apart."""
    keys = [
        row["private_key"]
        for role in ("mno", "authority.mno", "personaliser.mno")
        for row in rows(own.state, role, "own_keys")
    ]
    assert len(set(keys)) == len(keys)
    for identity in own.identities().values():
        assert (identity.authority, identity.operator, identity.allocator) == ("authority.mno", "mno", "")
        assert identity.authority_public == own_key(own.state, "authority.mno", "signing").public
        assert identity.operator_public == own_key(own.state, "mno", "signing").public


def test_the_names_in_a_house(own: Played, two: Played) -> None:
    """What a config leaves unsaid follows from it, and nobody can have given a role such a name."""
    assert [each.name for each in authorities_of(own.config)] == ["authority.mno"]
    assert [each.suite for each in authorities_of(own.config)] == ["p256"]
    assert [each.name for each in authorities_of(two.config)] == ["root"]
    assert {authority_of(each) for each in two.config.operators} == {"root"}
    assert personalizer_of("authority.mno") == "personaliser.mno"
    assert personalizer_of("root") == "personaliser.root"
    assert allocator_of(two.config, "red") is None


# ---- an allocator ----------------------------------------------------------------------------------------


def test_an_allocator_in_an_operators_place(allocated: Played) -> None:
    """The whole story; hosted modules obey the allocator's key, the others their operator's."""
    check_story(allocated.report)
    hosted = allocated.addresses("mvno")
    shown = modules(allocated.state)
    for ua, identity in allocated.identities().items():
        assert (shown[ua]["operator"], shown[ua]["allocator"]) == (
            identity.operator,
            identity.allocator or None,
        )
        said = cli("inspect", ua, "--state", allocated.state)[1]
        assert ("It obeys host, in the place of mvno" in said) == (ua in hosted)
        commander = "host" if ua in hosted else "mno"
        assert identity.operator_public == own_key(allocated.state, commander, "signing").public
        assert identity.allocator == ("host" if ua in hosted else "")
        assert identity.operator == ("mvno" if ua in hosted else "mno")


def test_commands_come_from_the_allocator_alone(allocated: Played) -> None:
    """On the air each command to a hosted module has its number and name; turns have no gap and no rival."""
    hosted = allocated.addresses("mvno")
    seen: dict[str, list[int]] = {}
    for ua, number, signed in allocated.commands({"15550100", "15550110", "15550120"}):
        expected = ("15550110", "host") if ua in hosted else ("15550120", "mno")
        assert (number, signed.signer) == expected
        seen.setdefault(ua, []).append(signed.counter)
    assert seen.keys() == hosted | allocated.addresses("mno")
    for counters in seen.values():
        assert all(later == earlier + 1 for earlier, later in pairwise(counters))
    turns = {row["target"]: row["turn"] for row in rows(allocated.state, "host", "commands")}
    books = {row["ua"]: row["command_counter"] for row in rows(allocated.state, "mvno", "modules")}
    assert {ua: turns[ua] for ua in books} == books == {ua: seen[ua][-1] for ua in hosted}


def test_the_allocator_learns_no_more_than_it_must(allocated: Played) -> None:
    """On its disk are its last commands, and no module of another operator, nor an agreement."""
    kept = allocated.octets("host")
    assert not any(ua.encode() in kept for ua in allocated.addresses("mno"))
    assert all(ua.encode() in kept for ua in allocated.addresses("mvno"))
    account, loyalty = (rows(allocated.state, name, "agreements") for name in ("mno", "mvno"))
    assert not any(row["public_key"] in kept for row in account)
    assert b"15550200" not in kept
    assert {row["service"] for row in loyalty} == {"loyalty", "large"}
    for supplier in ("shop", "bank"):
        assert b"15550110" not in allocated.octets(supplier)


def sealed(state: Path, message: Request, *, sender: str, to: str) -> tuple[str, bytes]:
    """Return a question that *sender* seals with its own key, as it would if it were the attacker."""
    recipient = own_key(state, to, "sealing")
    serial = References(SystemClock(), os.urandom).next()
    octets = sealing.seal(
        encode(message),
        context=QUESTION,
        sender=sender,
        sender_key=own_key(state, sender, "signing"),
        recipient=to,
        recipient_public=recipient.public,
        recipient_suite=recipient.suite,
        serial=serial,
    )
    made = replace(frame(Bearer.ROLE, sender, to, octets), reference=serial)
    return Inbox(fleet=ALLOCATED, agent=to).path, made.encode()


def refusals(state: Path, agent: str) -> Counter[str]:
    """Return how often *agent* refused a question, by reason."""
    events = (each for each in log_events(state) if each["event"] == "question.refused")
    return Counter(each["reason"] for each in events if each["agent"] == agent)


def test_nobody_else_has_the_allocator_work_for_him(tmp_path: Path) -> None:
    """Who is not its operator and asks with keys of his own is refused; what was recorded changes nothing.

    Nor does the authority tell it of another operator's module. What is said again is answered again, to
    someone who does not wait for it any more.
    """
    path = shipped(ALLOCATED, tmp_path)
    state = tmp_path / "state"
    strangers = ("bank", "shop", "mno", "personaliser.root", "root")

    def attack() -> None:
        tap.catch_up()
        recorded = tap.heard("role/host")
        assert recorded
        (ua, *_) = sorted(row["target"] for row in rows(state, "host", "commands"))
        asks = Manage(target=ua, turn=99, body=encode(Compact()), groups=[])
        everybody = replace(asks, target="all", body=encode(Announce(time=1 << 39)))
        forgeries = [
            sealed(state, message, sender=sender, to="host")
            for sender in strangers
            for message in (asks, everybody)
        ]
        (alien, *_) = sorted(row["ua"] for row in rows(state, "mno", "modules"))
        forgeries.append(sealed(state, LookUp(ua=alien), sender="host", to="root"))
        say(moments.port, [*recorded, *forgeries])

    with Wiretap(ALLOCATED) as tap:
        moments = Moments(broker=tap.open, started={BLOCK: attack})
        report = play(path, progress=moments, ended=tap.catch_up)
    assert (report.missed, report.faults, report.crashes, report.dead_letters) == ((), (), 0, 0)
    assert report.dropped.keys() == {"unexpected-reply"}
    assert refusals(state, "host") == {"not-our-operator": 2 * len(strangers)}
    assert refusals(state, "root") == {"unknown-module": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="the broker of a killed run is found in /proc")
def test_killed_and_resumed(tmp_path: Path, allocated: Played) -> None:
    """Killed in every launch, both books and the modules come to the same end, and nothing is done twice."""
    path = shipped(ALLOCATED, tmp_path)
    for moment, count in KILLS:
        killed(path, moment, count)
    report = play(path)
    assert report.resumed
    assert (report.missed, report.faults, report.crashes) == ((), (), 0)
    state = tmp_path / "state"
    assert ends(state) == ends(allocated.state)
    books = {row["ua"]: row["command_counter"] for row in rows(state, "mvno", "modules")}
    turns = {row["target"]: row["turn"] for row in rows(state, "host", "commands")}
    assert {ua: turns[ua] for ua in books} == books
    # A command more for each that is ordered again without a state to find it done by: compact, audit, renew.
    before = {row["ua"]: row["command_counter"] for row in rows(allocated.state, "mvno", "modules")}
    assert all(before[ua] <= books[ua] <= before[ua] + len(KILLS) for ua in books)


# ---- two operators and three suppliers -------------------------------------------------------------------


def test_two_operators_on_one_fleet(two: Played) -> None:
    """The whole story, and both call their first service by the same TAR."""
    check_story(two.report)
    tars = {name: {row["tar"] for row in rows(two.state, name, "agreements")} for name in ("red", "blue")}
    assert tars["red"] < tars["blue"]


def strangers_values(two: Played, operator: str) -> list[bytes]:
    """Return what names or belongs to another operator's subscribers and suppliers."""
    (other,) = {"red", "blue"} - {operator}
    identities = two.identities()
    keys = [getattr(identities[ua], name) for ua in two.addresses(other) for name in ("public", "private")]
    theirs = [name for name, whose in SUPPLIERS.items() if whose == other]
    keys += [own_key(two.state, name, "signing").public for name in (*theirs, other)]
    services = [row["service"] for row in rows(two.state, other, "agreements")]
    return [*keys, *(name.encode() for name in (*two.addresses(other), *services))]


@pytest.mark.parametrize("role", ["red", "blue", *SUPPLIERS])
def test_nobody_keeps_anything_of_the_others(two: Played, role: str) -> None:
    """No database of an operator or of its suppliers has a UA, a service or a key of the other's."""
    kept = two.octets(role)
    operator = SUPPLIERS.get(role, role)
    assert all(ua.encode() in kept for ua in two.addresses(operator))
    assert not any(value in kept for value in strangers_values(two, operator))


@pytest.mark.parametrize(("role", "other"), [("shop", "metro"), ("metro", "shop")])
def test_suppliers_in_the_same_modules_know_nothing_of_each_other(two: Played, role: str, other: str) -> None:
    """They share modules and an operator; neither has the other's service, TAR or key."""
    (mine,), (theirs,) = (
        {row["tar"] for row in rows(two.state, name, "resources")} for name in (role, other)
    )
    assert mine != theirs
    kept = two.octets(role)
    (service,) = {row["service"] for row in rows(two.state, other, "resources")}
    assert service.encode() not in kept
    assert own_key(two.state, other, "signing").public not in kept


def test_a_module_knows_its_own_operator_alone(two: Played) -> None:
    """Its memory has neither the other's name nor its key nor a service of its."""
    memories = images(two.state)
    for operator in ("red", "blue"):
        values = strangers_values(two, operator)
        for ua in two.addresses(operator):
            memory = bytes(memories[ua])
            assert own_key(two.state, operator, "signing").public in memory
            assert not any(value in memory for value in values)


def opened(each: Frame, keys: dict[str, tuple[Any, Any]], reader: str, name: str) -> object | None:
    """Return what *reader* finds in a sealed frame with its own key, as *name*; None for nothing."""
    message = sealing.SealedMessage.parse(each.pdu)
    sender, _ = keys[message.sender]
    for context, expected in ((QUESTION, REQUESTS), (REPLY, REPLIES)):
        try:
            octets = sealing.open_sealed(
                message,
                context=context,
                recipient=name,
                sealing_key=keys[reader][1],
                sender_public=sender.public,
                sender_suite=sender.suite,
            )
        except SealRejected:
            continue
        found: object = decode(octets, *expected)
        return found
    return None


def test_what_is_addressed_to_one_nobody_else_can_open(two: Played) -> None:
    """Each sealed message opens for whom it is for, and for no other role, under whatever name it tries."""
    keys = {
        role: (own_key(two.state, role, "signing"), own_key(two.state, role, "sealing"))
        for role in two.roles()
    }
    frames = list(two.frames(Bearer.ROLE))
    assert {each.destination for each in frames} == set(keys)
    for each in frames:
        assert opened(each, keys, each.destination, each.destination) is not None
        for reader in set(keys) - {each.destination}:
            assert opened(each, keys, reader, reader) is None
            assert opened(each, keys, reader, each.destination) is None


def test_operators_and_suppliers_speak_to_their_own(two: Played) -> None:
    """On the inside road nobody so much as addresses a role of the other's house."""
    pairs = {frozenset({each.source, each.destination}) for each in two.frames(Bearer.ROLE)}
    assert pairs == {
        frozenset({"personaliser.root", "root"}),
        frozenset({"red", "root"}),
        frozenset({"blue", "root"}),
        *(frozenset({name, operator}) for name, operator in SUPPLIERS.items()),
    }
