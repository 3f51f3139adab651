"""Whoever listens to everything, or reads the logs, learns no secret of anybody's.

The secrets are read from where they rest, the databases of one recorded run of both services, and looked for
in every payload that passed the broker, in every message put together from its parts, and in every log file.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from agents.backends import KEY_OCTETS
from agents.handset.security_module.core import Identity
from agents.handset.security_module.definitions import DefinitionTable
from agents.handset.security_module.memory import Memory, Record
from agents.messages.codec import decode
from bus.frame import Bearer, Frame
from tests.scenarios.kit import fleet_of, images, logs, rows, spellings
from transport.concatenation import Reassembler
from transport.security.keyset import SessionKeys
from transport.sms import SmsDeliver, SmsSubmit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.scenarios.conftest import Recording

WINDOW: Final = 16
"""So many octets in a row are no accident."""
SHORTEST: Final = 8
"""What is shorter (an opening balance of no points) is found anywhere."""
UNUSED: Final = {Bearer.CELL_BROADCAST, Bearer.NOTICE, Bearer.BIP_TCP, Bearer.BIP_UDP}
"""Bearers of which the small fleet has nothing: its services are reached by short messages alone."""
ROLES: Final = ("root", "personaliser.root", "mno", "bank", "shop")


def windows(octets: bytes) -> set[bytes]:
    """Return every run of WINDOW octets."""
    return {octets[at : at + WINDOW] for at in range(len(octets) - WINDOW + 1)}


# ---- what nobody may learn -------------------------------------------------------------------------------


def code(recording: Recording) -> list[bytes]:
    """Return the applications that were loaded."""
    config = fleet_of(recording.config)
    return [config.programme(service).code for service in config.offers]


def personal(recording: Recording) -> list[bytes]:
    """Return the account numbers, and the keys beside them."""
    found = [row["personal"] for row in rows(recording.state, "bank", "resources")]
    return [part for data in found for part in (data[:KEY_OCTETS], data[KEY_OCTETS:])]


def session_keys(recording: Recording) -> list[bytes]:
    """Return the keys of every session there was, as the suppliers and the modules kept them."""
    kept = [SessionKeys.load(octets) for octets in recording.sessions]
    ways = [way for keys in kept for way in (keys.to_module, keys.from_module)]
    of_suppliers = [key for way in ways for key in (way.cipher_key, way.mac_key)]
    records = [
        definition.session
        for image in images(recording.state).values()
        for definition in DefinitionTable(Memory.boot(bytes(image))).all()
    ]
    loaded = [SessionKeys.load(record.keys) for record in records if record]
    of_modules = [
        key
        for keys in loaded
        for way in (keys.to_module, keys.from_module)
        for key in (way.cipher_key, way.mac_key)
    ]
    assert set(of_modules) <= set(of_suppliers), "the two ends of a session hold other keys"
    return of_suppliers


def private_keys(recording: Recording) -> list[bytes]:
    """Return the private keys of all roles and all modules, and the console's key."""
    of_roles = [row["private_key"] for role in ROLES for row in rows(recording.state, role, "own_keys")]
    records = [image.get_record(Record.IDENTITY) for image in images(recording.state).values()]
    of_modules = [decode(record, Identity).private for record in records if record]
    settings = {row["key"]: row["value"] for row in rows(recording.state, "fleet", "settings")}
    return [*of_roles, *of_modules, settings["console-key"]]


def used(recording: Recording) -> list[bytes]:
    """Return what went into the applications and what came out of them."""
    steps = fleet_of(recording.config).steps
    inputs = [step.input_octets(number) for number, step in enumerate(steps, 1)]
    outputs = [row["output"] for row in rows(recording.state, "fleet", "step_results")]
    return [octets for octets in (*inputs, *outputs) if len(octets) >= SHORTEST]


def secrets(recording: Recording) -> list[bytes]:
    """Return them all, the applications aside."""
    kinds = (personal, session_keys, private_keys, used)
    found = [secret for kind in kinds for secret in kind(recording)]
    assert min(map(len, found)) >= SHORTEST
    return found


