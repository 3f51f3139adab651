"""The codec of messages between roles: what goes in comes out, and nothing else is let in."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.errors import MessageRejected
from agents.handset.security_module.core import Identity, Turns
from agents.handset.security_module.operator_session import OperatorSession
from agents.messages import air, campaign_reports, contact, inside, orders
from agents.messages.codec import MAX_MESSAGE_OCTETS, decode, encode, message, unpack
from agents.messages.signed import Signed
from tests.agents.module_kit import UA, luhn

KEY, TAR, SECRET = bytes(range(32)), b"\xb2\x00\x00", b"SECRET-0123456789"
SERVICE: dict[str, Any] = {
    "service": "account",
    "suite": "p256",
    "forms": ["agree-then-sign"],
    "code_size": 1024,
    "data_size": 256,
    "rights": 5,
    "expires_at": 0,
    "executions": -1,
    "at_end": "deactivate",
    "bearers": ["bip-tcp", "sms"],
    "server": bytes([192, 0, 2, 1, 0x9C, 0x40, 0x9C, 0x41]),
    "protection": "aes-128",
}
ROOT: dict[str, Any] = {"authority": "root", "authority_suite": "x25519", "authority_public": KEY}
MNO: dict[str, Any] = {
    "operator": "mno",
    "operator_number": "15550100",
    "operator_suite": "x25519",
    "operator_public": KEY,
}
MESSAGES = [
    Signed(purpose=1, target=UA, counter=7, body=b"body", signer="mno", signature=bytes(64)),
    air.Subscribe(service="account"),
    campaign_reports.CampaignReport(
        generation=1, campaign=7, version=2, outcome=3, reason="too-large", signature=bytes(64)
    ),
    air.Reserve(tar=TAR, supplier="bank", supplier_number="15550200", supplier_public=KEY, **SERVICE),
    air.Block(tar=TAR),
    air.Unblock(tar=TAR, supplier_public=KEY),
    air.Release(tar=TAR),
    air.Answer(reason="resource-exists", rsc_id=0, ticket=b"occasion"),
    air.Renew(tar=TAR, supplier_public=KEY, expires_at=1_900_000_000, executions=5),
    air.Compact(),
    air.Audit(after=3),
    air.Audited(
        size=32768,
        free=100,
        largest_free=60,
        time=1_800_000_000,
        signed_time=0,
        definitions=[b"resource"],
        complete=True,
        ticket=b"occasion",
    ),
    air.AuditedResource(
        rsc_id=1,
        tar=TAR,
        service="account",
        state="loaded",
        supplier="bank",
        supplier_digest=bytes(32),
        usable=True,
        start=16384,
        code_size=1024,
        data_size=256,
        code_length=700,
        code_digest=bytes(32),
        version=1,
        rights=5,
        expires_at=0,
        executions_left=-1,
        at_end="delete",
    ),
    air.ChangeSupplierKey(
        tar=TAR, former_public=KEY, supplier_public=KEY, supplier_sealing=KEY, endorsement=bytes(64)
    ),
    air.Call(tar=TAR, opening=b"opening"),
    air.DomainCall(tar=TAR, opening=b"opening", generation=2),
    air.Prove(tar=TAR, proof=b"proof"),
    air.RenewDomainKey(octets=b"wrapped"),
    air.LoadApplication(version=1, total=3, offset=0, octets=SECRET),
    air.LoadData(octets=SECRET),
    air.Invoke(argument=SECRET),
    air.Result(reason="", status=0, output=SECRET),
    air.Push(bearer="bip-tcp"),
    air.Announce(time=1_800_000_000),
    air.RollOperatorKey(suite="x25519", public=KEY),
    air.IntroduceOperator(chain=b"chain"),
    contact.ModuleKeys(signing=KEY, sealing=KEY),
    contact.Personalise(
        ua=UA,
        suite="x25519",
        **ROOT,
        **MNO,
        session_form="agree-then-sign",
        dh_base=b"\x02",
        dh_modulus=b"\x17",
        private=SECRET,
        sealing_private=SECRET,
        operator_serial=3,
    ),
    inside.PublicKeys(suite="p256", signing_public=KEY, sealing_public=KEY),
    inside.Register(
        ua=UA,
        suite="p256",
        public=KEY,
        sealing=KEY,
        memory=32768,
        operator="mno",
        suites=["p256"],
        possession=b"p",
    ),
    inside.LookUp(ua=UA),
    inside.ModuleRecord(certificate=b"certificate", memory=32768, suites=["p256", "x25519"]),
    inside.Agree(number="15550200", public=KEY, sealing=KEY, lifetime=3600, **SERVICE),
    inside.Agreed(service="account", tar=TAR),
    inside.Activate(
        ua=UA,
        service="account",
        certificate=b"certificate",
        rsc_id=1,
        tar=TAR,
        turn=3,
        supplier_digest=bytes(32),
    ),
    inside.ResourceChanged(ua=UA, service="account", state="blocked", turn=4, supplier_digest=bytes(32)),
    inside.NextSupplierKey(service="account", roll=7, former=bytes(32)),
    inside.SupplierKey(suite="p256", public=KEY, sealing=KEY, endorsement=bytes(64)),
    inside.WrapDomainKey(ua=UA, service="account", certificate=b"certificate", ticket=b"occasion"),
    inside.WrappedDomainKey(octets=b"wrapped"),
    inside.Certify(suite="x25519", public=KEY, possession=b"p"),
    inside.Certified(certificate=b"certificate"),
    inside.MakeKeys(ua=UA, suite="x25519"),
    inside.MadeKeys(private=SECRET, sealing_private=SECRET),
    inside.Done(),
    inside.Refused(reason="unknown-service"),
    orders.Order(run=1, do="invoke", ua=UA, service="account", argument=SECRET),
    orders.Event(
        run=1, do="invoke", ua=UA, service="account", result="ok", reason="", output=SECRET, others=b"1 2"
    ),
    orders.BroadcastOrder(version=2, groups=["city"]),
    orders.DomainRollOrder(roll=8, groups=["city"], leave_out=["lost"]),
    Identity(
        ua=UA,
        suite="x25519",
        private=SECRET,
        public=KEY,
        sealing_private=SECRET,
        sealing_public=KEY,
        **ROOT,
        **MNO,
    ),
    Turns(
        command=1,
        digest=bytes(32),
        request=2,
        claimed=3,
        announcement=4,
        signed=5,
        connection=6,
        proof=KEY,
        ticket=b"occasion",
    ),
    OperatorSession(keys=SECRET, received=7),
]
CLASSES = tuple(type(each) for each in MESSAGES)
EACH = pytest.mark.parametrize("value", MESSAGES, ids=lambda value: type(value).__name__)
SECRETIVE = pytest.mark.parametrize(
    "value", [each for each in MESSAGES if SECRET in encode(each)], ids=lambda value: type(value).__name__
)

nested = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


def _refusal(octets: bytes, *expected: type[Any]) -> MessageRejected:
    with pytest.raises(MessageRejected) as caught:
        decode(octets, *expected)
    return caught.value


def _fields(value: Any) -> list[Any]:
    """Return the array that a message is on the wire, its code first."""
    fields: list[Any] = msgpack.unpackb(encode(value))
    return fields


@EACH
def test_whole(value: Any) -> None:
    """Each message comes back from its octets."""
    assert decode(encode(value), type(value)) == value


@EACH
def test_reencoded(value: Any) -> None:
    """A message that was read encodes to the octets that it was read from."""
    octets = encode(value)
    assert encode(decode(octets, *CLASSES)) == octets


@EACH
def test_cut(value: Any) -> None:
    """A message cut anywhere is refused."""
    octets = encode(value)
    for end in range(len(octets)):
        assert _refusal(octets[:end], *CLASSES).reason in {"not-msgpack", "not-an-array"}


@EACH
@pytest.mark.parametrize("tail", [b"\0", b"\xc0", b"\x90"])
def test_trailing(value: Any, tail: bytes) -> None:
    """An octet behind a message is refused."""
    assert _refusal(encode(value) + tail, *CLASSES).reason == "not-msgpack"


@EACH
def test_another_message_is_not_expected(value: Any) -> None:
    """A message of a class that was not asked for is refused, however well it holds."""
    others = [each for each in CLASSES if each is not type(value)]
    assert _refusal(encode(value), *others).reason == "unexpected-message"


@EACH
def test_a_field_too_many_or_too_few(value: Any) -> None:
    """A message has exactly the fields of its class."""
    fields = _fields(value)
    assert _refusal(msgpack.packb([*fields, 0]), *CLASSES).reason == "wrong-field-count"
    if len(fields) > 1:
        assert _refusal(msgpack.packb(fields[:-1]), *CLASSES).reason == "wrong-field-count"


@EACH
@pytest.mark.parametrize("wrong", [None, 1.5, True, ["x"], -2, "\n", b"", 1 << 60, "x" * 200, bytes(9000)])
def test_a_field_of_another_type_or_out_of_bounds(value: Any, wrong: Any) -> None:
    """Each field is checked by itself; the refusal names the class and the field, and quotes no value."""
    for at, field in enumerate(dataclasses.fields(value), 1):
        fields = _fields(value)
        fields[at] = wrong
        try:
            decode(msgpack.packb(fields), *CLASSES)
        except MessageRejected as rejection:
            words = str(rejection)
        else:
            continue  # some of these do fit some fields
        assert words.startswith(f"bad-field: {type(value).__name__}.{field.name}")
        assert len(words) < 64


BOUNDS: list[tuple[Any, str, Any, Any]] = [
    (air.Subscribe, "service", "a" * 32, "a" * 33),
    (air.Subscribe, "service", "a", ""),
    (air.Subscribe, "service", "A.z_0-9", "a b"),
    (air.Subscribe, "service", "a", "a\n"),
    (air.Answer, "ticket", b"", b"t"),
    (air.Answer, "ticket", bytes(8), bytes(9)),
    (air.Audited, "ticket", bytes(8), b""),
    (inside.WrapDomainKey, "ticket", bytes(8), bytes(7)),
    (air.Reserve, "tar", b"\0\0\0", b"\0\0"),
    (air.Reserve, "tar", b"\0\0\0", b"\0\0\0\0"),
    (air.Reserve, "supplier_number", "123", "12"),
    (air.Reserve, "supplier_number", "1" * 20, "1" * 21),
    (air.Reserve, "supplier_number", "123", "12a"),
    (air.Reserve, "supplier_public", bytes(16), bytes(15)),
    (air.Reserve, "supplier_public", bytes(2048), bytes(2049)),
    (air.Reserve, "code_size", 1, 0),
    (air.Reserve, "data_size", 0, -1),
    (air.Reserve, "data_size", 4 * 1024 * 1024, 4 * 1024 * 1024 + 1),
    (air.Reserve, "rights", (1 << 32) - 1, 1 << 32),
    (air.Reserve, "expires_at", (1 << 40) - 1, 1 << 40),
    (air.Reserve, "executions", -1, -2),
    (air.Reserve, "executions", (1 << 31) - 1, 1 << 31),
    (air.Answer, "reason", "", "Upper"),
    (air.Answer, "reason", "a" * 48, "a" * 49),
    (air.Answer, "rsc_id", 0xFFFF, 0x10000),
    (air.LoadApplication, "version", 1, 0),
    (air.LoadApplication, "version", (1 << 32) - 1, 1 << 32),
    (air.LoadData, "octets", bytes(8192), bytes(8193)),
    (air.Result, "status", (1 << 32) - 1, 1 << 32),
    (Signed, "purpose", 15, 16),
    (Signed, "purpose", 1, 0),
    (Signed, "counter", (1 << 40) - 1, 1 << 40),
    (Signed, "signature", bytes(64), bytes(63)),
    (Signed, "signature", bytes(4096), bytes(4097)),
    (inside.LookUp, "ua", luhn("1" * 17), "1" * 17),
    (inside.LookUp, "ua", luhn("1" * 19), luhn("1" * 20)),
    (inside.LookUp, "ua", UA, UA[:-1] + str((int(UA[-1]) + 1) % 10)),
    (inside.ModuleRecord, "suites", ["x"] * 16, ["x"] * 17),
    (orders.Order, "ua", "", "x" * 33),
    (orders.BroadcastOrder, "version", (1 << 32) - 1, 1 << 32),
    (orders.BroadcastOrder, "groups", ["city"] * 32, ["city"] * 33),
    (orders.DomainRollOrder, "leave_out", ["city"] * 32, ["city"] * 33),
    (air.DomainCall, "generation", (1 << 32) - 1, 1 << 32),
    (air.RenewDomainKey, "octets", bytes(2048), bytes(2049)),
]


@pytest.mark.parametrize(("cls", "field", "inside_it", "outside_it"), BOUNDS)
def test_bounds(cls: type[Any], field: str, inside_it: Any, outside_it: Any) -> None:
    """The last value inside each bound is taken and the first outside is not, on the wire and by our own."""
    valid: Any = next(each for each in MESSAGES if type(each) is cls)
    taken = dataclasses.replace(valid, **{field: inside_it})
    assert decode(encode(taken), cls) == taken
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(valid, **{field: outside_it})
    fields = _fields(valid)
    fields[[each.name for each in dataclasses.fields(cls)].index(field) + 1] = outside_it
    assert _refusal(msgpack.packb(fields), cls).reason == "bad-field"


@pytest.mark.parametrize("digits", ["\u0661\u0662\u0663", "\uff11\uff12\uff13"], ids=["arabic", "wide"])
def test_digits_are_ascii(digits: str) -> None:
    """A number is digits that a telephone has; other scripts' digits cannot be sent as semi-octets."""
    valid = next(each for each in MESSAGES if isinstance(each, air.Reserve))
    with pytest.raises(ValueError, match="supplier_number"):
        dataclasses.replace(valid, supplier_number=digits)


