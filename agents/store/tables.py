"""What each role keeps: one ``MetaData`` a role, for each role has a database of its own.

Times are seconds since 1970, UTC. ``octets``, ``*_key``, ``*_public`` and ``session`` are as on the wire. A
column is not null unless it says so; a row is always written as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, MetaData, String, Table

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

NAME = String(64)
UA = String(20)
TAR = LargeBinary(3)
OCTETS = LargeBinary()
NUMBER = BigInteger()
SECONDS = Float(53)
WORDS = String(1024)


def _key(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _column(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _maybe(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=True)


def _own_keys(metadata: MetaData) -> Table:
    """Return the table of a role's own private keys, by what they are for."""
    return Table(
        "own_keys",
        metadata,
        _key("purpose", NAME),
        _column("suite", NAME),
        _column("private_key", OCTETS),
    )


def _issued(metadata: MetaData) -> Table:
    """Return the table of the certificates that a role issued, by serial."""
    return Table(
        "certificates",
        metadata,
        _key("serial", NUMBER),
        _column("subject", NAME),
        _column("role", NAME),
        _column("octets", OCTETS),
        _column("issued_at", SECONDS),
    )


def _sessions(metadata: MetaData) -> Table:
    """Return the table of who commands modules under a keyset: of each the session, which is secret.

    ``counter`` is that of the last packet, ``connects`` the last turn of Connect.
    """
    return Table(
        "sessions",
        metadata,
        _key("ua", UA),
        _maybe("session", OCTETS),
        _column("counter", NUMBER),
        _column("connects", NUMBER),
    )


# The authority: who is who.

AUTHORITY = MetaData()
AUTHORITY_KEYS = _own_keys(AUTHORITY)
AUTHORITY_MODULES = Table(
    "modules",
    AUTHORITY,
    _key("ua", UA),
    _column("certificate", OCTETS),
    _column("operator", NAME),
    _column("memory", Integer()),
    _column("suites", WORDS),
    _column("registered_at", SECONDS),
)
CERTIFICATES = _issued(AUTHORITY)

# What the authority knows of the module keys that it made, until one of them is registered: the SHA-256 of
# their public halves.
MADE_KEYS = Table(
    "made_keys",
    AUTHORITY,
    _key("ua", UA),
    _key("digest", LargeBinary(32)),
    _column("made_at", SECONDS),
)

# The operator: what was agreed, who subscribed, what each module was told.

OPERATOR = MetaData()
OPERATOR_KEYS = _own_keys(OPERATOR)
OPERATOR_CERTIFICATES = _issued(OPERATOR)
AGREEMENTS = Table(
    "agreements",
    OPERATOR,
    _key("service", NAME),
    _column("supplier", NAME),
    _column("number", NAME),
    _column("suite", NAME),
    _column("forms", WORDS),
    _column("public_key", OCTETS),
    _column("sealing_key", OCTETS),
    _column("dh_base", OCTETS),
    _column("dh_modulus", OCTETS),
    _column("tar", TAR),
    _column("code_size", Integer()),
    _column("data_size", Integer()),
    _column("rights", NUMBER),
    _column("expires_at", NUMBER),
    _column("lifetime", NUMBER),
    _column("executions", NUMBER),
    _column("at_end", NAME),
    _column("bearers", WORDS),
    _column("server", OCTETS),
    _column("protection", NAME),
    # Of a global service; the key, which is secret, only where the operator made it.
    _column("logic_name", NAME),
    _column("message_identifier", Integer()),
    _column("domain_key", OCTETS),
    _column("agreed_at", SECONDS),
)
# Every key that a module may know a supplier by, under its SHA-256.
SUPPLIER_PUBLICS = Table(
    "supplier_keys",
    OPERATOR,
    _key("service", NAME),
    _key("digest", LargeBinary(32)),
    _column("public_key", OCTETS),
)
REVOKED = Table("revoked_suppliers", OPERATOR, _key("supplier", NAME), _column("revoked_at", SECONDS))
OPERATOR_MODULES = Table(
    "modules",
    OPERATOR,
    _key("ua", UA),
    _column("certificate", OCTETS),
    _column("memory", Integer()),
    _column("suites", WORDS),
    # Of the operator's key that the module goes by: see ``operator_keys``.
    _column("generation", NUMBER),
    _column("command_counter", NUMBER),
    _column("request_counter", NUMBER),
    _column("request_window", NUMBER),
    # What the module told last of its next reservation: see ``domain_key``.
    _column("ticket", OCTETS),
    # As of the last audit: octets, and when it was, 0 = never.
    _column("free", Integer()),
    _column("largest_free", Integer()),
    _column("audited_at", SECONDS),
)
SUBSCRIPTIONS = Table(
    "subscriptions",
    OPERATOR,
    _key("ua", UA),
    _key("service", NAME),
    _column("state", NAME),
    _column("rsc_id", Integer()),
    _column("reserved_turn", NUMBER),
    _column("turn", NUMBER),
    # The turn that the supplier was told of last.
    _column("told", NUMBER),
    _column("activated", Integer()),
    _column("reason", NAME),
    # What the module was told of the resource.
    _column("code_size", Integer()),
    _column("data_size", Integer()),
    _column("rights", NUMBER),
    _column("supplier_digest", OCTETS),
    _column("expires_at", NUMBER),
    _column("executions", NUMBER),
    _column("at_end", NAME),
    _column("changed_at", SECONDS),
)
# The one command of each module that was sent and not yet answered.
COMMANDS = Table(
    "commands",
    OPERATOR,
    _key("ua", UA),
    _column("counter", NUMBER),
    _column("kind", NAME),
    _column("service", NAME),
    _column("octets", OCTETS),
)

