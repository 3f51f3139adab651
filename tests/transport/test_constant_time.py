"""What proves something is compared in constant time: ``hmac.compare_digest``, never ``==``.

``==`` on octets stops at the first that differs, so its time tells a forger how far he has come. The walk
reads all sources for comparisons of what is named like a proof or a secret. Names are all that it sees: what
is named otherwise, and the ``==`` that a dataclass has for its fields, it does not.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest

from tests.transport.test_floor import ROOT, sources

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOORS: Final = ("transport", "bus", "agents")
SECRETIVE: Final = frozenset(
    {
        *("mac", "hmac", "cmac", "tag", "signature", "sig", "digest", "hash", "checksum", "cryptogram"),
        *("token", "secret", "confirmation", "confirm", "proof", "password", "pin", "private", "key"),
    }
)
# What ends so is a fact about the secret that everybody may know.
FACTS: Final = frozenset(
    {
        *("length", "octet", "size", "number", "index", "id", "name", "kind", "suite", "algorithm", "public"),
        *("env", "file"),
    }
)
# Where compare_digest stands between names that tell nothing, so that the walk would not miss it.
UNNAMED: Final = frozenset({"transport/secured_packet/protection.py"})

_TLV: Final = "the tag of a TLV, read in clear"
_AGAIN: Final = "whether something came again that is not proven and holds no secret"
_OWN: Final = "whether a state directory is of this config; both are the user's own files"
_LOG: Final = "a digest of what was read of a log, by which it is known again; whoever reads it has both"
_RESERVED: Final = "the hash of something public, held against what the operator's signed reservation said"
_PUBLIC: Final = "public keys, or their hashes, of which everybody may know how far they are alike"
_TYPE: Final = "the signature of a WebAssembly function: its type"
_MODULE: Final = "agents/handset/security_module/"
ALLOWED: Final = {
    ("transport/ber_tlv.py", "tag != _THREE_OCTET_TAG"): _TLV,
    ("transport/ber_tlv.py", "tag >> 16 == _THREE_OCTET_TAG"): _TLV,
    ("transport/ber_tlv.py", "tlv.tag == tag"): _TLV,
    ("transport/toolkit/fields.py", "outer[0].tag != tag"): _TLV,
    ("transport/cell_broadcast/assembler.py", "self.digests[page.number - 1] == hash(page.content)"): _AGAIN,
    ("transport/concatenation/reassembler.py", "self.digests[part.sequence - 1] == hash(user_data)"): _AGAIN,
    ("agents/fleet/state.py", "row['value'] != digest.encode()"): _OWN,
    ("agents/traces/index.py", "proof(path, log.offset) == log.proof"): _LOG,
    ("agents/fleet/state.py", "row['value'] != config.step_digest(index).encode()"): _OWN,
    (_MODULE + "applications.py", "digest_of(code) == definition.code_digest"): _RESERVED,
    (_MODULE + "definitions.py", "digest_of(code) != definition.code_digest"): _RESERVED,
    (_MODULE + "supplier_key.py", "key_digest(public) != definition.supplier_digest"): _RESERVED,
    (_MODULE + "soundness.py", "digest == definition.supplier_digest"): _RESERVED,
    (
        _MODULE + "soundness.py",
        "(bool(definition.supplier_public), bool(definition.code_length)) == (has_key, has_programme)",
    ): "whether there is a key and a programme, not which",
    ("agents/authority.py", "keys_in(known['certificate']) != keys"): _PUBLIC,
    ("agents/supplier.py", "message.supplier_digest == row['supplier_digest']"): _PUBLIC,
    ("agents/domain_rolls.py", "row['supplier_digest'] == known_by"): _PUBLIC,
    ("agents/supplier_keys.py", "current['public_key'] == reply.public"): _PUBLIC,
    ("agents/supplier_keys.py", "key_digest(keys.signing.public) == digest"): _PUBLIC,
    (
        "agents/loading.py",
        "(version, digest) == (newest.version, hashlib.sha256(newest.code).digest())",
    ): "what a module says, under the session, of the programme that its supplier made",
    (
        "agents/authority.py",
        "(signed.target, signed.signer, signed.body) != (authority, message.ua, keys)",
    ): "public keys, said twice in one message",
    (
        "agents/authority_keys.py",
        "(signed.target, signed.signer, signed.body) != (authority, operator, key)",
    ): "a public key, said twice in one message",
    (_MODULE + "programme.py", "_signature(each.type) != (host.parameters, host.results)"): _TYPE,
    (_MODULE + "programme.py", "_signature(function) != ((), ('i32',))"): _TYPE,
}


def secretive(name: str) -> bool:
    """Say whether an identifier is that of a proof or a secret; a constant of the source is neither."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)]
    singular = [word.removesuffix("s") for word in words]
    named = not SECRETIVE.isdisjoint([*words, *singular])
    return named and singular[-1] not in FACTS and not name.isupper()


