"""Two operators beside each other: each refuses, and is refused, what is the other's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agents.errors import PacketRefused, Refusal
from agents.messages.air import Block, Compact, Release
from agents.messages.codec import encode
from agents.messages.inside import Activate, Agree, Agreed, Done, Manage, Managed
from agents.messages.signed import Purpose, sign
from agents.store.registry import Registry
from agents.store.tables import AGREEMENTS, OPERATOR
from tests.agents.role_kit import SUBJECTS, TRACE
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from agents.messages.air import OperatorCommand
    from tests.agents.role_kit import Kit

KEY = SUITES["p256"].generate_signing_key(bytes).public
SEALING = SUITES["p256"].generate_sealing_key(bytes).public


def agree(service: str) -> Agree:
    """Return what the bank asks an operator for."""
    return Agree(
        service=service,
        number=SUBJECTS["bank"][2],
        suite="p256",
        forms=["agree-then-sign"],
        public=KEY,
        sealing=SEALING,
        code_size=1024,
        data_size=256,
        rights=0,
        expires_at=0,
        lifetime=0,
        executions=-1,
        at_end="deactivate",
        bearers=["sms"],
        server=b"",
        protection="aes-128",
    )


async def test_a_supplier_of_another_operator_gets_no_service(kit: Kit) -> None:
    """Its own operator agrees; the other refuses what it is no supplier of, and enters nothing."""
    await kit.start("mno", "other")
    bank = await kit.puppet("bank")
    assert isinstance(await bank.desk.link.ask("mno", agree("account"), Agreed, trace=TRACE), Agreed)
    with pytest.raises(Refusal, match="supplier-of-another"):
        await bank.desk.link.ask("other", agree("account"), Agreed, trace=TRACE)
    agreements = Registry(await kit.store("other", OPERATOR), AGREEMENTS)
    await agreements.load()
    assert len(agreements) == 0


async def test_a_supplier_takes_nothing_of_another_operator(kit: Kit) -> None:
    """A resource that another operator says it has in a module is none of the supplier's."""
    await kit.start("bank")
    other = await kit.puppet("other")
    activate = Activate(
        ua=kit.ua(),
        service="account",
        certificate=b"",
        rsc_id=1,
        tar=b"\xa0\0\1",
        turn=1,
        supplier_digest=b"",
    )
    with pytest.raises(Refusal, match="not-my-operator"):
        await other.desk.link.ask("bank", activate, Done, trace=TRACE)


@pytest.mark.parametrize("name", ["other", "bank", "host", "factory"])
async def test_no_operator_allocates(kit: Kit, name: str) -> None:
    """Who asks an operator to command a module in its place asks the wrong one."""
    await kit.start("mno")
    puppet = await kit.puppet(name)
    manage = Manage(target=kit.ua(), turn=1, body=encode(Compact()), groups=[])
    with pytest.raises(Refusal, match="not-my-business"):
        await puppet.desk.link.ask("mno", manage, Managed, trace=TRACE)


async def test_what_another_operator_commands_is_refused_by_the_module(kit: Kit) -> None:
    """Well signed, for this very module and a turn that it has yet to come to, in one name or the other.

    The TAR is the one that both call their first service by: whose command it is decides.
    """
    await kit.start("root", "factory", "mno", "bank")
    await kit.handset()
    await kit.take("personalise")
    await kit.agree("account")
    await kit.take("subscribe", "reserve")
    desk = await kit.desk("other")
    assert desk.exchange is not None
    await desk.exchange.start(lambda _packet: None)
    tar = b"\xa0\0\1"
    commands: tuple[OperatorCommand, ...] = (Compact(), Block(tar=tar), Release(tar=tar))
    for signer in ("other", "mno"):
        for command in commands:
            signed = sign(
                encode(command),
                purpose=Purpose.COMMAND,
                target=kit.ua(),
                counter=100,
                signer=signer,
                key=desk.keys.signing,
            )
            with pytest.raises(PacketRefused, match="insufficient-security-level"):
                await desk.exchange.manage(kit.ua(), encode(signed), trace=TRACE)
    # Nothing came of it: the module's own operator finds what it left, in the next turn.
    await kit.take("audit", service="")
    await kit.take("block")


async def test_of_another_operators_module_the_authority_says_nothing(kit: Kit) -> None:
    """Nor does an order at the console help: the other operator has no such module."""
    await kit.start("root", "factory", "mno", "other")
    await kit.handset()
    await kit.take("personalise")
    event = await kit.order("audit", agent="other")
    assert (event.result, event.reason) == ("refused", "unknown-module")
    event = await kit.order("compact", agent="other")
    assert (event.result, event.reason) == ("refused", "unknown-module")
