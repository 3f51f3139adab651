"""``otafleet card`` in a real reader: PC/SC programs read its address, push packets, reset it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from agents.fleet.inspection import MODULES_FILE
from agents.handset.security_module.answer_to_reset import ATR
from agents.handset.security_module.definitions import Definition, DefinitionTable
from agents.messages.air import MANAGER_TAR, Block
from agents.store.database import open_store
from agents.store.pages import PageStore
from agents.store.tables import MODULES
from tests.agents.module_kit import OPERATOR_NUMBER, SERVICE, TAR, UA, Card, Market, manage
from tests.peers import need
from tests.scenarios.kit import cli, images, play
from tests.scenarios.pcsc import RESET, T0, T1, UNPOWER, Client, Daemon, PcscError, daemon
from tests.scenarios.processes import Running
from transport import apdu
from transport.apdu import CommandApdu, ResponseApdu
from transport.iccid import iccid_digits
from transport.secured_packet import (
    PorDemand,
    ResponseStatus,
    SecurityParameters,
    decode_response,
    encode_command,
)
from transport.sms.tpdu import SmsSubmit
from transport.toolkit import CommandType, ProactiveCommand, TerminalResponse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.scenarios.conftest import Recording

PROTOCOLS = pytest.mark.parametrize("protocol", [T0, T1], ids=["t0", "t1"])


@pytest.fixture(scope="session", name="reader")
def _reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon with an empty reader, as long as this process: the library asks only once where one is."""
    with daemon(tmp_path_factory.mktemp("pcscd")) as running:
        yield running


def store(card: Card, directory: Path) -> Path:
    """Make a state directory with the module of *card* in it, as a fleet leaves it; return the directory."""

    async def save() -> None:
        async with open_store(directory / MODULES_FILE, MODULES) as store:
            await PageStore(store).save(UA, card.pages.items())

    directory.mkdir(exist_ok=True)
    (directory / "lock").touch()
    asyncio.run(save())
    return directory


@contextlib.contextmanager
def inserted(reader: Daemon, state: Path, *options: str, ua: str = UA) -> Iterator[Running]:
    """Put the module into the reader, and take it out again."""
    arguments = ("card", ua, "--port", str(reader.port), "--state", str(state), *options)
    with Client() as client:
        with Running(arguments, state.parent) as process:
            process.until(f"module {ua} of {state} is in the reader at 127.0.0.1:{reader.port}; Ctrl-C")
            client.until(reader.reader, present=True)
            yield process
        client.until(reader.reader, present=False)


def over(client: Client, command: CommandApdu) -> ResponseApdu:
    """Transmit as PC/SC programs do: over T=0 without Le behind data, and following 61xx and 6Cxx."""
    octets = command.encode()
    if client.protocol == T0 and command.data and command.expected is not None:
        octets = octets[:-1]
    response = client.transmit(octets)
    if response.status & 0xFF00 == apdu.SW_EXACT_LENGTH:
        response = client.transmit(octets[:4] + bytes((response.status & 0xFF,)))
    data = response.data
    while response.remaining is not None:
        response = client.transmit(bytes((0x00, 0xC0, 0, 0, response.remaining & 0xFF)))
        data += response.data
    return ResponseApdu(data=data, status=response.status)


@dataclass(slots=True, kw_only=True)
class PcscCard(Card):
    """The handset of the module tests, with its module in a reader: every APDU goes through PC/SC."""

    client: Client
    state: Path
    came: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make no module: there is one."""

    def transmit_octets(self, command: bytes) -> ResponseApdu:
        """Give the module one APDU, over the protocol that was agreed."""
        response = over(self.client, CommandApdu.parse(command))
        self.came.append(response.status)
        return response

    def definition(self, tar: bytes = TAR) -> Definition:
        """Return what DEF says of a resource on the disk, which must have it by now."""
        found = DefinitionTable(images(self.state)[UA]).by_tar(tar)
        assert found is not None
        return found


def select_and_read_iccid(client: Client) -> str:
    """Do what every program does first."""
    select = CommandApdu(cla=0, ins=0xA4, p2=0x0C, data=bytes.fromhex("2fe2"))
    assert over(client, select).status == apdu.SW_OK
    read = over(client, CommandApdu(cla=0, ins=0xB0, expected=10))
    assert read.status == apdu.SW_OK
    return iccid_digits(read.data)


@PROTOCOLS
def test_a_program_reads_the_address(reader: Daemon, tmp_path: Path, protocol: int) -> None:
    """The reader sees our ATR, agrees on either protocol, and EF.ICCID holds the module's address."""
    state = store(Market().personalise().card, tmp_path / "state")
    with inserted(reader, state), Client() as client:
        assert client.until(reader.reader, present=True) == ATR
        client.connect(reader.reader, protocol=protocol)
        assert client.protocol == protocol
        assert select_and_read_iccid(client) == UA
        client.disconnect()


