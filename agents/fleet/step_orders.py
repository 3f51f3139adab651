"""A step's orders: whose business one is, and what it says beside whom and what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.fleet.config import By, Verb
from agents.fleet.config_steps import REPORT_WITHIN_S
from agents.fleet.config_updates import version_of
from agents.fleet.houses import authority_of, personalizer_of
from agents.messages.codec import encode
from agents.messages.orders import BroadcastOrder, DomainRollOrder
from agents.subscriptions import Renewal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.fleet.config import FleetConfig, Step


class Agents:
    """Whose business each order is."""

    def __init__(self, config: FleetConfig) -> None:
        self._operator = {
            ua: group.operator for group in config.handsets for ua in config.group_addresses(group.name)
        }
        self._authority = {operator.name: authority_of(operator) for operator in config.operators}
        self._supplier = {name: offer.supplier.name for name, offer in config.offers.items()}

    def of(self, step: Step, ua: str, service: str) -> str:
        """Return the agent that is ordered to do *step* for this target."""
        if step.do is Verb.INVOKE:
            return ua if step.by is By.USER else self._supplier[service]
        return _AGENTS[step.do](self, ua, service)

    def personalizer(self, ua: str, _service: str) -> str:
        """Return the factory of the module's authority."""
        return personalizer_of(self._authority[self._operator[ua]])

    def supplier(self, _ua: str, service: str) -> str:
        """Return who offers the service."""
        return self._supplier[service]

    def handset(self, ua: str, _service: str) -> str:
        """Return the handset itself."""
        return ua

    def operator(self, ua: str, _service: str) -> str:
        """Return the subscriber's operator."""
        return self._operator[ua]


_AGENTS: Final[Mapping[Verb, Callable[[Agents, str, str], str]]] = {
    Verb.PERSONALISE: Agents.personalizer,
    Verb.AGREE: Agents.supplier,
    Verb.SUBSCRIBE: Agents.handset,
    Verb.SERVE: Agents.handset,
    Verb.PULL: Agents.handset,
    Verb.RESERVE: Agents.operator,
    Verb.ACTIVATE: Agents.operator,
    Verb.BLOCK: Agents.operator,
    Verb.UNBLOCK: Agents.operator,
    Verb.RENEW: Agents.operator,
    Verb.RELEASE: Agents.operator,
    Verb.ROLL_SUPPLIER_KEY: Agents.operator,
    Verb.REVOKE_SUPPLIER: Agents.operator,
    Verb.COMPACT: Agents.operator,
    Verb.AUDIT: Agents.operator,
    Verb.SET_CLOCK: Agents.handset,
    Verb.SWITCH_OFF: Agents.handset,
    Verb.SWITCH_ON: Agents.handset,
    Verb.ROLL_OPERATOR_KEY: Agents.operator,
    Verb.INTRODUCE_OPERATOR: Agents.operator,
    Verb.ANNOUNCE: Agents.operator,
    Verb.BROADCAST: Agents.supplier,
    Verb.PAUSE_CAMPAIGN: Agents.supplier,
    Verb.RESUME_CAMPAIGN: Agents.supplier,
    Verb.ABORT_CAMPAIGN: Agents.supplier,
    Verb.FINISH_CAMPAIGN: Agents.supplier,
    Verb.ROLL_DOMAIN_KEY: Agents.supplier,
}


ORDERS: Final[Mapping[Verb, Verb]] = {Verb.PULL: Verb.SERVE}
"""What is ordered under another name than the step's: who pulls calls its supplier, as whoever is served."""


def argument_for_all(config: FleetConfig, index: int) -> bytes:
    """Return what the one order of step *index* (from 0) says that is about many handsets."""
    step = config.steps[index]
    groups = list(step.handsets or ())
    if step.do is Verb.BROADCAST:
        return encode(
            BroadcastOrder(
                version=version_of(config, index),
                groups=groups,
                stages=list(step.stages or ()),
                success=step.success,
                errors=step.errors,
                deadline_s=step.deadline_s or 0,
                wait=step.wait,
                report_share=step.report_share,
                report_within_s=(step.report_within_s or REPORT_WITHIN_S) if step.report_share else 0,
            )
        )
    if step.do is Verb.ROLL_DOMAIN_KEY:
        # The step's number, from 1, is the roll-over's.
        left_out = list(step.leave_out or ())
        return encode(DomainRollOrder(roll=index + 1, groups=groups, leave_out=left_out))
    return " ".join(groups).encode()


def argument_of(step: Step, number: int) -> bytes:
    """Return what the order says; *number* is the step's, from 1."""
    return _ARGUMENTS.get(step.do, _nothing)(step, number)


def _nothing(_step: Step, _number: int) -> bytes:
    return b""


def _input(step: Step, number: int) -> bytes:
    return step.input_octets(number)


def _renewal(step: Step, _number: int) -> bytes:
    return Renewal(for_s=step.for_s or 0, executions=step.executions or 0).encode()


def _by_seconds(step: Step, _number: int) -> bytes:
    return str(step.by_s).encode()


def _number(_step: Step, number: int) -> bytes:
    return str(number).encode()


def _supplier(step: Step, _number: int) -> bytes:
    return (step.supplier or "").encode()


_ARGUMENTS: Final[Mapping[Verb, Callable[[Step, int], bytes]]] = {
    Verb.INVOKE: _input,
    Verb.RENEW: _renewal,
    Verb.SET_CLOCK: _by_seconds,
    Verb.ROLL_SUPPLIER_KEY: _number,
    Verb.REVOKE_SUPPLIER: _supplier,
    Verb.ROLL_OPERATOR_KEY: _number,
    Verb.PAUSE_CAMPAIGN: _number,
    Verb.RESUME_CAMPAIGN: _number,
    Verb.ABORT_CAMPAIGN: _number,
}
"""What an order says beside whom and what it is about; *number* is the step's, from 1."""
