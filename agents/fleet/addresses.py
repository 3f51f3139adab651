"""The unique address UA of each handset's module: an ICCID of nineteen digits.

ITU-T E.118 §4: issuer identification, individual account identification, and a check digit after Luhn. Here::

    8988 | ffff | gggg | iiiiii | c
    ---- issuer: telecommunications, a shared country code
           ---- the fleet, a digest of its name, so that two fleets on one broker seldom meet
                  ---- the group, in the order of the config, from 0001
                         ------ the handset in its group, from 000001
                                  - Luhn

A handset keeps its address whatever is changed in the groups behind its own.

And the address of each supplier's server on the packet network: the config's, or one of those that are kept
for documentation and never routed (RFC 5737).
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Final

from agents.messages.bearers import ServerAddress

if TYPE_CHECKING:
    from agents.fleet.config import FleetConfig

ISSUER: Final = "8988"
UA_DIGITS: Final = 19
MAX_GROUPS: Final = 9_999
MAX_HANDSETS: Final = 999_999
TCP_PORT: Final = 40000
UDP_PORT: Final = 40001
"""Where every server listens: CAT_TP has no port of its own, nor have secured packets over TCP."""
MAX_SERVERS: Final = 762
_DOCUMENTATION: Final = tuple(
    host
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
    for host in IPv4Network(network).hosts()
)


def luhn(digits: str) -> str:
    """Return the check digit of *digits* (ISO/IEC 7812-1 annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def ua_of(fleet: str, group: int, index: int) -> str:
    """Return the UA of handset *index* of group *group*, both counted from 1."""
    if not (1 <= group <= MAX_GROUPS and 1 <= index <= MAX_HANDSETS):
        raise ValueError(f"no address for handset {index} of group {group}")
    fleet_digits = int.from_bytes(hashlib.sha256(fleet.encode()).digest()[:8], "big") % 10_000
    digits = f"{ISSUER}{fleet_digits:04}{group:04}{index:06}"
    return digits + luhn(digits)


def is_ua(text: str) -> bool:
    """Say whether *text* has the digits of a UA, the check digit among them."""
    return len(text) == UA_DIGITS and text.isascii() and text.isdigit() and luhn(text[:-1]) == text[-1]


def server_addresses(config: FleetConfig) -> dict[str, ServerAddress]:
    """Return where each supplier's server is, by the supplier's name."""
    taken = {supplier.address for supplier in config.suppliers}
    free = (host for host in _DOCUMENTATION if host not in taken)
    return {supplier.name: _server(supplier.address or next(free)) for supplier in config.suppliers}


def _server(host: IPv4Address) -> ServerAddress:
    return ServerAddress(host=host, tcp_port=TCP_PORT, udp_port=UDP_PORT)