def test_an_address_of_other_scripts_digits_is_none() -> None:
    """A UA is ASCII digits, though a Luhn digit of another script's would compute as well."""
    with pytest.raises(ValueError, match="ua"):
        inside.LookUp(ua=UA.translate({ord("0") + digit: 0x660 + digit for digit in range(10)}))


@SECRETIVE
def test_a_secret_stays_out_of_repr(value: Any) -> None:
    """Application octets, personal data and private keys do not show in a message's repr."""
    assert "SECRET" not in repr(value)
    assert "SECRET" not in str(value)
    assert f"=<{len(SECRET)} octets>" in repr(value)


@SECRETIVE
def test_a_secret_stays_out_of_a_refusal(value: Any) -> None:
    """A message that is refused because of its secret field says which, and not what it held."""
    for place, field in enumerate(_fields(value)):
        if field != SECRET:
            continue
        for wrong in (SECRET * 600, SECRET.decode(), [SECRET], 0):
            fields = _fields(value)
            fields[place] = wrong
            rejection = _refusal(msgpack.packb(fields), type(value))
            assert rejection.reason == "bad-field"
            assert "SECRET" not in f"{rejection} {rejection!r} {rejection.detail} {rejection.__cause__}"


def test_a_secret_stays_out_of_our_own_mistakes() -> None:
    """A message that our own code cannot make does not quote the secret that it could not hold."""
    for wrong in (SECRET * 600, SECRET.decode()):
        with pytest.raises(ValueError, match="octets") as caught:
            air.LoadData(octets=wrong)  # type: ignore[arg-type]
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "not-msgpack"),
        (b"\xc1", "not-msgpack"),
        (b"\xc0", "not-an-array"),
        (b"\x0a", "not-an-array"),
        (b"\x80", "not-an-array"),
        (b"\x81\xa1a\x01", "not-msgpack"),
        (b"\xd4\x00\x00", "not-msgpack"),
        (b"\x91" * 2000, "not-msgpack"),
        (b"\xdd\xff\xff\xff\xff", "not-msgpack"),
        (b"\xc6\xff\xff\xff\xff", "not-msgpack"),
        (b"\x92\x0a\xa1\xff", "not-msgpack"),
        (bytes(MAX_MESSAGE_OCTETS + 1), "too-large"),
        (b"\x90", "unexpected-message"),
        (b"\x91\xc3", "unexpected-message"),
        (b"\x91\xcb" + bytes(8), "unexpected-message"),
        (b"\x91\x90", "unexpected-message"),
        (b"\x91\xcc\xff", "unexpected-message"),
    ],
    ids=[
        "nothing",
        "never-used",
        "nil",
        "integer",
        "empty-map",
        "map",
        "extension",
        "deep",
        "announced-array",
        "announced-binary",
        "not-utf-8",
        "too-large",
        "empty",
        "code-true",
        "code-float",
        "code-array",
        "unknown-code",
    ],
)
def test_no_message(octets: bytes, reason: str) -> None:
    """What is no array, too large, too deep, or of no known code is refused with its reason."""
    assert _refusal(octets, *CLASSES).reason == reason