OPERATOR_SESSIONS = _sessions(OPERATOR)

# An allocator: of each module the last command, and what the module answered; empty = not yet. The turn of
# the last announcement stands under ``all``, which has no certificate.

ALLOCATOR = MetaData()
ALLOCATOR_KEYS = _own_keys(ALLOCATOR)
ALLOCATOR_COMMANDS = Table(
    "commands",
    ALLOCATOR,
    _key("target", NAME),
    _column("certificate", OCTETS),
    _column("turn", NUMBER),
    _column("body", OCTETS),
    _column("octets", OCTETS),
    _column("answer", OCTETS),
)
ALLOCATOR_SESSIONS = _sessions(ALLOCATOR)

# A supplier: the resources it was given. ``session`` and ``personal`` are secret.

SUPPLIER = MetaData()
SUPPLIER_KEYS = _own_keys(SUPPLIER)
RESOURCES = Table(
    "resources",
    SUPPLIER,
    _key("ua", UA),
    _key("tar", TAR),
    _column("service", NAME),
    _column("rsc_id", Integer()),
    _column("module_suite", NAME),
    _column("module_public", OCTETS),
    _column("module_sealing", OCTETS),
    # By which of our keys the module knows us.
    _column("supplier_digest", OCTETS),
    _column("state", NAME),
    _column("reserved_turn", NUMBER),
    _column("turn", NUMBER),
    # Why it may not be used: blocked, expired, exhausted; empty when it may.
    _column("barred", NAME),
    _maybe("session", OCTETS),
    _column("counter", NUMBER),
    _column("personal", OCTETS),
    # Of the programme that we know to be there, 0 = none.
    _column("version", NUMBER),
    _column("changed_at", SECONDS),
)

# The keys that came after a supplier's own, of each service: which one, by the roll-over that asked for it.
KEY_GENERATIONS = Table(
    "key_generations",
    SUPPLIER,
    _key("service", NAME),
    _key("generation", Integer()),
    _column("roll", NUMBER),
    _column("suite", NAME),
    _column("signing", OCTETS),
    _column("sealing", OCTETS),
)

# What the operator calls each service of a supplier on the air, and the domain key of a global one: secret.
SERVICES = Table(
    "services",
    SUPPLIER,
    _key("service", NAME),
    _column("tar", TAR),
    _column("domain_key", OCTETS),
    _column("message_identifier", Integer()),
)

