"""Bearers: "bring this secured packet to that module and tell me that it arrived", each over its own network.

May import the transport floor and the rest of ``bus``; a bearer never opens what it carries.

Theory of operation. A bearer cuts a packet to the limits of its network with the codecs of the transport
floor, wraps each TPDU (page, chunk) into one :class:`~bus.frame.Frame` and publishes it. Its receipt is an
answer of the far end that bears the same frame reference; MQTT's own acknowledgement only says that the
broker has stored it. What is not answered in time is sent again under the same reference with the next
attempt number, so that the far end can tell a repetition from a new message, and after the last attempt the
caller gets a typed error. Time and randomness are handed in. A new bearer is a module here with its
settings, a sender and a receiver, a member of :class:`~bus.frame.Bearer` and its topics in
:mod:`bus.topics`.
"""