@PROTOCOLS
@pytest.mark.usefixtures("interruptible")
def test_the_whole_story_over_pcsc(reader: Daemon, tmp_path: Path, protocol: int) -> None:
    """Reserve, connect, load, invoke and block a resource, each packet an ENVELOPE through PC/SC.

    What a command did is on the disk when its response is there. The terminal says that it can do what a
    telephone of long ago could, by a profile of eleven octets.
    """
    market = Market().personalise()
    state = store(market.card, tmp_path / "state")
    with inserted(reader, state, "--verbose") as process, Client() as client:
        client.connect(reader.reader, protocol=protocol)
        card = market.card = PcscCard(client=client, state=state)
        profile = CommandApdu(cla=0x80, ins=0x10, data=bytes.fromhex("ffffffff7f9d00df970000"))
        assert over(client, profile).status == apdu.SW_OK
        assert over(client, CommandApdu(cla=0x80, ins=0xF2, expected=256)).data[0] == 0x62
        market.reserve(executions=5)
        assert card.definition().executions_left == 5
        market.connect().load()
        assert any(status & 0xFF00 == apdu.SW_PROACTIVE for status in card.came), "the call was fetched"
        output = market.supplier.invoke(card, b"\0ping").output
        assert output == b"\1\0ping"
        assert card.definition().executions_left == 4
        assert manage(card, market.operator.signed(Block(tar=TAR))).status is ResponseStatus.POR_OK
        assert card.definition().state.value == "blocked"
        client.disconnect()
        process.send(signal.SIGINT)
        ended = process.ended()
        assert ended == (130, "stopped; the module is out of the reader\n"), ended[1]
    assert re.fullmatch(r"\d+ commands, powered or reset (once|\d+ times)", process.said[-1])
    said = "\n".join(process.said)
    assert "ENVELOPE: 80C2" in said
    assert "TERMINAL PROFILE: 80100000" in said
    keys = market.supplier.keys
    assert keys is not None
    for key in (keys.to_module, keys.from_module):
        assert key.cipher_key.hex().upper() not in said
        assert key.mac_key.hex().upper() not in said


def test_a_response_by_short_message(reader: Daemon, tmp_path: Path) -> None:
    """A response that shall come by SMS-SUBMIT is promised, announced and fetched, and is the real one."""
    market = Market().served()
    state = store(market.card, tmp_path / "state")
    spi = SecurityParameters(por=PorDemand.ALWAYS, por_in_submit=True)
    packet = encode_command(spi=spi, tar=MANAGER_TAR, data=market.operator.signed(Block(tar=TAR)))
    with inserted(reader, state), Client() as client:
        client.connect(reader.reader)
        card = PcscCard(client=client, state=state)
        card.start()
        card.came.clear()
        promised = decode_response(card.download(packet), spi=spi)
        assert promised.status is ResponseStatus.RESPONSE_BY_SMS_SUBMIT
        assert [status & 0xFF00 for status in card.came] == [apdu.SW_PROACTIVE, apdu.SW_OK, apdu.SW_OK]
        real = decode_response(card.take_response(OPERATOR_NUMBER), spi=spi)
        assert (real.status, real.tar) == (ResponseStatus.POR_OK, MANAGER_TAR)
        assert real.data
        client.disconnect()


@pytest.mark.parametrize("how", [RESET, UNPOWER], ids=["reset", "unpower"])
def test_a_reset_is_a_reboot(reader: Daemon, tmp_path: Path, how: int) -> None:
    """After a reset nothing waits, is selected or known of the terminal, and what was stored is there."""
    market = Market().served(executions=3)
    state = store(market.card, tmp_path / "state")
    with inserted(reader, state), Client() as client:
        client.connect(reader.reader)
        card = market.card = PcscCard(client=client, state=state)
        card.start()
        assert market.supplier.invoke(card).reason == ""
        assert select_and_read_iccid(client) == UA
        choose = CommandApdu(cla=0x80, ins=0xC2, data=bytes.fromhex("d30782020181900103"))
        assert over(client, choose).proactive_length
        client.reconnect(how)
        assert over(client, choose).status == apdu.SW_OK
        assert over(client, CommandApdu(cla=0x80, ins=0x12, expected=256)).status == 0x6985
        assert over(client, CommandApdu(cla=0, ins=0xB0, expected=10)).status == apdu.SW_NO_FILE_SELECTED
        assert card.definition().executions_left == 2
        assert market.supplier.invoke(card).output == b"\2\0"
        client.disconnect()


