"""Typed messages as msgpack arrays: ``[code, field, field, ...]`` in the order of the class.

Arrays instead of maps because octets cost short messages. The class is the schema: pydantic checks every type
strictly and every bound, so a message that exists is a message that is valid, whoever made it.
"""

from __future__ import annotations

import dataclasses
import re
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    TypeVar,
    dataclass_transform,
    get_type_hints,
    overload,
)

import msgpack
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from agents.errors import MessageRejected
from transport.security.domain_key import TICKET_OCTETS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_MESSAGE_OCTETS: Final = 16 * 1024
MAX_KEY_OCTETS: Final = 2048
MAX_COUNTER: Final = (1 << 40) - 1
_ADDRESS: Final = re.compile(r"[0-9]{18,20}")
_LIMITS: Final[Mapping[str, int]] = {
    "max_str_len": 256,
    "max_bin_len": MAX_MESSAGE_OCTETS,
    "max_array_len": 64,
    "max_map_len": 0,
    "max_ext_len": 0,
}

# An error that quotes what it could not take might quote a secret.
_CONFIG: Final = ConfigDict(strict=True, hide_input_in_errors=True)

T = TypeVar("T")
U = TypeVar("U")

_CLASSES: Final[dict[int, type[Any]]] = {}
_CODES: Final[dict[type[Any], int]] = {}
_FIELDS: Final[dict[type[Any], tuple[str, ...]]] = {}
_SECRETS: Final[dict[type[Any], frozenset[str]]] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def message(code: int) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen, checked message with wire number *code*, which is its own for ever."""

    def register(cls: type[T]) -> type[T]:
        made: Any = checked_dataclass(frozen=True, slots=True, kw_only=True, config=_CONFIG)(cls)
        made.__repr__ = _show
        if code in _CLASSES:
            raise ValueError(f"message code {code} is taken by {_CLASSES[code].__name__}")
        _CLASSES[code] = made
        _CODES[made] = code
        _FIELDS[made] = tuple(field.name for field in dataclasses.fields(made))
        _SECRETS[made] = frozenset(
            name
            for name, hint in get_type_hints(cls, include_extras=True).items()
            if any(getattr(mark, "repr", True) is False for mark in getattr(hint, "__metadata__", ()))
        )
        return made  # type: ignore[no-any-return]

    return register


def _show(self: Any) -> str:
    """Show a message, but of a secret only how long it is: pydantic ignores what annotations say of repr."""
    hints = _FIELDS[type(self)]
    secret = _SECRETS[type(self)]
    shown = (
        f"{name}=<{len(getattr(self, name))} octets>" if name in secret else f"{name}={getattr(self, name)!r}"
        for name in hints
    )
    return f"{type(self).__name__}({', '.join(shown)})"


def encode(value: object) -> bytes:
    """Return the octets of a message. Raises ValueError if *value* is of no registered class."""
    cls = type(value)
    code = _CODES.get(cls)
    if code is None:
        raise ValueError(f"{cls.__name__} is no message")
    packed: bytes = msgpack.packb([code, *(getattr(value, name) for name in _FIELDS[cls])])
    return packed


def unpack(octets: bytes) -> list[Any]:
    """Return the array in *octets*, its size and depth bounded. Raises MessageRejected."""
    if len(octets) > MAX_MESSAGE_OCTETS:
        raise MessageRejected("too-large", f"{len(octets)} octets")
    try:
        values = msgpack.unpackb(octets, use_list=True, strict_map_key=True, **_LIMITS)
    except (ValueError, msgpack.UnpackException, RecursionError):
        raise MessageRejected("not-msgpack") from None
    if not isinstance(values, list):
        raise MessageRejected("not-an-array")
    # An array of arrays is the deepest that any message goes; what is deeper need not be looked at.
    if any(type(inner) is list for value in values if type(value) is list for inner in value):
        raise MessageRejected("too-deep")
    return values


@overload
def decode(octets: bytes, first: type[T], /) -> T: ...
@overload
def decode(octets: bytes, first: type[T], second: type[U], /) -> T | U: ...
@overload
def decode(octets: bytes, /, *expected: type[Any]) -> Any: ...
def decode(octets: bytes, /, *expected: type[Any]) -> Any:
    """Return the message in *octets*, which must be of one of the *expected* classes.

    Raises MessageRejected, whose words name the field but never its value: values may be secret.
    """
    values = unpack(octets)
    cls = _CLASSES.get(values[0]) if values and type(values[0]) is int else None
    if cls is None or cls not in expected:
        raise MessageRejected("unexpected-message")
    names = _FIELDS[cls]
    if len(values) != len(names) + 1:
        raise MessageRejected("wrong-field-count", cls.__name__)
    try:
        return cls(**dict(zip(names, values[1:], strict=True)))
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise MessageRejected("bad-field", f"{cls.__name__}.{place}") from None


def _luhn_holds(digits: str) -> str:
    """Check the Luhn digit of an ICCID (ITU-T E.118)."""
    if not is_address(digits):
        raise ValueError("the Luhn digit does not hold")
    return digits


def _whole_ticket(octets: bytes) -> bytes:
    if len(octets) not in {0, TICKET_OCTETS}:
        raise ValueError("a ticket is whole, or there is none")
    return octets


def is_address(text: str) -> bool:
    """Say whether *text* can be a module's address: 18 to 20 digits, the last after Luhn."""
    if not _ADDRESS.fullmatch(text):
        return False
    total = 0
    for position, digit in enumerate(reversed(text)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


# The field types that messages are made of; each bound is a promise to whoever reads the octets.
UA = Annotated[str, StringConstraints(pattern=r"^[0-9]{18,20}$"), AfterValidator(_luhn_holds)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,32}$")]
MaybeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,32}$")]
Number = Annotated[str, StringConstraints(pattern=r"^[0-9]{3,20}$")]
MaybeNumber = Annotated[str, StringConstraints(pattern=r"^([0-9]{3,20})?$")]
Reason = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{0,48}$")]
DhNumber = Annotated[bytes, Field(max_length=512)]
SessionForm = Annotated[str, StringConstraints(pattern=r"^[a-z-]{0,24}$")]
"""A form of secure connection, or none."""
Tar = Annotated[bytes, Field(min_length=3, max_length=3)]
PublicKey = Annotated[bytes, Field(min_length=16, max_length=MAX_KEY_OCTETS)]
Bearers = Annotated[list[Name], Field(min_length=1, max_length=4)]
Server = Annotated[bytes, Field(max_length=8)]
"""Where a server is: IPv4 address 4, TCP port 2, UDP port 2; or nothing."""
Octets = Annotated[bytes, Field(max_length=8192)]
Body = Annotated[bytes, Field(max_length=12 * 1024)]
"""What is signed: three public keys and a signature of the largest suite, in one command."""
Secret = Annotated[bytes, Field(max_length=8192, repr=False)]
Size = Annotated[int, Field(ge=0, le=4 * 1024 * 1024)]
Extent = Annotated[int, Field(ge=1, le=4 * 1024 * 1024)]
"""A size that cannot be nothing."""
Counter = Annotated[int, Field(ge=0, le=MAX_COUNTER)]
Ticket = Annotated[bytes, Field(min_length=TICKET_OCTETS, max_length=TICKET_OCTETS)]
"""What a module draws for its next reservation of a global service (``transport.security.domain_key``)."""
MaybeTicket = Annotated[bytes, Field(max_length=TICKET_OCTETS), AfterValidator(_whole_ticket)]
Seconds = Annotated[int, Field(ge=0, lt=1 << 40)]
"""Unix time in whole seconds; 0 where it stands for "never"."""
