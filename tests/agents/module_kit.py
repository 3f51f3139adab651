"""One security module driven by APDUs alone, and stand-ins for the operator and the supplier at its far end.

``Card`` is the handset: it powers the module, keeps the pages the module hands out, passes short messages in
and serves what the module asks for. ``Operator`` signs, ``Supplier`` shakes hands and sends secured packets.
Nothing here knows what is inside the module.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final, Protocol

from wasmtime import wat2wasm

from agents.handset.security_module.memory import Memory
from agents.handset.security_module.module import (
    INS_ENVELOPE,
    INS_FETCH,
    INS_GET_DATA,
    INS_STORE_DATA,
    INS_TERMINAL_PROFILE,
    INS_TERMINAL_RESPONSE,
    PROPRIETARY,
    SecurityModule,
)
from agents.handset.security_module.personalisation import LAST_BLOCK
from agents.handset.security_module.profile import STANDARD, Profile
from agents.handset.security_module.rights import rights_mask
from agents.handset.terminal import PROFILES, Subscriber, TerminalKind, answer
from agents.messages.air import (
    MANAGER_TAR,
    Answer,
    Call,
    DomainCall,
    IntroduceOperator,
    Invoke,
    LoadApplication,
    LoadData,
    Prove,
    Reserve,
    Result,
)
from agents.messages.bearers import CHANNEL_BEARERS, ServerAddress
from agents.messages.codec import decode, encode
from agents.messages.contact import ModuleKeys, Personalise
from agents.messages.signed import Purpose, Signed, sign
from transport import apdu
from transport.apdu import INS_GET_RESPONSE, INTERINDUSTRY, CommandApdu, ResponseApdu
from transport.bip import ChannelLimits, Disconnect, TerminalChannels, Transmit
from transport.cat_tp import CatTpConnection, Opened, SduReceived
from transport.concatenation import Reassembler, split
from transport.iccid import iccid_octets
from transport.secured_packet import (
    IDENTIFICATION_IDENTIFIER,
    RESPONSE_USER_DATA_HEADER,
    SMS,
    CounterMode,
    Integrity,
    PacketStream,
    PorDemand,
    ResponsePacket,
    ResponseStatus,
    SecurityParameters,
    decode_command,
    decode_response,
    encode_command,
    parse_identification,
)
from transport.security.certificates import Certificate, Role, issue
from transport.security.chain import encode_chain
from transport.security.domain_key import FIRST_TICKET
from transport.security.handshake import Credentials, responder
from transport.security.keyset import DEFAULT_PROTECTION
from transport.security.suites import SUITES
from transport.security.terms import AGREE_THEN_SIGN, Terms
from transport.sms.address import Address
from transport.sms.timestamp import ServiceCentreTime
from transport.sms.tpdu import SmsDeliver, SmsSubmit
from transport.sms.user_data import IEI_COMMAND_PACKET, IEI_RESPONSE_PACKET, InformationElement, UserData
from transport.toolkit import (
    BipCause,
    CommandType,
    Envelope,
    ProactiveCommand,
    Tag,
    TerminalResponse,
    TerminalResult,
    TransportProtocol,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.handset.security_module.core import Note
    from agents.handset.security_module.definitions import Definition
    from transport.bip import Action
    from transport.cat_tp import CatTpSettings
    from transport.secured_packet import Dialect
    from transport.security.handshake import Side
    from transport.security.keyset import SessionKeys
    from transport.security.suites import SigningKey

NOW: Final = 1_800_000_000.0
OPERATOR_NUMBER: Final = "15550100"
TAR: Final = bytes.fromhex("B20000")
SERVICE: Final = "account"
COMMAND: Final = InformationElement(iei=IEI_COMMAND_PACKET)
UNSECURED: Final = SecurityParameters(por=PorDemand.ALWAYS)
SECURED: Final = SecurityParameters(
    counter=CounterMode.HIGHER,
    ciphering=True,
    integrity=Integrity.CC,
    por=PorDemand.ALWAYS,
    por_integrity=Integrity.CC,
    por_ciphering=True,
)

# invoke: counts itself at 0; its answer is the count and the argument. The argument's first octet:
# 0 = answer, 1 = say no (status 7), 2 = trap, 3 = never end. personalise: keeps its argument from 512 on.
PROBE: Final = """(module
  (import "otafleet" "input_read" (func $input_read (param i32 i32 i32) (result i32)))
  (import "otafleet" "output_write" (func $output_write (param i32 i32)))
  {imports}
  (memory (export "memory") {memory} {memory} (pagesize 1))
  (func (export "personalise") (result i32)
    (drop (call $input_read (i32.const 512) (i32.const 0) (i32.const 64)))
    (i32.const 0))
  (func (export "invoke") (result i32)
    (local $length i32)
    (local.set $length (call $input_read (i32.const 16) (i32.const 0) (i32.const 400)))
    (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))
    (if (i32.eq (i32.load8_u (i32.const 16)) (i32.const 1)) (then (return (i32.const 7))))
    (if (i32.eq (i32.load8_u (i32.const 16)) (i32.const 2)) (then (unreachable)))
    (if (i32.eq (i32.load8_u (i32.const 16)) (i32.const 3)) (then (loop $for_ever (br $for_ever))))
    (i32.store8 (i32.const 15) (i32.load8_u (i32.const 0)))
    (call $output_write (i32.const 15) (i32.add (local.get $length) (i32.const 1)))
    {more}
    (i32.const 0)))"""
PROBE_DATA: Final = 1024


@cache
def probe(*, imports: str = "", memory: int = PROBE_DATA, more: str = "") -> bytes:
    """Return the programme above, with these further imports and this at the end of its run."""
    return bytes(wat2wasm(PROBE.format(imports=imports, memory=memory, more=more)))


def luhn(digits: str) -> str:
    """Return *digits* with the Luhn digit of an ICCID behind them."""
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits))]
    return digits + str(-sum(value - 9 * (value > 9) for value in doubled) % 10)


UA: Final = luhn("898821100000000001")
OTHER_UA: Final = luhn("898821100000000002")


@dataclass(slots=True, kw_only=True)
class Card:
    """A handset with one module in it, and the pages that the module has handed out.

    *terminal* is what it tells the module that it can do whenever it has power; empty: it tells nothing.
    """

    size: int = 32 * 1024
    module_profile: Profile = STANDARD
    terminal: bytes = PROFILES[TerminalKind.FULL].octets
    seed: int = 1
    now: float = NOW
    pages: dict[int, bytes] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    sent: list[SmsSubmit] = field(default_factory=list)
    module: SecurityModule = field(init=False)
    reference: int = 0

    def __post_init__(self) -> None:
        rng = random.Random(self.seed).randbytes
        self.module = SecurityModule.blank(self.size, rng=rng, profile=self.module_profile)
        self.pages.update(self.module.take_changes())
        self.start()

    def start(self) -> None:
        """Tell the module what the handset can do."""
        if self.terminal:
            response = self.transmit(INS_TERMINAL_PROFILE, self.terminal)
            assert response.is_good
            if response.proactive_length is not None:
                self.serve(response)

    @property
    def image(self) -> bytes:
        """The module's memory as it was made durable."""
        return bytes(Memory.from_pages(self.pages.items()))

    @property
    def reasons(self) -> list[str]:
        """Why the module refused things, oldest first."""
        return [note.reason for note in self.notes if note.reason]

    def definition(self, tar: bytes = TAR) -> Definition:
        """Return what DEF says of a resource; there must be one."""
        definition = self.module.definitions.by_tar(tar)
        assert definition is not None
        return definition

    def power_cycle(self) -> None:
        """Switch the module off and boot it from the pages alone."""
        self.seed += 1000
        memory = Memory.from_pages(self.pages.items())
        self.module = SecurityModule(memory, rng=random.Random(self.seed).randbytes)
        self.start()

    def transmit_octets(self, command: bytes) -> ResponseApdu:
        """Give the module one APDU; keep what it changed and noted before looking at the response."""
        response = self.module.process(command, self.now)
        self.pages.update(self.module.take_changes())
        self.notes += self.module.take_notes()
        return ResponseApdu.parse(response)

    def transmit(self, ins: int, data: bytes = b"", *, p1: int = 0, p2: int = 0) -> ResponseApdu:
        """Give the module one command of its own class."""
        command = CommandApdu(cla=PROPRIETARY, ins=ins, p1=p1, p2=p2, data=data, expected=256)
        return self.transmit_octets(command.encode())

    def store_data(self, message: bytes) -> ResponseApdu:
        """Give the module a message in blocks; return what it said to the last one it took."""
        blocks = [message[at : at + apdu.MAX_DATA] for at in range(0, len(message), apdu.MAX_DATA)]
        response = ResponseApdu()
        for number, block in enumerate(blocks):
            last = LAST_BLOCK if number == len(blocks) - 1 else 0
            response = self.whole(self.transmit(INS_STORE_DATA, block, p1=last, p2=number))
            if not response.is_good:
                return response
        # A module that has become somebody's asks the terminal to read again what it wants to hear.
        self.serve(response)
        return ResponseApdu(data=response.data)

    def get_data(self) -> ResponseApdu:
        """Ask for the signed public key."""
        return self.whole(self.transmit(INS_GET_DATA))

    def whole(self, response: ResponseApdu) -> ResponseApdu:
        """Return *response* with all of its data, what waits for GET RESPONSE too."""
        data = response.data
        while response.remaining is not None:
            command = CommandApdu(cla=INTERINDUSTRY, ins=INS_GET_RESPONSE, expected=response.remaining)
            response = self.transmit_octets(command.encode())
            data += response.data
        return ResponseApdu(data=data, status=response.status)

    def envelope(self, envelope: Envelope) -> ResponseApdu:
        """Tell the module an event, without serving what it asks for then."""
        return self.transmit(INS_ENVELOPE, envelope.encode())

    def serve(self, response: ResponseApdu, typed: Iterable[bytes] = ()) -> None:
        """Do what the module asks for until it asks for nothing more."""
        subscriber = Subscriber(types=deque(typed))
        while response.proactive_length is not None:
            fetched = self.transmit(INS_FETCH)
            command = ProactiveCommand.parse(fetched.data)
            if command.type is CommandType.SEND_SHORT_MESSAGE:
                self.sent.append(SmsSubmit.parse(command.tpdu))
            response = self.transmit(INS_TERMINAL_RESPONSE, answer(command, subscriber).encode())
        self.shown += subscriber.shown

    def use_menu(self, item: int, *typed: str) -> list[str]:
        """Choose a menu item and type; return what the display showed for it."""
        before = len(self.shown)
        response = self.envelope(Envelope(tag=Tag.MENU_SELECTION, item=item))
        self.serve(response, [text.encode() for text in typed])
        return self.shown[before:]

    def deliver(self, user_data: UserData, *, sender: str, **changes: Any) -> ResponseApdu:
        """Bring one short message to the module, without serving what it asks for then."""
        tpdu = SmsDeliver(
            originator=Address(digits=sender),
            user_data=user_data,
            timestamp=ServiceCentreTime.at(NOW),  # the network's clock, whatever the handset's says
            **changes,
        )
        return self.envelope(Envelope(tag=Tag.SMS_PP_DOWNLOAD, tpdu=tpdu.encode()))

    def transmit_part(self, packet: bytes, *, sender: str = OPERATOR_NUMBER) -> ResponseApdu:
        """Bring a packet in one short message, whatever becomes of it; serve what is asked for then."""
        response = self.deliver(UserData(header=(COMMAND,), payload=packet), sender=sender)
        self.serve(response)
        return response

    def download(self, packet: bytes, *, sender: str = OPERATOR_NUMBER) -> bytes:
        """Bring a command packet in as many parts as it takes; return the response packet of the report."""
        self.reference = self.reference % 255 + 1
        response = ResponseApdu()
        parts = split(packet, reference=self.reference, first=COMMAND)
        for number, part in enumerate(parts, 1):
            response = self.deliver(part, sender=sender, more_messages=number < len(parts))
            assert response.is_good
            if number < len(parts):
                assert response.data == b""
        data = response.data
        self.serve(response)
        if not data:
            return b""
        assert data.startswith(RESPONSE_USER_DATA_HEADER)
        assert len(data) <= 140
        return data[len(RESPONSE_USER_DATA_HEADER) :]

    def take_sent(self) -> list[tuple[str, UserData]]:
        """Return the short messages that the module has sent, put together: number and user data."""
        reassembler = Reassembler()
        whole = []
        for submit in self.sent:
            user_data = reassembler.receive(submit.destination.digits, submit.user_data, NOW)
            if user_data is not None:
                whole.append((submit.destination.digits, user_data))
        self.sent.clear()
        assert reassembler.octets == 0
        return whole

    def take_command(self) -> tuple[str, bytes]:
        """Return the one command packet that the module has sent: to which number, and its data."""
        [(number, user_data)] = self.take_sent()
        assert user_data.find(IEI_COMMAND_PACKET) is not None
        return number, decode_command(user_data.payload).data

    def take_response(self, number: str) -> bytes:
        """Return the one response packet that the module has sent, which must go to *number*."""
        [(to, user_data)] = self.take_sent()
        assert to == number
        assert user_data.find(IEI_RESPONSE_PACKET) is not None
        return user_data.payload


