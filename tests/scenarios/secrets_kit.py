"""Every secret of a fleet, wherever it rests or passes, and the search for them in what should have none.

Three sources, none of which knows a feature by its name. *Tables*: whatever octets a role's database has are
secret, unless their column is listed as public. *Memory images*: whatever a record or a definition hides from
its repr. *Objects*: whatever keys were made while ``watched_keys`` looked, though they are stored nowhere.
Who adds a public column has to list it here; who adds a secret has nothing to do.

Searched for are runs of 16 octets, as they are, in hexadecimal, in Base64, as a list of decimals, as one
number, and as Python or JSON escape them. What is shorter is searched for as a whole.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import json
import re
import sqlite3
import sys
import typing
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from agents.handset.security_module.definitions import DefinitionTable
from agents.handset.security_module.memory import Memory, Record
from agents.messages.codec import decode
from tests.scenarios.kit import images
from transport.errors import Rejected
from transport.security import keyset
from transport.security.domain_key import DomainKey
from transport.security.keyset import SessionKeys
from transport.security.suite_base import SealingKey, SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import pytest

SHORTEST: Final = 8
"""What is shorter is found anywhere."""
_WINDOW: Final = 8
_RUN: Final = 16
"""So many octets in a row are no accident."""
_STRIDE: Final = _RUN - _WINDOW + 1
"""Every such run has a window that begins at a multiple of this."""
_VARIETY: Final = 5
"""Different octets that a window has if it is no accident."""

PUBLIC: Final = frozenset(
    {
        "answer",
        "body",
        "certificate",
        "dh_base",
        "dh_modulus",
        "digest",
        "module_public",
        "module_sealing",
        "octets",
        "public_key",
        "sealing_key",
        "server",
        "signature",
        "supplier_digest",
        "tar",
        "ticket",
        "trace",
        "what",
    }
)
"""Columns of roles' databases whose octets travel in clear, or could."""
_OF_FLEET: Final = {"settings": "value", "step_results": "output"}
_SECRET_SETTING: Final = "console-key"
"""Of the settings, none else is secret."""


def _parts(name: str, octets: bytes) -> tuple[bytes, ...]:
    """Return what is secret of *octets*, which a column or a field of that name holds."""
    if name == "domain_key":
        return (DomainKey.load(octets).secret,)
    if name in ("session", "keys"):
        with contextlib.suppress(ValueError):
            return SessionKeys.load(octets).keys
    return (octets,)


# ---- tables ----------------------------------------------------------------------------------------------


def in_tables(state: Path) -> Iterator[bytes]:
    """Yield the secrets in the roles' and the fleet's databases."""
    for path in sorted(state.glob("*.db")):
        if path.name == "modules.db":
            continue
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.row_factory = sqlite3.Row
            tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            for table in tables:
                for row in database.execute(f"SELECT * FROM {table}"):  # noqa: S608 -- a name of ours
                    yield from _of_row(path.stem == "fleet", table, dict(row))


def _of_row(is_fleets: bool, table: str, row: dict[str, Any]) -> Iterator[bytes]:  # noqa: FBT001 -- a private helper
    for column, value in row.items():
        if type(value) is not bytes or not value:
            continue
        if is_fleets:
            if _OF_FLEET.get(table) == column and row.get("key", _SECRET_SETTING) == _SECRET_SETTING:
                yield value
        elif column not in PUBLIC:
            yield from _parts(column, value)


# ---- memory images ---------------------------------------------------------------------------------------


def in_images(state: Path) -> Iterator[bytes]:
    """Yield the secrets in the modules' memory: hidden fields, and what their applications hold."""
    for image in images(state).values():
        octets = bytes(image)
        memory = Memory.boot(octets)
        for record in Record:
            kept = memory.get_record(record)
            if kept:
                yield from _of_record(kept)
        for definition in DefinitionTable(memory).all():
            yield from hidden(definition)
            yield octets[definition.start : definition.end]


def _of_record(octets: bytes) -> Iterator[bytes]:
    try:
        yield from hidden(decode(octets, *_message_classes()))
    except Rejected:
        # Nobody knows what this is: then it is secret.
        yield octets


@cache
def _message_classes() -> list[type[Any]]:
    return [
        each
        for name, module in list(sys.modules.items())
        if name.startswith("agents.")
        for each in vars(module).values()
        if isinstance(each, type) and dataclasses.is_dataclass(each) and hasattr(each, "__pydantic_fields__")
    ]


def hidden(value: Any) -> Iterator[bytes]:
    """Yield every octet string that *value*, or a value in it, hides from its repr."""
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from hidden(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value)) if _is_message(value) else {}
        for each in dataclasses.fields(value):
            inner = getattr(value, each.name)
            marks = getattr(hints.get(each.name), "__metadata__", ())
            if each.repr and all(getattr(mark, "repr", True) for mark in marks):
                yield from hidden(inner)
            else:
                yield from _all_of(each.name, inner)


