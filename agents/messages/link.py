"""What two roles say to each other to make a secure connection between them, and what carries its packets.

A *label* is the asker's name for one session, or for one attempt to make one: eight random octets. It finds
the keys; whether they are the right ones, the handshake or the packet proves.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agents.messages.codec import MAX_MESSAGE_OCTETS, Octets, message

LABEL_OCTETS = 8
Label = Annotated[bytes, Field(min_length=LABEL_OCTETS, max_length=LABEL_OCTETS)]
Packet = Annotated[bytes, Field(max_length=MAX_MESSAGE_OCTETS)]
"""A command packet of TS 102 225, as a TCP channel has it."""


@message(80)
class LinkGreeting:
    """Asker to other: the next message of the handshake that is to become session *label*."""

    label: Label
    octets: Octets


@message(81)
class LinkGreeted:
    """Other to asker: what it says to that."""

    label: Label
    octets: Octets


@message(82)
class LinkQuestion:
    """Asker to other: a question, as a packet of session *label*."""

    label: Label
    packet: Packet


@message(83)
class LinkReply:
    """Other to asker: a reply, as a packet of the session of its question, or of the one after it."""

    label: Label
    packet: Packet


@message(84)
class LinkUnknown:
    """Other to asker: there is no session *label* here. Nobody vouches for this."""

    label: Label


LINK_MESSAGES = (LinkGreeting, LinkGreeted, LinkQuestion, LinkReply, LinkUnknown)
LinkMessage = LinkGreeting | LinkGreeted | LinkQuestion | LinkReply | LinkUnknown
