"""What a supplier's own server knows about an application: its personal data, and what to expect of it.

A back end is the counterpart of one application: ``account`` of ``configs/apps/account.wat``, ``loyalty`` of
``configs/apps/loyalty.wat``, ``otp`` of ``configs/apps/otp.c``. ``none`` serves an application that needs no
personal data and whose answers are taken as they come. A new one is a class of the same shape and a row of
``BACKENDS``. It has no clock: where an answer depends on the time, the argument carries it.
"""

from __future__ import annotations

import hashlib
import hmac
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transport.security.suites import Rng

KEY_OCTETS: Final = 32
ACCOUNT_DIGITS: Final = 16
CHALLENGE_OCTETS: Final = 16
PASSWORD_DIGITS: Final = 8
PASSWORD_STEP_S: Final = 30
TIME_OCTETS: Final = 8
LONG_AGO_S: Final = 1 << 30
"""In 2004, when no module was yet: a time before it is over for all of them."""


class Backend(Protocol):
    """What the supplier knows of each module that runs its application.

    ``is_personal`` says whether its data is for one module alone, and no other may have it.
    """

    is_personal: ClassVar[bool]

    def personal_data(self, rng: Rng) -> bytes:
        """Return new personal data for one module; empty when the application takes none."""
        ...

    def argument(self, rng: Rng) -> bytes:
        """Return what to invoke the application with."""
        ...

    def holds(self, personal: bytes, argument: bytes, output: bytes) -> bool:
        """Say whether *output* is what the application must answer to *argument*."""
        ...


class Account:
    """An account number and a key; the answer to a challenge proves both."""

    is_personal: ClassVar[bool] = True

    def personal_data(self, rng: Rng) -> bytes:
        """Return key (32 octets) and account number (16 digits)."""
        number = int.from_bytes(rng(8), "big") % 10**ACCOUNT_DIGITS
        return rng(KEY_OCTETS) + f"{number:0{ACCOUNT_DIGITS}}".encode()

    def argument(self, rng: Rng) -> bytes:
        """Return a challenge of 16 octets."""
        return rng(CHALLENGE_OCTETS)

    def holds(self, personal: bytes, argument: bytes, output: bytes) -> bool:
        """Say whether *output* is HMAC-SHA-256 of account number and challenge under the key."""
        key, number = personal[:KEY_OCTETS], personal[KEY_OCTETS:]
        return hmac.compare_digest(hmac.digest(key, number + argument, hashlib.sha256), output)


class Loyalty:
    """Points that the subscriber collects; the shop asks for the balance."""

    is_personal: ClassVar[bool] = False

    def personal_data(self, rng: Rng) -> bytes:  # noqa: ARG002 -- every card begins with no points
        """Return an opening balance of none."""
        return bytes(4)

    def argument(self, rng: Rng) -> bytes:  # noqa: ARG002 -- the same question each time
        """Return the operation that asks for the balance."""
        return b"\x03"

    def holds(self, personal: bytes, argument: bytes, output: bytes) -> bool:  # noqa: ARG002 -- any balance is one
        """Say whether *output* is a balance."""
        return len(output) == len(bytes(4))


class OneTimePassword:
    """A key, and its passwords (RFC 6238) at each time; the supplier asks for those of long ago."""

    is_personal: ClassVar[bool] = True

    def personal_data(self, rng: Rng) -> bytes:
        """Return a key of 32 octets."""
        return rng(KEY_OCTETS)

    def argument(self, rng: Rng) -> bytes:
        """Return a time whose password nobody takes any more: what answers it gives nothing away."""
        return (int.from_bytes(rng(TIME_OCTETS), "big") % LONG_AGO_S).to_bytes(TIME_OCTETS, "big")

    def holds(self, personal: bytes, argument: bytes, output: bytes) -> bool:
        """Say whether *output* is the password of the time in *argument*."""
        if len(argument) != TIME_OCTETS:
            return False
        step = int.from_bytes(argument, "big") // PASSWORD_STEP_S
        return hmac.compare_digest(one_time_password(personal, step), output)


def one_time_password(key: bytes, step: int) -> bytes:
    """Return the password of a time step as digits: RFC 4226 section 5.3, with HMAC-SHA-256."""
    mac = hmac.digest(key, step.to_bytes(8, "big"), hashlib.sha256)
    offset = mac[-1] & 0xF
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**PASSWORD_DIGITS:0{PASSWORD_DIGITS}}".encode()


class Nothing:
    """Knows nothing about its application."""

    is_personal: ClassVar[bool] = False

    def personal_data(self, rng: Rng) -> bytes:  # noqa: ARG002
        """Return none."""
        return b""

    def argument(self, rng: Rng) -> bytes:  # noqa: ARG002
        """Return an empty argument."""
        return b""

    def holds(self, personal: bytes, argument: bytes, output: bytes) -> bool:  # noqa: ARG002
        """Take any answer."""
        return True


BACKENDS: Final[Mapping[str, Backend]] = MappingProxyType(
    {"account": Account(), "loyalty": Loyalty(), "otp": OneTimePassword(), "none": Nothing()}
)
"""By the name that a config gives."""