@cache
def _hints(message: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(message, include_extras=True)


def _is_message(value: object) -> bool:
    return hasattr(value, "__pydantic_fields__")


def _all_of(name: str, value: Any) -> Iterator[bytes]:
    if type(value) is bytes and value:
        yield from _parts(name, value)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _all_of(name, each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for each in dataclasses.fields(value):
            yield from _all_of(each.name, getattr(value, each.name))


# ---- objects ---------------------------------------------------------------------------------------------


def watched_keys(monkeypatch: pytest.MonkeyPatch) -> set[bytes]:
    """Return a set that fills, from now on, with the keys that anybody in this process makes or loads."""
    found: set[bytes] = set()

    def watch(cls: type[Any], method: str, secrets: Callable[[Any], Iterable[bytes]]) -> None:
        real = getattr(cls, method)

        def watching(self: Any, *arguments: Any, **fields: Any) -> None:
            real(self, *arguments, **fields)
            found.update(octets for octets in secrets(self) if octets)

        monkeypatch.setattr(cls, method, watching)

    watch(SigningKey, "__init__", lambda key: (key.private,))
    watch(SealingKey, "__init__", lambda key: (key.private,))
    watch(DomainKey, "__post_init__", lambda key: (key.secret,))
    watch(SessionKeys, "__post_init__", lambda keys: keys.keys)
    extract = keyset.extract

    def extracting(salt: bytes, secret: bytes) -> bytes:
        found.update((secret, root := extract(salt, secret)))
        return root

    monkeypatch.setattr(keyset, "extract", extracting)
    return found


# ---- the search ------------------------------------------------------------------------------------------


class Search:
    """Looks for secrets in octets that should have none."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._windows: dict[bytes, list[tuple[bytes, int]]] = {}
        """Where each window of a secret is."""
        self._whole: set[bytes] = set()
        for secret in set(secrets):
            if len(secret) < SHORTEST or len(set(secret)) < _VARIETY:
                continue
            if len(secret) < _RUN:
                self._whole.add(secret)
                continue
            for at in range(len(secret) - _WINDOW + 1):
                window = secret[at : at + _WINDOW]
                if len(set(window)) >= _VARIETY:
                    self._windows.setdefault(window, []).append((secret, at))

    def __len__(self) -> int:
        return len(self._windows) + len(self._whole)

    def in_octets(self, octets: bytes) -> set[bytes]:
        """Return the secrets that *octets* have in them, as they are or written as text."""
        found = self._look(octets)
        for reading in _readings(octets):
            found |= self._look(reading)
        return found

    def in_lines(self, text: bytes) -> set[bytes]:
        """Return the secrets in the lines of a log, whose strings JSON and Python may have escaped."""
        found = self.in_octets(text)
        for line in text.splitlines():
            for string in _strings(line):
                if "\\" in string or not string.isascii():
                    for reading in _unescaped(string):
                        found |= self._look(reading)
        return found

    def _look(self, octets: bytes) -> set[bytes]:
        found = {secret for secret in self._whole if secret in octets}
        known = self._windows
        for at in range(0, len(octets) - _WINDOW + 1, _STRIDE):
            for secret, there in known.get(octets[at : at + _WINDOW], ()):
                if secret not in found and _run(octets, at, secret, there) >= _RUN:
                    found.add(secret)
        return found


def _run(octets: bytes, at: int, secret: bytes, there: int) -> int:
    """Return how many octets around both places are the same."""
    begin = 0
    while begin < min(at, there) and octets[at - begin - 1] == secret[there - begin - 1]:
        begin += 1
    end = 0
    while end < min(len(octets) - at, len(secret) - there) and octets[at + end] == secret[there + end]:
        end += 1
    return begin + end


_HEX: Final = re.compile(rb"[0-9A-Fa-f]{16,}")
_SPACED_HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2}[ :-]){7,}[0-9A-Fa-f]{2}")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{11,}")
_DECIMALS: Final = re.compile(rb"\d{1,3}(?:, ?\d{1,3}){7,}")
_NUMBER: Final = re.compile(rb"\d{20,}")
_GAP: Final = bytes(_WINDOW)
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([nrt'\"\\]))")
_SHORT: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"'": b"'", b'"': b'"', b"\\": b"\\"}


def _readings(octets: bytes) -> Iterator[bytes]:
    """Yield *octets* read as the texts that somebody careless may have written a secret in."""
    hexadecimal = [match[0] for match in _HEX.finditer(octets)]
    hexadecimal += [re.sub(rb"[ :-]", b"", match[0]) for match in _SPACED_HEX.finditer(octets)]
    for skipped in (0, 1):
        yield _GAP.join(_from_hex(digits[skipped:]) for digits in hexadecimal)
    words = [match[0].translate(bytes.maketrans(b"-_", b"+/")) for match in _BASE64.finditer(octets)]
    for skipped in range(4):
        yield _GAP.join(_from_base64(word[skipped:]) for word in words)
    lists = [re.findall(rb"\d+", match[0]) for match in _DECIMALS.finditer(octets)]
    yield _GAP.join(bytes(int(number) & 0xFF for number in numbers) for numbers in lists)
    numbers = [int(match[0][:4000]) for match in _NUMBER.finditer(octets)]
    yield _GAP.join(number.to_bytes((number.bit_length() + 7) // 8, "big") for number in numbers)


def _from_hex(digits: bytes) -> bytes:
    return binascii.unhexlify(digits[: len(digits) // 2 * 2])


def _from_base64(word: bytes) -> bytes:
    whole = word[:-1] if len(word) % 4 == 1 else word
    return base64.b64decode(whole + b"=" * (-len(whole) % 4))


def _strings(line: bytes) -> Iterator[str]:
    try:
        values: list[Any] = [json.loads(line)]
    except ValueError:
        values = [line.decode("utf-8", "replace")]
    while values:
        value = values.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            values += [*value, *value.values()]
        elif isinstance(value, list):
            values += value


def _unescaped(string: str) -> Iterator[bytes]:
    """Yield the octets that a string stands for as text, and as the repr of a string of octets."""
    octets = string.encode("latin-1", "replace")
    yield octets
    yield _ESCAPE.sub(
        lambda match: bytes.fromhex(match[1].decode()) if match[1] else _SHORT[match[2]], octets
    )
