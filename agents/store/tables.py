"""What each role keeps: one ``MetaData`` a role, for each role has a database of its own.

Times are seconds since 1970, UTC. ``octets``, ``*_key``, ``*_public`` and ``session`` are as on the wire. A
column is not null unless it says so; a row is always written as a whole.
"""

from __future__ import annotations

from sqlalchemy import Integer, LargeBinary, MetaData, Table

from agents.store.columns import (
    NAME,
    NUMBER,
    OCTETS,
    SECONDS,
    TAR,
    UA,
    WORDS,
    column,
    issued,
    key,
    maybe,
    own_keys,
    sessions,
)

# The authority: who is who.

AUTHORITY = MetaData()
AUTHORITY_KEYS = own_keys(AUTHORITY)
AUTHORITY_MODULES = Table(
    "modules",
    AUTHORITY,
    key("ua", UA),
    column("certificate", OCTETS),
    column("operator", NAME),
    column("memory", Integer()),
    column("suites", WORDS),
    column("registered_at", SECONDS),
)
CERTIFICATES = issued(AUTHORITY)

# What the authority knows of the module keys that it made, until one of them is registered: the SHA-256 of
# their public halves.
MADE_KEYS = Table(
    "made_keys",
    AUTHORITY,
    key("ua", UA),
    key("digest", LargeBinary(32)),
    column("made_at", SECONDS),
)

# The operator: what was agreed, who subscribed, what each module was told.

OPERATOR = MetaData()
OPERATOR_KEYS = own_keys(OPERATOR)
OPERATOR_CERTIFICATES = issued(OPERATOR)
AGREEMENTS = Table(
    "agreements",
    OPERATOR,
    key("service", NAME),
    column("supplier", NAME),
    column("number", NAME),
    column("suite", NAME),
    column("forms", WORDS),
    column("public_key", OCTETS),
    column("sealing_key", OCTETS),
    column("dh_base", OCTETS),
    column("dh_modulus", OCTETS),
    column("tar", TAR),
    column("code_size", Integer()),
    column("data_size", Integer()),
    column("rights", NUMBER),
    column("expires_at", NUMBER),
    column("lifetime", NUMBER),
    column("executions", NUMBER),
    column("at_end", NAME),
    column("bearers", WORDS),
    column("server", OCTETS),
    column("protection", NAME),
    # Of a global service; the key, which is secret, only where the operator made it.
    column("logic_name", NAME),
    column("message_identifier", Integer()),
    column("domain_key", OCTETS),
    column("agreed_at", SECONDS),
)
# Every key that a module may know a supplier by, under its SHA-256.
SUPPLIER_PUBLICS = Table(
    "supplier_keys",
    OPERATOR,
    key("service", NAME),
    key("digest", LargeBinary(32)),
    column("public_key", OCTETS),
)
REVOKED = Table("revoked_suppliers", OPERATOR, key("supplier", NAME), column("revoked_at", SECONDS))
OPERATOR_MODULES = Table(
    "modules",
    OPERATOR,
    key("ua", UA),
    column("certificate", OCTETS),
    column("memory", Integer()),
    column("suites", WORDS),
    # Of the operator's key that the module goes by: see ``operator_keys``.
    column("generation", NUMBER),
    column("command_counter", NUMBER),
    column("request_counter", NUMBER),
    column("request_window", NUMBER),
    # What the module told last of its next reservation: see ``domain_key``.
    column("ticket", OCTETS),
    # As of the last audit: octets, and when it was, 0 = never.
    column("free", Integer()),
    column("largest_free", Integer()),
    column("audited_at", SECONDS),
)
SUBSCRIPTIONS = Table(
    "subscriptions",
    OPERATOR,
    key("ua", UA),
    key("service", NAME),
    column("state", NAME),
    column("rsc_id", Integer()),
    column("reserved_turn", NUMBER),
    column("turn", NUMBER),
    # The turn that the supplier was told of last.
    column("told", NUMBER),
    column("activated", Integer()),
    column("reason", NAME),
    # What the module was told of the resource.
    column("code_size", Integer()),
    column("data_size", Integer()),
    column("rights", NUMBER),
    column("supplier_digest", OCTETS),
    column("expires_at", NUMBER),
    column("executions", NUMBER),
    column("at_end", NAME),
    column("changed_at", SECONDS),
)
# The one command of each module that was sent and not yet answered.
COMMANDS = Table(
    "commands",
    OPERATOR,
    key("ua", UA),
    column("counter", NUMBER),
    column("kind", NAME),
    column("service", NAME),
    column("octets", OCTETS),
)