@dataclass(slots=True, kw_only=True)
class Operator:
    """An operator: its name, its key, and the counter of what it told each module."""

    suite: str
    name: str = "mno"
    counter: int = 0

    def __post_init__(self) -> None:
        self.key = SUITES[self.suite].generate_signing_key(random.Random(self.name).randbytes)

    key: Any = field(init=False, repr=False)

    def signed(self, command: object, *, ua: str = UA, counter: int | None = None, **changes: Any) -> bytes:
        """Return *command* signed for *ua*, in the next turn unless *counter* says another."""
        if counter is None:
            self.counter += 1
            counter = self.counter
        terms: dict[str, Any] = {"purpose": Purpose.COMMAND, "signer": self.name, "key": self.key} | changes
        body = command if isinstance(command, bytes) else encode(command)
        return encode(sign(body, target=ua, counter=counter, **terms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """A response packet to the resource manager's TAR: its status and its data."""

    status: ResponseStatus
    data: bytes


def manage(card: Card, data: bytes, *, follow: bool = True) -> Replied:
    """Send *data* to the resource manager, unsecured; return what its response packet says.

    With *follow* a response that is promised ("more time", or by SMS-SUBMIT) is taken when it comes.
    """
    octets = card.download(encode_command(spi=UNSECURED, tar=MANAGER_TAR, data=data))
    response = decode_response(octets, spi=UNSECURED)
    if follow and response.status in (ResponseStatus.RESPONSE_BY_SMS_SUBMIT, ResponseStatus.MORE_TIME):
        assert response.data == b""
        response = decode_response(card.take_response(OPERATOR_NUMBER), spi=UNSECURED)
    assert response.tar == MANAGER_TAR
    return Replied(status=response.status, data=response.data)


@dataclass(slots=True, kw_only=True)
class Supplier:
    """A supplier: its key, its session with the module, and the counter of its packets."""

    suite: str
    name: str = "bank"
    number: str = "15550200"
    tar: bytes = TAR
    service: str = SERVICE
    counter: int = 0
    protection: str = DEFAULT_PROTECTION
    logic_name: str = ""
    keys: SessionKeys | None = field(default=None, repr=False)
    key: Any = field(init=False, repr=False)
    last_packet: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        self.key = SUITES[self.suite].generate_signing_key(random.Random(self.name).randbytes)

    def reserve(self, **changes: Any) -> Reserve:
        """Return the reservation of this supplier's resource, but for *changes*."""
        values: dict[str, Any] = {
            "tar": self.tar,
            "service": self.service,
            "supplier": self.name,
            "supplier_number": self.number,
            "suite": self.suite,
            "forms": [AGREE_THEN_SIGN],
            "supplier_public": self.key.public,
            "code_size": 1024,
            "data_size": PROBE_DATA,
            "rights": rights_mask({"hmac"}),
            "expires_at": 0,
            "executions": -1,
            "at_end": "deactivate",
            "bearers": ["sms"],
            "server": b"",
            "protection": self.protection,
        }
        return Reserve(**(values | changes))

    def responder(self, ua: str, module_suite: str, module_public: bytes) -> Side:
        """Return this supplier's side of a handshake with a module."""
        terms = Terms(
            suite=self.suite,
            form=AGREE_THEN_SIGN,
            initiator=ua.encode(),
            responder=self.name.encode(),
            tar=self.tar,
            initiator_suite=module_suite,
            responder_suite=self.suite,
            protection=self.protection,
            logic_name=self.logic_name.encode(),
        )
        credentials = Credentials(signing_key=self.key, peer_signing_public=module_public)
        return responder(terms, credentials, random.Random(self.name + ua).randbytes)

    def packet(self, message: object, *, counter: int | None = None, **changes: Any) -> bytes:
        """Return a secured packet with *message*, in the next turn unless *counter* says another."""
        assert self.keys is not None
        if counter is None:
            self.counter += 1
            counter = self.counter
        data = message if isinstance(message, bytes) else encode(message)
        terms: dict[str, Any] = {"spi": SECURED, "tar": self.tar, "keys": self.keys.to_module} | changes
        self.last_packet = encode_command(data=data, counter=counter, **terms)
        return self.last_packet

    def exchange(self, card: Card, packet: bytes, *, spi: SecurityParameters = SECURED) -> ResponsePacket:
        """Send a packet; return the response packet that its delivery report brought."""
        octets = card.download(packet, sender=self.number)
        return decode_response(octets, spi=spi, keys=self.keys.from_module if self.keys else None)

    def unheard(self, card: Card, message: object) -> str:
        """Send one command to a resource that has no session any more; return why, as the module noted it."""
        octets = card.download(self.packet(message), sender=self.number)
        # Nothing can be protected without keys: the status goes in clear, and nothing with it.
        assert octets[-1] == ResponseStatus.UNIDENTIFIED_SECURITY_ERROR
        return card.reasons[-1]

    def result(self, card: Card, message: object) -> Result:
        """Send one command; return the module's result, which must be proven and fit the report."""
        response = self.exchange(card, self.packet(message))
        assert response.status is ResponseStatus.POR_OK
        assert response.proven
        assert (response.tar, response.counter) == (self.tar, self.counter)
        return decode(response.data, Result)

    def load(self, card: Card, code: bytes, *, version: int = 1, piece: int = 200) -> Result:
        """Send a programme in pieces; return the first result that refuses, or the last one."""
        result = Result(reason="", status=0, output=b"")
        for offset in range(0, len(code), piece):
            octets = code[offset : offset + piece]
            message = LoadApplication(version=version, total=len(code), offset=offset, octets=octets)
            result = self.result(card, message)
            if result.reason:
                break
        return result

    def invoke(self, card: Card, argument: bytes = b"\0") -> Result:
        """Have the application run."""
        return self.result(card, Invoke(argument=argument))

    def personalise(self, card: Card, octets: bytes) -> Result:
        """Give the application its personal data."""
        return self.result(card, LoadData(octets=octets))


AUTHORITY: Final = SUITES["x25519"].generate_signing_key(random.Random("root").randbytes)
"""The key of the authority, which is called ``root``."""


def key_of(name: str, suite: str = "x25519") -> SigningKey:
    """Return the signing key that has this name."""
    return SUITES[suite].generate_signing_key(random.Random(name).randbytes)


def certified(key: SigningKey, serial: int, *, by: SigningKey = AUTHORITY, **changes: Any) -> Certificate:
    """Return the authority's certificate for the operator's *key*, but for *changes*."""
    fields: dict[str, Any] = {
        "issuer": "root",
        "serial": serial,
        "subject": "mno",
        "role": Role.OPERATOR,
        "suite": key.suite,
        "signing_public": key.public,
        "not_before": int(NOW) - 86_400,
        "not_after": int(NOW) + 86_400,
    }
    return issue(by, **(fields | changes))


def introduction(*chain: Certificate) -> bytes:
    """Return what brings these certificates to a module."""
    return encode(IntroduceOperator(chain=encode_chain(chain)))


@dataclass(slots=True, kw_only=True)
class Market:
    """One module, its operator and a supplier, who may be taken any way along the story."""

    module_suite: str = "x25519"
    supplier_suite: str = "p256"
    operator_suite: str = "x25519"
    size: int = 32 * 1024
    module_profile: Profile = STANDARD
    card: Card = field(init=False)
    operator: Operator = field(init=False)
    supplier: Supplier = field(init=False)
    public: bytes = b""
    sealing_public: bytes = b""
    ticket: bytes = FIRST_TICKET
    """Of the module's next reservation, by its last word on it."""

    def __post_init__(self) -> None:
        self.card = Card(size=self.size, module_profile=self.module_profile)
        self.operator = Operator(suite=self.operator_suite)
        self.supplier = Supplier(suite=self.supplier_suite)

    def personal(self, **changes: Any) -> Personalise:
        """Return what makes the module this market's, but for *changes*."""
        values: dict[str, Any] = {
            "ua": UA,
            "suite": self.module_suite,
            "authority": "root",
            "authority_suite": "x25519",
            "authority_public": AUTHORITY.public,
            "operator": self.operator.name,
            "operator_number": OPERATOR_NUMBER,
            "operator_suite": self.operator_suite,
            "operator_public": self.operator.key.public,
        }
        return Personalise(**(values | changes))

    def personalise(self, **changes: Any) -> Market:
        """PERS: the module becomes the operator's; its proof of possession is checked."""
        response = self.card.store_data(encode(self.personal(**changes)))
        assert response.status == apdu.SW_OK
        possession = decode(response.data, Signed)
        assert (possession.signer, possession.target, possession.counter) == (UA, "root", 0)
        keys = decode(possession.body, ModuleKeys)
        possession.verify(purpose=Purpose.POSSESSION, suite=self.module_suite, public=keys.signing)
        self.public, self.sealing_public = keys.signing, keys.sealing
        return self

    def command(self, command: object, **changes: Any) -> Answer:
        """Have the operator sign and send a command; return the module's answer, its proof checked."""
        return self.answer(manage(self.card, self.operator.signed(command, **changes)))

    def answer(self, replied: Replied, *, counter: int | None = None) -> Answer:
        """Return the answer in a response, which must be signed by the module for this operator and turn."""
        assert replied.status is ResponseStatus.POR_OK
        signed = decode(replied.data, Signed)
        turn = self.operator.counter if counter is None else counter
        assert (signed.signer, signed.target, signed.counter) == (UA, self.operator.name, turn)
        signed.verify(purpose=Purpose.ANSWER, suite=self.module_suite, public=self.public)
        answer = decode(signed.body, Answer)
        self.ticket = answer.ticket or self.ticket
        return answer

    def reserve(self, **changes: Any) -> Market:
        """RES: the supplier's resource is reserved."""
        assert self.command(self.supplier.reserve(**changes)).reason == ""
        return self

    def call(self, supplier: Supplier | None = None) -> Call | DomainCall:
        """SER: the subscriber has the handset call the supplier; return the call."""
        supplier = supplier or self.supplier
        assert self.card.use_menu(2, supplier.service) == []
        number, data = self.card.take_command()
        assert number == supplier.number
        return decode(data, Call, DomainCall)

    def connect(self, supplier: Supplier | None = None) -> Market:
        """SER: the subscriber calls, supplier and module prove themselves; the supplier has the session."""
        supplier = supplier or self.supplier
        call = self.call(supplier)
        responder = supplier.responder(UA, self.module_suite, self.public)
        proof = responder.receive(call.opening)
        assert proof is not None
        replied = manage(self.card, encode(Prove(tar=supplier.tar, proof=proof)))
        assert replied.status is ResponseStatus.POR_OK
        responder.receive(replied.data)
        supplier.keys, supplier.counter = responder.keys, 0
        return self

    def load(self, code: bytes | None = None) -> Market:
        """SER: the probe, or another programme, is loaded."""
        assert self.supplier.load(self.card, probe() if code is None else code).reason == ""
        return self

    def served(self, **changes: Any) -> Market:
        """Return this market with everything done up to a loaded application."""
        return self.personalise().reserve(**changes).connect().load()


# --- channels: the terminal's side and the server's side of the bearer independent protocol ---


SERVER: Final = ServerAddress(host=IPv4Address("10.1.2.3"), tcp_port=4001, udp_port=4002)
MANY_TURNS: Final = 10_000


class Far(Protocol):
    """The server's end of one channel: packets to the module and from it."""

    came: list[bytes]

    def send(self, packet: bytes, now: float) -> None:
        """Send a packet to the module."""

    def receive(self, octets: bytes, now: float) -> None:
        """Take what the terminal transmits in one piece."""

    def outgoing(self, room: int, now: float) -> list[bytes]:
        """Return what the network brings to the terminal, whose buffer has *room* octets left."""


class StreamFar:
    """A TCP server's end: packets one behind the other, in pieces of *piece* octets to the terminal."""

    def __init__(self, piece: int = 0xFFFF) -> None:
        self.came: list[bytes] = []
        self.piece = piece
        self.waiting = bytearray()
        self._stream = PacketStream()

    def send(self, packet: bytes, now: float) -> None:  # noqa: ARG002
        """Send a packet, or any octets."""
        self.waiting += packet

    def receive(self, octets: bytes, now: float) -> None:  # noqa: ARG002
        """Take the next octets of the stream."""
        self.came += self._stream.receive(octets)

    def outgoing(self, room: int, now: float) -> list[bytes]:  # noqa: ARG002
        """Return the next piece, if there is one and there is room."""
        piece = bytes(self.waiting[: min(room, self.piece)])
        del self.waiting[: len(piece)]
        return [piece] if piece else []


class CatTpFar:
    """A UDP server's end: CAT_TP, and each service data unit a packet."""

    def __init__(self, port: int, settings: CatTpSettings | None = None) -> None:
        self.came: list[bytes] = []
        self.identification = b""
        self.datagrams: list[bytes] = []
        self.raw: list[bytes] = []
        self.connection = CatTpConnection(
            local_port=port, remote_port=None, settings=settings, initial_sequence=0xFFF0
        )
        self.connection.listen()

    def send(self, packet: bytes, now: float) -> None:
        """Send a packet."""
        self.connection.send(packet, now)

    def receive(self, octets: bytes, now: float) -> None:
        """Take a datagram."""
        self.datagrams.append(octets)
        self.connection.receive_datagram(octets, now)
        for event in self.connection.events_received():
            if isinstance(event, Opened):
                self.identification = event.identification
            elif isinstance(event, SduReceived):
                self.came.append(event.octets)

    def outgoing(self, room: int, now: float) -> list[bytes]:
        """Return the datagrams that are on their way and find room; the others come later."""
        due = self.connection.next_timer()
        if due is not None and due <= now:
            self.connection.handle_timer(now)
        self.raw += self.connection.datagrams_to_send()
        going: list[bytes] = []
        while self.raw and sum(map(len, going)) + len(self.raw[0]) <= room:
            going.append(self.raw.pop(0))
        return going


@dataclass(slots=True, kw_only=True)
class OnlineCard(Card):
    """A handset that has channels and timers too, and a network with a server behind each address.

    *asked* are all proactive commands in their order; *refuses*: connections do not come about (``network``:
    for want of a network, ``server``: because of the server, ``channel``: the terminal has none to give).
    *lost*: what is transmitted gets nowhere; *unsent*: nor does a short message, and the handset knows.
    *settings* are the server's for CAT_TP.
    """

    profile: ChannelLimits = field(default_factory=ChannelLimits)
    channels: TerminalChannels = field(init=False)
    asked: list[ProactiveCommand] = field(default_factory=list)
    timers: dict[int, float] = field(default_factory=dict)
    fars: dict[int, Far] = field(default_factory=dict)
    closed: list[int] = field(default_factory=list)
    refuses: str = ""
    lost: bool = False
    unsent: bool = False
    piece: int = 0xFFFF
    settings: CatTpSettings | None = None

    def __post_init__(self) -> None:
        Card.__post_init__(self)
        self.channels = TerminalChannels(self.profile)

    @property
    def far(self) -> Far:
        """The server's end of the newest channel."""
        return next(reversed(self.fars.values()))

    def kinds(self) -> list[CommandType]:
        """Return, once, what sort of commands the module asked for, in their order."""
        kinds = [command.type for command in self.asked]
        self.asked.clear()
        return kinds

    def serve(self, response: ResponseApdu, typed: Iterable[bytes] = ()) -> None:
        """Do what the module asks for, and bring it what comes of that, until all is quiet."""
        subscriber = Subscriber(types=deque(typed))
        self._pump(response, subscriber)
        for _ in range(MANY_TURNS):
            self._bring()
            events = self.channels.events()
            if not events:
                break
            for event in events:
                self._pump(self.envelope(event), subscriber)
        else:
            raise AssertionError("module and server never come to an end")
        self.shown += subscriber.shown

    def run(self) -> None:
        """Bring the module what its servers have for it; serve what it asks for then."""
        self.serve(ResponseApdu())

    def cut(self, channel: int | None = None) -> None:
        """Let the network lose a channel, the newest unless it is named."""
        number = next(reversed(self.fars)) if channel is None else channel
        del self.fars[number]
        self.channels.dropped(number)
        self.run()

    def tick(self) -> bool:
        """Let time pass until the next timer ends; say whether there was one."""
        if not self.timers:
            return False
        timer = min(self.timers, key=self.timers.__getitem__)
        self.now = max(self.now, self.timers.pop(timer))
        self.serve(self.envelope(Envelope(tag=Tag.TIMER_EXPIRATION, timer=timer)))
        return True

    def _pump(self, response: ResponseApdu, subscriber: Subscriber) -> None:
        while response.proactive_length is not None:
            command = ProactiveCommand.parse(self.transmit(INS_FETCH).data)
            self.asked.append(command)
            said = self._perform(command, subscriber)
            response = self.transmit(INS_TERMINAL_RESPONSE, said.encode())

    def _perform(self, command: ProactiveCommand, subscriber: Subscriber) -> TerminalResponse:
        if command.type is CommandType.SEND_SHORT_MESSAGE and not self.unsent:
            self.sent.append(SmsSubmit.parse(command.tpdu))
        if command.type is CommandType.TIMER_MANAGEMENT:
            self.timers[command.timer] = self.now + command.timer_value_s
        if command.type not in CHANNEL_COMMANDS:
            return answer(command, subscriber, sent=not self.unsent)
        if self.refuses == "channel" and command.type is CommandType.OPEN_CHANNEL:
            cause = BipCause.NO_CHANNEL_AVAILABLE
            return TerminalResponse.to(command, TerminalResult.BIP_ERROR, cause=cause)
        self._bring()  # the network does not wait for the module
        step = self.channels.command(command)
        said = step.response
        for action in step.actions:
            said = self._act(action) or said
        assert said is not None
        return said

    def _act(self, action: Action) -> TerminalResponse | None:
        if isinstance(action, Disconnect):
            self.fars.pop(action.channel, None)
            self.closed.append(action.channel)
        elif isinstance(action, Transmit):
            if not self.lost and action.channel in self.fars:
                self.fars[action.channel].receive(action.octets, self.now)
        elif action.protocol is TransportProtocol.UDP_CLIENT:
            self.fars[action.channel] = CatTpFar(action.port, self.settings)
        elif self.refuses:
            return self.channels.refused(action.channel, network=self.refuses == "server")
        else:
            self.fars[action.channel] = StreamFar(self.piece)
            return self.channels.connected(action.channel)
        return None

    def _bring(self) -> None:
        for channel, far in self.fars.items():
            for octets in far.outgoing(self.channels.room(channel), self.now):
                if not self.lost:
                    self.channels.received(channel, octets)


CHANNEL_COMMANDS: Final = frozenset(
    {
        CommandType.SET_UP_EVENT_LIST,
        CommandType.OPEN_CHANNEL,
        CommandType.CLOSE_CHANNEL,
        CommandType.SEND_DATA,
        CommandType.RECEIVE_DATA,
        CommandType.GET_CHANNEL_STATUS,
    }
)


@dataclass(slots=True, kw_only=True)
class OnlineSupplier(Supplier):
    """A supplier whose packets go over the bearer that *bearer* names, once there is a link."""

    bearer: str = "sms"

    @property
    def dialect(self) -> Dialect:
        """How packets are written on this bearer."""
        return CHANNEL_BEARERS[self.bearer].dialect if self.bearer in CHANNEL_BEARERS else SMS

    def packet(self, message: object, *, counter: int | None = None, **changes: Any) -> bytes:
        """Return a secured packet in the bearer's dialect."""
        terms = {"dialect": self.dialect} | changes
        return Supplier.packet(self, message, counter=counter, **terms)

    def exchange(self, card: Card, packet: bytes, *, spi: SecurityParameters = SECURED) -> ResponsePacket:
        """Send a packet over the link, or as short messages; return the response packet."""
        if self.dialect is SMS:
            return Supplier.exchange(self, card, packet, spi=spi)
        keys = self.keys.from_module if self.keys else None
        return decode_response(talk(card, packet), spi=spi, keys=keys, dialect=self.dialect)


def talk(card: Card, packet: bytes) -> bytes:
    """Send *packet* over the newest channel; return the one packet that comes back."""
    assert isinstance(card, OnlineCard)
    far = card.far
    far.send(packet, card.now)
    card.run()
    [octets] = far.came
    far.came.clear()
    return octets


@dataclass(slots=True, kw_only=True)
class OnlineMarket(Market):
    """A market whose supplier has a server, and whose handset has channels; *bearer* is his first choice."""

    bearer: str = "bip-tcp"
    profile: ChannelLimits = field(default_factory=ChannelLimits)

    def __post_init__(self) -> None:
        Market.__post_init__(self)
        self.card = OnlineCard(size=self.size, module_profile=self.module_profile, profile=self.profile)
        self.supplier = OnlineSupplier(suite=self.supplier_suite, bearer=self.bearer)

    @property
    def online(self) -> OnlineCard:
        """The handset, as what it is."""
        assert isinstance(self.card, OnlineCard)
        return self.card

    def reserve(self, **changes: Any) -> OnlineMarket:
        """RES: over the first choice, else by short messages."""
        terms = {"bearers": [self.bearer, "sms"], "server": SERVER.encode()} | changes
        Market.reserve(self, **terms)
        return self

    def heard(self) -> Call | DomainCall:
        """Return the one call that has come to the newest channel's server, behind the identification."""
        call, far = None, self.online.far
        for packet in far.came:
            if packet[0] == IDENTIFICATION_IDENTIFIER:
                assert call is None
                assert parse_identification(packet).ua == iccid_octets(UA)
            else:
                assert call is None
                assert isinstance(self.supplier, OnlineSupplier)
                octets = decode_command(packet, dialect=self.supplier.dialect).data
                call = decode(octets, Call, DomainCall)
        far.came.clear()
        assert call is not None
        return call

    def call(self, supplier: Supplier | None = None) -> Call | DomainCall:
        """SER: the subscriber has the handset call the supplier; return the call."""
        supplier = supplier or self.supplier
        if isinstance(supplier, OnlineSupplier) and supplier.dialect is not SMS:
            assert self.card.use_menu(2, supplier.service) == []
            return self.heard()
        return Market.call(self, supplier)

    def prove(self, call: Call | DomainCall) -> None:
        """SER: the supplier answers *call* over his bearer; he has the session then."""
        assert isinstance(self.supplier, OnlineSupplier)
        dialect = self.supplier.dialect
        responder = self.supplier.responder(UA, self.module_suite, self.public)
        proof = responder.receive(call.opening)
        assert proof is not None
        data = encode(Prove(tar=self.supplier.tar, proof=proof))
        if dialect is SMS:
            replied = manage(self.card, data)
        else:
            packet = encode_command(spi=UNSECURED, tar=MANAGER_TAR, data=data, dialect=dialect)
            response = decode_response(talk(self.card, packet), spi=UNSECURED, dialect=dialect)
            assert response.tar == MANAGER_TAR
            replied = Replied(status=response.status, data=response.data)
        assert replied.status is ResponseStatus.POR_OK
        responder.receive(replied.data)
        self.supplier.keys, self.supplier.counter = responder.keys, 0

    def connect(self, supplier: Supplier | None = None) -> OnlineMarket:
        """SER: the subscriber calls, supplier and module prove themselves, over the first choice."""
        assert supplier is None
        self.prove(self.call())
        return self
