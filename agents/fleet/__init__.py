"""The fleet: from one config file to a running market, and from its outcomes to a report.

May import every other room of this floor, and the two floors below; only ``agents.cli`` imports this one.

Theory of operation. ``config`` reads the TOML file into frozen values and refuses, before anything starts,
whatever can be known to be wrong: each fault is one sentence that names its key (``config_errors`` words what
pydantic finds, ``config_checks`` does what crosses the tables: references, names, applications, memory).
``addresses`` gives every handset its UA. ``launch`` starts the agents the config names and takes them
through its steps; a step ends in one ``Outcome`` for each of its targets. ``expectations`` holds the
outcomes against the step's ``expect`` and returns sentences for what did not hold; ``report`` sums up the
run for the screen and as JSON; ``progress`` shows it while it happens. ``inspection`` draws one module's
memory from its image alone. All but ``launch`` are plain values and functions, tested without a broker.
"""
