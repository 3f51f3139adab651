"""What a secure connection costs, as rows: a suite, a form, a bearer, and what was measured of it."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Final, TypeAlias

from rich import box
from rich.table import Table

from agents.messages.bearers import BIP_TCP, BIP_UDP, SMS
from transport.security.suites import SUITES
from transport.security.terms import FORM_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import JustifyMethod

BEARERS: Final = (SMS, BIP_TCP, BIP_UDP)
"""Cell broadcast is not among them: it has no way back, and makes no connection."""
US: Final = 1e6

Tell: TypeAlias = "Callable[[str, str], None]"
"""Takes what is going on, and which one of many it is going on with."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Way:
    """One way to make a secure connection."""

    suite: str
    form: str
    bearer: str

    @property
    def service(self) -> str:
        """The service that goes this way in the fleet that is measured; names there are short."""
        return f"s{SUITES[self.suite].wire_id}-f{FORM_NUMBERS[self.form]}-{self.bearer}"

    def __str__(self) -> str:
        """Return how a sentence names it."""
        return f"{self.suite}, {self.form} over {self.bearer}"


def ways_of(suites: Iterable[str] = (), forms: Iterable[str] = (), bearers: Iterable[str] = ()) -> list[Way]:
    """Return every way that has one of *suites*, *forms* and *bearers*; of each, nothing named is all.

    Raises ValueError, naming what there is, for a name that is none.
    """
    chosen = [
        _chosen("suite", suites, SUITES),
        _chosen("form", forms, FORM_NUMBERS),
        _chosen("bearer", bearers, BEARERS),
    ]
    return [
        Way(suite=suite, form=form, bearer=bearer)
        for suite in chosen[0]
        for form in chosen[1]
        for bearer in chosen[2]
    ]


def _chosen(what: str, wanted: Iterable[str], there: Iterable[str]) -> list[str]:
    names, known = list(wanted), list(there)
    for name in names:
        if name not in known:
            raise ValueError(f"no {what} is called {name!r}; there are {', '.join(known)}")
    return [name for name in known if name in names or not names]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What went over the air for one connection: messages are those of the bearer, octets those in them.

    A message is a short message or a delivery report, a segment of a channel, or a datagram. Up is from the
    module, down towards it.
    """

    messages_up: int
    messages_down: int
    octets_up: int
    octets_down: int
    reports: int
    """Over short messages: how many of the messages are delivery reports."""

    @property
    def octets(self) -> int:
        """Both ways."""
        return self.octets_up + self.octets_down


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """Seconds that each side computed for one handshake: the best of the repetitions, and their median."""

    module_best_s: float
    module_median_s: float
    server_best_s: float
    server_median_s: float
    messages: int
    """How many messages the form has."""
    octets: int
    """How many octets those have, before any packet is around them."""

    @property
    def round_trips(self) -> int:
        """How often the module speaks; the supplier answers each time, the last time with a mere receipt."""
        return (self.messages + 1) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way and what it costs; *fits* says whether any module of the config can go it."""

    way: Way
    traffic: Traffic
    cpu: Cpu
    simulated_s: float
    fits: bool

    @property
    def short_messages(self) -> int:
        """How many short messages, without their delivery reports; 0 over a channel."""
        total = self.traffic.messages_up + self.traffic.messages_down
        return total - self.traffic.reports if self.way.bearer == SMS else 0

    @property
    def frames(self) -> int:
        """How many segments or datagrams of a channel; 0 over short messages."""
        return 0 if self.way.bearer == SMS else self.traffic.messages_up + self.traffic.messages_down

    def flat(self) -> dict[str, str]:
        """Return the row as CSV has it, by the names of its columns."""
        cpu = {
            f"{name.removesuffix('_s')}_us": round(getattr(self.cpu, name) * US)
            for name in (each.name for each in fields(Cpu))
            if name.endswith("_s")
        }
        values = {
            **asdict(self.way),
            "handshake_messages": self.cpu.messages,
            "handshake_octets": self.cpu.octets,
            "octets_up": self.traffic.octets_up,
            "octets_down": self.traffic.octets_down,
            "short_messages": self.short_messages,
            "delivery_reports": self.traffic.reports,
            "frames": self.frames,
            "round_trips": self.cpu.round_trips,
            **{f"cpu_{name}": value for name, value in cpu.items()},
            "simulated_s": f"{self.simulated_s:.2f}",
            "fits_config": "yes" if self.fits else "no",
        }
        return {name: str(value) for name, value in values.items()}


def as_csv(rows: Iterable[Row]) -> str:
    """Return *rows* as CSV with a line of names."""
    flat = [row.flat() for row in rows]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


_COLUMNS: Final[tuple[tuple[str, JustifyMethod], ...]] = (
    ("suite", "left"),
    ("form", "left"),
    ("bearer", "left"),
    ("octets\nup", "right"),
    ("octets\ndown", "right"),
    ("mes-\nsages", "right"),
    ("round\ntrips", "right"),
    ("module\nus", "right"),
    ("server\nus", "right"),
    ("simul.\ns", "right"),
)


def as_table(rows: Iterable[Row], *, title: str) -> Table:
    """Return *rows* for the screen; a suite and a form are named once for all their bearers."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name, justify in _COLUMNS:
        table.add_column(name, justify=justify, no_wrap=True)
    last: tuple[str, str] = ("", "")
    for row in rows:
        way = row.way
        if last[0] not in {"", way.suite}:
            table.add_section()
        mark = "" if row.fits else "*"
        table.add_row(
            way.suite + mark if way.suite != last[0] else "",
            way.form if (way.suite, way.form) != last else "",
            way.bearer,
            f"{row.traffic.octets_up:,}",
            f"{row.traffic.octets_down:,}",
            str(row.short_messages or row.frames),
            str(row.cpu.round_trips),
            f"{row.cpu.module_median_s * US:,.0f}",
            f"{row.cpu.server_median_s * US:,.0f}",
            f"{row.simulated_s:,.1f}",
        )
        last = (way.suite, way.form)
    return table