def test_the_plug_is_pulled(reader: Daemon, tmp_path: Path) -> None:
    """Killed in the middle of a session, put in again: counters and count are where they were, no replay."""
    market = Market().served(executions=9)
    state = store(market.card, tmp_path / "state")
    for turn in (1, 2):
        with inserted(reader, state) as process, Client() as client:
            client.connect(reader.reader)
            card = market.card = PcscCard(client=client, state=state)
            assert market.supplier.invoke(card).output == bytes((turn, 0))
            process.send(signal.SIGKILL)
            client.until(reader.reader, present=False)
            with pytest.raises(PcscError):
                client.transmit(bytes.fromhex("80f2000c"))
    with inserted(reader, state), Client() as client:
        client.connect(reader.reader)
        card = market.card = PcscCard(client=client, state=state)
        replayed = market.supplier.exchange(card, market.supplier.last_packet)
        assert replayed.status is ResponseStatus.CNTR_LOW
        assert card.definition().executions_left == 7
        client.disconnect()


def test_what_the_subscriber_asks_for(reader: Daemon, tmp_path: Path) -> None:
    """The menu over PC/SC: a question is fetched, answered, and the signed request is a short message."""
    market = Market().personalise()
    state = store(market.card, tmp_path / "state")
    with inserted(reader, state), Client() as client:
        client.connect(reader.reader)
        PcscCard(client=client, state=state).start()
        choose = CommandApdu(cla=0x80, ins=0xC2, data=bytes.fromhex("d30782020181900101"))
        length = over(client, choose).proactive_length
        assert length
        question = over(client, CommandApdu(cla=0x80, ins=0x12, expected=length))
        command = ProactiveCommand.parse(question.data)
        assert command.type is CommandType.GET_INPUT
        typed = TerminalResponse.to(command, text=SERVICE.encode()).encode()
        waits = over(client, CommandApdu(cla=0x80, ins=0x14, data=typed)).proactive_length
        assert waits is not None
        sent = over(client, CommandApdu(cla=0x80, ins=0x12, expected=waits or 256))
        request = ProactiveCommand.parse(sent.data)
        assert request.type is CommandType.SEND_SHORT_MESSAGE
        assert SmsSubmit.parse(request.tpdu).destination.digits == OPERATOR_NUMBER
        client.disconnect()


def test_another_peoples_program(reader: Daemon, tmp_path: Path) -> None:
    """OpenSC's tool finds the card, its ATR, and reads EF.ICCID and the USIM's file with its own APDUs."""
    tool = need("opensc-tool")
    state = store(Market().personalise().card, tmp_path / "state")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [tool, "--reader", "0", *arguments],
            env=reader.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    with inserted(reader, state):
        assert run("--atr").strip() == ATR.hex(":")
        apdus = ("00A4000C022FE2", "00B000000A", "00A4040C07A0000000871002", "00A40004026F48", "00B0000002")
        said = run(*(word for octets in apdus for word in ("--send-apdu", octets)))
        assert said.count("SW1=0x90, SW2=0x00") == len(apdus)
        octets = re.findall(r"^((?:[0-9A-F]{2} )+)", said, re.MULTILINE)
        assert iccid_digits(bytes.fromhex(octets[0])) == UA


def test_a_fleets_module_and_the_fleet_goes_on(
    reader: Daemon, config: Path, state: Path, recording: Recording
) -> None:
    """A module of a finished fleet in a reader; meanwhile the fleet is refused, afterwards it goes on."""
    play(config)
    ua = min(recording.ends)
    with inserted(reader, state, ua=ua) as process, Client() as client:
        client.connect(reader.reader)
        assert select_and_read_iccid(client) == ua
        code, said, complained = cli("up", config)
        assert (code, said) == (1, "")
        assert complained == (
            f"{state}: is in use: a run of this fleet is under way, or a module of it is in a card reader\n"
        )
        client.disconnect()
        process.send(signal.SIGTERM)
        assert process.ended()[0] == 143
    recording.check_same_end(play(config), state)


def test_the_reader_goes_away(tmp_path: Path) -> None:
    """The daemon ends: a sentence, and exit code 1; without one, how to get one."""
    state = store(Market().personalise().card, tmp_path / "state")
    directory = tmp_path / "another"
    directory.mkdir()
    with Daemon(directory) as another:
        arguments = ("card", UA, "--port", str(another.port), "--state", str(state))
        with Running(arguments, tmp_path) as process:
            process.until("module ")
            another.stop()
            code, complained = process.ended()
    place = f"127.0.0.1:{another.port}"
    assert (code, complained) == (
        1,
        f"{place}: the reader is gone: pcscd has ended, or another card took this one's place\n",
    )
    code, said, complained = cli("card", UA, "--port", str(another.port), "--state", state)
    assert (code, said) == (1, "")
    assert complained == (
        f"{place}: no vpcd listens there (Connection refused); install pcscd and vsmartcard-vpcd and start "
        "pcscd, or name another place with --host and --port\n"
    )
