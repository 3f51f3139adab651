from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from bus.address import BrokerAddress, TlsSettings
from bus.broker import open_broker
from bus.client import BusClient, Companions, ConnectionSettings
from bus.counters import Counters
from bus.errors import BrokerLost, BrokerRefused, BrokerUnavailable, ClientClosed, FrameRejected, MailboxFull
from bus.frame import MAX_FRAME_OCTETS, Bearer, Frame
from bus.topics import Inbox, ShortMessageTo, everything
from tests.bus.frames import PATIENCE_S, Collector, as_sent, make_frame
from tests.bus.scripted import scripted_broker
from tests.peers import need

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

QUICK = ConnectionSettings(backoff_first_s=0.02, backoff_most_s=0.1, give_up_s=30.0)


class Office:
    """Makes bus clients of one broker, one log and one set of counters."""

    def __init__(self, address: BrokerAddress, fleet: str, log: FilteringBoundLogger) -> None:
        self.address = address
        self.fleet = fleet
        self.log = log
        self.counters = Counters()

    def client(self, name: str, address: BrokerAddress | None = None, **options: Any) -> BusClient:
        """Return a client, not yet entered, whose session ends with it unless told otherwise."""
        return BusClient(
            address or self.address,
            identifier=f"{self.fleet}-{name}",
            log=self.log,
            counters=self.counters,
            **{"persistent": False, "settings": QUICK, **options},
        )

    def inbox(self, agent: str) -> Inbox:
        """Return a topic of this test's own fleet."""
        return Inbox(fleet=self.fleet, agent=agent)

    def dropped(self) -> dict[str, int]:
        """Return what was dropped, by reason."""
        return self.counters.snapshot()["dropped"]


@pytest.fixture
def office(broker: BrokerAddress, fleet: str, log: FilteringBoundLogger) -> Office:
    """Return an office at the session's broker."""
    return Office(broker, fleet, log)


async def test_publish_and_dispatch(office: Office) -> None:
    """A frame reaches the handler of its own topic, whole and once, and both ways are counted."""
    phone, other, frame = Collector(), Collector(), make_frame(7)
    topic = ShortMessageTo(fleet=office.fleet, ua="8988000000000000001")
    async with office.client("network") as network, office.client("handset") as handset:
        await handset.subscribe([topic], phone)
        await handset.subscribe([office.inbox("other")], other)
        await network.publish(topic, frame)
        await phone.got(1)
    assert [as_sent(each) for each in phone.frames] == [frame]
    assert phone.topics == [topic.path]
    assert other.frames == []
    traffic = {"messages": 1, "octets": 2}
    way = {"sent": traffic, "received": traffic}
    assert office.counters.snapshot()["bearers"] == {
        "sms": way | {"ways": {"down": way}, "retries": 0, "lost": 0, "air_s": 0.0}
    }


async def test_order(office: Office) -> None:
    """What one agent publishes one after the other arrives in that order."""
    inbox = Collector()
    async with office.client("a") as sender, office.client("b") as receiver:
        await receiver.subscribe([office.inbox("b")], inbox)
        for number in range(200):
            await sender.publish(office.inbox("b"), make_frame(number))
        await inbox.got(200)
    assert [as_sent(each) for each in inbox.frames] == [make_frame(number) for number in range(200)]


async def test_wildcard(office: Office) -> None:
    """A wildcard's handler gets what no exact topic of the same client claims."""
    exact, rest = Collector(), Collector()
    async with office.client("a") as client:
        await client.subscribe([everything(office.fleet)], rest)
        await client.subscribe([office.inbox("x")], exact)
        await client.publish(office.inbox("x"), make_frame(1))
        await client.publish(office.inbox("y"), make_frame(2))
        await exact.got(1)
        await rest.got(1)
    assert set(exact.topics) == {office.inbox("x").path}
    assert set(rest.topics) == {office.inbox("y").path}