OPERATOR_SESSIONS = sessions(OPERATOR)

# An allocator: of each module the last command, and what the module answered; empty = not yet. The turn of
# the last announcement stands under ``all``, which has no certificate.

ALLOCATOR = MetaData()
ALLOCATOR_KEYS = own_keys(ALLOCATOR)
ALLOCATOR_COMMANDS = Table(
    "commands",
    ALLOCATOR,
    key("target", NAME),
    column("certificate", OCTETS),
    column("turn", NUMBER),
    column("body", OCTETS),
    column("octets", OCTETS),
    column("answer", OCTETS),
)
ALLOCATOR_SESSIONS = sessions(ALLOCATOR)

# A supplier: the resources it was given. ``session`` and ``personal`` are secret.

SUPPLIER = MetaData()
SUPPLIER_KEYS = own_keys(SUPPLIER)
RESOURCES = Table(
    "resources",
    SUPPLIER,
    key("ua", UA),
    key("tar", TAR),
    column("service", NAME),
    column("rsc_id", Integer()),
    column("module_suite", NAME),
    column("module_public", OCTETS),
    column("module_sealing", OCTETS),
    # By which of our keys the module knows us.
    column("supplier_digest", OCTETS),
    column("state", NAME),
    column("reserved_turn", NUMBER),
    column("turn", NUMBER),
    # Why it may not be used: blocked, expired, exhausted; empty when it may.
    column("barred", NAME),
    maybe("session", OCTETS),
    column("counter", NUMBER),
    column("personal", OCTETS),
    # Of the programme that we know to be there, 0 = none.
    column("version", NUMBER),
    column("changed_at", SECONDS),
)

# The keys that came after a supplier's own, of each service: which one, by the roll-over that asked for it.
KEY_GENERATIONS = Table(
    "key_generations",
    SUPPLIER,
    key("service", NAME),
    key("generation", Integer()),
    column("roll", NUMBER),
    column("suite", NAME),
    column("signing", OCTETS),
    column("sealing", OCTETS),
)

# What the operator calls each service of a supplier on the air, and the domain key of a global one: secret.
SERVICES = Table(
    "services",
    SUPPLIER,
    key("service", NAME),
    column("tar", TAR),
    column("domain_key", OCTETS),
    column("message_identifier", Integer()),
)

# The domain keys that came before a global service's newest, as long as a module may have one: secret.
DOMAIN_KEYS = Table(
    "domain_keys",
    SUPPLIER,
    key("service", NAME),
    key("generation", NUMBER),
    column("domain_key", OCTETS),
)
# Which modules hold a global service, each with the generation of the domain key that it has at least, and
# the one that its last connection was made by, if it was one in a domain's form; ``left_out`` is the
# generation that it was not given because somebody suspected it, 0 = none; ``ticket`` says for which of its
# reservations the key was asked for last.
DOMAIN_MEMBERS = Table(
    "domain_members",
    SUPPLIER,
    key("service", NAME),
    key("ua", UA),
    column("generation", NUMBER),
    column("connected", NUMBER),
    column("left_out", NUMBER),
    column("ticket", OCTETS),
)
# The last roll-over of each domain key, by its number, what the last order for it said, and the packets that
# it is broadcast in. ``broadcasts`` counts rounds of message codes that were begun; ``aired`` is what it was
# when a broadcast last came to its end.
DOMAIN_ROLLS = Table(
    "domain_rolls",
    SUPPLIER,
    key("service", NAME),
    column("roll", NUMBER),
    column("ordered", OCTETS),
    column("broadcasts", NUMBER),
    column("aired", NUMBER),
    column("trace", OCTETS),
)
RENEWALS = Table(
    "renewals",
    SUPPLIER,
    key("service", NAME),
    key("number", Integer()),
    column("octets", OCTETS),
)

