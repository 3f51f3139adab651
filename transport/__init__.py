"""What goes over the air: bytes in, events out.

This floor knows the octets of over-the-air management and nothing of how they travel. It may import the
standard library's pure parts, ``cryptography``, ``msgpack`` and, if it is there, ``raptorq``; it imports no
event loop, no message broker, no log, no clock and no source of randomness, and neither of the floors above
it. Time is the argument ``now`` in seconds, randomness the argument ``rng``; a test walks the imports to
keep it so.

Theory of operation. A command becomes a secured packet (:mod:`transport.secured_packet`, TS 102 225) under
the keys that :mod:`transport.security` agreed on. The packet is cut to its bearer's limits
(:mod:`transport.concatenation`) and put into short messages (:mod:`transport.sms`, TS 23.040); towards the
card they travel inside TLV objects (:mod:`transport.ber_tlv`). The receiver walks the same way back. Every
structure is a frozen value that refuses to exist when it is invalid and that encodes to the octets it was
parsed from: what we do not interpret is either kept as it came or rejected.

There are two kinds of fault. Misuse by our own code is a ``ValueError``. Octets from a peer that do not hold
end in a :class:`transport.errors.Rejected` with a stable reason, within bounded time and memory, and change
nothing.
"""