async def test_subscribe_many(office: Office) -> None:
    """More topics than one SUBSCRIBE takes are all subscribed, also when said before entering."""
    inbox = Collector()
    client = office.client("a")
    await client.subscribe([office.inbox(f"agent-{number}") for number in range(600)], inbox)
    async with client:
        for number in (0, 255, 256, 599):
            await client.publish(office.inbox(f"agent-{number}"), make_frame(number))
        assert await inbox.got(4) == {0, 255, 256, 599}


async def test_foreign_payloads(office: Office) -> None:
    """Malformed and oversized payloads are dropped, logged with their reason and counted; life goes on."""
    inbox = Collector()
    path = office.inbox("b").path
    payloads = {
        "not-msgpack": b"\xc1",
        "not-a-map": b"\x01",
        "missing-field": b"\x80",
        "unknown-version": b"\x81\xa1v\x09",
        "too-large": bytes(MAX_FRAME_OCTETS + 1),
    }
    async with office.client("b") as receiver:
        await receiver.subscribe([path], inbox)
        with capture_logs() as events:
            async with aiomqtt.Client(office.address.host, office.address.port) as stranger:
                for payload in payloads.values():
                    await stranger.publish(path, payload, qos=1)
            await receiver.publish(path, make_frame(1))
            await inbox.got(1)
    drops = [event for event in events if event["event"] == "bus.payload_dropped"]
    assert [(drop["reason"], drop["octets"]) for drop in drops] == [(r, len(p)) for r, p in payloads.items()]
    assert all(drop["topic"] == path for drop in drops)
    assert office.dropped() == dict.fromkeys(sorted(payloads), 1)
    assert [as_sent(each) for each in inbox.frames] == [make_frame(1)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MailboxFull("phone", 8), "mailbox-full"),
        (FrameRejected("bad-field"), "bad-field"),
        (RuntimeError("a fault"), "handler-failed"),
    ],
)
async def test_handler_raises(office: Office, error: Exception, reason: str) -> None:
    """What a handler raises costs that message, is counted by its reason, and leaves the connection alone."""
    inbox = Collector()

    def handler(frame: Frame, topic: str) -> None:
        if as_sent(frame) == make_frame(0):
            raise error
        inbox(frame, topic)

    async with office.client("b") as client:
        await client.subscribe([office.inbox("b")], handler)
        await client.publish(office.inbox("b"), make_frame(0))
        await client.publish(office.inbox("b"), make_frame(1))
        await inbox.got(1)
    assert office.dropped() == {reason: 1}


async def test_persistent_session(office: Office) -> None:
    """What arrives while a persistent client is away is kept, and held until its handler is there again."""
    inbox, topic = Collector(), office.inbox("b")
    async with office.client("b", persistent=True) as receiver:
        await receiver.subscribe([topic], inbox)
    async with office.client("a") as sender:
        for number in range(50):
            await sender.publish(topic, make_frame(number))
    async with office.client("b", persistent=True) as receiver, office.client("a") as sender:
        other = Collector()
        await receiver.subscribe([office.inbox("later")], other)
        await sender.publish(office.inbox("later"), make_frame(99))
        await other.got(1)  # so everything before it has been received, and nobody was there to take it
        assert inbox.frames == []
        await receiver.subscribe([topic], inbox)
        assert await inbox.got(50) == set(range(50))
    assert office.dropped() == {}


async def test_what_waits_for_a_handler_is_bounded(office: Office) -> None:
    """By its octets as by its number: 16 MiB are held, the oldest goes first, and is counted."""
    inbox, topic, large = Collector(), office.inbox("b"), bytes(60_000)
    held = (16 << 20) // len(make_frame(0, pdu=large).encode())
    async with office.client("b", persistent=True) as receiver:
        await receiver.subscribe([topic], inbox)
    async with office.client("a") as sender:
        for number in range(held + 20):
            await sender.publish(topic, make_frame(number, pdu=large))
    async with office.client("b", persistent=True) as receiver, office.client("a") as sender:
        other = Collector()
        await receiver.subscribe([office.inbox("later")], other)
        await sender.publish(office.inbox("later"), make_frame(99))
        await other.got(1)
        await receiver.subscribe([topic], inbox)
        assert await inbox.got(held) == set(range(20, held + 20))
    assert office.dropped() == {"no-handler": 20}


