"""The security module: the one place that all parties trust, emulated octet for octet.

What the room is for: keeping resources apart from each other and from the outside world. It imports the
transport floor, ``agents.messages``, ``agents.errors``, msgpack and wasmtime; it knows no asyncio, clock, log
or global randomness, so that a whole module can be driven by a test, one APDU at a time.

Theory of operation. ``memory`` is one real image of octets, divided once and for all (``geometry``):
header, operating area, DEF, zone. Every change of it is staged in a transaction, written behind the image
first (``journal``) and only then into it, page by page (``medium``), so that power may fail anywhere; the
pages it touched are handed out to be made durable before the answer leaves. ``profile`` says what the
module can do and bounds all that it keeps. ``definitions`` keeps DEF, the table that says what each
resource is, as records in that image; ``allocation`` divides the zone from DEF alone, so there is no
second list that could disagree with it. ``life_cycle`` is the table of what may happen to a resource in
which state, ``limits`` what ends one by itself, ``soundness`` what a boot looks at beyond CRCs.
``manager`` is the operator's hand in it, ``audit`` the module's word to him; ``sessions`` and
``applications`` are the supplier's. ``run_unit`` executes a resource's programme as WebAssembly whose
linear memory is the resource's data area and nothing else; ``programme`` compiles and links it,
``host_functions`` is the ABI it sees, cut down to the ``rights`` its reservation granted, and
``wasm_shape`` and ``wasm_cost`` refuse what is cheap to send and dear to compile.
To its terminal a module is a UICC: ``card_io`` takes each APDU to its command, ``selection`` and
``reading`` serve the table of ``files``, ``toolkit`` takes envelopes in and hands proactive commands out,
``asking`` holds back what the terminal could not do, and ``answer_to_reset`` is what it says before anybody
asks.
Nothing is kept decoded between two commands: a module at rest costs its image and a few small objects,
while engine and compiled programmes are shared by all modules of the process.
"""
