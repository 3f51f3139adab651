"""What a programme is and needs, and whether a resource would take it: the run unit itself is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agents.applications.wording import printable, refused, too_long
from agents.handset.security_module.errors import ApplicationRefused
from agents.handset.security_module.programme import compiled_programme
from agents.handset.security_module.rights import RIGHTS, rights_mask
from agents.handset.security_module.run_unit import check_application

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agents.handset.security_module.run_unit import ApplicationInfo

MOST_DATA: Final = 4 << 20
"""The largest memory of a module: no resource has more data."""
MAX_LISTED: Final = 32
MAX_NAME: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What a programme is, once it is found loadable at all. Sizes in octets."""

    info: ApplicationInfo
    data_size: int
    """What a resource needs for it: its memory at its largest, though it never grows."""
    exports: tuple[str, ...]

    @property
    def rights(self) -> list[str]:
        """The rights that it needs, in the order that the table of rights has."""
        return [right for right in RIGHTS if right in self.info.rights]

    @property
    def initial(self) -> int:
        """How many octets of its first data are not zero."""
        return len(self.info.initial_data) - self.info.initial_data.count(0)

    def to_json(self) -> dict[str, Any]:
        """Return this as JSON has it."""
        return {
            "data": self.data_size,
            "memory": self.info.memory_size,
            "page": self.info.page_size,
            "initial": self.initial,
            "rights": self.rights,
            "imports": list(self.info.imports),
            "exports": list(self.exports),
        }

    def lines(self) -> list[str]:
        """Return this for a person; the last line is what a service has to say in a config."""
        info, rights = self.info, self.rights
        first = f"{self.initial} octets of it not zero at first" if self.initial else "all zeros at first"
        pages = f"{info.memory_size} octets in pages of {info.page_size}, {first}"
        return [
            f"memory   {pages}",
            f"imports  {_listed(info.imports) or 'nothing'}",
            f"exports  {_listed(self.exports)}",
            f"needs    code = {info.code_size}, data = {self.data_size}, rights = {json.dumps(rights)}",
        ]


def _listed(names: tuple[str, ...]) -> str:
    more = [f"and {len(names) - MAX_LISTED} more"] if len(names) > MAX_LISTED else []
    return ", ".join([printable(name)[:MAX_NAME] for name in names[:MAX_LISTED]] + more)


def examine(code: bytes) -> Examination:
    """Return what a programme is; raise ApplicationRefused for one that no resource would take."""
    info = check_application(code, rights=RIGHTS, data_size=MOST_DATA)
    compiled = compiled_programme(code, rights_mask(RIGHTS))
    limits = compiled.memory_type.limits
    return Examination(
        info=info,
        data_size=max(limits.min, limits.max or 0) * info.page_size,
        exports=tuple(each.name for each in compiled.module.exports),
    )


def objections(
    name: str,
    code: bytes,
    *,
    rights: Iterable[str] | None = None,
    code_size: int | None = None,
    data_size: int | None = None,
) -> Iterator[str]:
    """Yield a sentence for each thing that bars *name* from such a resource; None: as much as it needs."""
    if code_size is not None and len(code) > code_size:
        yield too_long(name, len(code), code_size)
    granted = RIGHTS if rights is None else rights
    size = MOST_DATA if data_size is None else data_size
    # Each alone, for the run unit stops at the first.
    for rights_alone, data_alone in ((granted, MOST_DATA), (RIGHTS, size)):
        try:
            check_application(code, rights=rights_alone, data_size=data_alone)
        except ApplicationRefused as refusal:
            yield refused(name, refusal)