async def test_never_claimed(office: Office) -> None:
    """A message that no subscription of this run claims is counted when the client leaves."""
    async with office.client("b", persistent=True) as receiver:
        await receiver.subscribe([office.inbox("b")], Collector())
    async with office.client("a") as sender:
        await sender.publish(office.inbox("b"), make_frame(1))
    async with office.client("b", persistent=True) as receiver:
        other = Collector()
        await receiver.subscribe([office.inbox("other")], other)
        await receiver.publish(office.inbox("other"), make_frame(2))
        await other.got(1)
    assert office.dropped() == {"no-handler": 1}


async def test_closed(office: Office) -> None:
    """A client that was left refuses to publish, and one is entered only once."""
    client = office.client("a")
    with pytest.raises(ClientClosed, match=client.identifier):
        await client.publish(office.inbox("a"), make_frame())
    async with client:
        with pytest.raises(ValueError, match="entered before"):
            await client.__aenter__()
    with pytest.raises(ClientClosed):
        await client.publish(office.inbox("a"), make_frame())
    with pytest.raises(ClientClosed):
        await client.subscribe([office.inbox("a")], Collector())


async def test_nobody_listens(office: Office, unused_tcp_port: int) -> None:
    """Without a broker, entering says so and names host and port."""
    nowhere = BrokerAddress(host="127.0.0.1", port=unused_tcp_port)
    with pytest.raises(BrokerUnavailable, match=rf"127\.0\.0\.1:{unused_tcp_port}.*refused"):
        await office.client("a", nowhere).__aenter__()


async def test_refused(office: Office) -> None:
    """A broker that will not have us is told apart from one that is not there."""
    async with scripted_broker(connack=5) as broker:
        with pytest.raises(BrokerRefused, match="Not authorized"):
            await office.client("a", broker.address).__aenter__()


async def test_denied_topic(office: Office) -> None:
    """A topic that the broker denies is named."""
    async with scripted_broker(suback=0x80) as broker, office.client("a", broker.address) as client:
        with pytest.raises(BrokerRefused, match=office.inbox("a").path):
            await client.subscribe([office.inbox("a")], Collector())


async def test_connects_again(office: Office) -> None:
    """After a loss the client comes back by itself and publishes what was not acknowledged again."""
    async with scripted_broker() as broker, office.client("a", broker.address) as client:
        call = asyncio.create_task(client.publish(office.inbox("b"), make_frame()))
        for _ in range(3):
            async with asyncio.timeout(PATIENCE_S):
                await broker.published.wait()
            broker.published.clear()
            broker.hang_up()
        async with asyncio.timeout(PATIENCE_S):
            await broker.published.wait()
        assert broker.connections == 4
        assert not call.done()
    with pytest.raises(ClientClosed):
        await call


async def test_cancelled_publish(office: Office) -> None:
    """A publish that waits for its PUBACK can be cancelled, and a caller's own timeout is the caller's."""
    async with scripted_broker() as broker, office.client("a", broker.address) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.publish(office.inbox("b"), make_frame())


@pytest.mark.parametrize("rounds", range(8))
def test_closed_as_the_broker_goes(rounds: int, fleet: str, log: FilteringBoundLogger) -> None:
    """Whoever closes some rounds of the loop after the broker hung up leaves asyncio nothing to report."""
    reported: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        async with scripted_broker() as broker, Office(broker.address, fleet, log).client("a"):
            broker.hang_up()
            for _ in range(rounds):
                await asyncio.sleep(0)

    asyncio.run(run())
    gc.collect()  # asyncio reports an overlooked exception when its future goes
    assert reported == []