# ---- what there was to hear ------------------------------------------------------------------------------


def messages(recording: Recording) -> Iterator[bytes]:
    """Yield every short message of the tape, whole."""
    reassembler = Reassembler()
    for topic, payload in recording.tape:
        frame = Frame.parse(payload)
        if frame.bearer is Bearer.SMS:
            tpdu = SmsDeliver if "/sms/mt/" in topic else SmsSubmit
            whole = reassembler.receive(
                f"{frame.source}>{frame.destination}", tpdu.parse(frame.pdu).user_data, 0.0
            )
            if whole is not None:
                yield whole.payload


@pytest.fixture(scope="module", name="heard")
def _heard(recording: Recording) -> list[bytes]:
    """Return everything that an eavesdropper has, short messages also put together from their parts."""
    return [*(payload for _, payload in recording.tape), *messages(recording)]


def overheard(looked_for: Iterable[bytes], heard: Iterable[bytes]) -> set[bytes]:
    """Return the runs of WINDOW octets of what is looked for that are somewhere in what was heard."""
    wanted = {window for octets in looked_for for window in windows(octets)}
    return {window for octets in heard for window in windows(octets) & wanted}


def test_the_tap_heard_the_run(recording: Recording, heard: list[bytes]) -> None:
    """What the tap recorded is the whole run: as many messages of each bearer as the report counts."""
    assert recording.report.ok
    assert recording.report.dropped == {}
    counted = Counter(str(Frame.parse(payload).bearer) for _, payload in recording.tape)
    sent = {name: bearer.messages for name, bearer in recording.report.bearers.items()}
    assert sent == {name: counted[name] for name in sent}
    assert counted.keys() == {str(bearer) for bearer in set(Bearer) - UNUSED}
    assert len(heard) > len(recording.tape)


def test_what_is_public_is_found(recording: Recording, heard: list[bytes]) -> None:
    """The same search does find what travels in clear: the suppliers' public keys in the reservations."""
    agreed = [row["public_key"] for row in rows(recording.state, "mno", "agreements")]
    for public in agreed:
        assert windows(public) <= overheard([public], heard)


def test_no_application_is_overheard(recording: Recording, heard: list[bytes]) -> None:
    """No sixteen octets in a row of an application pass in clear."""
    assert all(len(programme) > WINDOW for programme in code(recording))
    assert overheard(code(recording), heard) == set()


@pytest.mark.parametrize("kind", [personal, session_keys, private_keys, used])
def test_no_secret_is_overheard(
    kind: Callable[[Recording], list[bytes]], recording: Recording, heard: list[bytes]
) -> None:
    """No account number, personal datum, session key, private key or output passes in clear or spelt out."""
    found = kind(recording)
    assert found
    for secret in set(found):
        for spelling in spellings(secret):
            assert not any(spelling in octets for octets in heard)


def test_no_secret_is_logged(recording: Recording) -> None:
    """No log file has a secret in it, spelt in any way, though everything was logged in detail."""
    files = logs(recording.state)
    text = b"\n".join(path.read_bytes() for path in files)
    assert b'"event": "fleet.launched"' in text
    for secret in set(secrets(recording)):
        for spelling in spellings(secret):
            assert spelling not in text


def test_no_application_is_logged(recording: Recording) -> None:
    """No log file has sixteen octets in a row of an application, spelt in hexadecimal or as they are."""
    text = b"\n".join(path.read_bytes() for path in logs(recording.state)).lower()
    for window in {window for programme in code(recording) for window in windows(programme)}:
        assert window.hex().encode() not in text
        assert window.lower() not in text


def test_the_operator_holds_nothing_of_the_suppliers(recording: Recording) -> None:
    """The operator's and the authority's databases hold no application, no personal data, no session key."""
    kept = b"".join(
        path.read_bytes()
        for role in ("mno", "root", "personaliser.root")
        for path in recording.state.glob(f"{role}.db*")
    )
    of_suppliers = [*code(recording), *personal(recording), *session_keys(recording)]
    for secret in set(of_suppliers):
        assert secret[:WINDOW] not in kept
