"""Bearers: "bring this secured packet to that module and tell me that it arrived", each over its own network.

May import the transport floor and the rest of ``bus``; a bearer never opens what it carries.

Theory of operation. A bearer cuts a packet to the limits of its network with the codecs of the transport
floor, wraps each TPDU (page, segment) into one :class:`~bus.frame.Frame` and publishes it. MQTT's own
acknowledgement only says that the broker has stored it. The receipt of a short message is an answer of the
far end under the same frame reference; what is not answered in time is sent again with the next attempt
number, so that the far end can tell a repetition from a new message. Over a channel the receipt is the
response packet itself, and TCP or CAT_TP below it repeat. Of a cell broadcast nothing comes back: its receipt
only says what was sent. Whoever gives up gives the caller a typed error. Time and randomness are handed in.

A new bearer is a module here with its settings, a sender and a receiver, a member of
:class:`~bus.frame.Bearer` and its topics in :mod:`bus.topics`.
"""
