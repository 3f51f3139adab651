"""The roles of the market, and the fleet that launches them.

What this floor is for
    Personaliser, authority, operator, supplier and the handsets (phone, terminal, security module, and the
    cell that they share): who may ask what of whom, and what it takes to prove it. ``fleet`` reads a config,
    launches the market and plays its steps; ``cli`` is what a person types.

What it may import
    ``bus`` and ``transport``. Inside ``handset.security_module`` not even ``bus``: the module is a pure
    machine, APDU in and APDU out, time and randomness as arguments.

Theory of operation
    Roles talk over two roads. On the *inside* road (``link``) a role asks another by name; every message is
    sealed: encrypted to the recipient (HPKE) and signed by the sender, whose chain of certificates leads
    to the authority (``directory``). On the *air* (``exchange``) a role sends secured packets to a module and
    gets its response packets. A command of the operator is signed for one module and one counter and stored
    before it is sent, so a repetition repeats the very same octets and the module its very same answer; that,
    and not luck, is what makes kill -9 at any moment harmless. Every actor commits first and speaks
    afterwards. The person at the console (the fleet's step runner) speaks to agents through ``console``:
    orders and events under a key of the run, so that nobody else on the broker can give orders or read what a
    handset displays.
"""