# The domain keys that came before a global service's newest, as long as a module may have one: secret.
DOMAIN_KEYS = Table(
    "domain_keys",
    SUPPLIER,
    _key("service", NAME),
    _key("generation", NUMBER),
    _column("domain_key", OCTETS),
)
# Which modules hold a global service, each with the generation of the domain key that it has at least, and
# the one that its last connection was made by, if it was one in a domain's form; ``left_out`` is the
# generation that it was not given because somebody suspected it, 0 = none; ``ticket`` says for which of its
# reservations the key was asked for last.
DOMAIN_MEMBERS = Table(
    "domain_members",
    SUPPLIER,
    _key("service", NAME),
    _key("ua", UA),
    _column("generation", NUMBER),
    _column("connected", NUMBER),
    _column("left_out", NUMBER),
    _column("ticket", OCTETS),
)
# The last roll-over of each domain key, by its number, what the last order for it said, and the packets that
# it is broadcast in. ``broadcasts`` counts orders; ``aired`` is the last one that came to its end.
DOMAIN_ROLLS = Table(
    "domain_rolls",
    SUPPLIER,
    _key("service", NAME),
    _column("roll", NUMBER),
    _column("ordered", OCTETS),
    _column("broadcasts", NUMBER),
    _column("aired", NUMBER),
)
RENEWALS = Table(
    "renewals",
    SUPPLIER,
    _key("service", NAME),
    _key("number", Integer()),
    _column("octets", OCTETS),
)

# The last campaign of each global service: ``what`` is a digest of all that its octets come of. Its version
# is the newest, and stands here whole: a module that missed it is served the same, whatever the config says
# by then. ``reset`` is the last version that began the data part anew, ``broadcasts`` counts orders.
CAMPAIGNS = Table(
    "campaigns",
    SUPPLIER,
    _key("service", NAME),
    _column("number", NUMBER),
    _column("version", NUMBER),
    _column("what", OCTETS),
    _column("signature", OCTETS),
    _column("code", OCTETS),
    _column("data_part", Integer()),
    _column("reset", NUMBER),
    _column("broadcasts", NUMBER),
    _column("generation", NUMBER),
    _column("report_share", Integer()),
)

# What each module reported last of a campaign of a service: ``outcome`` is a number of ``Outcome``.
REPORTS = Table(
    "reports",
    SUPPLIER,
    _key("service", NAME),
    _key("ua", UA),
    _column("campaign", NUMBER),
    _column("version", NUMBER),
    _column("outcome", Integer()),
    _column("reason", NAME),
    _column("reported_at", SECONDS),
)

# Of each global service the version that whoever is served is given: the newest whose campaign was not on
# trial, or has ended well.
RELEASES = Table(
    "releases",
    SUPPLIER,
    _key("service", NAME),
    _column("version", NUMBER),
    _column("code", OCTETS),
    _column("data_part", Integer()),
)

# How far the last campaign of each service has come: ``packets`` of its ``stage`` are published, at least;
# ``ordered`` is what the order said, ``command`` the last word of a person about it.
ROLLOUTS = Table(
    "rollouts",
    SUPPLIER,
    _key("service", NAME),
    _column("number", NUMBER),
    _column("ordered", OCTETS),
    _column("state", NAME),
    _column("reason", NAME),
    _column("stage", Integer()),
    _column("packets", Integer()),
    _column("aired_at", SECONDS),
    _column("begun_at", SECONDS),
    _column("command", NUMBER),
)
ROLLOUT_STAGES = Table(
    "rollout_stages",
    SUPPLIER,
    _key("service", NAME),
    _key("stage", Integer()),
    _column("begun_at", SECONDS),
    _maybe("ended_at", SECONDS),
    _column("why", NAME),
)

# The fleet: what it was made from and how far its steps have come. ``output`` is an application's.

FLEET = MetaData()
SETTINGS = Table("settings", FLEET, _key("key", NAME), _column("value", OCTETS))
STEP_RESULTS = Table(
    "step_results",
    FLEET,
    _key("step", Integer()),
    _key("ua", UA),
    _key("service", NAME),
    _column("outcome", NAME),
    _column("reason", WORDS),
    _column("output", OCTETS),
    _column("started", SECONDS),
    _column("latency_s", SECONDS),
)

# The modules' memory, of all handsets in one database: see ``pages``.

MODULES = MetaData()
PAGES = Table("pages", MODULES, _key("ua", UA), _key("number", Integer()), _column("octets", OCTETS))

# The personaliser keeps nothing but its keys: what it made is in the modules and in the authority's register.

PERSONALIZER = MetaData()
PERSONALIZER_KEYS = _own_keys(PERSONALIZER)