async def test_gives_up(office: Office) -> None:
    """A broker that stays away for longer than we wait ends the call with its name and the time."""
    settings = ConnectionSettings(give_up_s=0.05, backoff_first_s=0.01)
    async with contextlib.AsyncExitStack() as stack:
        broker = await stack.enter_async_context(scripted_broker())
        client = await stack.enter_async_context(office.client("a", broker.address, settings=settings))
        call = asyncio.create_task(client.publish(office.inbox("b"), make_frame()))
        await broker.published.wait()
        broker.connack = 3  # from now on: server unavailable
        broker.hang_up()
        with pytest.raises(BrokerLost, match=rf"{broker.address} was lost and did not return in 0\.05 s"):
            await call


async def test_companions() -> None:
    """Companions are complete while nobody is absent, and say since when somebody is."""
    companions = Companions()
    await companions.complete()
    companions.lost("a", 1.0)
    companions.lost("b", 2.0)
    companions.back("a")
    assert companions.absent == {"b"}
    assert companions.lost_at_s == 1.0
    waiting = asyncio.create_task(companions.complete())
    companions.back("b")
    await waiting


async def flow(office: Office, sender: BusClient, inbox: Collector, numbers: range, *, at_once: int) -> None:
    """Publish *numbers*, some at a time."""
    left = iter(numbers)

    async def one_after_the_other() -> None:
        for number in left:
            await sender.publish(office.inbox("b"), make_frame(number))

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_the_other())
    await inbox.got(numbers.stop)


def last_pid(events: list[Any]) -> int:
    """Return the process id of the broker that was last reported as started."""
    pids: list[int] = [event["pid"] for event in events if event["event"] == "broker.started"]
    return pids[-1]


async def test_broker_stopped_in_mid_run(fleet: str, tmp_path: Path, log: FilteringBoundLogger) -> None:
    """A broker that ends under full traffic and is started again costs no message at all."""
    need("mosquitto")
    with capture_logs() as events:
        async with open_broker("mosquitto", directory=tmp_path, log=log) as address:
            office, inbox = Office(address, fleet, log), Collector()
            circle = Companions()
            async with (
                office.client("a", companions=circle, persistent=True) as sender,
                office.client("b", companions=circle, persistent=True) as receiver,
            ):
                await receiver.subscribe([office.inbox("b")], inbox)
                run = asyncio.create_task(flow(office, sender, inbox, range(3000), at_once=16))
                for count in (300, 1500):
                    await inbox.got(count)
                    os.kill(last_pid(events), signal.SIGTERM)  # it saves its sessions, so nothing may be lost
                await run
                assert await inbox.got(3000) == set(range(3000))
    assert sum(event["event"] == "broker.died" for event in events) == 2
    assert sum(event["event"] == "bus.connected_again" for event in events) >= 2


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
async def test_broker_killed(kind: str, fleet: str, tmp_path: Path, log: FilteringBoundLogger) -> None:
    """A broker that is killed forgets its sessions; even so, all that is published from then on arrives."""
    if kind == "mosquitto":
        need(kind)
    with capture_logs() as events:
        async with open_broker(kind, directory=tmp_path, log=log) as address:
            office, inbox, circle = Office(address, fleet, log), Collector(), Companions()
            async with (
                office.client("a", companions=circle, persistent=True) as sender,
                office.client("b", companions=circle, persistent=True) as receiver,
            ):
                await receiver.subscribe([office.inbox("b")], inbox)
                await flow(office, sender, inbox, range(200), at_once=8)
                os.kill(last_pid(events), signal.SIGKILL)
                await flow(office, sender, inbox, range(200, 600), at_once=8)
    assert {event["returncode"] for event in events if event["event"] == "broker.died"} == {-signal.SIGKILL}


# ---- TLS and passwords ------------------------------------------------------------------------------------


KEY_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
) -> bytes:
    """Return a PEM certificate: an authority's if it issues itself, else a server's at 127.0.0.1."""
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    now = datetime.now(UTC)
    authority = subject == issuer
    usage = dict.fromkeys(KEY_USES, False) | {"key_cert_sign": authority, "digital_signature": True}
    builder = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def write_certificates(directory: Path) -> None:
    """Write ``ca.pem``, ``server.pem``, ``server.key`` and a stranger's ``other-ca.pem``."""
    ca_key, server_key, other_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    (directory / "ca.pem").write_bytes(certificate("ca", ca_key, "ca", ca_key))
    (directory / "server.pem").write_bytes(certificate("server", server_key, "ca", ca_key))
    (directory / "other-ca.pem").write_bytes(certificate("other", other_key, "other", other_key))
    (directory / "server.key").write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@pytest.fixture
