"""What the tests of channels share: openings, commands, and a module and a terminal that talk in octets."""

from __future__ import annotations

from typing import Any

from transport.bip import (
    ChannelLimits,
    Connect,
    ModuleChannel,
    Step,
    TerminalChannels,
    Transmit,
)
from transport.toolkit import (
    ChannelOpening,
    CommandType,
    Envelope,
    EventCode,
    ProactiveCommand,
    TerminalResponse,
    TransportProtocol,
)

TCP, UDP, SERVER = (
    TransportProtocol.TCP_CLIENT,
    TransportProtocol.UDP_CLIENT,
    TransportProtocol.TCP_SERVER,
)
ADDRESS = bytes((10, 0, 0, 7))
PORT = 443
EVENTS = (EventCode.DATA_AVAILABLE, EventCode.CHANNEL_STATUS)


def opening(protocol: TransportProtocol = TCP, buffer: int = 1000) -> ChannelOpening:
    """Return what a module opens."""
    return ChannelOpening(protocol=protocol, port=PORT, address=ADDRESS, buffer=buffer)


def ask(kind: CommandType, **fields: Any) -> ProactiveCommand:
    """Return a proactive command."""
    return ProactiveCommand(type=kind, **fields)


def opened(protocol: TransportProtocol = TCP, buffer: int = 1000, **profile: int) -> TerminalChannels:
    """Return a terminal that tells every event and has channel 1 open."""
    terminal = TerminalChannels(ChannelLimits(**profile))
    terminal.command(ask(CommandType.SET_UP_EVENT_LIST, events=EVENTS))
    open_one(terminal, protocol, buffer)
    return terminal


def open_one(
    terminal: TerminalChannels, protocol: TransportProtocol = TCP, buffer: int = 1000
) -> TerminalResponse:
    """Open a channel and let its connection come up; return the response."""
    step = terminal.command(ask(CommandType.OPEN_CHANNEL, opening=opening(protocol, buffer)))
    if step.response is not None:
        return step.response
    (connect,) = step.actions
    assert isinstance(connect, Connect)
    return terminal.connected(connect.channel)


class Pair:
    """A module's channel and its terminal; everything between them goes as octets, as over the contacts."""

    def __init__(
        self,
        protocol: TransportProtocol,
        buffer: int = 1000,
        profile: ChannelLimits | None = None,
        **limits: int,
    ) -> None:
        self.module = ModuleChannel(opening(protocol, buffer), **limits)
        self.terminal = TerminalChannels(profile)
        self.sent: list[bytes] = []
        self.asked: list[ProactiveCommand] = []
        self.network_accepts = True
        self.terminal.command(self.over(ask(CommandType.SET_UP_EVENT_LIST, events=EVENTS)))

    @staticmethod
    def over(command: ProactiveCommand) -> ProactiveCommand:
        """Return *command* as the terminal fetches it."""
        return ProactiveCommand.parse(command.encode())

    def one(self) -> bool:
        """Let the module ask for one thing and the terminal do it; False: there was nothing to ask."""
        commands = self.module.commands()
        assert len(commands) <= 1
        for command in commands:
            assert self.module.commands() == [], "one command is out at a time"
            self.asked.append(command)
            step = self.terminal.command(self.over(command))
            response = self.answer(step)
            self.module.responded(command, TerminalResponse.parse(response.encode()))
        return bool(commands)

    def answer(self, step: Step) -> TerminalResponse:
        """Do the actions of *step* and return the response that it comes to."""
        response = step.response
        for action in step.actions:
            if isinstance(action, Transmit):
                self.sent.append(action.octets)
            elif isinstance(action, Connect) and response is None:
                done = self.terminal.connected if self.network_accepts else self.terminal.refused
                response = done(action.channel)
        assert response is not None
        return response

    def tell(self) -> None:
        """Tell the module the events that there are, and let each be dealt with."""
        while events := self.terminal.events():
            for event in events:
                self.module.event(Envelope.parse(event.encode()))
                self.run()

    def run(self) -> None:
        """Let the module ask until it has nothing more to ask."""
        while self.one():
            pass

    def settle(self) -> None:
        """Let both sides go on until neither has anything to say."""
        self.run()
        self.tell()
