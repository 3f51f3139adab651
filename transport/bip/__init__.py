"""Bearer independent protocol: channels that the terminal opens for the module (TS 102 223 clause 6.4.27 on).

May import ``transport.toolkit``, whose commands, responses and envelopes go between the two sides, and
``transport.errors``. Both sides are here, and neither sends anything by itself.

How it works. The module wants a channel: a ``ModuleChannel`` turns ``open``, ``send`` and ``close`` into
proactive commands, one at a time. The terminal's ``TerminalChannels`` answers each of them, keeps the buffers
that were granted, and says in ``Action`` values what the network is to do. What the network brings goes into
the terminal's buffers, and the module, told so by an envelope, fetches it in pieces that fit a short APDU.
``states`` has the lives of a channel on both sides as tables. ``LinkPdu`` stands for the network itself: what
a handset and a server exchange below a channel.
"""

from __future__ import annotations

from transport.bip.link import LinkKind, LinkPdu
from transport.bip.module import RECEIVE_LIMIT, SEND_LIMIT, ModuleChannel
from transport.bip.objects import Action, ChannelLimits, Connect, Disconnect, Step, Transmit
from transport.bip.states import ChannelEvent, ChannelState, TerminalEvent, TerminalState
from transport.bip.terminal import TerminalChannels

__all__ = [
    "RECEIVE_LIMIT",
    "SEND_LIMIT",
    "Action",
    "ChannelEvent",
    "ChannelLimits",
    "ChannelState",
    "Connect",
    "Disconnect",
    "LinkKind",
    "LinkPdu",
    "ModuleChannel",
    "Step",
    "TerminalChannels",
    "TerminalEvent",
    "TerminalState",
    "Transmit",
]
