"""A handset: the phone that the network knows, the terminal that serves the module, and the module itself.

``cell`` shares one connection to the broker among many handsets. ``phone`` is the actor: it takes short
messages, APDUs over the contacts, and what its subscriber does, one at a time, and drives the module with
APDUs only. ``start_up`` is what it says to a module that has just got power; ``terminal`` says what a kind of
handset can do, and answers the module's proactive commands. ``security_module`` is the emulated card: a
pure machine that knows neither bus nor time.

The phone commits first and speaks afterwards: what the module changed is durable before a report, a reply or
a short message leaves the handset.
"""
