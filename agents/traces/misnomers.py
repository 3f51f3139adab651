"""What a person may have meant by a name that nobody in the logs has."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from agents.traces.plain import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.traces.index import Index
    from agents.traces.lookup import Selection

_SAID: Final = 3
_LOOKED_AT: Final = 20_000
"""Names that are compared with the wrong one."""
_KINDS: Final = (
    ("ua", "party", "no module has this address"),
    ("agent", "party", "no agent is called so"),
    ("reason", "reason", "nobody gave this reason"),
)
_ANY: Final = "SELECT count(*) FROM names WHERE kind = ? AND name GLOB ?"
_NAMES: Final = "SELECT name FROM names WHERE kind = ? AND name <> '' LIMIT ?"


def misnomers(index: Index, selection: Selection) -> Iterator[str]:
    """Yield a sentence for each name in *selection* that nobody has, with those that are like it."""
    for field, kind, sentence in _KINDS:
        wanted = getattr(selection, field)
        if wanted is None:
            continue
        wanted = wanted.encode(errors="replace").decode()
        ((found,),) = index.connection.execute(_ANY, (kind, wanted)).fetchall()
        if not found:
            names = [name for (name,) in index.connection.execute(_NAMES, (kind, _LOOKED_AT))]
            near = get_close_matches(wanted.strip("*?"), names, n=_SAID)
            meant = f"; did you mean {' or '.join(map(harmless, near))}?" if near else ""
            yield f"{harmless(wanted) or 'an empty name'}: {sentence}{meant}"
