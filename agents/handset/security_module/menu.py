"""What the subscriber can do at the handset: a menu of three items (TS 102 223, SET UP MENU's selections).

    1  Subscribe   the service's name          SUB: a signed request goes to the operator
    2  Serve       the service's name          SER: the handset calls the service's supplier
    3  Use         the service's name, input   runs the application; its output is shown

What is asked for comes with GET INPUT; what there is to say is shown with DISPLAY TEXT, in one of two forms:
``Refused: <reason>`` or ``Result: <hexadecimal>``; what is too long for one text goes on in the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import applications, links, sessions
from agents.handset.security_module.errors import ModuleError, TransitionRefused
from agents.handset.security_module.outgoing import send_command, show
from agents.messages.air import MANAGER_TAR, Subscribe
from agents.messages.codec import encode
from agents.messages.signed import Purpose
from transport.secured_packet import SecurityParameters, encode_command
from transport.toolkit import CommandType, ProactiveCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.handset.security_module.core import Core

REFUSED: Final = "Refused: "
RESULT: Final = "Result: "
_SERVICE: Final = "Which service?"
_INPUT: Final = "Input, in hexadecimal?"
_CLEAR: Final = SecurityParameters()
"""What a module sends first proves itself inside: no key is shared yet."""


class Item(IntEnum):
    """The items of the menu."""

    SUBSCRIBE = 1
    SERVE = 2
    USE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """What the subscriber chose and has typed so far."""

    item: Item
    typed: tuple[str, ...] = ()


def select(core: Core, item: int) -> None:
    """Begin with menu item *item*; one that does not exist is refused on the display."""
    if item not in set(Item):
        show(core, REFUSED + "no-such-item")
    elif core.identity is None:
        show(core, REFUSED + "not-personalised")
    else:
        _ask(core, Dialogue(item=Item(item)))


def typed(core: Core, text: str, now: float) -> None:
    """Take what the subscriber typed; do what was chosen once all is there."""
    dialogue = core.dialogue
    if dialogue is None:
        return
    dialogue = replace(dialogue, typed=(*dialogue.typed, text))
    action, prompts = _ACTIONS[dialogue.item]
    if len(dialogue.typed) < len(prompts):
        _ask(core, dialogue)
        return
    core.dialogue = None
    try:
        action(core, dialogue.typed, now)
    except (ModuleError, ValueError) as refusal:
        # ValueError: what the subscriber typed is no name and no hexadecimal; he is told, nothing else.
        reason = refusal.reason if isinstance(refusal, ModuleError) else "bad-input"
        core.note("menu.refused", reason=reason)
        show(core, REFUSED + reason)


def _ask(core: Core, dialogue: Dialogue) -> None:
    prompt = _ACTIONS[dialogue.item][1][len(dialogue.typed)]
    core.dialogue = dialogue
    core.ask(ProactiveCommand(type=CommandType.GET_INPUT, text=prompt.encode()))


def _subscribe(core: Core, values: tuple[str, ...], _now: float) -> None:
    identity = core.owner()
    body = encode(Subscribe(service=values[0]))
    turns = replace(core.turns, request=core.turns.request + 1)
    with core.memory.transaction() as transaction:
        core.keep_turns(transaction, turns)
    signed = core.sign(body, purpose=Purpose.REQUEST, target=identity.operator, counter=turns.request)
    packet = encode_command(spi=_CLEAR, tar=MANAGER_TAR, data=signed)
    if not send_command(core, packet, to=identity.operator_number):
        raise TransitionRefused("not-sent")


def _serve(core: Core, values: tuple[str, ...], now: float) -> None:
    definition = core.definitions.by_service(values[0])
    if definition is None:
        raise TransitionRefused("unknown-resource")
    opening = sessions.call(core, definition)
    links.call(core, definition, opening, now)


def _use(core: Core, values: tuple[str, ...], now: float) -> None:
    definition = core.definitions.by_service(values[0])
    if definition is None:
        raise TransitionRefused("unknown-resource")
    result = applications.invoke(core, definition, bytes.fromhex(values[1]), now)
    show(core, REFUSED + result.reason if result.reason else RESULT + result.output.hex())


_ACTIONS: Final[Mapping[Item, tuple[Callable[[Core, tuple[str, ...], float], None], tuple[str, ...]]]] = {
    Item.SUBSCRIBE: (_subscribe, (_SERVICE,)),
    Item.SERVE: (_serve, (_SERVICE,)),
    Item.USE: (_use, (_SERVICE, _INPUT)),
}