def test_a_code_is_for_ever() -> None:
    """A second class with a code that is taken is our own mistake."""
    with pytest.raises(ValueError, match="message code 10 is taken by Subscribe"):
        message(10)(type("Another", (), {}))


def test_what_is_no_message_is_not_encoded() -> None:
    """Encoding something else is our own mistake."""
    with pytest.raises(ValueError, match="object is no message"):
        encode(object())


def test_codes_are_those_of_the_wire() -> None:
    """Each class has the code it was given; another one would break every stored message."""
    codes = {type(each).__name__: _fields(each)[0] for each in MESSAGES}
    assert len(set(codes.values())) == len(MESSAGES)
    assert {name: codes[name] for name in ("Signed", "Subscribe", "Call", "Personalise", "Register")} == {
        "Signed": 1,
        "Subscribe": 10,
        "Call": 20,
        "Personalise": 30,
        "Register": 40,
    }


@given(st.binary(max_size=400))
def test_any_octets(octets: bytes) -> None:
    """Arbitrary octets are refused in our own words, or are a message."""
    try:
        assert type(decode(octets, *CLASSES)) in CLASSES
    except MessageRejected:
        return


@settings(max_examples=150)
@given(st.sampled_from(MESSAGES), st.lists(nested, max_size=16))
def test_any_fields(value: Any, fields: list[Any]) -> None:
    """An array of anything under a known code is refused in our own words, or is a message."""
    octets = msgpack.packb([_fields(value)[0], *fields])
    try:
        assert type(decode(octets, *CLASSES)) is type(value)
    except MessageRejected:
        return