# The last campaign of each global service: ``what`` is a digest of all that its octets come of. Its version
# is the newest, and stands here whole: a module that missed it is served the same, whatever the config says
# by then. ``reset`` is the last version that began the data part anew, ``broadcasts`` counts orders.
CAMPAIGNS = Table(
    "campaigns",
    SUPPLIER,
    key("service", NAME),
    column("number", NUMBER),
    column("version", NUMBER),
    column("what", OCTETS),
    column("signature", OCTETS),
    column("code", OCTETS),
    column("data_part", Integer()),
    column("reset", NUMBER),
    column("broadcasts", NUMBER),
    column("generation", NUMBER),
    column("report_share", Integer()),
)

# What each module reported last of a campaign of a service: ``outcome`` is a number of ``Outcome``.
REPORTS = Table(
    "reports",
    SUPPLIER,
    key("service", NAME),
    key("ua", UA),
    column("campaign", NUMBER),
    column("version", NUMBER),
    column("outcome", Integer()),
    column("reason", NAME),
    column("reported_at", SECONDS),
)

# Of each global service the version that whoever is served is given: the newest whose campaign was not on
# trial, or has ended well.
RELEASES = Table(
    "releases",
    SUPPLIER,
    key("service", NAME),
    column("version", NUMBER),
    column("code", OCTETS),
    column("data_part", Integer()),
)

# How far the last campaign of each service has come: ``packets`` of its ``stage`` are published, at least;
# ``ordered`` is what the order said, ``command`` the last word of a person about it.
ROLLOUTS = Table(
    "rollouts",
    SUPPLIER,
    key("service", NAME),
    column("number", NUMBER),
    column("ordered", OCTETS),
    column("state", NAME),
    column("reason", NAME),
    column("stage", Integer()),
    column("packets", Integer()),
    column("aired_at", SECONDS),
    column("begun_at", SECONDS),
    column("command", NUMBER),
    column("trace", OCTETS),
)
ROLLOUT_STAGES = Table(
    "rollout_stages",
    SUPPLIER,
    key("service", NAME),
    key("stage", Integer()),
    column("begun_at", SECONDS),
    maybe("ended_at", SECONDS),
    column("why", NAME),
)

# The fleet: what it was made from and how far its steps have come. ``output`` is an application's.

FLEET = MetaData()
SETTINGS = Table("settings", FLEET, key("key", NAME), column("value", OCTETS))
STEP_RESULTS = Table(
    "step_results",
    FLEET,
    key("step", Integer()),
    key("ua", UA),
    key("service", NAME),
    column("outcome", NAME),
    column("reason", WORDS),
    column("output", OCTETS),
    column("started", SECONDS),
    column("latency_s", SECONDS),
    column("told_s", SECONDS),
    maybe("heard_s", SECONDS),
)

# The modules' memory, of all handsets in one database: see ``pages``.

MODULES = MetaData()
# A row is a sheet of pages; ``first`` is the number of its first one.
PAGES = Table("pages", MODULES, key("ua", UA), key("first", Integer()), column("octets", OCTETS))

# The personaliser keeps nothing but its keys: what it made is in the modules and in the authority's register.

PERSONALIZER = MetaData()
PERSONALIZER_KEYS = own_keys(PERSONALIZER)
