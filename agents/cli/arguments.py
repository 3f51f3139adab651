"""What is wrong with an argument of the command line, in our words: Typer says it in those of pydantic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

_SENTENCES: Final[Mapping[str, str]] = {
    "int_parsing": "{input!r} is no whole number",
    "greater_than_equal": "must be at least {ge}, not {input}",
    "less_than_equal": "must be at most {le}, not {input}",
}
_OURS: Final = "value_error"
"""What a check of ours, or Typer's own, found: its words are in the fault's context."""


class Commands(TyperGroup):
    """The commands; an argument that is none is told of in a sentence."""

    def invoke(self, ctx: Any) -> Any:
        """Do what the command line says."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = _sentence(error.__cause__, error.message)
            raise


def _sentence(error: ValidationError, said: str) -> str:
    fault = error.errors(include_url=False)[0]
    context: dict[str, Any] = fault.get("ctx", {})
    if fault["type"] == _OURS:
        return str(context["error"]).rstrip(".")
    sentence = _SENTENCES.get(fault["type"])
    return sentence.format(input=fault["input"], **context) if sentence else said