async def guarded(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[tuple[str, Path]]:
    """Run a mosquitto that wants TLS, a user and a password; yield its host and port, and its directory."""
    program, passwords = need("mosquitto"), need("mosquitto_passwd")
    await asyncio.to_thread(write_certificates, tmp_path)
    made = await asyncio.create_subprocess_exec(
        passwords, "-b", "-c", str(tmp_path / "users"), "fleet", "pass:word@1"
    )
    assert await made.wait() == 0
    lines = [
        f"listener {unused_tcp_port} 127.0.0.1",
        f"certfile {tmp_path}/server.pem",
        f"keyfile {tmp_path}/server.key",
        f"password_file {tmp_path}/users",
        "allow_anonymous false",
        "set_tcp_nodelay true",
        *(["user root"] if os.geteuid() == 0 else []),
    ]
    (tmp_path / "guarded.conf").write_text("\n".join(lines), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        program, "-v", "-c", str(tmp_path / "guarded.conf"), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    async for line in process.stderr:
        if b"running" in line:
            break
    yield f"127.0.0.1:{unused_tcp_port}", tmp_path
    process.terminate()
    await process.communicate()


async def test_tls_and_password(guarded: tuple[str, Path], fleet: str, log: FilteringBoundLogger) -> None:
    """Over TLS with user and password, out of a URL, frames go through."""
    place, directory = guarded
    tls = TlsSettings(ca_file=directory / "ca.pem")
    address = BrokerAddress.from_url(f"mqtts://fleet:pass%3Aword%401@{place}", tls=tls)
    office, inbox = Office(address, fleet, log), Collector()
    async with office.client("a") as client:
        await client.subscribe([office.inbox("a")], inbox)
        for number in range(100):
            await client.publish(office.inbox("a"), make_frame(number, pdu=bytes(5000), bearer=Bearer.ROLE))
        await inbox.got(100)


async def test_wrong_password(guarded: tuple[str, Path], fleet: str, log: FilteringBoundLogger) -> None:
    """A wrong password is refused with the broker's reason, and the password is not in the sentence."""
    place, directory = guarded
    tls = TlsSettings(ca_file=directory / "ca.pem")
    address = BrokerAddress.from_url(f"mqtts://{place}", username="fleet", password="guess-me", tls=tls)
    with pytest.raises(BrokerRefused, match="refused us: Not authorized") as caught:
        await Office(address, fleet, log).client("a").__aenter__()
    assert "guess-me" not in str(caught.value) + repr(address)


# paho leaves the socket of a failed handshake to the garbage collector, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_untrusted_broker(guarded: tuple[str, Path], fleet: str, log: FilteringBoundLogger) -> None:
    """A broker whose certificate another authority signed gets neither user nor password."""
    place, directory = guarded
    tls = TlsSettings(ca_file=directory / "other-ca.pem")
    address = BrokerAddress.from_url(f"mqtts://fleet:x@{place}", tls=tls)
    with pytest.raises(BrokerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await Office(address, fleet, log).client("a").__aenter__()
    gc.collect()  # here, not in a later test


@pytest.mark.parametrize(("name", "words"), [("absent.pem", "is no file"), ("users", "do not hold")])
async def test_bad_tls_file(
    name: str, words: str, fleet: str, tmp_path: Path, log: FilteringBoundLogger
) -> None:
    """A TLS file that is missing or no certificate is named before anything is connected."""
    await asyncio.to_thread((tmp_path / "users").write_text, "no certificate")
    address = BrokerAddress(host="127.0.0.1", port=1, tls=TlsSettings(ca_file=tmp_path / name))
    with pytest.raises(BrokerRefused, match=words):
        await Office(address, fleet, log).client("a").__aenter__()
