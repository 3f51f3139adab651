"""What pydantic finds wrong with a config, in words for a person: one sentence a fault, naming file and key.

``supplier[1].service[0].code: must be at least 1, not 0``. A mistyped key is told what it was probably meant
to be. A value is shown only where it cannot be a password.
"""

from __future__ import annotations

import difflib
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

SECRET_KEYS: Final = frozenset({"password", "url"})
MAX_SHOWN: Final = 60

# Patterns are for programs; what they mean stands here, by the key they guard.
_PATTERNS: Final[Mapping[str, str]] = {
    "number": "3 to 20 digits",
    "url": '"auto", or mqtt://host:port, or mqtts://host:port',
    "name": "1 to 32 letters, digits, hyphens and underscores, the first a letter or a digit",
    "fleet.name": "1 to 32 small letters, digits and hyphens",
}

# In this order, for a bool is an int and a datetime is a date.
_TOML_TYPES: Final[Sequence[tuple[type, str]]] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number with a fraction"),
    (str, "text"),
    (datetime, "a date with a time"),
    (date, "a date"),
    (dict, "a table"),
    (list, "an array"),
)


def sentences_of(error: ValidationError, model: type[BaseModel], where: str) -> list[str]:
    """Return a sentence for each fault in *error*, which *model* raised; *where* is the file's name."""
    return [
        f"{where}: {_sentence(fault, model)}"
        for fault in error.errors(include_url=False)
        if not _is_consequence(fault)
    ]


def _is_consequence(fault: ErrorDetails) -> bool:
    """Say whether an array is only empty because what is in it did not hold, which is told by itself."""
    return fault["type"] == "too_short" and bool(fault["input"])


def _sentence(fault: ErrorDetails, model: type[BaseModel]) -> str:
    place, words = place_of(fault["loc"]), _words(fault, model)
    if fault["type"] == "value_error" and isinstance(fault["input"], dict):
        # What a table says of one of its keys is the key's.
        key, colon, rest = words.partition(": ")
        if colon and key in known_keys(model, fault["loc"]):
            place, words = f"{place}.{key}", rest
    return f"{place}: {words}" if place else words


def place_of(loc: Sequence[int | str]) -> str:
    """Return a key as a person would write it: ``supplier[1].service[0].code``; arrays count from 0."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def _words(fault: ErrorDetails, model: type[BaseModel]) -> str:
    if fault["type"] == "extra_forbidden":
        return _unknown_key(str(fault["loc"][-1]), known_keys(model, fault["loc"][:-1]))
    words = _WORDS.get(fault["type"])
    return words(fault) if words else fault["msg"][:1].lower() + fault["msg"][1:]


def _unknown_key(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"unknown key; did you mean {near[0]!r}?" if near else f"unknown key (known: {', '.join(known)})"


def known_keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Return the keys of the table at *loc*, as the file spells them."""
    for part in loc:
        if isinstance(part, str):
            model = _models(model)[part]
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the tables inside *model*, by their key in the file."""
    return {
        field.alias or name: inner
        for name, field in model.model_fields.items()
        for inner in _inner_models(field.annotation)
    }


def _inner_models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _inner_models(argument)


def _shown(fault: ErrorDetails) -> str:
    """Return ``, not <value>``, shortened; nothing where the value may be secret."""
    if SECRET_KEYS & set(fault["loc"]):
        return ""
    value = fault["input"]
    text = _toml_type(value) if isinstance(value, (dict, list)) else repr(value)
    return f", not {text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + '…'}"


def _toml_type(value: object) -> str:
    return next((words for kind, words in _TOML_TYPES if isinstance(value, kind)), "this")


def _must_be(what: str) -> Callable[[ErrorDetails], str]:
    return lambda fault: f"must be {what}{_shown(fault)}"


def _bound(words: str, name: str) -> Callable[[ErrorDetails], str]:
    return lambda fault: f"must be {words} {fault['ctx'][name]}{_shown(fault)}"


def _pattern(fault: ErrorDetails) -> str:
    place = place_of(fault["loc"])
    words = _PATTERNS.get(place) or _PATTERNS.get(str(fault["loc"][-1])) or _PATTERNS["name"]
    return f"must be {words}{_shown(fault)}"


def _array(fault: ErrorDetails) -> str:
    key = fault["loc"][-1]
    if isinstance(fault["input"], dict):
        return f"must be an array of tables: write [[{key}]] with two brackets"
    return f"must be an array{_shown(fault)}"


def _too_few(_: ErrorDetails) -> str:
    return "must not be empty"


def _own_words(fault: ErrorDetails) -> str:
    return str(fault["ctx"]["error"])


_WORDS: Final[Mapping[str, Callable[[ErrorDetails], str]]] = {
    "missing": lambda _: "is missing",
    "value_error": _own_words,
    "enum": lambda fault: f"must be one of {fault['ctx']['expected']}{_shown(fault)}",
    "string_type": _must_be("text"),
    "string_pattern_mismatch": _pattern,
    "string_too_short": _too_few,
    "string_too_long": lambda fault: f"must not be longer than {fault['ctx']['max_length']} characters",
    "bool_type": _must_be("true or false"),
    "int_type": _must_be("a whole number"),
    "float_type": _must_be("a number"),
    "finite_number": _must_be("a finite number"),
    "date_type": _must_be("a date such as 2031-12-31"),
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "tuple_type": _array,
    "too_short": _too_few,
    "too_long": lambda fault: f"must not have more than {fault['ctx']['max_length']} entries",
    "model_type": _must_be("a table"),
    "model_attributes_type": _must_be("a table"),
}