def said(node: ast.AST) -> Iterator[str]:
    """Give the names of what *node* is worth: of ``a.mac[:8]`` it is mac, of ``mac.length`` it is length."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name
        case ast.Subscript(value=value, slice=ast.Constant(value=str(name))):
            yield from said(value)
            yield name
        case ast.Subscript(value=value):
            yield from said(value)
        case ast.Call():
            yield from said(called(node))
        case ast.NamedExpr(target=target, value=value):
            yield from said(target)
            yield from said(value)
        case ast.Tuple() | ast.List() | ast.Set() | ast.BinOp() | ast.IfExp() | ast.Await() | ast.Starred():
            for part in ast.iter_child_nodes(node):
                yield from said(part)


def called(node: ast.Call) -> ast.AST:
    """Return what names the result of a call: the function, or what it merely gives another form."""
    match node:
        case ast.Call(func=ast.Attribute(attr="keys")):
            return ast.Pass()  # of a mapping
        case ast.Call(func=ast.Attribute(value=value, attr="hex" | "encode" | "decode")):
            return value
        case ast.Call(func=ast.Name(id="bytes" | "bytearray" | "memoryview"), args=[value, *_]):
            return value
        case _:
            return node.func


def leaks(node: ast.Compare) -> bool:
    """Say whether the time of a comparison may depend on how much of a secret was guessed."""
    # ``in`` compares with == where its right side is written out; in a table it looks a hash up.
    written_out = isinstance(node.comparators[-1], ast.Tuple | ast.List | ast.Set)
    telling = (ast.Eq, ast.NotEq, *((ast.In, ast.NotIn) if written_out else ()))
    names = [name for side in (node.left, *node.comparators) for name in said(side)]
    return any(isinstance(operator, telling) for operator in node.ops) and any(map(secretive, names))


def comparisons(source: str) -> list[str]:
    """Return the comparisons in *source* that should be made in constant time."""
    nodes = ast.walk(ast.parse(source))
    return [ast.unparse(node) for node in nodes if isinstance(node, ast.Compare) and leaks(node)]


@cache
def found() -> frozenset[tuple[str, str]]:
    """Return file and expression of every such comparison on the three floors."""
    return frozenset(
        (str(path.relative_to(ROOT)), expression)
        for floor in FLOORS
        for path in sources(floor)
        for expression in comparisons(path.read_text(encoding="utf-8"))
    )


def test_no_proof_is_compared_octet_by_octet() -> None:
    """Nothing named like a MAC, a signature, a token or a secret is compared with ==, but for the list."""
    assert found() - set(ALLOWED) == set()


def test_the_list_of_exceptions_is_not_longer_than_it_must_be() -> None:
    """Each exception still stands in the sources, so that none is left lying for something else to use."""
    assert set(ALLOWED) - found() == set()


@pytest.mark.parametrize("floor", FLOORS)
def test_there_is_something_to_walk(floor: str) -> None:
    """Each floor has sources, so that the rule cannot hold of nothing."""
    assert len(sources(floor)) > 1


@cache
def constant_time_calls() -> tuple[tuple[str, ast.Call], ...]:
    """Return each call of compare_digest on the three floors, with its file."""
    return tuple(
        (str(path.relative_to(ROOT)), node)
        for floor in FLOORS
        for path in sources(floor)
        if "compare_digest" in (source := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and list(said(node)) == ["compare_digest"]
    )


def test_the_walk_sees_what_it_is_for() -> None:
    """Were any compare_digest on the floors an ==, the walk would find it, but where no name tells."""
    blind = set()
    for name, call in constant_time_calls():
        left, right = call.args
        if not leaks(ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
            blind.add(name)
    assert blind == UNNAMED
    assert len(constant_time_calls()) > len(UNNAMED)


@pytest.mark.parametrize(
    "source",
    [
        "if mac == expected: pass",
        "ok = received != self._mac(key, message)",
        "ok = packet.signature[:8] == octets",
        "ok = hmac.digest(k, m, 'sha256') == answer",
        "ok = row['token'] != given",
        "ok = given == (head, peer.confirmation)",
        "ok = mac in (first, second)",
        "ok = bytes(expected_mac) == octets.hex()",
        "ok = tag.hex() == given",
        "ok = prefix + macs == given",
        "ok = (proof := make()) == given",
        "ok = a < b == session.secret",
        "def f():\n    return [x for x in y if x == responderConfirms]",
        "async def f():\n    return await signature == x",
        "assert given == (private if own else public)",
    ],
)
def test_the_walk_finds(source: str) -> None:
    """A proof or secret on either side, sliced, computed, in a tuple or in a comprehension is found."""
    assert len(comparisons(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "ok = hmac.compare_digest(mac, expected)",
        "ok = len(signature) == 64",
        "ok = len(octets) != kind.signature_length",
        "ok = key.suite == own",
        "ok = signing_key.public == peer_public",
        "ok = mac is None",
        "ok = key in table",
        "ok = values.keys() == _KEYS",
        "ok = name == 'stage'",
        "ok = rejection.reason == 'bad-signature'",
        "ok = first == PROOF_TAG",
        "'mac == expected'",
    ],
)
def test_the_walk_leaves_alone(source: str) -> None:
    """Lengths, public halves, tables, constants of the source and mere words are none of its business."""
    assert comparisons(source) == []