@given(st.sampled_from(MESSAGES), st.data())
def test_an_altered_octet(value: Any, data: st.DataObject) -> None:
    """One altered octet is refused in our own words, or gives another message that encodes and decodes."""
    octets = bytearray(encode(value))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(bytes(octets), *CLASSES)
    except MessageRejected:
        return
    assert decode(encode(other), *CLASSES) == other


@given(st.binary(max_size=300))
def test_unpacked_arrays_are_arrays(octets: bytes) -> None:
    """What unpacks is a list, without any map or extension in it."""
    try:
        values = unpack(octets)
    except MessageRejected:
        return
    assert type(values) is list


@given(st.binary(max_size=80), st.integers(0, 4))
def test_each_handset_has_one_moment_or_none(octets: bytes, others: int) -> None:
    """Whatever octets are in the place of moments, what is none of any handset is left out."""
    event = dataclasses.replace(
        orders.Event.of_all({"1": 0.5}, run=1, do="broadcast", service="points"),
        others=b" ".join([b"2"] * others),
        heard_at=octets,
    )
    heard = list(event.heard)
    assert [ua for ua, _ in heard] == ["1"] + ["2"] * others
    known = len(octets) // 8
    assert all(at is None or 0 <= at < 1e12 for _, at in heard[:known])
    assert all(at is None for _, at in heard[known:])
