"""Reports on campaigns on their way from a module to its supplier, and what else comes to the same door."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from agents.messages.air import Invoke
from agents.messages.campaign_reports import Outcome, Said, sign_report
from agents.messages.codec import MAX_MESSAGE_OCTETS, encode
from agents.module_reports import Tally
from agents.supplier import Supplier
from bus.frame import Bearer, Frame
from bus.topics import ShortMessageFrom
from tests.agents.role_kit import SUBJECTS, TRACE, offer, programme
from transport.concatenation import split
from transport.diffusion import report_keys, seal_report
from transport.secured_packet import SecurityParameters, encode_command
from transport.security.domain_key import DomainKey
from transport.security.suites import SUITES
from transport.security.terms import DOMAIN_SYMMETRIC
from transport.sms import IEI_COMMAND_PACKET, Address, InformationElement, SmsSubmit

if TYPE_CHECKING:
    from tests.agents.role_kit import Kit
    from transport.secured_packet import PacketKeys

SERVICE: Final = "silent"
COMMAND: Final = InformationElement(iei=IEI_COMMAND_PACKET, data=b"")
FOREIGN: Final = SUITES["x25519"].generate_signing_key(random.Random(4).randbytes)


class Door:
    """The supplier's number, where whoever has a handset may send what he likes."""

    def __init__(self, kit: Kit, tar: bytes, keys: PacketKeys) -> None:
        self.kit = kit
        self.tar = tar
        self.keys = keys
        self._sent = 0

    async def send(self, octets: bytes) -> None:
        """Send a command packet from the first handset's number."""
        self._sent += 1
        number = SUBJECTS["bank"][2]
        topic = ShortMessageFrom(fleet=self.kit.fleet, address=number)
        for part, user_data in enumerate(split(octets, reference=self._sent, first=COMMAND)):
            submit = SmsSubmit(reference=self._sent, destination=Address(digits=number), user_data=user_data)
            frame = Frame(
                bearer=Bearer.SMS,
                source=self.kit.ua(),
                destination=number,
                pdu=submit.encode(),
                reference=bytes(6) + bytes((self._sent, part)),
                trace=TRACE,
                sent_at=0.0,
            )
            await self.kit.clients["tap"].publish(topic, frame)

    def sealed(self, data: bytes) -> bytes:
        """Return a packet under the domain's keys."""
        return seal_report(data, tar=self.tar, keys=self.keys)

    async def is_refused(self, octets: bytes, reason: str) -> None:
        """Send it; return when it is dropped for that reason. Nothing has been counted then."""
        before = self.kit.counters.drops(reason)
        await self.send(octets)
        await self.kit.counters.until_dropped(reason, before + 1)
        bank = self.kit.roles["bank"]
        assert isinstance(bank, Supplier)
        assert bank.reports.tally(SERVICE, 1) == Tally()


@pytest.fixture
async def door(kit: Kit) -> Door:
    """Return the door of a supplier with a global service, which a module holds."""
    silent = offer(SERVICE, backend="none", code=programme(SERVICE), data_size=16)
    kit.offers["bank"] = [replace(silent, forms=(DOMAIN_SYMMETRIC,), logic_name="points", custody="supplier")]
    await kit.start("root", "factory", "mno", "bank")
    await kit.handset()
    await kit.agree(SERVICE)
    await kit.take("personalise", "subscribe", "reserve", "activate", service=SERVICE)
    with sqlite3.connect(kit.directory / "bank.db") as database:
        [(tar, domain_key)] = database.execute("SELECT tar, domain_key FROM services").fetchall()
    database.close()
    return Door(kit, tar, report_keys(DomainKey.load(domain_key)))


async def test_what_comes_under_the_right_keys_and_is_no_report(door: Door) -> None:
    """One of the domain sends what he likes: each is dropped for its reason, and the supplier goes on."""
    ua, said = door.kit.ua(), Said(1, 1, 1, int(Outcome.LOADED), "")
    forged = encode(sign_report(said, ua=ua, supplier="bank", tar=door.tar, key=FOREIGN))
    for data, reason in (
        (b"", "not-msgpack"),
        (random.Random(1).randbytes(90), "not-msgpack"),
        (encode(Invoke(argument=b"x")), "unexpected-message"),
        (forged, "unknown-campaign"),
        (forged[:-1], "not-msgpack"),
    ):
        await door.is_refused(door.sealed(data), reason)
    await door.is_refused(encode_command(spi=SecurityParameters(), tar=door.tar, data=forged), "unprotected")
    await door.kit.take("serve", service=SERVICE)


async def test_what_comes_under_other_keys_is_not_opened(door: Door) -> None:
    """Altered, under no keys of the service's, or for a TAR that has none: dropped before it is read."""
    octets = door.sealed(b"hello")
    await door.is_refused(octets[:-1] + bytes((octets[-1] ^ 1,)), "checksum")
    await door.is_refused(octets[:7] + b"\xb2\x07\x07" + octets[10:], "kic")
    await door.kit.take("serve", service=SERVICE)


async def test_a_report_that_is_too_long_is_not_read(door: Door) -> None:
    """More octets than any message has are not even unpacked."""
    await door.is_refused(door.sealed(bytes(MAX_MESSAGE_OCTETS + 1)), "too-large")
    await door.kit.take("serve", service=SERVICE)
