"""What an operator tells a module when it reserves (RES): the agreement's terms, and any domain key.

A domain key is wrapped for one reservation, by the ticket that the module told last. It is asked for when the
reservation is the next thing that the module hears, so that nothing comes between; and where the module has
drawn another ticket all the same, as one that was commanded behind the operator's back has, it refuses, tells
it, and the key is asked for anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agents import domains
from agents.directory import keys_in
from agents.errors import Refusal
from agents.messages.air import Reserve
from agents.messages.inside import WrapDomainKey, WrappedDomainKey
from agents.subscriptions import end_of
from transport.security.domain_key import OTHER_RESERVATION, DomainKey
from transport.security.terms import KEY_TRANSPORT

if TYPE_CHECKING:
    from agents.commands import Commands
    from agents.link import Link
    from agents.store.registry import Row
    from bus.clock import Clock
    from bus.frame import TraceContext


def reservation(agreement: Row, module: Row, now: float) -> Reserve:
    """Return the command that reserves at *now* what was agreed, without a domain key.

    Raises Refusal (``unsupported-suite``): the module would refuse it too; but it need not be asked what its
    authority has told.
    """
    if agreement["suite"] not in module["suites"].split():
        raise Refusal("unsupported-suite")
    forms = agreement["forms"].split()
    return Reserve(
        tar=agreement["tar"],
        service=agreement["service"],
        supplier=agreement["supplier"],
        supplier_number=agreement["number"],
        suite=agreement["suite"],
        forms=forms,
        supplier_public=agreement["public_key"],
        code_size=agreement["code_size"],
        data_size=agreement["data_size"],
        rights=agreement["rights"],
        expires_at=end_of(agreement, now),
        executions=agreement["executions"],
        at_end=agreement["at_end"],
        bearers=agreement["bearers"].split(),
        server=agreement["server"],
        protection=agreement["protection"],
        dh_base=agreement["dh_base"],
        dh_modulus=agreement["dh_modulus"],
        logic_name=agreement["logic_name"],
        message_identifier=agreement["message_identifier"],
        supplier_sealing=agreement["sealing_key"] if KEY_TRANSPORT in forms else b"",
    )


async def reserve(
    commands: Commands, agreement: Row, ua: str, link: Link, clock: Clock, trace: TraceContext
) -> None:
    """Have module *ua* reserve what was agreed; only in its turn, and with nothing left to ``settle``.

    Raises Refusal, as ``reservation`` does, or with the reason of the supplier or the module.
    """
    for is_last in (False, True):
        module = await commands.module(ua, trace)
        command = reservation(agreement, module, clock.now())
        command = await _with_domain_key(command, agreement, module, link, trace)
        try:
            await commands.carry_out("reserve", ua, agreement["service"], command, trace)
        except Refusal as refusal:
            if is_last or refusal.reason != OTHER_RESERVATION:
                raise
        else:
            return


async def _with_domain_key(
    command: Reserve, agreement: Row, module: Row, link: Link, trace: TraceContext
) -> Reserve:
    """Return *command* with the domain key of its global service, wrapped to the module for its ticket.

    The supplier is asked for it over *link*, unless the operator made it: then it is in the agreement.
    """
    if not command.logic_name:
        return command
    if agreement["domain_key"]:
        key, keys = DomainKey.load(agreement["domain_key"]), keys_in(module["certificate"])
        wrapped = domains.wrap(
            key,
            keys,
            ua=module["ua"],
            tar=command.tar,
            logic_name=command.logic_name,
            ticket=module["ticket"],
        )
    else:
        question = WrapDomainKey(
            ua=module["ua"],
            service=command.service,
            certificate=module["certificate"],
            ticket=module["ticket"],
        )
        wrapped = (await link.ask(command.supplier, question, WrappedDomainKey, trace=trace)).octets
    return replace(command, domain_key=wrapped)
