"""Desks for a fleet's roles: each with a connection, roads and randomness of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.exchange import Exchange
from agents.fleet.inbox import inbox
from agents.fleet.links import link_forms
from agents.link import Link
from agents.role import Desk
from bus.bearers.bip import BipServer, BipSettings
from bus.bearers.sms import SmsSender, SmsSettings
from bus.bearers.sms_receiver import SmsReceiver
from transport.cat_tp import CatTpSettings

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from structlog.typing import FilteringBoundLogger

    from agents.directory import Directory
    from agents.enrolment import Enrolled
    from agents.fleet.surroundings import Surroundings
    from agents.messages.bearers import ServerAddress
    from bus.client import BusClient
    from transport.security.suites import Rng


class Desks:
    """Makes the desks of one launch; what they hold is closed with *stack*."""

    def __init__(self, around: Surroundings, stack: AsyncExitStack) -> None:
        self._around = around
        self._stack = stack
        self._forms = link_forms(around.config)

    async def open(
        self,
        opened: Enrolled,
        directory: Directory,
        *,
        number: str | None = None,
        server: ServerAddress | None = None,
    ) -> Desk:
        """Return *opened*'s desk; with a *number* it can speak to modules, with a *server* over channels."""
        around, keys = self._around, opened.keys
        owner = {"agent": keys.name, "role": keys.role.value}
        client = await self._stack.enter_async_context(around.client(keys.name, owner=owner))
        rng = around.rng(f"role/{keys.name}")
        log = around.log.bind(**owner)
        link = Link(
            client,
            fleet=around.config.fleet.name,
            keys=keys,
            directory=directory,
            clock=around.ground,
            rng=rng,
            counters=around.counters,
            log=log,
            group=around.group,
            forms=self._forms,
        )
        exchange = self._exchange(client, number, server, rng, log) if number else None
        return Desk(
            fleet=around.config.fleet.name,
            keys=keys,
            directory=directory,
            client=client,
            link=link,
            console=around.console(keys.name),
            clock=around.clock,
            rng=rng,
            counters=around.counters,
            log=log,
            group=around.group,
            exchange=exchange,
        )

    def _exchange(
        self,
        client: BusClient,
        number: str,
        server: ServerAddress | None,
        rng: Rng,
        log: FilteringBoundLogger,
    ) -> Exchange:
        around = self._around
        sms = around.config.air.sms
        sender = SmsSender(
            client,
            fleet=around.config.fleet.name,
            address=number,
            settings=SmsSettings(
                report_timeout_s=sms.report_timeout_s, attempts=sms.attempts, validity_s=sms.validity_s
            ),
            clock=around.clock,
            rng=rng,
            counters=around.counters,
            log=log,
        )
        self._stack.push_async_callback(sender.close)
        return Exchange(
            client,
            fleet=around.config.fleet.name,
            number=number,
            sender=sender,
            receiver=SmsReceiver(inbox(), counters=around.counters, log=log),
            clock=around.clock,
            counters=around.counters,
            log=log,
            server=self._server(client, server, rng, log) if server else None,
        )

    def _server(
        self, client: BusClient, address: ServerAddress, rng: Rng, log: FilteringBoundLogger
    ) -> BipServer:
        around = self._around
        bip = around.config.air.bip
        server = BipServer(
            client,
            fleet=around.config.fleet.name,
            address=str(address.host),
            tcp_port=address.tcp_port,
            udp_port=address.udp_port,
            settings=BipSettings(
                response_timeout_s=bip.response_timeout_s,
                cat_tp=CatTpSettings(retransmission_timeout_s=bip.retransmission_s),
            ),
            clock=around.clock,
            rng=rng,
            counters=around.counters,
            log=log,
        )
        self._stack.push_async_callback(server.close)
        return server
