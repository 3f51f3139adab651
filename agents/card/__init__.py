"""A module as a card in a reader: any PC/SC program can talk to it.

What the room is for: one module of a state directory, outside its fleet, offered to ``pcscd`` through
vsmartcard's driver ``vpcd``. It imports ``agents.handset.security_module``, ``agents.store``, the bus floor's
clock and asyncio; it knows no broker, no role and no handset.

Theory of operation. ``vpcd`` is a reader without a slot to push a card into: it listens on a port, and who
connects is the card. ``driver`` is its protocol without I/O, ``reader`` the connection. ``contacts`` holds
the module: power on boots it from its stored pages, power off and reset forget what is volatile, and what a
command changed is stored before its response leaves. So pulling the card, or the plug, costs nothing that was
promised. A module is in one place at a time: whoever puts it in a reader holds its fleet's state directory.
"""
