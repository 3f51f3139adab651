"""What goes over the air, written so that Wireshark opens it: pcapng of link type 252, "exported PDUs".

Each packet is one PDU of one :class:`Layer` behind tags that name the dissector, the direction and who talks
to whom; its comment names trace and span, of a message those of its lines in the log. Timestamps are
microseconds of the run's clock, pcapng's resolution where nothing else is said.

Addresses are made up, but always alike for one name, so that files of several processes agree: Wireshark
joins the parts of a short message by source, destination and reference, and two handsets may use one
reference. They are IPv6, because that has room for a UA: the digits of ``89882110000000123456`` are read off
the end of ``fd00:14:0:8988:2110:0:12:3456`` (the second group is how many there are). The module inside that
handset is ``fd01:…``, so that a TPDU inside an ENVELOPE is not taken for a repetition of the one on the air.
An IPv4 address is mapped (``::ffff:192.0.2.1``); any other name is hashed into ``fd02::/16``. The names
themselves are in the file too: Wireshark shows them with name resolution on (``-N n``). CAT_TP alone has to
be switched on there: ``--enable-heuristic cattp_udp``, or a tick in Analyze, Enabled Protocols.

A process that writes a part of a run writes it to a file of its own; :func:`merge` makes one of them. A disk
that is full ends the capture with one warning, not the run; what was written until then stays readable.
"""

from __future__ import annotations

from bus.capture.exported_pdu import Layer, address
from bus.capture.merging import merge
from bus.capture.writing import Capture

__all__ = ["Capture", "Layer", "address", "merge"]
