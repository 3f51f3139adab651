"""``[[step]]``: what a step does, its keys, and the types and bounds of their values.

Which keys belong to which verb, and what can be wrong with a step beside them, is in ``step_checks``.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Final

from pydantic import Field, field_validator

from agents.fleet.config_air import Table
from agents.fleet.config_types import (
    MAX_SPAN_S,
    Executions,
    Name,
    Percent,
    Share,
    Span,
    Text,
)
from agents.fleet.expectations import Expect  # noqa: TC001 -- pydantic reads the annotations when it runs
from agents.messages.orders import MAX_STAGES
from transport.diffusion import MAX_VERSION
from transport.toolkit import MAX_TEXT

REPORT_WITHIN_S: Final = 60
"""In how many seconds modules report, unless a step says otherwise."""
MAX_INPUT: Final = MAX_TEXT // 2
"""Octets of an input: the subscriber types it as hexadecimal digits."""


class Verb(StrEnum):
    """What a step does; DESIGN's names for the exchanges."""

    PERSONALISE = "personalise"
    AGREE = "agree"
    SUBSCRIBE = "subscribe"
    RESERVE = "reserve"
    ACTIVATE = "activate"
    SERVE = "serve"
    PULL = "pull"
    INVOKE = "invoke"
    BLOCK = "block"
    UNBLOCK = "unblock"
    RENEW = "renew"
    RELEASE = "release"
    ROLL_SUPPLIER_KEY = "roll-supplier-key"
    REVOKE_SUPPLIER = "revoke-supplier"
    COMPACT = "compact"
    AUDIT = "audit"
    ANNOUNCE = "announce"
    BROADCAST = "broadcast"
    PAUSE_CAMPAIGN = "pause-campaign"
    RESUME_CAMPAIGN = "resume-campaign"
    ABORT_CAMPAIGN = "abort-campaign"
    FINISH_CAMPAIGN = "finish-campaign"
    ROLL_DOMAIN_KEY = "roll-domain-key"
    SET_CLOCK = "set-clock"
    SWITCH_OFF = "switch-off"
    SWITCH_ON = "switch-on"
    ROLL_OPERATOR_KEY = "roll-operator-key"
    INTRODUCE_OPERATOR = "introduce-operator"
    WAIT = "wait"


ABOUT_MODULES: Final = frozenset(
    {
        Verb.PERSONALISE,
        Verb.ANNOUNCE,
        Verb.COMPACT,
        Verb.AUDIT,
        Verb.SET_CLOCK,
        Verb.SWITCH_OFF,
        Verb.SWITCH_ON,
        Verb.ROLL_OPERATOR_KEY,
        Verb.INTRODUCE_OPERATOR,
    }
)
"""Steps that are about modules and no service."""


ABOUT_CAMPAIGNS: Final = frozenset(
    {Verb.PAUSE_CAMPAIGN, Verb.RESUME_CAMPAIGN, Verb.ABORT_CAMPAIGN, Verb.FINISH_CAMPAIGN}
)
"""Steps that are about the campaign that an earlier step ``broadcast`` began."""


class By(StrEnum):
    """Who invokes an application: the subscriber at the handset, or its supplier over the air."""

    USER = "user"
    SUPPLIER = "supplier"


class Data(StrEnum):
    """What a new version of an application finds: the data of the one before, or its own first data."""

    KEEP = "keep"
    RESET = "reset"


class Step(Table):
    """``[[step]]``: one exchange with each of its targets, and what is expected of it."""

    do: Verb
    handsets: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    service: Name | None = None
    supplier: Name | None = None
    """Whom a revocation is about."""
    by: By = By.SUPPLIER
    input: Annotated[str, Field(strict=True)] = ""
    """Hexadecimal; ``{step}`` stands for the step's number as eight hexadecimal digits."""
    for_s: Span | None = None
    """How long to wait, or how long from now a renewed resource lives; simulated seconds."""
    executions: Executions | None = None
    """How often a renewed resource may be invoked, from now on."""
    application: Text | None = None
    """Another programme of a global service, in the place of the service's own."""
    version: Annotated[int, Field(strict=True, gt=1, le=MAX_VERSION)] | None = None
    """Of what is broadcast; by default 1 or, of another programme, the next one."""
    data_part: Data = Data.KEEP
    stages: Annotated[tuple[Percent, ...], Field(min_length=1, max_length=MAX_STAGES)] | None = None
    """A broadcast's, in per cent of its cells; by default it is to all at once."""
    success: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None
    """The share of the expected reports that a stage needs, for the next one to begin."""
    errors: Share | None = None
    """The share of them that may be refusals."""
    report_share: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0
    """How large a part of the modules reports to the supplier what became of a broadcast."""
    report_within_s: Annotated[int, Field(strict=True, ge=1, lt=1 << 16)] | None = None
    """In how many seconds they do, each after a time that it draws for itself; simulated."""
    deadline_s: Span | None = None
    """When a broadcast is over at the latest; simulated seconds from its order on."""
    wait: Annotated[bool, Field(strict=True)] = True
    """Whether a broadcast's step ends with its campaign; else once that has begun."""
    leave_out: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """Groups of handsets that are not to have the next domain key."""
    by_s: Annotated[int, Field(strict=True, ge=-MAX_SPAN_S, le=MAX_SPAN_S)] | None = None
    """How far the handsets' time is off from now on, in seconds; negative: behind."""
    expect: Expect | None = None

    @field_validator("stages")
    @classmethod
    def _rises(cls, stages: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if stages and any(later <= earlier for earlier, later in pairwise(stages)):
            raise ValueError("must rise from stage to stage")
        return stages

    @field_validator("input")
    @classmethod
    def _is_hexadecimal(cls, text: str) -> str:
        if len(_octets(text, 1)) > MAX_INPUT:
            raise ValueError(f"must not be longer than {MAX_INPUT} octets")
        return text

    @property
    def is_trial(self) -> bool:
        """Whether a broadcast has to prove itself before it is for everybody."""
        return len(self.stages or ()) > 1 or self.success is not None or self.errors is not None

    def input_octets(self, number: int) -> bytes:
        """Return the input as octets; *number* is the step's, counted from 1."""
        return _octets(self.input, number)


def _octets(text: str, number: int) -> bytes:
    try:
        return bytes.fromhex(text.replace("{step}", f"{number:08X}"))
    except ValueError:
        raise ValueError(
            "must be hexadecimal digits, two for each octet, and may have {step} in it"
        ) from None
