"""What the roles say to each other: typed messages, compact on the wire, refused when malformed.

``codec`` turns a frozen dataclass into a msgpack array ``[code, field, ...]`` and back, checking every type
and bound on the way in. ``signed`` is the envelope of what must prove itself to, or by, a module. ``air`` has
what travels to and from modules, ``campaign_reports`` what they say of broadcasts, ``inside`` what roles ask
each other, ``orders`` what the console says.

This room imports ``transport`` and nothing of the bus: the security module reads and writes these messages
too.
"""
